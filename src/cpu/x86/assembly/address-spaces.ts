/**
 * Which translations are valid: generations, PCIDs, flushes (SDM vol. 3 §4.10). docs/x86-system.md, "Translations", has the rules.
 *
 * The supervisor's translations of global pages carry the kernel generation, which address spaces share. Everything else
 * belongs to one address space: what user code reaches carries the generation of its space, and what the supervisor
 * reached there is taken back when the space is left. A space is a PCID; without PCIDs there is one.
 */
import { STATE } from './env';
import { JUMP_ENTRIES, L_TLB, L_TLB_END, S_CR3, S_CR4, TLB_FETCH, TLB_READ, TLB_WRITE } from './generated/layout';
import { CR4_PCIDE } from './paging';
import {
  TLB_FILTERS,
  TLB_SPACES,
  TLB_WALKS,
  dropLocals,
  endBorrowing,
  entryOf,
  forgetSlot,
  jumpBase,
  localsAreLost,
  returnBorrowed,
  setLocalsLost,
  tlbBase,
  updateContext,
} from './tlb';
import { forgetWalks } from './walk-cache';

/** Of TLB_CTX: bits 11:3. */
const GENERATION_STEP: u64 = 8;
const GENERATION_MAX: u64 = 0xff8;

/** Spaces that are kept, as many as there are slots; Linux uses six PCIDs. */
const SPACES: usize = 8;
// Of a slot.
const SPACE_PCID: usize = 0; // u32, NO_PCID: unused
const SPACE_GENERATION: usize = 8; // u64
const SPACE_TABLES: usize = 16; // u64: tag of paging-structure entries
const SPACE_FETCHED: usize = 1024; // filter: pages that user code was fetched from
const SPACE_LARGE: usize = 1536; // filter: regions with large pages that are not global
const SPACE_SIZE: usize = 2048;
const FILTER_SIZE: usize = 512;
const NO_PCID: u32 = 0xffff;

/** Of the supervisor's translations. */
export let kernelGeneration: u64 = 0;
/** Of the current space. */
export let userGeneration: u64 = 0;
/** Tag of paging-structure entries of the current space: never comes again. */
export let tablesTag: u64 = 0;

let lastGeneration: u64 = 0;
let lastTables: u64 = 0;
/** The current slot, and the one that was taken last for a new PCID. */
let current: usize = 0;
let lastTaken: usize = 0;
/** Supervisor code was fetched from a page that is not global: the jump cache has it under the kernel generation. */
let fetchedLocally: bool = false;

@inline
function slotAt(n: usize): usize {
  return tlbBase + TLB_SPACES + n * SPACE_SIZE;
}

@inline
function currentPcid(): u32 {
  return load<u64>(STATE + S_CR4) & CR4_PCIDE ? <u32>load<u64>(STATE + S_CR3) & 0xfff : 0;
}

// ---------------------------------------------------------------------------------------------------------- filters

/** Bloom filters: a bit for each key modulo 4096. */
@inline
function inFilter(filter: usize, key: u32): bool {
  return ((<u32>load<u8>(filter + ((key & 4095) >> 3)) >> (key & 7)) & 1) != 0;
}
@inline
function enterFilter(filter: usize, key: u32): void {
  const at = filter + ((key & 4095) >> 3);
  store<u8>(at, <u8>(<u32>load<u8>(at) | (1 << (key & 7))));
}

/** Filters of what all spaces share are apart for the usual halves of the address space, so that user pages meet nothing there. */
@inline
function sharedFilter(lin: u64): usize {
  const upper = lin >> 32 ? (lin >> 47) & 1 : <u64>(lin >= 0xc000_0000);
  return tlbBase + TLB_FILTERS + <usize>upper * (2 * FILTER_SIZE);
}
const SHARED_LARGE: usize = FILTER_SIZE;

/** Notes that code was fetched from a page: the jump cache may have it. */
export function noteFetched(lin: u64, isUser: bool, isGlobal: bool): void {
  if (isUser) enterFilter(current + SPACE_FETCHED, <u32>(lin >> 12));
  else {
    enterFilter(sharedFilter(lin), <u32>(lin >> 12));
    if (!isGlobal) fetchedLocally = true;
  }
}

/** Keys of a 2 MiB region, and of one of 1 GiB: these lie in the same filter. */
@inline
function regionKey(lin: u64): u32 {
  return <u32>((lin >> 21) ^ (lin >> 33));
}
@inline
function hugeKey(lin: u64): u32 {
  return <u32>((lin >> 30) * 37 + 1999);
}

/** Notes that a page larger than 4 KiB is mapped at an address: its parts lie in many entries. */
export function noteLarge(lin: u64, isGlobal: bool, isHuge: bool): void {
  const filter = isGlobal ? sharedFilter(lin) + SHARED_LARGE : current + SPACE_LARGE;
  enterFilter(filter, isHuge ? hugeKey(lin) : regionKey(lin));
}

@inline
function isLarge(filter: usize, lin: u64): bool {
  return inFilter(filter, regionKey(lin)) || inFilter(filter, hugeKey(lin));
}

// ---------------------------------------------------------------------------------------------------------- flushes

