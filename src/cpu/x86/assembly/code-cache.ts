/**
 * The cache of decoded code, see docs/interpreter.md. Each CPU has its own; what they tell each other is in code-pages.ts.
 *
 * The directory has a u32 for each 4 KiB page of this memory: the address of the first page entry, with bit 0 set
 * while the page holds decoded code. A page entry stands for a page under one mode key and one window of its code
 * segment; it leads by 64-byte chunks to maps from offset to record. The pool fills from both ends: records from the bottom,
 * page entries and maps from the top. When it is full, everything is thrown away.
 */
import { mayBreak, meetsBreakpoint } from './breakpoints';
import {
  MAX_LENGTH,
  RIP_STEP,
  decodeInstruction,
  decodedEnd,
  decodedLength,
  writeFetchFault,
  writeMicro,
} from './decode';
import {
  POOL_NEXT,
  POOL_LIMIT,
  POOL_PAGES,
  POOL_EPOCH,
  PAGE_ENTRY_SIZE,
  MAP_AWAITED,
  MAP_SIZE,
  PAGE_MASK,
  directorySlot,
  emptyCodeCache,
  own,
} from './code-pages';
import { CPU, STATE } from './env';
import { clearFault, gp0 } from './faults';
import {
  JUMP_ENTRIES,
  L_JUMP_CACHE,
  MICRO_GOTO,
  MICRO_NEXT_PAGE,
  MICRO_RESYNC,
  MICRO_STRADDLE,
  PAGE_ALL,
  PAGE_CHUNKS,
  PAGE_CODE,
  PAGE_DETOURS,
  PAGE_HIGH,
  PAGE_HOST,
  PAGE_KEY,
  PAGE_LOW,
  PAGE_NEXT,
  RECORD_SIZE,
  R_HANDLER,
  R_IMM,
  R_LENGTH,
  R_LINK,
  R_PREFIX,
  SEG_CS,
  STRADDLES,
  STRADDLE_AT_BYTES,
  STRADDLE_AT_HOST,
  STRADDLE_AT_KEY,
  STRADDLE_AT_LENGTH,
  STRADDLE_AT_RECORDS,
  STRADDLE_AT_RIP,
  S_CODE_BASE,
  S_JUMP_KEY,
  S_MODE_KEY,
  S_RIP,
  S_SEG_BASE,
  S_SEG_LIMIT,
  S_SPARE_SLOTS,
  S_STRADDLE,
} from './generated/layout';
import { fetchTranslate } from './mmu';
import { purgeWriteTlb } from './tlb';

/** Instructions that are decoded at a time. */
const RUN_LIMIT: u32 = 32;
/** What one run may take of the pool at most, generously. */
const POOL_RESERVE: u32 = 16 * 1024;

/** For a page that is rewritten over and over, RESYNC records stay what they are: detours get longer each time. */
const MAX_DETOURS: u32 = 1024;

const KEY_CODE: u32 = 3;
const KEY_FLAT: u32 = 4;

const STRADDLE_BYTES: usize = S_STRADDLE + 4 * RECORD_SIZE;

const BLOCK_SIZE: usize = STRADDLE_AT_RECORDS + 4 * RECORD_SIZE;

// ------------------------------------------------------------------------------------------------------------ pages

function allocate(size: usize): usize {
  const at = <usize>load<u32>(POOL_LIMIT) - size;
  store<u32>(POOL_LIMIT, <u32>at);
  memory.fill(at, 0, size);
  return at;
}

/** The entry of a page under a mode key, a new one when there is none. */
function findPage(hostPage: usize, key: u32, low: i32, high: i32): usize {
  const directory = directorySlot(hostPage);
  const first = load<u32>(directory);
  for (let page = <usize>(first & ~1); page; page = <usize>load<u32>(page + PAGE_NEXT)) {
    if (load<u32>(page + PAGE_KEY) == key && load<i32>(page + PAGE_LOW) == low && load<i32>(page + PAGE_HIGH) == high)
      return page;
  }
  const page = allocate(PAGE_ENTRY_SIZE);
  store<u32>(page + PAGE_NEXT, first & ~1);
  store<u32>(page + PAGE_ALL, load<u32>(POOL_PAGES));
  store<u32>(page + PAGE_KEY, key);
  store<i32>(page + PAGE_LOW, low);
  store<i32>(page + PAGE_HIGH, high);
  store<u32>(page + PAGE_HOST, <u32>hostPage);
  store<u32>(POOL_PAGES, <u32>page);
  store<u32>(directory, <u32>page | (first & 1));
  return page;
}

