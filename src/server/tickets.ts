/** Tickets for WebSockets and downloads of pages, which cannot send a token: for one use, within seconds. */
import { randomBytes } from 'node:crypto';
import type { Ticket } from '../api/schemas.js';
import type { Grant } from './grant.js';
import type { Tenant } from './tenant.js';

/** Milliseconds that a ticket is good for. */
const LIFE = 30_000;
/** Tickets of a tenant at a time: the oldest go first, and never another's. */
const MOST = 256;

interface OpenTicket {
  readonly grant: Grant;
  readonly expires: number;
}

export class Tickets {
  /** In the order in which they were made. */
  private readonly open = new Map<Tenant, Map<string, OpenTicket>>();

  constructor(private readonly now: () => number = Date.now) {}

  issue(grant: Grant): Ticket {
    const now = this.now();
    const own = this.open.get(grant.tenant) ?? new Map<string, OpenTicket>();
    this.open.set(grant.tenant, own);
    for (const [ticket, { expires }] of own) {
      if (expires > now && own.size < MOST) break;
      own.delete(ticket);
    }
    const ticket = randomBytes(24).toString('base64url');
    const expires = now + LIFE;
    own.set(ticket, { grant, expires });
    return { ticket, expires: new Date(expires).toISOString() };
  }

  /** Whose it is; it is used up then. */
  redeem(ticket: string): Grant | undefined {
    for (const own of this.open.values()) {
      // A look-up by a random key of 192 bits tells nothing by the time that it takes.
      const found = own.get(ticket);
      if (!found) continue;
      own.delete(ticket);
      return found.expires > this.now() ? found.grant : undefined;
    }
    return undefined;
  }
}
