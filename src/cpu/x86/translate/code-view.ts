/** Reads decoded code and the tables that lead to it out of the machine's memory, as `assembly/code-cache.ts` lays them out. */
import {
  HOT_COUNTERS,
  JUMP_ENTRIES,
  LAYOUT,
  PAGE,
  POOL,
  REGION_LOG,
  REGION_LOGS,
  REGION_SLOT,
  STRADDLE,
  STRADDLE_COPIES,
  STRADDLES,
  TLB_ENTRIES,
  TLB_FETCH,
} from '../../../memory/layout.js';
import { MICRO } from '../micro.js';
import { RECORD, RECORD_SIZE, STATE } from '../state-layout.js';

const PAGE_BYTES = 4096;
/** In maps: not a record but one that waits for its instruction to be decoded. */
const AWAITED = 1;
const CONTEXT_MASK = 0xfffn;

/** A page of code under the current mode. */
export interface CodePage {
  /** Address of its entry in the code cache. */
  readonly entry: number;
  /** Address of the page in this memory. */
  readonly host: number;
}

/** What translated code is made of: the parts of records, by their addresses. They stay as decoded, whatever becomes of the handler. */
export interface RecordReader {
  byte(record: number, field: keyof typeof RECORD): number;
  offset(record: number): number;
  displacement(record: number): number;
  immediate(record: number): bigint;
}

/** Records in memory. */
export class RecordBytes implements RecordReader {
  constructor(readonly memory: DataView) {}

  byte(record: number, field: keyof typeof RECORD): number {
    return this.memory.getUint8(record + RECORD[field]);
  }

  offset(record: number): number {
    return this.memory.getUint16(record + RECORD.OFFSET, true);
  }

  displacement(record: number): number {
    return this.memory.getInt32(record + RECORD.DISP, true);
  }

  immediate(record: number): bigint {
    return this.memory.getBigInt64(record + RECORD.IMM, true);
  }
}

export class CodeView extends RecordBytes {
  private readonly state: number;
  private readonly fetchTlb: number;
  private copiesEpoch = -1;

  constructor(
    memory: DataView,
    /** Of the CPU whose code it is: what its addresses have more than those of CPU 0. */
    readonly origin: number,
  ) {
    super(memory);
    this.state = this.at('STATES');
    this.fetchTlb = this.at('TLB') + TLB_FETCH;
  }

  /** Address of a table of the CPU. */
  at(table: keyof typeof LAYOUT): number {
    return LAYOUT[table] + this.origin;
  }

  u32(address: number): number {
    return this.memory.getUint32(address, true);
  }

  state32(field: keyof typeof STATE): number {
    return this.u32(this.state + STATE[field]);
  }

  state64(field: keyof typeof STATE): bigint {
    return this.memory.getBigUint64(this.state + STATE[field], true);
  }

  get epoch(): number {
    return this.u32(this.at('CODE_POOL') + POOL.EPOCH);
  }

  link(record: number): number {
    return this.u32(record + RECORD.LINK);
  }

  /** The record's handler as decoded, also when translated code begins there. */
  handler(record: number): number {
    const handler = this.memory.getUint16(record + RECORD.HANDLER, true);
    if (handler !== MICRO.REGION) return handler;
    return this.memory.getUint16(this.at('REGION_SLOTS') + this.link(record) * 8 + REGION_SLOT.HANDLER, true);
  }

  /** How often the record was jumped to, about: several share a counter. */
  jumps(record: number): number {
    const counter = ((record >>> 5) & (HOT_COUNTERS - 1)) * 2;
    return this.memory.getUint16(this.at('HOT_COUNTERS') + counter, true);
  }

  setJumps(record: number, jumps: number): void {
    const counter = ((record >>> 5) & (HOT_COUNTERS - 1)) * 2;
    this.memory.setUint16(this.at('HOT_COUNTERS') + counter, jumps, true);
  }

  isTranslated(record: number): boolean {
    return this.memory.getUint16(record + RECORD.HANDLER, true) === MICRO.REGION;
  }

  /** The page entry for host page `host` under mode key `key`, when all of the page is inside the code segment. */
  page(host: number, key: number): CodePage | undefined {
    const directory = this.u32(this.at('CODE_CACHE') + (host >>> 12) * 4);
    for (let entry = (directory & ~1) >>> 0; entry !== 0; entry = this.u32(entry + PAGE.NEXT))
      if (
        this.u32(entry + PAGE.KEY) === key &&
        this.u32(entry + PAGE.LOW) === 0 &&
        this.u32(entry + PAGE.HIGH) === PAGE_BYTES - 1
      )
        return { entry, host };
    return undefined;
  }