/** What the map has for an offset. */
@inline
function mapped(page: usize, offset: u32): usize {
  const map = <usize>load<u32>(page + PAGE_CHUNKS + ((offset >> 6) << 2));
  return map ? <usize>load<u32>(map + ((offset & 63) << 2)) : 0;
}

@inline
function recordAt(page: usize, offset: u32): usize {
  const found = mapped(page, offset);
  return found & MAP_AWAITED ? 0 : found;
}

/** Sets what the map has for an offset. */
function setMapped(page: usize, offset: u32, value: usize): void {
  const at = page + PAGE_CHUNKS + ((offset >> 6) << 2);
  let map = <usize>load<u32>(at);
  if (map == 0) {
    map = allocate(MAP_SIZE);
    store<u32>(at, <u32>map);
  }
  store<u32>(map + ((offset & 63) << 2), <u32>value);
}

/** Enters the instruction at `offset` into its page's map. */
function enter(page: usize, offset: u32, length: u32, record: usize): void {
  setMapped(page, offset, record);
  let bits = (<u64>1) << (offset >> 6);
  const last = (offset + length - 1) >> 6;
  if (last < 64) bits |= (<u64>1) << last;
  store<u64>(page + PAGE_CODE, load<u64>(page + PAGE_CODE) | bits);
}

// ---------------------------------------------------------------------------------------------------------- decoding

/** Makes a RESYNC record of a page lead to another. */
@inline
function lead(page: usize, from: usize, to: usize): void {
  const detours = load<u32>(page + PAGE_DETOURS);
  if (detours == MAX_DETOURS) return;
  store<u32>(page + PAGE_DETOURS, detours + 1);
  store<u32>(from + R_LINK, <u32>to);
  store<u16>(from + R_HANDLER, <u16>MICRO_GOTO);
}

/**
 * Decodes what was overwritten into the very records that it had, as far as lengths are the same and the records behind are
 * those of the next instructions: what is linked to them stays right. Returns the first, or 0.
 */
function decodeAgain(page: usize, start: u32): usize {
  const hostPage = <usize>load<u32>(page + PAGE_HOST);
  const high = load<i32>(page + PAGE_HIGH);
  const key = load<u32>(page + PAGE_KEY) & 15;
  const fresh = <usize>load<u32>(POOL_NEXT);
  let first: usize = 0;
  let offset = start;
  let found = mapped(page, start);
  while (found & MAP_AWAITED) {
    const record = found & ~MAP_AWAITED;
    const length = <u32>load<u8>(record + R_LENGTH);
    // Micro-records have no length.
    if (length == 0 || mayBreak(offset)) break;
    const next = decodeInstruction(fresh, hostPage + offset, high + 1 - <i32>offset, offset, key);
    if (next != fresh + RECORD_SIZE || decodedLength != length) break;
    const isLast = decodedEnd;
    offset += length;
    found = offset <= <u32>high ? mapped(page, offset) : 0;
    if (!isLast && (found & ~MAP_AWAITED) != record + RECORD_SIZE) break;
    memory.copy(record, fresh, RECORD_SIZE);
    enter(page, offset - length, length, record);
    if (first == 0) first = record;
    if (isLast) break;
  }
  return first;
}

