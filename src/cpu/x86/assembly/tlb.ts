/**
 * The software TLBs and the memory map. Entries are valid for one context (TLB_CTX): a privilege class and a generation. The
 * fast paths read the read and write halves directly, see docs/interpreter.md. Which generation is whose: address-spaces.ts.
 *
 * An entry of the kernel class says that the supervisor may access the page as things are. Two lists name those of them that
 * hold only for a while:
 * - borrowed: pages of user mode. They go back, as entries of the user class, when the supervisor may not access them any more
 *   (the end of EFLAGS.AC under SMAP) and when user mode begins, so that each side finds what the other has filled.
 * - local: pages of the supervisor that are not global. They go when the address space is left.
 */
import { CPU, STATE, originOf } from './env';
import { kernelGeneration, userGeneration } from './address-spaces';
import {
  L_CODE_OWNERS,
  L_JUMP_CACHE,
  L_SLOTS,
  L_SYNC,
  L_TLB,
  SLOT_FLAGS,
  SLOT_HOST,
  SLOT_LENGTH,
  SLOT_SIZE,
  SLOT_START,
  SYNC_CPUS,
  S_BORROWED,
  S_BORROWED_BEFORE,
  S_CPL,
  S_CR0,
  S_CR4,
  S_EFLAGS,
  S_JUMP_KEY,
  S_MODE_KEY,
  S_TLB_CTX,
  TLB_ENTRIES,
  TLB_FETCH,
  TLB_READ,
  TLB_WRITE,
} from './generated/layout';
import { CR4_SMAP, IS_GLOBAL, MAY_USER, MAY_WRITE } from './paging';
import { FLAG_AC } from './registers';

/** Privilege classes, in bits 2:1 of TLB_CTX. */
export const CLASS_USER: u32 = 0;
export const CLASS_KERNEL: u32 = 1;
/** Nothing is ever entered: user mode with alignment checks. */
export const CLASS_SLOW: u32 = 3;

const KERNEL_TAG: u64 = (<u64>CLASS_KERNEL) << 1;

// Behind the halves in this CPU's TLB block; sizes are in address-spaces.ts and walk-cache.ts.
export const TLB_PDES: usize = TLB_ENTRIES * 48;
export const TLB_SPACES: usize = TLB_PDES + 0x1000;
export const TLB_FILTERS: usize = TLB_SPACES + 0x4000;
const TLB_BORROWED: usize = TLB_FILTERS + 0x800;
const TLB_LOCALS: usize = TLB_BORROWED + 0x800;
export const TLB_WALKS: usize = 0x2_0000;

/** This CPU's TLB block. */
export const tlbBase: usize = CPU + L_TLB;
export const jumpBase: usize = CPU + L_JUMP_CACHE;

// --------------------------------------------------------------------------------------------------------- contexts

/** Whether supervisor code may reach user pages although SMAP is on: EFLAGS.AC. */
@inline
function isOpen(): bool {
  const ac = (load<u32>(STATE + S_EFLAGS) & FLAG_AC) != 0 && load<u32>(STATE + S_CPL) != 3;
  return ac && (load<u64>(STATE + S_CR4) & CR4_SMAP) != 0;
}

/** Recomputes TLB_CTX and JUMP_KEY from CPL, CR0, CR4, EFLAGS and the generations. */
export function updateContext(): void {
  const ac = (load<u32>(STATE + S_EFLAGS) >> 18) & 1;
  let tag: u64;
  let key: u32;
  if (load<u32>(STATE + S_CPL) == 3) {
    if (load<u32>(STATE + S_BORROWED)) returnBorrowed();
    key = <u32>userGeneration;
    tag = userGeneration;
    if (ac && load<u64>(STATE + S_CR0) & (1 << 18)) tag |= (<u64>CLASS_SLOW) << 1;
  } else {
    // With SMAP, STAC and CLAC do the same (semantics/system.ts).
    if (ac || !(load<u64>(STATE + S_CR4) & CR4_SMAP)) {
      if (load<u32>(STATE + S_BORROWED_BEFORE)) borrowAgain();
    } else if (load<u32>(STATE + S_BORROWED)) returnBorrowed();
    tag = kernelGeneration | KERNEL_TAG;
    key = <u32>tag;
  }
  store<u64>(STATE + S_TLB_CTX, tag);
  // What may be fetched does not depend on alignment checks.
  store<u32>(STATE + S_JUMP_KEY, key | (load<u32>(STATE + S_MODE_KEY) << 12));
}

@inline
export function tlbClass(): u32 {
  return (<u32>load<u64>(STATE + S_TLB_CTX) >> 1) & 3;
}

// ------------------------------------------------------------------------------------------------------------ lists

// Of an element: u64 tag that the entry has while it counts, u32 address of the entry.
const LISTED: usize = 16;
const LISTED_ENTRY: usize = 8;
const LISTED_KEEPS: usize = 12; // u32: whether user mode has the same right
const MAX_BORROWED: u32 = 64;
const MAX_LOCALS: usize = 256;

