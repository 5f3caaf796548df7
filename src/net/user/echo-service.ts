import type { EchoError, EchoSent, HostEchoes, HostSockets } from '../../iface/host-sockets.js';
import { addressText, parseAddress, type Address } from '../addresses.js';
import { get16, type IpPacket } from './packet.js';
import type { Policy } from './policy.js';

/** Sockets of the host at a time; the one that was silent longest makes room. */
export const MAX_ECHO_SOCKETS = 64;
/** Requests of all of them that wait for an answer; beyond it the oldest is forgotten. */
export const MAX_ECHO_REQUESTS = 1024;
/** Milliseconds until a socket, or a request, is given up: RFC 5508 §3.2 asks for a minute at least. */
export const ECHO_IDLE = 60_000;

/** What an answer goes back to. */
export interface EchoRequest {
  readonly guest: Address;
  readonly destination: Address;
  readonly identifier: number;
  readonly sequence: number;
  /** The beginning of the packet, for errors. */
  readonly quote: Uint8Array;
}

export interface EchoAnswers {
  reply(request: EchoRequest, data: Uint8Array): void;
  error(request: EchoRequest, error: EchoError): void;
}

interface Waiting extends EchoRequest {
  readonly since: number;
}

interface Flow {
  readonly socket: HostEchoes;
  used: number;
}

/**
 * Echo requests of the guest to other hosts. Sockets have identifiers of the host's choice, so each identifier of the guest has one; what
 * comes back is let in when it answers a request, once.
 */
export class EchoService {
  private readonly flows = new Map<string, Flow>();
  /** The oldest first. */
  private readonly waiting = new Map<string, Waiting>();

  constructor(
    private readonly sockets: HostSockets,
    private readonly policy: Policy,
    private readonly answers: EchoAnswers,
  ) {}

  /** An echo request, whole and with the right checksum, of a guest of this network. */
  ask({ source, destination, payload, hopLimit, quote }: IpPacket): EchoSent {
    const address = this.policy.route(destination, 0);
    if (address === undefined) return 'prohibited';
    const [identifier, sequence] = [get16(payload, 4), get16(payload, 6)];
    const key = `${addressText(source)}/${identifier}`;
    const flow = this.flows.get(key) ?? this.open(key, source.length === 4 ? 4 : 6);
    if (!flow) return 'prohibited';
    const since = this.sockets.now();
    flow.used = since;
    const name = nameOf(key, address, sequence);
    // Behind the others, even if it was there.
    this.waiting.delete(name);
    const [guest, to] = [source.slice(), destination.slice()];
    this.waiting.set(name, { guest, destination: to, identifier, sequence, quote: quote.slice(), since });
    const sent = flow.socket.send({ address, sequence, data: payload.subarray(8), hopLimit: hopLimit - 1 });
    if (sent !== 'sent') this.waiting.delete(name);
    else if (this.waiting.size > MAX_ECHO_REQUESTS) this.forgetOldest();
    return sent;
  }

  /** Undefined: the host has none for us. */
  private open(key: string, family: 4 | 6): Flow | undefined {
    if (this.flows.size >= MAX_ECHO_SOCKETS) {
      const oldest = [...this.flows].reduce((a, b) => (b[1].used < a[1].used ? b : a));
      this.close(oldest[0]);
    }
    const socket = this.sockets.echoes(family, {
      reply: (address, sequence, data) => {
        const request = this.take(key, address, sequence);
        if (request) this.answers.reply(request, data);
      },
      error: (error) => {
        const request = this.take(key, error.address, error.sequence);
        if (request) this.answers.error(request, error);
      },
    });
    if (!socket) return undefined;
    const flow = { socket, used: 0 };
    this.flows.set(key, flow);
    return flow;
  }

  private take(key: string, from: string, sequence: number): EchoRequest | undefined {
    const address = parseAddress(from);
    const name = address && nameOf(key, addressText(address), sequence);
    const request = name === undefined ? undefined : this.waiting.get(name);
    if (name !== undefined) this.waiting.delete(name);
    return request;
  }

  private forgetOldest(): void {
    for (const name of this.waiting.keys()) {
      this.waiting.delete(name);
      return;
    }
  }

  private close(key: string): void {
    this.flows.get(key)?.socket.close();
    this.flows.delete(key);
  }

  /** Nothing of it will ever be due. */
  get isIdle(): boolean {
    return this.flows.size === 0 && this.waiting.size === 0;
  }

  tick(): void {
    const now = this.sockets.now();
    for (const [key, { used }] of this.flows) if (now - used > ECHO_IDLE) this.close(key);
    for (const [name, { since }] of this.waiting) {
      if (now - since <= ECHO_IDLE) break;
      this.waiting.delete(name);
    }
  }

  dropAll(): void {
    for (const key of [...this.flows.keys()]) this.close(key);
    this.waiting.clear();
  }
}

const nameOf = (key: string, address: string, sequence: number): string => `${key}/${address}/${sequence}`;