/** Decodes a run of instructions from `start` on and returns the record of the first. */
function decodeRun(page: usize, start: u32): usize {
  const hostPage = <usize>load<u32>(page + PAGE_HOST);
  // Stores into it must be seen from now on.
  const directory = directorySlot(hostPage);
  if (!(load<u32>(directory) & 1)) {
    store<u32>(directory, load<u32>(directory) | 1);
    // Where other CPUs have decoded it, nobody stores into it unseen.
    if (own(hostPage) == 0) purgeWriteTlb(hostPage);
  }
  let out = <usize>load<u32>(POOL_NEXT);
  const awaiting = mapped(page, start) & ~MAP_AWAITED;
  if (awaiting) {
    const again = decodeAgain(page, start);
    if (again) return again;
    // The run that ended here for its length goes on right there.
    if (awaiting + RECORD_SIZE == out && load<u8>(awaiting + R_LENGTH) == 0) {
      out = awaiting;
      setMapped(page, start, 0);
    }
  }
  const key = load<u32>(page + PAGE_KEY);
  const high = load<i32>(page + PAGE_HIGH);
  let offset = start;
  let at = out;
  for (let count: u32 = 0; ; count++) {
    if (offset > <u32>high) {
      // The next page, or behind the end of the segment: looking it up finds out.
      writeMicro(at, MICRO_NEXT_PAGE, offset);
      at += RECORD_SIZE;
      break;
    }
    const found = mapped(page, offset);
    if (found & MAP_AWAITED) {
      // What was overwritten here, or the run that ended here for its length, leads to this one from now on.
      lead(page, found & ~MAP_AWAITED, at);
    } else if (found) {
      writeMicro(at, MICRO_GOTO, offset);
      store<u32>(at + R_LINK, <u32>found);
      at += RECORD_SIZE;
      break;
    }
    if (count == RUN_LIMIT) {
      writeMicro(at, MICRO_RESYNC, offset);
      setMapped(page, offset, at | MAP_AWAITED);
      at += RECORD_SIZE;
      break;
    }
    if (mayBreak(offset)) {
      // Of unknown length.
      writeMicro(at, MICRO_STRADDLE, offset);
      enter(page, offset, 1, at);
      at += RECORD_SIZE;
      break;
    }
    let next = decodeInstruction(at, hostPage + offset, high + 1 - <i32>offset, offset, key & 15);
    if (next == 0) {
      if (high < 4095) next = writeFetchFault(at, offset);
      else {
        writeMicro(at, MICRO_STRADDLE, offset);
        next = at + RECORD_SIZE;
      }
      enter(page, offset, <u32>(high + 1) - offset, at);
      at = next;
      break;
    }
    enter(page, offset, decodedLength, at);
    at = next;
    if (decodedEnd) break;
    offset += decodedLength;
  }
  store<u32>(POOL_NEXT, <u32>at);
  return out;
}

/** Where the current page begins and ends within the code segment, as offsets: outside flat segments perhaps within. */
let windowLow: i32 = 0;
let windowHigh: i32 = 4095;

@inline
function findWindow(base: i64, key: u32): void {
  windowLow = 0;
  windowHigh = 4095;
  if (key & KEY_FLAT) return;
  const limit = <i64>load<u32>(STATE + S_SEG_LIMIT + (SEG_CS << 2));
  if (base < 0) windowLow = -(<i32>base);
  if (base + 4095 > limit) windowHigh = <i32>(limit - base);
}

/** 16-bit code that ran beyond 64 KiB has page entries of its own: its jumps lead elsewhere. */
@inline
function beyond64K(base: i64, key: u32): u32 {
  return (key & KEY_CODE) == 0 && base + 4095 > 0xffff ? 16 : 0;
}

/**
 * The record of the instruction at `rip`, decoded if need be. Sets RIP (as the mode cuts it) and CODE_BASE. Returns 0
 * with an exception pending, which is the fault of the instruction at RIP.
 */
export function lookup(rip: u64): usize {
  const key = load<u32>(STATE + S_MODE_KEY) & 15;
  if ((key & KEY_CODE) != 2) rip &= 0xffff_ffff;
  store<u64>(STATE + S_RIP, rip);
  if (load<u32>(POOL_NEXT) == 0 || load<u32>(POOL_LIMIT) - load<u32>(POOL_NEXT) < POOL_RESERVE) {
    emptyCodeCache();
  }
  let linear = rip;
  if (!(key & KEY_FLAT)) {
    if (rip > <u64>load<u32>(STATE + S_SEG_LIMIT + (SEG_CS << 2))) {
      gp0();
      return 0;
    }
    linear = (rip + load<u64>(STATE + S_SEG_BASE + (SEG_CS << 3))) & 0xffff_ffff;
  }
  const host = fetchTranslate(linear);
  if (host == 0) return 0;
  const offset = <u32>(host & PAGE_MASK);
  const base = <i64>rip - <i64>offset;
  store<u64>(STATE + S_CODE_BASE, <u64>base);
  store<u64>(STATE + S_SPARE_SLOTS, <u64>RIP_STEP);
  findWindow(base, key);
  const page = findPage(host & ~PAGE_MASK, key | beyond64K(base, key), windowLow, windowHigh);
  let record = recordAt(page, offset);
  if (record == 0) record = decodeRun(page, offset);
  // Without flat segments the same RIP means different code by the base of CS.
  if (key & KEY_FLAT) {
    const entry = jumpEntry(rip);
    store<u64>(entry, rip);
    store<u32>(entry, load<u32>(STATE + S_JUMP_KEY), 8);
    store<u32>(entry, <u32>record, 12);
  }
  return record;
}

