import { UsageError } from '../../base/errors.js';
import type { UserNetConfig } from '../../iface/net-config.js';
import { addressIn, isWithin, sameAddress, type Address } from '../addresses.js';
import { get32, put16, put32 } from './packet.js';
import type { Plan } from './plan.js';

/** RFC 2131 §2 and RFC 2132. */
const MAGIC = 0x6382_5363;
const MIN_LENGTH = 240;
const TYPE = { DISCOVER: 1, OFFER: 2, REQUEST: 3, DECLINE: 4, ACK: 5, NAK: 6, RELEASE: 7, INFORM: 8 } as const;
const OPTION = {
  MASK: 1,
  ROUTER: 3,
  DNS: 6,
  HOST_NAME: 12,
  DOMAIN: 15,
  MTU: 26,
  REQUESTED: 50,
  LEASE: 51,
  TYPE: 53,
  SERVER: 54,
  RENEWAL: 58,
  REBINDING: 59,
  BOOT_FILE: 67,
  END: 255,
} as const;
/** Seconds. */
const LEASE = 86_400;
/** Addresses that are given away at most. */
const MAX_LEASES = 64;

export const DHCP_PORTS = { SERVER: 67, CLIENT: 68 } as const;

/** Bytes of an option (RFC 2132 §2: its length is one byte), and what an answer has room for of names and files besides what is always in it. */
const MAX_TEXT = 255;
const MAX_TEXTS = 270;

/** Throws a one-line error when an answer cannot tell what a guest is to be told. */
export function checkTexts({ hostname, domain, bootFile }: UserNetConfig): void {
  const texts = [
    ['hostname', hostname],
    ['domain', domain],
    ['bootfile', bootFile],
  ].map(([option, text]) => ({ option, length: new TextEncoder().encode(text).length }));
  for (const { option, length } of texts)
    if (length > MAX_TEXT) throw new UsageError(`${option}= is longer than DHCP can tell: ${MAX_TEXT} bytes`);
  if (texts.reduce((sum, { length }) => sum + length, 0) > MAX_TEXTS)
    throw new UsageError(`hostname=, domain= and bootfile= are together longer than DHCP can tell: ${MAX_TEXTS} bytes`);
}

/** A DHCP server for the cards on a guest's network, RFC 2131. The same card always gets the same address. */
export class DhcpServer {
  private readonly leases = new Map<string, Address>();

  constructor(
    private readonly plan: Plan,
    private readonly config: UserNetConfig,
    private readonly mtu: number,
  ) {}

  /** The answer to a message, and to whom; undefined: none. */
  answer(message: Uint8Array): Uint8Array | undefined {
    if (message.length < MIN_LENGTH || message[0] !== 1 || message[1] !== 1 || message[2] !== 6) return undefined;
    if (get32(message, 236) !== MAGIC) return undefined;
    const options = readOptions(message);
    const type = options.get(OPTION.TYPE)?.[0];
    const client = message.subarray(28, 34).join(':');
    if (type === TYPE.RELEASE || type === TYPE.DECLINE) {
      this.leases.delete(client);
      return undefined;
    }
    if (type === TYPE.INFORM) return this.reply(message, TYPE.ACK, undefined);
    if (type !== TYPE.DISCOVER && type !== TYPE.REQUEST) return undefined;
    const server = options.get(OPTION.SERVER);
    if (server && !sameAddress(server, this.plan.gateway)) return undefined;
    const address = this.leaseFor(client);
    if (!address) return undefined;
    if (type === TYPE.DISCOVER) return this.reply(message, TYPE.OFFER, address);
    const wanted = options.get(OPTION.REQUESTED) ?? message.subarray(12, 16);
    return sameAddress(wanted, address)
      ? this.reply(message, TYPE.ACK, address)
      : this.reply(message, TYPE.NAK, undefined);
  }

  private leaseFor(client: string): Address | undefined {
    const known = this.leases.get(client);
    if (known) return known;
    const { net, firstGuest, gateway, dns } = this.plan;
    const taken = [...this.leases.values(), gateway, dns];
    for (let i = 0; i < MAX_LEASES; i++) {
      const address = addressIn({ address: firstGuest, length: 32 }, i);
      // The last address of a network is its broadcast address.
      if (!isWithin(address, net) || !isWithin(addressIn({ address, length: 32 }, 1), net)) return undefined;
      if (taken.some((other) => sameAddress(other, address))) continue;
      this.leases.set(client, address);
      return address;
    }
    return undefined;
  }

  private reply(request: Uint8Array, type: number, address: Address | undefined): Uint8Array {
    const { plan, config } = this;
    const answer = new Uint8Array(576);
    answer.set([2, 1, 6, 0]);
    answer.set(request.subarray(4, 8), 4);
    answer.set(request.subarray(10, 12), 10);
    if (type === TYPE.ACK && !address) answer.set(request.subarray(12, 16), 12);
    if (address) answer.set(address, 16);
    answer.set(plan.gateway, 20);
    answer.set(request.subarray(28, 44), 28);
    put32(answer, 236, MAGIC);
    let at = MIN_LENGTH;
    const add = (option: number, value: ArrayLike<number>): void => {
      if (value.length > 255 || at + 2 + value.length >= answer.length) return;
      answer[at] = option;
      answer[at + 1] = value.length;
      answer.set(value, at + 2);
      at += 2 + value.length;
    };
    const text = (value: string): Uint8Array => new TextEncoder().encode(value);
    const number = (value: number): Uint8Array => {
      const bytes = new Uint8Array(4);
      put32(bytes, 0, value);
      return bytes;
    };
    add(OPTION.TYPE, [type]);
    add(OPTION.SERVER, plan.gateway);
    if (type !== TYPE.NAK) {
      if (address) {
        add(OPTION.LEASE, number(LEASE));
        add(OPTION.RENEWAL, number(LEASE / 2));
        add(OPTION.REBINDING, number((LEASE * 7) / 8));
      }
      add(OPTION.MASK, number(2 ** 32 - 2 ** (32 - plan.net.length)));
      add(OPTION.ROUTER, plan.gateway);
      add(OPTION.DNS, plan.dns);
      const mtu = new Uint8Array(2);
      put16(mtu, 0, this.mtu);
      add(OPTION.MTU, mtu);
      if (config.hostname !== '') add(OPTION.HOST_NAME, text(config.hostname));
      if (config.domain !== '') add(OPTION.DOMAIN, text(config.domain));
      if (config.bootFile !== '') {
        add(OPTION.BOOT_FILE, text(config.bootFile));
        answer.set(text(config.bootFile).subarray(0, 127), 108);
      }
    }
    answer[at++] = OPTION.END;
    return answer.subarray(0, Math.max(at, 300));
  }
}

function readOptions(message: Uint8Array): Map<number, Uint8Array> {
  const options = new Map<number, Uint8Array>();
  for (let at = MIN_LENGTH; at < message.length && message[at] !== OPTION.END;) {
    if (message[at] === 0) {
      at++;
      continue;
    }
    const length = message[at + 1] ?? 0;
    if (at + 2 + length > message.length) break;
    options.set(message[at], message.subarray(at + 2, at + 2 + length));
    at += 2 + length;
  }
  return options;
}
