/** Numbers of Ethernet, IP and what is in it. */

/** EtherTypes. */
export const ETHER = { IPV4: 0x0800, ARP: 0x0806, IPV6: 0x86dd } as const;
export const ETHERNET_HEADER = 14;

/** Protocol numbers. */
export const PROTOCOL = { HOP_BY_HOP: 0, ICMP: 1, TCP: 6, UDP: 17, FRAGMENT: 44, ICMP6: 58, DESTINATION: 60 } as const;

export const get16 = (bytes: Uint8Array, at: number): number => (bytes[at] << 8) | bytes[at + 1];
export const get32 = (bytes: Uint8Array, at: number): number =>
  ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0;
export const put16 = (bytes: Uint8Array, at: number, value: number): void => {
  bytes[at] = (value >>> 8) & 0xff;
  bytes[at + 1] = value & 0xff;
};
export const put32 = (bytes: Uint8Array, at: number, value: number): void => {
  put16(bytes, at, value >>> 16);
  put16(bytes, at + 2, value & 0xffff);
};

/** An IP packet, put together if it came in fragments. Views of the frame, valid during the call. */
export interface IpPacket {
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly protocol: number;
  /** Time to live, or hop limit: 0 … 255. */
  readonly hopLimit: number;
  readonly payload: Uint8Array;
  /** The header and the beginning of the payload, to be quoted in errors. */
  readonly quote: Uint8Array;
  /** The sender left the checksum of the payload to be done: there is none to be checked. */
  readonly unfinished: boolean;
}