/**
 * The record of the instruction at an address of this memory, in a page all of which is inside a flat code segment, decoded if need be;
 * 0 when there is no room.
 */
export function record_at(host: usize, key: u32): usize {
  if (load<u32>(POOL_LIMIT) - load<u32>(POOL_NEXT) < POOL_RESERVE) return 0;
  const page = findPage(host & ~PAGE_MASK, key, 0, <i32>PAGE_MASK);
  const offset = <u32>(host & PAGE_MASK);
  const record = recordAt(page, offset);
  return record ? record : decodeRun(page, offset);
}

/** Where the jump cache of this CPU has `rip`: its entry (rip ^ rip >> 12) modulo JUMP_ENTRIES. */
@inline
function jumpEntry(rip: u64): usize {
  const index = <usize>(rip ^ (rip >> 12)) & (JUMP_ENTRIES - 1);
  return CPU + L_JUMP_CACHE + (index << 4);
}

/**
 * The direct jump at `record` is being taken, to a target in its own page: links it to the target's record, when that can
 * be had and stays right. Changes nothing architectural and raises nothing. Returns the target's record or 0.
 */
export function patch_link(record: usize): usize {
  const key = load<u32>(STATE + S_MODE_KEY) & 15;
  const base = load<u64>(STATE + S_CODE_BASE);
  const oldRip = load<u64>(STATE + S_RIP);
  const target = load<i64>(record + R_IMM);
  let rip = base + <u64>target;
  if ((key & KEY_CODE) != 2) {
    // A jump that cuts RIP may lead elsewhere when the same page is reached by another address.
    const is16 = (<u32>load<u8>(record + R_PREFIX) & 3) == 0;
    if (is16 && ((key & KEY_CODE) == 1 || <i64>base + 4095 > 0xffff)) return 0;
    rip &= 0xffff_ffff;
    if (!(key & KEY_FLAT) && rip > <u64>load<u32>(STATE + S_SEG_LIMIT + (SEG_CS << 2))) return 0;
  }
  // A record that its own instruction has overwritten is no jump any more.
  const handler = load<u16>(record + R_HANDLER);
  const epoch = load<u32>(POOL_EPOCH);
  const found = lookup(rip);
  const isSame = load<u32>(POOL_EPOCH) == epoch && load<u64>(STATE + S_CODE_BASE) == base;
  const isJump = <u32>handler != MICRO_RESYNC && handler == load<u16>(record + R_HANDLER);
  if (found && target >= 0 && target < 4096 && isSame && isJump) store<u32>(record + R_LINK, <u32>found);
  if (!found) clearFault();
  store<u64>(STATE + S_CODE_BASE, base);
  store<u64>(STATE + S_RIP, oldRip);
  return found;
}

/** Address in this memory that the instruction at `rip` is fetched from in a flat mode; 0 when that would fault. Raises nothing. */
export function fetch_address(rip: u64): usize {
  const host = fetchTranslate(rip);
  if (!host) clearFault();
  return host;
}

/** Where this CPU's table has the block of a straddling instruction: a u32. The table lies behind the jump cache. */
@inline
function straddleSlot(rip: u64): usize {
  const table = CPU + L_JUMP_CACHE + JUMP_ENTRIES * 16;
  return table + ((<usize>(rip ^ (rip >> 12)) & (STRADDLES - 1)) << 2);
}

/** The block at `block` when it is for the instruction at `rip` and `host`, else 0. */
@inline
function findStraddle(block: usize, rip: u64, host: usize, key: u32): usize {
  if (block == 0 || load<u64>(block + STRADDLE_AT_RIP) != rip) return 0;
  return load<u32>(block + STRADDLE_AT_HOST) == <u32>host && <u32>load<u16>(block + STRADDLE_AT_KEY) == key ? block : 0;
}

