import { array, int, struct, type Infer } from '../../snapshot/schema.js';
import { REG } from './registers.js';

/** Statistics registers, SDM §13.7: offsets from the first. Those that nothing here can make happen read as 0. */
const COUNTER = {
  RECEIVED_BY_SIZE: 0x5c,
  GOOD_RECEIVED: 0x74,
  BROADCAST_RECEIVED: 0x78,
  MULTICAST_RECEIVED: 0x7c,
  GOOD_SENT: 0x80,
  GOOD_OCTETS_RECEIVED: 0x88,
  GOOD_OCTETS_SENT: 0x90,
  NO_BUFFERS: 0xa0,
  UNDERSIZE: 0xa4,
  OVERSIZE: 0xac,
  OCTETS_RECEIVED: 0xc0,
  OCTETS_SENT: 0xc8,
  RECEIVED: 0xd0,
  SENT: 0xd4,
  SENT_BY_SIZE: 0xd8,
  MULTICAST_SENT: 0xf0,
  BROADCAST_SENT: 0xf4,
  SEGMENTED: 0xf8,
} as const;
const WORDS = (REG.STATISTICS_END - REG.STATISTICS) / 4;
/** Lower halves of counters of 64 bits. Reading the upper half clears both. */
const LONG: readonly number[] = [
  COUNTER.GOOD_OCTETS_RECEIVED,
  COUNTER.GOOD_OCTETS_SENT,
  COUNTER.OCTETS_RECEIVED,
  COUNTER.OCTETS_SENT,
];
/** Packets of up to so many bytes, with checksum, are counted together. */
const SIZES = [64, 127, 255, 511, 1023] as const;

export const statisticsSchema = struct({ counters: array(int, { length: WORDS }) });

/** Counters that stop at their largest value and are cleared by being read. */
export class Statistics {
  /** By word; those of 64 bits at their lower half, exact up to 2**53. */
  private readonly counters = new Array<number>(WORDS).fill(0);

  /** `length` with checksum. */
  received(frame: Uint8Array, length: number): void {
    this.add(COUNTER.GOOD_RECEIVED);
    this.add(COUNTER.RECEIVED);
    this.add(COUNTER.GOOD_OCTETS_RECEIVED, length);
    this.add(COUNTER.OCTETS_RECEIVED, length);
    this.addSize(COUNTER.RECEIVED_BY_SIZE, length, 1);
    if (isBroadcast(frame)) this.add(COUNTER.BROADCAST_RECEIVED);
    else if (frame[0] & 1) this.add(COUNTER.MULTICAST_RECEIVED);
  }

  /** So many packets of a length, with checksum, that begin as `frame` does. */
  sent(frame: Uint8Array, length: number, count: number): void {
    if (count === 0) return;
    this.add(COUNTER.GOOD_SENT, count);
    this.add(COUNTER.SENT, count);
    this.add(COUNTER.GOOD_OCTETS_SENT, length * count);
    this.add(COUNTER.OCTETS_SENT, length * count);
    this.addSize(COUNTER.SENT_BY_SIZE, length, count);
    if (isBroadcast(frame)) this.add(COUNTER.BROADCAST_SENT, count);
    else if (frame[0] & 1) this.add(COUNTER.MULTICAST_SENT, count);
  }

  segmented(): void {
    this.add(COUNTER.SEGMENTED);
  }

  noBuffers(): void {
    this.add(COUNTER.NO_BUFFERS);
  }

  oversize(length: number): void {
    this.add(COUNTER.OVERSIZE);
    this.add(COUNTER.RECEIVED);
    this.add(COUNTER.OCTETS_RECEIVED, length);
  }

  private add(counter: number, count = 1): void {
    const largest = LONG.includes(counter) ? Number.MAX_SAFE_INTEGER : 0xffff_ffff;
    this.counters[counter >> 2] = Math.min(largest, this.counters[counter >> 2] + count);
  }

  private addSize(first: number, length: number, count: number): void {
    const index = SIZES.findIndex((size) => length <= size);
    this.add(first + 4 * (index < 0 ? SIZES.length : index), count);
  }

  /** `offset` from the first of them. */
  peek(offset: number): number {
    const value = this.counters[offset >> 2];
    if (LONG.includes(offset)) return value % 2 ** 32;
    return LONG.includes(offset - 4) ? Math.floor(this.counters[(offset >> 2) - 1] / 2 ** 32) : value;
  }

  read(offset: number): number {
    const value = this.peek(offset);
    if (LONG.includes(offset - 4)) this.counters[(offset >> 2) - 1] = 0;
    else if (!LONG.includes(offset)) this.counters[offset >> 2] = 0;
    return value;
  }

  reset(): void {
    this.counters.fill(0);
  }

  save(): Infer<typeof statisticsSchema> {
    return { counters: [...this.counters] };
  }

  restore({ counters }: Infer<typeof statisticsSchema>): void {
    counters.forEach((value, i) => (this.counters[i] = value));
  }
}

export function isBroadcast(frame: Uint8Array): boolean {
  for (let i = 0; i < 6; i++) if (frame[i] !== 0xff) return false;
  return true;
}
