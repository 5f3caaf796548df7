/** Sequence numbers count modulo 2**32 (RFC 9293 §3.4): how far `a` is behind `b`, negative when it is before it. */
export const difference = (a: number, b: number): number => (a - b) | 0;

/** A sequence number moved on. */
export const advance = (sequence: number, by: number): number => (sequence + by) >>> 0;

/** Flags of a segment, RFC 9293 §3.1. */
export const TCP_FLAG = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16 } as const;

/** A segment as it came, or what is sent. */
export interface Segment {
  readonly sequence: number;
  readonly acknowledgement: number;
  readonly flags: number;
  /** As it stands in the header. */
  readonly window: number;
  readonly payload: Uint8Array;
  /** Options of a SYN; undefined where absent. */
  readonly maxSegment: number | undefined;
  readonly scale: number | undefined;
}