  /** Host page that instructions at linear address `address` are fetched from now, if the fetch TLB knows. */
  fetchPage(address: bigint): number | undefined {
    const at = this.fetchTlb + (Number(BigInt.asUintN(64, address >> 12n)) & (TLB_ENTRIES - 1)) * 16;
    const wanted = (BigInt.asUintN(64, address) & ~CONTEXT_MASK) | (this.state64('TLB_CTX') & CONTEXT_MASK);
    if (this.memory.getBigUint64(at, true) !== wanted) return undefined;
    const addend = this.memory.getBigUint64(at + 8, true);
    return Number(BigInt.asUintN(32, (address & ~CONTEXT_MASK) + addend));
  }

  /** The record that the page's map has for an offset, or 0. */
  record(page: CodePage, offset: number): number {
    const map = this.u32(page.entry + PAGE.CHUNKS + (offset >> 6) * 4);
    const found = map === 0 ? 0 : this.u32(map + (offset & 63) * 4);
    return found & AWAITED ? 0 : found;
  }

  /**
   * Records of the instruction at `rip`, which straddles two pages and begins at address `host`, when it was decoded as it is
   * now: its second part at `second`. 0 otherwise.
   */
  straddle(rip: bigint, host: number, second: number, key: number): number {
    const table = this.at('JUMP_CACHE') + JUMP_ENTRIES * 16;
    const block = this.u32(table + (Number((rip ^ (rip >> 12n)) & BigInt(STRADDLES - 1)) << 2));
    const { memory } = this;
    if (block === 0 || memory.getBigUint64(block + STRADDLE.RIP, true) !== rip) return 0;
    if (this.u32(block + STRADDLE.HOST) !== host) return 0;
    if (memory.getUint16(block + STRADDLE.KEY, true) !== key) return 0;
    const length = memory.getUint16(block + STRADDLE.LENGTH, true);
    const first = 4096 - (host & 4095);
    for (let i = 0; i < length; i++) {
      const byte = memory.getUint8(i < first ? host + i : second + i - first);
      if (memory.getUint8(block + STRADDLE.BYTES + i) !== byte) return 0;
    }
    return this.keep(block + STRADDLE.RECORDS);
  }

  /** A copy of a record that stays; 0 when there is no more room. */
  private keep(record: number): number {
    const first = this.at('STRADDLE_COPIES');
    // The first word of the first place counts them.
    const count = this.copiesEpoch === this.epoch ? this.u32(first) : 0;
    this.copiesEpoch = this.epoch;
    if (count + 1 >= STRADDLE_COPIES) return 0;
    this.memory.setUint32(first, count + 1, true);
    const to = first + (count + 1) * RECORD_SIZE;
    for (let i = 0; i < RECORD_SIZE; i += 4) this.memory.setUint32(to + i, this.u32(record + i), true);
    return to;
  }

  writes(page: CodePage): number {
    return this.u32(page.entry + PAGE.WRITES);
  }

  /** The last addresses that jumps out of a region went to, and starts counting them anew. */
  takeLog(region: number): bigint[] {
    const at = this.at('REGION_LOGS') + region * REGION_LOG.SIZE;
    if (region >= REGION_LOGS) return [];
    const found = new Set<bigint>();
    for (let i = REGION_LOG.RIPS; i < REGION_LOG.SIZE; i += 8) {
      const rip = this.memory.getBigUint64(at + i, true);
      if (rip !== 0n) found.add(rip);
      this.memory.setBigUint64(at + i, 0n, true);
    }
    this.memory.setUint32(at + REGION_LOG.COUNT, 0, true);
    return [...found];
  }

  /** Sets how many jumps have led out of a region. */
  setLog(region: number, jumps: number): void {
    if (region < REGION_LOGS)
      this.memory.setUint32(this.at('REGION_LOGS') + region * REGION_LOG.SIZE + REGION_LOG.COUNT, jumps, true);
  }

  /** Where a link is. */
  linkAddress(number: number): number {
    return this.at('LINKS') + number * 4;
  }

  setLink(number: number, value: number): void {
    this.memory.setUint32(this.linkAddress(number), value, true);
  }

  /** Marks chunks of a page as translated. */
  markTranslated(page: CodePage, chunks: bigint): void {
    const at = page.entry + PAGE.TRANSLATED;
    this.memory.setBigUint64(at, this.memory.getBigUint64(at, true) | chunks, true);
  }
}