/** More are not worth it. */
const MAX_BORROWED_AGAIN: usize = 8;
let locals: usize = 0;
/** There were more local entries than the list takes. */
export let localsAreLost: bool = false;
export function setLocalsLost(value: bool): void {
  localsAreLost = value;
}

/** Gives borrowed entries back for good: none is borrowed again. */
export function endBorrowing(): void {
  returnBorrowed();
  store<u32>(STATE + S_BORROWED_BEFORE, 0);
}

function borrow(entry: usize, tag: u64, keeps: bool): void {
  // An element that says of the same entry that user mode has the right must not outlive this one.
  if (!keeps || load<u32>(STATE + S_BORROWED) == MAX_BORROWED) endBorrowing();
  const count: usize = load<u32>(STATE + S_BORROWED);
  const at = tlbBase + TLB_BORROWED + count * LISTED;
  store<u64>(at, tag);
  store<u32>(at + LISTED_ENTRY, <u32>entry);
  store<u32>(at + LISTED_KEEPS, keeps ? 1 : 0);
  store<u32>(STATE + S_BORROWED, <u32>count + 1);
}

/** Changes the tag of an entry, unless it is another by now: other CPUs take entries away (`purgeWriteTlb`). */
@inline
function retag(entry: usize, from: u64, to: u64): void {
  if (load<u64>(entry) != from) return;
  if (load<u32>(L_SYNC + SYNC_CPUS) == 1) store<u64>(entry, to);
  else atomic.cmpxchg<u64>(entry, from, to);
}

/** Gives borrowed entries back to the user class of the current space. */
export function returnBorrowed(): void {
  const count: usize = load<u32>(STATE + S_BORROWED);
  const end = tlbBase + TLB_BORROWED + count * LISTED;
  for (let at = tlbBase + TLB_BORROWED; at < end; at += LISTED) {
    const tag = load<u64>(at);
    const entry = <usize>load<u32>(at + LISTED_ENTRY);
    retag(entry, tag, load<u32>(at + LISTED_KEEPS) ? (tag & ~0xfff) | userGeneration : 0);
  }
  store<u32>(STATE + S_BORROWED_BEFORE, count <= MAX_BORROWED_AGAIN ? <u32>count : 0);
  store<u32>(STATE + S_BORROWED, 0);
}

/**
 * The supervisor may access user pages once more: in the entries that were borrowed before it may do what user mode may. Linux
 * sets and clears EFLAGS.AC for each single access, many times in a system call.
 */
export function borrowAgain(): void {
  const count: usize = load<u32>(STATE + S_BORROWED_BEFORE);
  const end = tlbBase + TLB_BORROWED + count * LISTED;
  for (let at = tlbBase + TLB_BORROWED; at < end; at += LISTED) {
    const tag = load<u64>(at);
    const entry = <usize>load<u32>(at + LISTED_ENTRY);
    retag(entry, (tag & ~0xfff) | userGeneration, (tag & ~0xfff) | kernelGeneration | KERNEL_TAG);
  }
  store<u32>(STATE + S_BORROWED, <u32>count);
  store<u32>(STATE + S_BORROWED_BEFORE, 0);
}

function noteLocal(entry: usize, tag: u64): void {
  if (locals == MAX_LOCALS) {
    localsAreLost = true;
    return;
  }
  const at = tlbBase + TLB_LOCALS + locals * LISTED;
  store<u64>(at, tag);
  store<u32>(at + LISTED_ENTRY, <u32>entry);
  locals++;
}

/** Forgets the local entries that are listed. */
export function dropLocals(): void {
  const end = tlbBase + TLB_LOCALS + locals * LISTED;
  for (let at = tlbBase + TLB_LOCALS; at < end; at += LISTED) {
    const entry = <usize>load<u32>(at + LISTED_ENTRY);
    if (load<u64>(entry) == load<u64>(at)) store<u64>(entry, 0);
  }
  locals = 0;
}

// ---------------------------------------------------------------------------------------------------------- entries

@inline
export function entryOf(half: usize, lin: u64): usize {
  return tlbBase + half + ((<usize>(lin >> 12) & (TLB_ENTRIES - 1)) << 4);
}

@inline
function hostIn(entry: usize, lin: u64, size: u32, context: u64): usize {
  return load<u64>(entry) == (((lin + size - 1) & ~0xfff) | context) ? <usize>(lin + load<u64>(entry, 8)) : 0;
}

/** The address in this memory of `size` bytes at `lin`, or 0 when the half has no entry for them. */
@inline
export function probe(half: usize, lin: u64, size: u32): usize {
  return hostIn(entryOf(half, lin), lin, size, load<u64>(STATE + S_TLB_CTX));
}

/** The same for accesses of the system, whatever the CPL: to what user mode may access, or to what the supervisor may without AC. */
@inline
export function probeAs(half: usize, lin: u64, size: u32, isUser: bool): usize {
  if (isUser) return hostIn(entryOf(half, lin), lin, size, userGeneration);
  return isOpen() ? 0 : hostIn(entryOf(half, lin), lin, size, kernelGeneration | KERNEL_TAG);
}

/** The same for instruction fetches. */
@inline
export function probeFetch(lin: u64): usize {
  return hostIn(entryOf(TLB_FETCH, lin), lin, 1, fetchContext());
}