/** Gives a slot to a space without translations. */
function openSlot(slot: usize, pcid: u32): void {
  lastGeneration += GENERATION_STEP;
  store<u32>(slot + SPACE_PCID, pcid);
  store<u64>(slot + SPACE_GENERATION, lastGeneration);
  store<u64>(slot + SPACE_TABLES, ++lastTables);
  memory.fill(slot + SPACE_FETCHED, 0, 2 * FILTER_SIZE);
}

/** Makes a slot the current one. */
function enterSlot(slot: usize): void {
  current = slot;
  userGeneration = load<u64>(slot + SPACE_GENERATION);
  tablesTag = load<u64>(slot + SPACE_TABLES);
  updateContext();
}

/** Forgets all translations of this CPU, those of the jump cache with them. */
export function flushTlb(): void {
  // The list has tags of a generation that ends here: entries that were borrowed again by them would never go back.
  endBorrowing();
  dropLocals();
  forgetSlot();
  fetchedLocally = false;
  setLocalsLost(false);
  if (lastGeneration + 2 * GENERATION_STEP > GENERATION_MAX) {
    lastGeneration = 0;
    memory.fill(tlbBase + TLB_READ, 0, TLB_SPACES);
    memory.fill(tlbBase + TLB_WALKS, 0, L_TLB_END - L_TLB - TLB_WALKS);
    memory.fill(jumpBase, 0, JUMP_ENTRIES * 16);
  }
  memory.fill(tlbBase + TLB_FILTERS, 0, 4 * FILTER_SIZE);
  for (let n: usize = 0; n < SPACES; n++) store<u32>(slotAt(n) + SPACE_PCID, NO_PCID);
  lastGeneration += GENERATION_STEP;
  kernelGeneration = lastGeneration;
  openSlot(slotAt(0), currentPcid());
  enterSlot(slotAt(0));
}

/** Leaves the current space: what the supervisor reached in it goes. False when everything had to go, and is gone. */
function leaveSpace(): bool {
  returnBorrowed();
  dropLocals();
  if (!fetchedLocally && !localsAreLost && lastGeneration < GENERATION_MAX) return true;
  flushTlb();
  return false;
}

/** Forgets the translations of the current space that are not global. */
export function flushSpace(): void {
  if (!leaveSpace()) return;
  openSlot(current, currentPcid());
  enterSlot(current);
}

/** After a load of CR3: `keep`, its bit 63, asks to keep what is known of the space (§4.10.4.1). */
export function switchSpace(keep: bool): void {
  if (!leaveSpace()) return;
  const pcid = currentPcid();
  let slot = current;
  let n: usize = 0;
  while (n < SPACES && load<u32>(slotAt(n) + SPACE_PCID) != pcid) n++;
  if (n < SPACES) slot = slotAt(n);
  else {
    lastTaken = (lastTaken + 1) & (SPACES - 1);
    slot = slotAt(lastTaken);
    keep = false;
  }
  if (!keep) openSlot(slot, pcid);
  enterSlot(slot);
}

/** Forgets the space of a PCID, or (NO_PCID) all but the current one. */
function dropSpaces(pcid: u32): void {
  for (let n: usize = 0; n < SPACES; n++) {
    const slot = slotAt(n);
    if (slot == current) continue;
    if (pcid == NO_PCID || load<u32>(slot + SPACE_PCID) == pcid) store<u32>(slot + SPACE_PCID, NO_PCID);
  }
}

/** Forgets what is not global of one PCID. */
export function flushPcid(pcid: u32): void {
  if (pcid == currentPcid()) flushSpace();
  else dropSpaces(pcid);
}

/** Forgets what is not global of all PCIDs. */
export function flushSpaces(): void {
  dropSpaces(NO_PCID);
  flushSpace();
}

/** Forgets one page of a PCID, in a TLB that need not keep other pages of a space that is not current. */
export function flushPageOf(pcid: u32, lin: u64): void {
  if (pcid == currentPcid()) flushPage(lin);
  else dropSpaces(pcid);
}

@inline
function clearEntry(half: usize, lin: u64): void {
  const entry = entryOf(half, lin);
  if ((load<u64>(entry) & ~0xfff) == (lin & ~0xfff)) store<u64>(entry, 0);
}

/**
 * Forgets the translation of one page, global or not, all paging-structure entries of the space, and what lies in the jump
 * cache when code was fetched from the page. The parts of a large page go together (SDM vol. 3 §4.10.4.1).
 */
export function flushPage(lin: u64): void {
  const shared = sharedFilter(lin);
  if (isLarge(shared + SHARED_LARGE, lin) || inFilter(shared, <u32>(lin >> 12))) {
    flushTlb();
    return;
  }
  tablesTag = ++lastTables;
  store<u64>(current + SPACE_TABLES, tablesTag);
  clearEntry(TLB_READ, lin);
  clearEntry(TLB_WRITE, lin);
  clearEntry(TLB_FETCH, lin);
  forgetWalks(lin);
  if (isLarge(current + SPACE_LARGE, lin) || inFilter(current + SPACE_FETCHED, <u32>(lin >> 12))) flushSpace();
}

/** Forgets everything, whatever generation: for the host, after the memory map or the state was replaced. */
export function resetTlb(): void {
  lastGeneration = GENERATION_MAX;
  flushTlb();
}
