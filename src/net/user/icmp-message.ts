/** Messages of ICMP, RFC 792, and ICMPv6, RFC 4443 and RFC 4861. */
import type { IpOutput } from './ip-output.js';
import { PROTOCOL, put16 } from './packet.js';

/** Types of ICMP. */
export const ICMP = { ECHO_REPLY: 0, UNREACHABLE: 3, ECHO: 8, TIME_EXCEEDED: 11 } as const;
/** Types of ICMPv6. */
export const ICMP6 = {
  UNREACHABLE: 1,
  TIME_EXCEEDED: 3,
  ECHO: 128,
  ECHO_REPLY: 129,
  ROUTER_SOLICITATION: 133,
  ROUTER_ADVERTISEMENT: 134,
  NEIGHBOUR_SOLICITATION: 135,
  NEIGHBOUR_ADVERTISEMENT: 136,
} as const;

export interface IcmpMessage {
  /** Of one family. */
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  /** Bytes of the message. */
  readonly length: number;
  /** 255 for neighbour discovery. */
  readonly hopLimit?: number;
  /** Fills bytes that are 0; the checksum is put in afterwards. */
  readonly fill: (into: Uint8Array) => void;
}

export function sendIcmp(ip: IpOutput, { fill, ...message }: IcmpMessage): void {
  const six = message.source.length === 16;
  ip.send({
    ...message,
    protocol: six ? PROTOCOL.ICMP6 : PROTOCOL.ICMP,
    checksumAt: 2,
    pseudoHeader: six,
    fill: (into) => {
      into.fill(0);
      fill(into);
      put16(into, 2, 0);
    },
  });
}
