import { SEGMENT } from '../../cpu/x86/state-layout.js';
import type { CpuEvent } from '../../iface/vcpu.js';
import type { StateView } from './state.js';

/** By the numbers of EVENT_FAULT … in assembly/deliver.ts. */
const KINDS = ['fault', 'interrupt', 'software', 'software', 'trap'] as const;
const PAGE_FAULT = 14;
const KEPT = 4;
/** Doublewords of an entry: vector, kind, error code, return offset (2), selector, linear address (2). */
const WORDS = 8;

/** The events that a CPU delivered last. Written often and read hardly ever, so it is kept as numbers. */
export class EventLog {
  private readonly entries = new Int32Array(KEPT * WORDS);
  private count = 0;

  constructor(private readonly state: StateView) {}

  add(vector: number, kind: number, code: number, lo: number, hi: number): void {
    const { entries, state } = this;
    const at = (this.count++ % KEPT) * WORDS;
    entries[at] = vector;
    entries[at + 1] = kind;
    entries[at + 2] = code;
    entries[at + 3] = lo;
    entries[at + 4] = hi;
    entries[at + 5] = state.u32('SEG_SELECTOR', SEGMENT.CS);
    entries[at + 6] = state.u32('CR2');
    entries[at + 7] = state.u32('CR2', 1);
  }

  private entry(number: number): CpuEvent {
    const at = (number % KEPT) * WORDS;
    const [vector, kind, code, lo, hi, selector, addressLow, addressHigh] = this.entries.subarray(at, at + WORDS);
    const wide = (low: number, high: number): bigint => (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
    return {
      vector,
      kind: KINDS[kind],
      errorCode: code < 0 ? undefined : code,
      selector,
      offset: wide(lo, hi),
      address: vector === PAGE_FAULT && kind === 0 ? wide(addressLow, addressHigh) : undefined,
    };
  }

  get last(): CpuEvent {
    return this.entry(this.count - 1);
  }

  /** The oldest first. */
  get recent(): CpuEvent[] {
    const first = Math.max(0, this.count - KEPT);
    return Array.from({ length: this.count - first }, (_, n) => this.entry(first + n));
  }
}
