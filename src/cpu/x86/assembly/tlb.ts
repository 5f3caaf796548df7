/**
 * The software TLBs and the memory map. Entries are valid for one context (TLB_CTX): a privilege class and a generation. The
 * fast paths read the read and write halves directly, see docs/interpreter.md.
 *
 * A fourth table behind the halves remembers finished page walks whatever the privilege class: tag = page | generation,
 * value = physical page | permissions. It makes a miss after a change of class cheap.
 */
import { STATE } from './env';
import {
  JUMP_ENTRIES,
  L_JUMP_CACHE,
  L_JUMP_STRIDE,
  L_SLOTS,
  L_STATES,
  L_STATE_STRIDE,
  L_TLB,
  L_TLB_STRIDE,
  MAX_VCPUS,
  SLOT_FLAGS,
  SLOT_HOST,
  SLOT_LENGTH,
  SLOT_SIZE,
  SLOT_START,
  S_CPL,
  S_CR0,
  S_CR4,
  S_EFLAGS,
  S_FETCHED_PAGES,
  S_LARGE_REGIONS,
  S_JUMP_KEY,
  S_MODE_KEY,
  S_TLB_CTX,
  TLB_ENTRIES,
  TLB_FETCH,
  TLB_READ,
  TLB_WRITE,
} from './generated/layout';

/** Privilege classes, in bits 2:1 of TLB_CTX. */
export const CLASS_USER: u32 = 0;
export const CLASS_KERNEL: u32 = 1;
/** Supervisor with EFLAGS.AC set while SMAP is on: may reach user pages. */
export const CLASS_KERNEL_AC: u32 = 2;
/** Nothing is ever entered: user mode with alignment checks. */
export const CLASS_SLOW: u32 = 3;

/** Offset of the table of finished walks. */
export const TLB_WALKS: usize = TLB_ENTRIES * 48;

/** This CPU's TLB block. */
export let tlbBase: usize = L_TLB + ((STATE - L_STATES) / L_STATE_STRIDE) * L_TLB_STRIDE;
let jumpBase: usize = L_JUMP_CACHE + ((STATE - L_STATES) / L_STATE_STRIDE) * L_JUMP_STRIDE;

const GENERATION_MASK: u64 = 0xff8;

/** Recomputes TLB_CTX's class and JUMP_KEY from CPL, CR0, CR4 and EFLAGS. */
export function updateContext(): void {
  const eflags = load<u32>(STATE + S_EFLAGS);
  const ac = (eflags >> 18) & 1;
  let cls = CLASS_KERNEL;
  if (load<u32>(STATE + S_CPL) == 3) {
    cls = ac && load<u64>(STATE + S_CR0) & (1 << 18) ? CLASS_SLOW : CLASS_USER;
  } else if (ac && load<u64>(STATE + S_CR4) & (1 << 21)) {
    cls = CLASS_KERNEL_AC;
  }
  const ctx = (load<u64>(STATE + S_TLB_CTX) & GENERATION_MASK) | ((<u64>cls) << 1);
  store<u64>(STATE + S_TLB_CTX, ctx);
  store<u32>(STATE + S_JUMP_KEY, (<u32>ctx) | (load<u32>(STATE + S_MODE_KEY) << 12));
}

@inline
export function tlbClass(): u32 {
  return ((<u32>load<u64>(STATE + S_TLB_CTX)) >> 1) & 3;
}

/** Forgets all translations of this CPU, those of the jump cache with them. */
export function flushTlb(): void {
  let ctx = load<u64>(STATE + S_TLB_CTX);
  let generation = (ctx & GENERATION_MASK) + 8;
  if (generation > GENERATION_MASK) {
    generation = 8;
    memory.fill(tlbBase, 0, TLB_ENTRIES * 64);
    memory.fill(jumpBase, 0, JUMP_ENTRIES * 16);
  }
  ctx = (ctx & ~GENERATION_MASK) | generation;
  store<u64>(STATE + S_TLB_CTX, ctx);
  store<u32>(STATE + S_JUMP_KEY, (<u32>ctx) | (load<u32>(STATE + S_MODE_KEY) << 12));
  memory.fill(STATE + S_FETCHED_PAGES, 0, 512);
  memory.fill(STATE + S_LARGE_REGIONS, 0, 512);
}

/** Forgets everything, whatever generation: for the host, after the memory map or the state was replaced. */
export function resetTlb(): void {
  memory.fill(tlbBase, 0, TLB_ENTRIES * 64);
  memory.fill(jumpBase, 0, JUMP_ENTRIES * 16);
  store<u64>(STATE + S_TLB_CTX, 0);
  flushTlb();
  updateContext();
}

@inline
function entryOf(half: usize, lin: u64): usize {
  return tlbBase + half + (((<usize>(lin >> 12)) & (TLB_ENTRIES - 1)) << 4);
}