/** Whether a block's bytes are those in memory now: `first` of them at `host`, the others at `host2`. */
function hasBytes(block: usize, host: usize, host2: usize, first: i32): bool {
  const length = <i32>load<u16>(block + STRADDLE_AT_LENGTH);
  const bytes = block + STRADDLE_AT_BYTES;
  for (let n = 0; n < first; n++) if (load<u8>(bytes + n) != load<u8>(host + n)) return false;
  for (let n = first; n < length; n++) if (load<u8>(bytes + n) != load<u8>(host2 + n - first)) return false;
  return true;
}

/** Keeps what has just been decoded into STRADDLE, and returns the first record. */
function keepStraddle(slot: usize, rip: u64, host: usize, key: u32): usize {
  const records = STATE + S_STRADDLE;
  let block = <usize>load<u32>(slot);
  if (block == 0) {
    if (load<u32>(POOL_LIMIT) - load<u32>(POOL_NEXT) < POOL_RESERVE + <u32>BLOCK_SIZE) return records;
    block = allocate(BLOCK_SIZE);
    store<u32>(slot, <u32>block);
  }
  store<u64>(block + STRADDLE_AT_RIP, rip);
  store<u32>(block + STRADDLE_AT_HOST, <u32>host);
  store<u16>(block + STRADDLE_AT_KEY, <u16>key);
  store<u16>(block + STRADDLE_AT_LENGTH, <u16>decodedLength);
  memory.copy(block + STRADDLE_AT_BYTES, STATE + STRADDLE_BYTES, 16);
  memory.copy(block + STRADDLE_AT_RECORDS, records, 4 * RECORD_SIZE);
  return block + STRADDLE_AT_RECORDS;
}

/**
 * What a STRADDLE record does, after RIP was set to its own: decodes its instruction into records of this CPU's own and
 * returns the first; behind the instruction stands NEXT_PAGE. Returns 0 with an exception pending, or at a breakpoint of the
 * debugger.
 */
export function decode_straddle(): usize {
  const key = load<u32>(STATE + S_MODE_KEY) & 15;
  let rip = load<u64>(STATE + S_RIP);
  const offset = <u32>(rip - load<u64>(STATE + S_CODE_BASE));
  let linear = rip;
  let available = MAX_LENGTH;
  if ((key & KEY_CODE) != 2) {
    rip &= 0xffff_ffff;
    linear = rip;
  }
  if (!(key & KEY_FLAT)) {
    const room = <i64>load<u32>(STATE + S_SEG_LIMIT + (SEG_CS << 2)) - <i64>rip + 1;
    if (room < <i64>available) available = <i32>room;
    linear = (rip + load<u64>(STATE + S_SEG_BASE + (SEG_CS << 3))) & 0xffff_ffff;
  }
  // Nothing is pending then, which `deliver_exception` knows what to do about.
  if (meetsBreakpoint(linear)) return 0;
  const first = min<i32>(<i32>(4096 - offset), available);
  const bytes = STATE + STRADDLE_BYTES;
  const host = fetchTranslate(linear);
  if (host == 0) return 0;
  const slot = straddleSlot(rip);
  if (key & KEY_FLAT) {
    const known = findStraddle(load<u32>(slot), rip, host, key);
    if (known) {
      const host2 = fetchTranslate(linear + first);
      if (host2 == 0) return 0;
      if (hasBytes(known, host, host2, first)) return known + STRADDLE_AT_RECORDS;
    }
  }
  memory.copy(bytes, host, first);
  const out = STATE + S_STRADDLE;
  // For a breakpoint it may be all in this page.
  let next = decodeInstruction(out, bytes, first, offset, key);
  if (next == 0 && available > first) {
    const host2 = fetchTranslate(linear + first);
    if (host2 == 0) return 0;
    memory.copy(bytes + first, host2, available - first);
    next = decodeInstruction(out, bytes, available, offset, key);
  }
  if (next == 0) {
    gp0();
    return 0;
  }
  writeMicro(next, MICRO_NEXT_PAGE, offset + decodedLength);
  if (!(key & KEY_FLAT) || <i32>decodedLength <= first) return out;
  return keepStraddle(slot, rip, host, key);
}