@inline
function fetchContext(): u64 {
  return load<u32>(STATE + S_CPL) == 3 ? userGeneration : kernelGeneration | KERNEL_TAG;
}

/** Enters a translation for data. `host` is the address of the page of `lin` in this memory, `walk` its finished walk. */
export function fillTlb(half: usize, lin: u64, host: usize, walk: u64): void {
  const page = lin & ~0xfff;
  const entry = entryOf(half, lin);
  const context = load<u64>(STATE + S_TLB_CTX);
  const tag = page | context;
  if (context & KERNEL_TAG && !(walk & IS_GLOBAL && !(walk & MAY_USER))) {
    const smap = (load<u64>(STATE + S_CR4) & CR4_SMAP) != 0;
    if (walk & MAY_USER && (smap || !(walk & IS_GLOBAL))) {
      borrow(entry, tag, half != TLB_WRITE || (walk & MAY_WRITE) != 0);
    } else if (!(walk & IS_GLOBAL)) noteLocal(entry, tag);
  }
  enter(half, entry, tag, page, host);
}

/**
 * Another CPU that begins to decode a page says so first, and then looks for entries by which it could be written unseen; so an entry
 * is made first, and then looked whether it may be.
 */
@inline
function enter(half: usize, entry: usize, tag: u64, page: u64, host: usize): void {
  store<u64>(entry, <u64>host - page, 8);
  if (half != TLB_WRITE || load<u32>(L_SYNC + SYNC_CPUS) == 1) {
    store<u64>(entry, tag);
    return;
  }
  atomic.store<u64>(entry, tag);
  if (load<u32>(L_CODE_OWNERS + ((host >> 12) << 2))) store<u64>(entry, 0);
}

/** Enters a translation of a supervisor page that the system has accessed, whatever the CPL. */
export function fillSystem(half: usize, lin: u64, host: usize, walk: u64): void {
  if (walk & MAY_USER) return;
  const page = lin & ~0xfff;
  const entry = entryOf(half, lin);
  const tag = page | kernelGeneration | KERNEL_TAG;
  if (!(walk & IS_GLOBAL)) noteLocal(entry, tag);
  enter(half, entry, tag, page, host);
}

/** Whether the entry for a page is of no use to anybody now. */
@inline
export function isFree(half: usize, lin: u64): bool {
  const context = load<u64>(entryOf(half, lin)) & 0xfff;
  return context != (kernelGeneration | KERNEL_TAG) && context != userGeneration;
}

@inline
export function fillFetch(lin: u64, host: usize): void {
  const page = lin & ~0xfff;
  const entry = entryOf(TLB_FETCH, lin);
  store<u64>(entry, page | fetchContext());
  store<u64>(entry, <u64>host - page, 8);
}

/**
 * Takes a page of this memory out of the write halves of all CPUs: from now on it holds code, and stores into it go
 * through the slow path.
 */
export function purgeWriteTlb(hostPage: usize): void {
  const cpus: usize = load<u32>(L_SYNC + SYNC_CPUS);
  for (let cpu: usize = 0; cpu < cpus; cpu++) {
    const first = originOf(cpu) + L_TLB + TLB_WRITE;
    const end = first + TLB_ENTRIES * 16;
    for (let entry = first; entry < end; entry += 16) {
      if (<usize>((load<u64>(entry) & ~0xfff) + load<u64>(entry + 8)) == hostPage) store<u64>(entry, 0);
    }
  }
}

// ------------------------------------------------------------------------------------------------------- memory map

/** Set by physToHost: whether the slot that was found is read-only. */
export let slotReadOnly: bool = false;

// The slot that was found last, if none before it reaches into it; a span of 0: none.
let lastStart: u64 = 0;
let lastSpan: u64 = 0;
let lastHost: usize = 0;

/** The memory map may have changed. */
export function forgetSlot(): void {
  lastSpan = 0;
}

/** The address in this memory of guest-physical `pa`, or 0 when it is not RAM or ROM. Sets slotReadOnly. */
@inline
export function physToHost(pa: u64): usize {
  const offset = pa - lastStart;
  return offset < lastSpan ? lastHost + <usize>offset : findSlot(pa);
}

function findSlot(pa: u64): usize {
  const first: usize = L_SLOTS + 8;
  const end = first + <usize>load<u32>(L_SLOTS) * SLOT_SIZE;
  for (let slot = first; slot < end; slot += SLOT_SIZE) {
    const start = load<u64>(slot + SLOT_START);
    const length = load<u64>(slot + SLOT_LENGTH);
    const offset = pa - start;
    if (offset >= length) continue;
    slotReadOnly = <bool>(load<u32>(slot + SLOT_FLAGS) & 1);
    lastStart = start;
    lastSpan = length;
    lastHost = <usize>load<u32>(slot + SLOT_HOST);
    for (let other = first; other < slot; other += SLOT_SIZE) {
      const from = load<u64>(other + SLOT_START);
      if (from < start + length && start < from + load<u64>(other + SLOT_LENGTH)) lastSpan = 0;
    }
    return lastHost + <usize>offset;
  }
  return 0;
}
