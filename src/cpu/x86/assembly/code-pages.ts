/**
 * Pages that hold decoded code, and what happens when they are written to. The data structure is described in
 * code-cache.ts, which fills it.
 *
 * CODE_OWNERS has for each page of this memory which CPUs have decoded code of it; while there are any, no CPU has it in its write TLB.
 * Whoever stores into it forgets what it has decoded itself, takes the page away from the other owners, and tells them (REMOTE_WRITES). They
 * forget the whole page when they look at ATTN next: before that they may execute what was there before, as a processor may
 * until it serialises (SDM vol. 3 §9.1.3). What they decode of it meanwhile goes too, so that nothing is missed that is written then.
 */
import { CPU, STATE, originOf } from './env';
import {
  ATTN_CPU,
  ATTN_REMOTE,
  L_CODE_CACHE,
  L_CODE_OWNERS,
  L_CODE_POOL,
  L_CODE_POOL_END,
  L_JUMP_CACHE,
  L_JUMP_CACHE_END,
  L_REMOTE_WRITES,
  L_STATES,
  L_SYNC,
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
  POOL_HEADER,
  RECORD_SIZE,
  REMOTE_AT_FLAGS,
  REMOTE_AT_HEAD,
  REMOTE_AT_PAGES,
  REMOTE_AT_TAIL,
  REMOTE_FLAG_FLUSH,
  REMOTE_FLAG_MAP,
  REMOTE_PAGES,
  R_HANDLER,
  R_LENGTH,
  R_OFFSET,
  SYNC_CPUS,
  S_ATTN,
  S_CPU_INDEX,
  S_EFLAGS,
} from './generated/layout';

export const POOL_NEXT: usize = CPU + L_CODE_POOL + POOL_AT_NEXT;
export const POOL_LIMIT: usize = CPU + L_CODE_POOL + POOL_AT_LIMIT;
export const POOL_PAGES: usize = CPU + L_CODE_POOL + POOL_AT_PAGES;
export const POOL_EPOCH: usize = CPU + L_CODE_POOL + POOL_AT_EPOCH;
const POOL_FIRST: usize = CPU + L_CODE_POOL + POOL_HEADER;

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
  return CPU + L_CODE_CACHE + ((hostPage >> 12) << 2);
}

@inline
function ownersOf(hostPage: usize): usize {
  return L_CODE_OWNERS + ((hostPage >> 12) << 2);
}

@inline
function ownBit(): u32 {
  return (<u32>1) << load<u32>(STATE + S_CPU_INDEX);
}

/** Whether any CPU has decoded code of the page of this memory at `hostPage`, so that stores must be reported. */
@inline
export function isCodePage(hostPage: usize): bool {
  return load<u32>(ownersOf(hostPage)) != 0;
}

/** This CPU begins to decode a page. Returns who had done so before. */
export function own(hostPage: usize): u32 {
  return atomic.or<u32>(ownersOf(hostPage), ownBit());
}

function disown(hostPage: usize): void {
  atomic.and<u32>(ownersOf(hostPage), ~ownBit());
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

/** `size` bytes at `host` in one page have been overwritten: forgets what was decoded from them, on all CPUs. */
export function codeWritten(host: usize, size: i32): void {
  forgetWritten(host, size);
  if (load<u32>(ownersOf(host)) & ~ownBit()) tellOwners(host);
}

/** Takes a page away from the other CPUs that have decoded it, and tells them. */
function tellOwners(host: usize): void {
  const page = host & ~PAGE_MASK;
  let others = atomic.and<u32>(ownersOf(page), ownBit()) & ~ownBit();
  for (; others; others &= others - 1) tell(<usize>ctz(others), page);
}

/** Leaves a page for a CPU to forget. What does not fit makes it forget all. */
function tell(cpu: usize, page: usize): void {
  const origin = originOf(cpu);
  const remote = origin + L_REMOTE_WRITES;
  // Some places are left for those who look at the same time.
  if (atomic.load<u32>(remote + REMOTE_AT_HEAD) - atomic.load<u32>(remote + REMOTE_AT_TAIL) > <u32>REMOTE_PAGES - 32) {
    atomic.or<u32>(remote + REMOTE_AT_FLAGS, REMOTE_FLAG_FLUSH);
  } else {
    const at = atomic.add<u32>(remote + REMOTE_AT_HEAD, 1);
    const place = remote + REMOTE_AT_PAGES + ((<usize>at & (REMOTE_PAGES - 1)) << 3);
    // With its number: so the reader sees whether it is there yet.
    atomic.store<u64>(place, ((<u64>(at + 1)) << 32) | <u64>page);
  }
  atomic.or<u32>(origin + L_STATES + S_ATTN, ATTN_REMOTE);
}

/** Does what other CPUs and the machine's thread have left to do. Returns whether the memory map has changed. Only between instructions. */
export function takeRemote(): bool {
  const remote = CPU + L_REMOTE_WRITES;
  const flags = atomic.xchg<u32>(remote + REMOTE_AT_FLAGS, 0);
  let tail = load<u32>(remote + REMOTE_AT_TAIL);
  const head = atomic.load<u32>(remote + REMOTE_AT_HEAD);
  while (tail != head) {
    const entry = atomic.load<u64>(remote + REMOTE_AT_PAGES + ((<usize>tail & (REMOTE_PAGES - 1)) << 3));
    tail++;
    if (<u32>(entry >> 32) != tail) {
      // Taken by somebody who has not written it yet.
      atomic.or<u32>(STATE + S_ATTN, ATTN_REMOTE);
      tail--;
      break;
    }
    const page = <usize>(entry & 0xffff_ffff);
    forgetWritten(page, 4096);
  }
  atomic.store<u32>(remote + REMOTE_AT_TAIL, tail);
  if (flags & REMOTE_FLAG_FLUSH) emptyCodeCache();
  return (flags & REMOTE_FLAG_MAP) != 0;
}

function forgetWritten(host: usize, size: i32): void {
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
  if (code == 0) {
    store<u32>(directory, first & ~1);
    disown(host);
  }
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
  for (let page = <usize>load<u32>(POOL_PAGES); page; page = <usize>load<u32>(page + PAGE_ALL)) {
    const host = <usize>load<u32>(page + PAGE_HOST);
    if (load<u32>(directorySlot(host)) & 1) disown(host);
    store<u32>(directorySlot(host), 0);
  }
  store<u32>(POOL_NEXT, <u32>POOL_FIRST);
  store<u32>(POOL_LIMIT, <u32>(CPU + L_CODE_POOL_END));
  store<u32>(POOL_PAGES, 0);
  store<u32>(POOL_EPOCH, load<u32>(POOL_EPOCH) + 1);
  // With it goes the table of straddling instructions, which lies behind.
  memory.fill(CPU + L_JUMP_CACHE, 0, L_JUMP_CACHE_END - L_JUMP_CACHE);
}

/**
 * Throws everything away, at any time: a CPU that is in the middle of an instruction finishes its run (records stay as
 * they are until something is decoded) and then looks again.
 */
export function flush_code_cache(): void {
  emptyCodeCache();
  atomic.or<u32>(STATE + S_ATTN, ATTN_CPU);
}