/** The Bloom filters: a bit for each key modulo 4096. */
@inline
function inFilter(filter: usize, key: u32): bool {
  return (((<u32>load<u8>(STATE + filter + ((key & 4095) >> 3))) >> (key & 7)) & 1) != 0;
}
@inline
function enterFilter(filter: usize, key: u32): void {
  const at = STATE + filter + ((key & 4095) >> 3);
  store<u8>(at, <u8>((<u32>load<u8>(at)) | (1 << (key & 7))));
}

/**
 * Forgets the translation of one page, and what lies in the jump cache when code was fetched from it. The parts of a large
 * page go together (SDM vol. 3 §4.10.4.1).
 */
export function flushPage(lin: u64): void {
  if (inFilter(S_LARGE_REGIONS, <u32>(lin >> 21))) {
    flushTlb();
    return;
  }
  store<u64>(entryOf(TLB_READ, lin), 0);
  store<u64>(entryOf(TLB_WRITE, lin), 0);
  store<u64>(entryOf(TLB_FETCH, lin), 0);
  store<u64>(entryOf(TLB_WALKS, lin), 0);
  if (inFilter(S_FETCHED_PAGES, <u32>(lin >> 12))) flushTlb();
}

/** Notes that code was fetched from a page. */
export function noteFetched(lin: u64): void {
  enterFilter(S_FETCHED_PAGES, <u32>(lin >> 12));
}

/** Notes that a page larger than 4 KiB is mapped at an address. */
export function noteLarge(lin: u64): void {
  enterFilter(S_LARGE_REGIONS, <u32>(lin >> 21));
}

/** Notes that a page of 1 GiB is mapped somewhere: that may be anywhere. */
export function noteHuge(): void {
  memory.fill(STATE + S_LARGE_REGIONS, 0xff, 512);
}

/** The address in this memory of `size` bytes at `lin`, or 0 when the half has no entry for them. */
@inline
export function probe(half: usize, lin: u64, size: u32): usize {
  const entry = entryOf(half, lin);
  if (load<u64>(entry) != (((lin + size - 1) & ~0xfff) | load<u64>(STATE + S_TLB_CTX))) return 0;
  return <usize>(lin + load<u64>(entry + 8));
}

/** Enters a translation: `host` is the address of the page of `lin` in this memory. */
@inline
export function fillTlb(half: usize, lin: u64, host: usize): void {
  const page = lin & ~0xfff;
  const entry = entryOf(half, lin);
  store<u64>(entry, page | load<u64>(STATE + S_TLB_CTX));
  store<u64>(entry + 8, <u64>host - page);
}

/** A finished walk of the page of `lin`, or 0. Never 0 for a finished one: the permissions are in the low bits. */
@inline
export function findWalk(lin: u64): u64 {
  const entry = entryOf(TLB_WALKS, lin);
  const tag = (lin & ~0xfff) | (load<u64>(STATE + S_TLB_CTX) & GENERATION_MASK);
  return load<u64>(entry) == tag ? load<u64>(entry + 8) : 0;
}

@inline
export function noteWalk(lin: u64, value: u64): void {
  const entry = entryOf(TLB_WALKS, lin);
  store<u64>(entry, (lin & ~0xfff) | (load<u64>(STATE + S_TLB_CTX) & GENERATION_MASK));
  store<u64>(entry + 8, value);
}

/**
 * Takes a page of this memory out of the write halves of all CPUs: from now on it holds code, and stores into it go
 * through the slow path.
 */
export function purgeWriteTlb(hostPage: usize): void {
  for (let cpu: usize = 0; cpu < MAX_VCPUS; cpu++) {
    // Bit 1 of EFLAGS is always set in a CPU that exists.
    if (load<u32>(L_STATES + cpu * L_STATE_STRIDE + S_EFLAGS) == 0) continue;
    const first = L_TLB + cpu * L_TLB_STRIDE + TLB_WRITE;
    const end = first + TLB_ENTRIES * 16;
    for (let entry = first; entry < end; entry += 16) {
      if (<usize>((load<u64>(entry) & ~0xfff) + load<u64>(entry + 8)) == hostPage) store<u64>(entry, 0);
    }
  }
}

/** Set by physToHost: whether the slot that was found is read-only. */
export let slotReadOnly: bool = false;

/** The address in this memory of guest-physical `pa`, or 0 when it is not RAM or ROM. Sets slotReadOnly. */
export function physToHost(pa: u64): usize {
  let slot = L_SLOTS + 8;
  const end = slot + <usize>load<u32>(L_SLOTS) * SLOT_SIZE;
  for (; slot < end; slot += SLOT_SIZE) {
    const offset = pa - load<u64>(slot + SLOT_START);
    if (offset < load<u64>(slot + SLOT_LENGTH)) {
      slotReadOnly = <bool>(load<u32>(slot + SLOT_FLAGS) & 1);
      return <usize>load<u32>(slot + SLOT_HOST) + <usize>offset;
    }
  }
  return 0;
}
