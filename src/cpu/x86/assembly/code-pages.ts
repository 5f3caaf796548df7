/**
 * Pages that hold decoded code, and what happens when they are written to. The data structure is described in
 * code-cache.ts, which fills it.
 */
import {
  ATTN_CPU,
  JUMP_ENTRIES,
  L_CODE_CACHE,
  L_CODE_POOL,
  L_CODE_POOL_END,
  L_JUMP_CACHE,
  L_JUMP_STRIDE,
  L_STATES,
  L_STATE_STRIDE,
  MAX_VCPUS,
  MICRO_EA_SEG,
  MICRO_RESYNC,
  PAGE_ALL,
  PAGE_CHUNKS,
  PAGE_CODE,
  PAGE_HOST,
  PAGE_NEXT,
  PAGE_TRANSLATED,
  PAGE_WRITES,
  POOL_AT_EPOCH,
  POOL_AT_LIMIT,
  POOL_AT_NEXT,
  POOL_AT_PAGES,
  RECORD_SIZE,
  R_HANDLER,
  R_LENGTH,
  R_OFFSET,
  S_ATTN,
  S_EFLAGS,
} from './generated/layout';

export const POOL_NEXT: usize = L_CODE_POOL + POOL_AT_NEXT;
export const POOL_LIMIT: usize = L_CODE_POOL + POOL_AT_LIMIT;
export const POOL_PAGES: usize = L_CODE_POOL + POOL_AT_PAGES;
export const POOL_EPOCH: usize = L_CODE_POOL + POOL_AT_EPOCH;
export const POOL_FIRST: usize = L_CODE_POOL + 64;

export const PAGE_ENTRY_SIZE: usize = PAGE_CHUNKS + 64 * 4;
export const MAP_SIZE: usize = 64 * 4;

/**
 * In a map: not a record but, with this bit added, a RESYNC record that waits for this instruction to be decoded. Either the end
 * of a run, or the record of what stood here before it was overwritten.
 */
export const MAP_AWAITED: usize = 1;

/** The longest instruction in bytes, SDM vol. 2 §2.3.11. */
const MAX_LENGTH: u32 = 15;

/** Offset within a page. */
export const PAGE_MASK: usize = 0xfff;

@inline
export function directorySlot(hostPage: usize): usize {
  return L_CODE_CACHE + ((hostPage >> 12) << 2);
}

/** Whether the page of this memory at `hostPage` holds decoded code, so that stores must be reported. */
@inline
export function isCodePage(hostPage: usize): bool {
  return (load<u32>(directorySlot(hostPage)) & 1) != 0;
}

// ---------------------------------------------------------------------------------------------------- invalidation

/** Turns the records of chunk `chunk` that instructions reaching offset `from` or beyond have into RESYNC. */
function forgetChunk(page: usize, chunk: usize, from: u32): void {
  const map = <usize>load<u32>(page + PAGE_CHUNKS + (chunk << 2));
  if (map == 0) return;
  for (let entry = map; entry < map + MAP_SIZE; entry += 4) {
    const record = <usize>load<u32>(entry);
    if (record == 0 || record & MAP_AWAITED) continue;
    if (from != 0) {
      // Behind an address micro-record stands the instruction's own record; other micro-records do not say their length.
      let length = <u32>load<u8>(record + R_LENGTH);
      if (<u32>load<u16>(record + R_HANDLER) == MICRO_EA_SEG) length = <u32>load<u8>(record + RECORD_SIZE + R_LENGTH);
      if (length == 0) length = MAX_LENGTH;
      if (<u32>load<u16>(record + R_OFFSET) + length <= from) continue;
    }
    // The other fields stay: the instruction that did it may still look at its own record.
    store<u16>(record + R_HANDLER, <u16>MICRO_RESYNC);
    store<u32>(entry, <u32>(record | MAP_AWAITED));
  }
}

/** Forgets the instructions of a page entry that have bytes in the chunks of `mask`. */
function forgetChunks(page: usize, mask: u64): void {
  // Regions lead from one chunk to another without looking: they go together.
  const translated = load<u64>(page + PAGE_TRANSLATED);
  if (mask & translated) {
    mask |= translated;
    store<u64>(page + PAGE_TRANSLATED, 0);
    store<u32>(page + PAGE_WRITES, load<u32>(page + PAGE_WRITES) + 1);
  }
  mask &= load<u64>(page + PAGE_CODE);
  store<u64>(page + PAGE_CODE, load<u64>(page + PAGE_CODE) & ~mask);
  for (; mask; mask &= mask - 1) {
    const chunk = <usize>ctz(mask);
    forgetChunk(page, chunk, 0);
    if (chunk) forgetChunk(page, chunk - 1, (<u32>chunk) << 6);
  }
}

/** `size` bytes at `host` in one page have been overwritten: forgets what was decoded from them. */
export function codeWritten(host: usize, size: i32): void {
  const directory = directorySlot(host);
  const first = load<u32>(directory);
  if (!(first & 1)) return;
  const from = (host & PAGE_MASK) >> 6;
  const to = ((host & PAGE_MASK) + size - 1) >> 6;
  // Bits from … to.
  const mask = (~(<u64>0) >> (63 - (to - from))) << from;
  let code: u64 = 0;
  for (let page = <usize>(first & ~1); page; page = <usize>load<u32>(page + PAGE_NEXT)) {
    if (load<u64>(page + PAGE_CODE) & mask) forgetChunks(page, mask);
    code |= load<u64>(page + PAGE_CODE);
  }
  // Without code the page may enter the write TLB again.
  if (code == 0) store<u32>(directory, first & ~1);
}

/** The same for any range: for devices, which write to memory at `host` of this memory. */
export function invalidate_range(host: usize, length: usize): void {
  const end = host + length;
  while (host < end) {
    const part = min<usize>(4096 - (host & PAGE_MASK), end - host);
    if (isCodePage(host)) codeWritten(host, <i32>part);
    host += part;
  }
}

/** Starts with an empty cache. Not while a record is being executed: every record is gone afterwards. */
export function emptyCodeCache(): void {
  for (let page = <usize>load<u32>(POOL_PAGES); page; page = <usize>load<u32>(page + PAGE_ALL))
    store<u32>(directorySlot(load<u32>(page + PAGE_HOST)), 0);
  store<u32>(POOL_NEXT, <u32>POOL_FIRST);
  store<u32>(POOL_LIMIT, <u32>L_CODE_POOL_END);
  store<u32>(POOL_PAGES, 0);
  store<u32>(POOL_EPOCH, load<u32>(POOL_EPOCH) + 1);
  for (let cpu: usize = 0; cpu < <usize>MAX_VCPUS; cpu++) {
    // With it goes the table of straddling instructions, which lies behind.
    if (exists(cpu)) memory.fill(L_JUMP_CACHE + cpu * L_JUMP_STRIDE, 0, L_JUMP_STRIDE);
  }
}

/** Bit 1 of EFLAGS is always set in a CPU that exists. */
@inline
function exists(cpu: usize): bool {
  return load<u32>(L_STATES + cpu * L_STATE_STRIDE + S_EFLAGS) != 0;
}

/**
 * Throws everything away, at any time: a CPU that is in the middle of an instruction finishes its run (records stay as
 * they are until something is decoded) and then looks again.
 */
export function flush_code_cache(): void {
  emptyCodeCache();
  for (let cpu: usize = 0; cpu < <usize>MAX_VCPUS; cpu++) {
    if (exists(cpu)) atomic.or<u32>(L_STATES + cpu * L_STATE_STRIDE + S_ATTN, ATTN_CPU);
  }
}
