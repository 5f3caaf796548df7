/** Tickets for WebSockets and downloads of pages, which cannot send a token: for one use, within seconds. */
import { randomBytes } from 'node:crypto';
import type { Ticket } from '../api/schemas.js';
import type { Tenant } from './tenant.js';

/** Milliseconds that a ticket is good for. */
const LIFE = 30_000;
/** Tickets at a time. */
const MOST = 10_000;

export class Tickets {
  private readonly open = new Map<string, { readonly tenant: Tenant; readonly expires: number }>();

  constructor(private readonly now: () => number = Date.now) {}

  issue(tenant: Tenant): Ticket {
    const now = this.now();
    for (const [ticket, { expires }] of this.open) {
      // In the order in which they were made.
      if (expires > now && this.open.size < MOST) break;
      this.open.delete(ticket);
    }
    const ticket = randomBytes(24).toString('base64url');
    const expires = now + LIFE;
    this.open.set(ticket, { tenant, expires });
    return { ticket, expires: new Date(expires).toISOString() };
  }

  /** Whose it is; it is used up then. */
  redeem(ticket: string): Tenant | undefined {
    // A look-up by a random key of 192 bits tells nothing by the time that it takes.
    const found = this.open.get(ticket);
    this.open.delete(ticket);
    return found && found.expires > this.now() ? found.tenant : undefined;
  }
}
