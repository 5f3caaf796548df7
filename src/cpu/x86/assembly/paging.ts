/** Page walks, SDM vol. 3 chapter 4: none, 2-level, PAE and 4-level paging. */
import { STATE, mmio_read } from './env';
import { PF_I, PF_P, PF_RSVD, PF_U, PF_W, raisePageFault } from './faults';
import {
  S_A20_MASK,
  S_CPU_CAPS,
  S_CR0,
  S_CR3,
  S_CR4,
  S_EFER,
  S_EFLAGS,
  S_PDPTE,
  S_PHYS_MASK,
} from './generated/layout';
import { noteLarge } from './address-spaces';
import { physToHost, slotReadOnly } from './tlb';
import { findPde, findWalk, notePde, noteWalk } from './walk-cache';

export const CR0_WP: u64 = 1 << 16;
export const CR0_PG: u64 = 1 << 31;
export const CR4_PSE: u64 = 1 << 4;
export const CR4_PAE: u64 = 1 << 5;
export const CR4_PGE: u64 = 1 << 7;
export const CR4_PCIDE: u64 = 1 << 17;
export const CR4_SMEP: u64 = 1 << 20;
export const CR4_SMAP: u64 = 1 << 21;
export const EFER_LME: u64 = 1 << 8;
export const EFER_LMA: u64 = 1 << 10;
export const EFER_NXE: u64 = 1 << 11;

/** What an access is: bits of the page-fault error code (W, U, I), and whether it is an implicit supervisor access. */
export const ACCESS_IMPLICIT: i32 = 1 << 8;

/** What translation returns for a fault. */
export const NO_PAGE: u64 = ~0;

// A finished walk: the physical page in bits 51:12 and what all levels together allow.
export const MAY_WRITE: u64 = 1 << 1;
export const MAY_USER: u64 = 1 << 2;
const NO_EXEC: u64 = 1 << 3;
export const IS_DIRTY: u64 = 1 << 6;
/** The page is larger than 4 KiB; it is 1 GiB. */
const IS_LARGE: u64 = 1 << 7;
const IS_HUGE: u64 = 1 << 9;
/** Loads of CR3 leave it alone. */
export const IS_GLOBAL: u64 = 1 << 8;
const PRESENT: u64 = 1;
/** Without paging: whatever is accessed, by whom, is there. What depends on CR0.PG goes with it. */
const UNPAGED: u64 = PRESENT | MAY_WRITE | IS_DIRTY | IS_GLOBAL;

const NX_BIT: u64 = 1 << 63;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const PAGE_SIZE_BIT: u64 = 1 << 7;
const GLOBAL_BIT: u64 = 1 << 8;

/** Bits 51:12. */
const FRAME: u64 = 0x000f_ffff_ffff_f000;

/**
 * Where accesses of the CPU to guest-physical memory, page tables included, are translated once more when the CPU runs
 * a guest of its own. Identity without one.
 */
@inline
export function secondStage(pa: u64, access: i32): u64 {
  return pa;
}

/** Reads a paging-structure entry. What is not memory reads as the bus answers. */
function readEntry(pa: u64, wide: bool): u64 {
  pa = secondStage(pa & load<u64>(STATE + S_A20_MASK), 0);
  const host = physToHost(pa);
  if (host) return wide ? atomic.load<u64>(host) : <u64>atomic.load<u32>(host);
  const low = <u64>mmio_read(<u32>pa, <u32>(pa >> 32), 4);
  return wide ? low | ((<u64>mmio_read(<u32>pa + 4, <u32>(pa >> 32), 4)) << 32) : low;
}

/** Sets accessed or dirty in an entry that still is what was read; false when it has changed and the walk must start again. */
function markEntry(pa: u64, wide: bool, entry: u64, bits: u64): bool {
  if ((entry & bits) == bits) return true;
  pa = secondStage(pa & load<u64>(STATE + S_A20_MASK), PF_W);
  const host = physToHost(pa);
  if (host == 0 || slotReadOnly) return true;
  if (wide) return atomic.cmpxchg<u64>(host, entry, entry | bits) == entry;
  return atomic.cmpxchg<u32>(host, <u32>entry, <u32>(entry | bits)) == <u32>entry;
}

/** Whether a finished walk permits an access. SDM vol. 3 §4.6. */
export function permits(walk: u64, access: i32): bool {
  if (access & PF_U) {
    if (!(walk & MAY_USER)) return false;
    if (access & PF_W) return (walk & MAY_WRITE) != 0;
    return !(access & PF_I) || !(walk & NO_EXEC);
  }
  if (access & PF_I) {
    if (walk & NO_EXEC) return false;
    return !(walk & MAY_USER) || !(load<u64>(STATE + S_CR4) & CR4_SMEP);
  }
  if (walk & MAY_USER && load<u64>(STATE + S_CR4) & CR4_SMAP) {
    // AC lifts SMAP for explicit accesses only.
    if (access & ACCESS_IMPLICIT || !(load<u32>(STATE + S_EFLAGS) & (1 << 18))) return false;
  }
  return !(access & PF_W) || (walk & MAY_WRITE) != 0 || !(load<u64>(STATE + S_CR0) & CR0_WP);
}

/** Raises the page fault of an access; bit I is reported only where instruction fetches are told apart. */
function pageFault(lin: u64, access: i32, code: i32): u64 {
  code |= access & (PF_W | PF_U);
  if (access & PF_I) {
    const cr4 = load<u64>(STATE + S_CR4);
    if (cr4 & CR4_SMEP || (cr4 & CR4_PAE && load<u64>(STATE + S_EFER) & EFER_NXE)) code |= PF_I;
  }
  raisePageFault(lin, code);
  return NO_PAGE;
}

/** What a leaf entry adds to the finished walk, once `bits` (accessed, dirty) are set in it. */
@inline
function ofLeaf(entry: u64, bits: u64): u64 {
  const walk = (entry | bits) & IS_DIRTY;
  return entry & GLOBAL_BIT && load<u64>(STATE + S_CR4) & CR4_PGE ? walk | IS_GLOBAL : walk;
}

@inline
function leafBits(access: i32): u64 {
  return access & PF_W ? ACCESSED | DIRTY : ACCESSED;
}

/** What the walk that ended in a page table has to say of the level above: the table, and the rights so far. */
let pageTable: u64 = 0;

/** One walk and its permission check: the finished walk, NO_PAGE for a fault, 0 when it must start again. */
function walk32(lin: u64, access: i32): u64 {
  const cr4 = load<u64>(STATE + S_CR4);
  const pdeAt = (load<u64>(STATE + S_CR3) & 0xffff_f000) + ((lin >> 20) & 0xffc);
  const pde = readEntry(pdeAt, false);
  if (!(pde & PRESENT)) return pageFault(lin, access, 0);
  let walk = PRESENT | (pde & (MAY_WRITE | MAY_USER));
  if (pde & PAGE_SIZE_BIT && cr4 & CR4_PSE) {
    // PSE-36: bits 20:13 are bits 39:32 of the address, as far as there are so many; the rest is reserved.
    const high = (load<u64>(STATE + S_PHYS_MASK) >> 32) & 0xff;
    if ((pde >> 13) & 0x1ff & ~high) return pageFault(lin, access, PF_P | PF_RSVD);
    walk |= (pde & 0xffc0_0000) | (((pde >> 13) & high) << 32) | (lin & 0x3f_f000);
    if (!permits(walk, access)) return pageFault(lin, access, PF_P);
    if (!markEntry(pdeAt, false, pde, leafBits(access))) return 0;
    return walk | IS_LARGE | ofLeaf(pde, leafBits(access));
  }
  pageTable = walk | (pde & 0xffff_f000);
  const pteAt = (pde & 0xffff_f000) + ((lin >> 10) & 0xffc);
  const pte = readEntry(pteAt, false);
  if (!(pte & PRESENT)) return pageFault(lin, access, 0);
  walk = PRESENT | (pde & pte & (MAY_WRITE | MAY_USER)) | (pte & 0xffff_f000);
  if (!permits(walk, access)) return pageFault(lin, access, PF_P);
  if (!markEntry(pdeAt, false, pde, ACCESSED)) return 0;
  if (!markEntry(pteAt, false, pte, leafBits(access))) return 0;
  return walk | ofLeaf(pte, leafBits(access));
}

/** Bits that must be 0 in every 64-bit entry: above MAXPHYADDR, and XD without EFER.NXE. `pae`: 62:52 are reserved too. */
@inline
function reservedBits(pae: bool): u64 {
  let reserved = FRAME & ~load<u64>(STATE + S_PHYS_MASK);
  if (!(load<u64>(STATE + S_EFER) & EFER_NXE)) reserved |= NX_BIT;
  if (pae) reserved |= 0x7ff0_0000_0000_0000;
  return reserved;
}

/** The last two levels, which PAE and 4-level paging share. `above`: permissions so far. */
function walkTail(lin: u64, access: i32, table: u64, above: u64, reserved: u64): u64 {
  const pdeAt = table + ((lin >> 18) & 0xff8);
  const pde = readEntry(pdeAt, true);
  if (!(pde & PRESENT)) return pageFault(lin, access, 0);
  if (pde & reserved) return pageFault(lin, access, PF_P | PF_RSVD);
  let walk = (above & pde & (MAY_WRITE | MAY_USER)) | ((above | (pde >> 60)) & NO_EXEC) | PRESENT;
  if (pde & PAGE_SIZE_BIT) {
    if (pde & 0x1f_e000) return pageFault(lin, access, PF_P | PF_RSVD);
    walk |= (pde & FRAME & ~0x1f_ffff) | (lin & 0x1f_f000);
    if (!permits(walk, access)) return pageFault(lin, access, PF_P);
    if (!markEntry(pdeAt, true, pde, leafBits(access))) return 0;
    return walk | IS_LARGE | ofLeaf(pde, leafBits(access));
  }
  pageTable = walk | (pde & FRAME);
  const pteAt = (pde & FRAME) + ((lin >> 9) & 0xff8);
  const pte = readEntry(pteAt, true);
  if (!(pte & PRESENT)) return pageFault(lin, access, 0);
  if (pte & reserved) return pageFault(lin, access, PF_P | PF_RSVD);
  walk = (walk & pte & (MAY_WRITE | MAY_USER)) | ((walk | (pte >> 60)) & NO_EXEC) | PRESENT | (pte & FRAME);
  if (!permits(walk, access)) return pageFault(lin, access, PF_P);
  if (!markEntry(pdeAt, true, pde, ACCESSED)) return 0;
  if (!markEntry(pteAt, true, pte, leafBits(access))) return 0;
  return walk | ofLeaf(pte, leafBits(access));
}

function walkPae(lin: u64, access: i32): u64 {
  // The four pointers were checked and loaded with CR3, §4.4.1.
  const pdpte = load<u64>(STATE + S_PDPTE + (<usize>(lin >> 27) & 0x18));
  if (!(pdpte & PRESENT)) return pageFault(lin, access, 0);
  return walkTail(lin, access, pdpte & FRAME, MAY_WRITE | MAY_USER, reservedBits(true));
}

function walk4(lin: u64, access: i32): u64 {
  const reserved = reservedBits(false);
  const pml4eAt = (load<u64>(STATE + S_CR3) & FRAME) + ((lin >> 36) & 0xff8);
  const pml4e = readEntry(pml4eAt, true);
  if (!(pml4e & PRESENT)) return pageFault(lin, access, 0);
  if (pml4e & (reserved | PAGE_SIZE_BIT)) return pageFault(lin, access, PF_P | PF_RSVD);
  const pdpteAt = (pml4e & FRAME) + ((lin >> 27) & 0xff8);
  const pdpte = readEntry(pdpteAt, true);
  if (!(pdpte & PRESENT)) return pageFault(lin, access, 0);
  if (pdpte & reserved) return pageFault(lin, access, PF_P | PF_RSVD);
  const above = (pml4e & pdpte & (MAY_WRITE | MAY_USER)) | (((pml4e | pdpte) >> 60) & NO_EXEC);
  if (pdpte & PAGE_SIZE_BIT) {
    if (!(load<u32>(STATE + S_CPU_CAPS) & 1) || pdpte & 0x3fff_e000) return pageFault(lin, access, PF_P | PF_RSVD);
    const walk = above | PRESENT | (pdpte & FRAME & ~0x3fff_ffff) | (lin & 0x3fff_f000);
    if (!permits(walk, access)) return pageFault(lin, access, PF_P);
    if (!markEntry(pml4eAt, true, pml4e, ACCESSED)) return 0;
    if (!markEntry(pdpteAt, true, pdpte, leafBits(access))) return 0;
    return walk | IS_LARGE | IS_HUGE | ofLeaf(pdpte, leafBits(access));
  }
  const walk = walkTail(lin, access, pdpte & FRAME, above, reserved);
  if (walk == NO_PAGE || walk == 0) return walk;
  if (!markEntry(pml4eAt, true, pml4e, ACCESSED)) return 0;
  if (!markEntry(pdpteAt, true, pdpte, ACCESSED)) return 0;
  return walk;
}

/** The last level alone, where the page table is remembered; 0: that is not enough, or would be a fault. */
function walkLast(lin: u64, access: i32): u64 {
  const above = findPde(lin);
  if (above == 0) return 0;
  const wide = (load<u64>(STATE + S_CR4) & CR4_PAE) != 0;
  const pteAt = (above & FRAME) + (wide ? (lin >> 9) & 0xff8 : (lin >> 10) & 0xffc);
  const pte = readEntry(pteAt, wide);
  if (!(pte & PRESENT)) return 0;
  let walk = PRESENT | (above & pte & (MAY_WRITE | MAY_USER));
  if (wide) {
    if (pte & reservedBits(!(load<u64>(STATE + S_EFER) & EFER_LMA))) return 0;
    walk |= (pte & FRAME) | ((above | (pte >> 60)) & NO_EXEC);
  } else walk |= pte & 0xffff_f000;
  if (!permits(walk, access) || !markEntry(pteAt, wide, pte, leafBits(access))) return 0;
  return walk | ofLeaf(pte, leafBits(access));
}

/** Walks all levels: the finished walk, or NO_PAGE with a page fault pending. */
function walkAll(lin: u64, access: i32): u64 {
  let walk: u64;
  do {
    pageTable = 0;
    if (load<u64>(STATE + S_EFER) & EFER_LMA) walk = walk4(lin, access);
    else if (load<u64>(STATE + S_CR4) & CR4_PAE) walk = walkPae(lin, access);
    else walk = walk32(lin, access);
  } while (walk == 0);
  if (walk == NO_PAGE) return NO_PAGE;
  if (walk & IS_LARGE) {
    const isGlobal = (walk & IS_GLOBAL) != 0;
    noteLarge(lin, isGlobal, (walk & IS_HUGE) != 0);
    // It may be one of 4 MiB.
    if (!(load<u64>(STATE + S_CR4) & CR4_PAE)) noteLarge(lin ^ 0x20_0000, isGlobal, false);
  } else notePde(lin, pageTable);
  return walk;
}

/** The finished walk of what was translated last. */
export let walked: u64 = 0;

/**
 * Translates a linear address (canonical; already cut to 32 bits outside 64-bit mode) for an access: the guest-physical
 * address, or NO_PAGE with a page fault pending.
 */
export function translate(lin: u64, access: i32): u64 {
  if (!(load<u64>(STATE + S_CR0) & CR0_PG)) {
    walked = UNPAGED;
    return lin & load<u64>(STATE + S_A20_MASK);
  }
  let walk = findWalk(lin);
  if (walk == 0 || !permits(walk, access) || (access & PF_W && !(walk & IS_DIRTY))) {
    // What is remembered may be stale and deny too much: the architecture walks again, all levels, before it faults.
    walk = walkLast(lin, access);
    if (walk == 0) walk = walkAll(lin, access);
    if (walk == NO_PAGE) return NO_PAGE;
    noteWalk(lin, walk, (walk & IS_GLOBAL) != 0);
  }
  walked = walk;
  return secondStage(((walk & FRAME) | (lin & 0xfff)) & load<u64>(STATE + S_A20_MASK), access);
}

/** Translates without side effects and whatever the privilege, for debuggers: guest-physical, or NO_PAGE. */
export function peekTranslate(lin: u64): u64 {
  if (!(load<u64>(STATE + S_CR0) & CR0_PG)) return lin & load<u64>(STATE + S_A20_MASK);
  let table = load<u64>(STATE + S_CR3) & FRAME;
  let shift: u64 = 39;
  if (!(load<u64>(STATE + S_CR4) & CR4_PAE)) {
    const pde = readEntry((table & 0xffff_f000) + ((lin >> 20) & 0xffc), false);
    if (!(pde & PRESENT)) return NO_PAGE;
    if (pde & PAGE_SIZE_BIT && load<u64>(STATE + S_CR4) & CR4_PSE)
      return (pde & 0xffc0_0000) | (((pde >> 13) & 0xff) << 32) | (lin & 0x3f_ffff);
    const pte = readEntry((pde & 0xffff_f000) + ((lin >> 10) & 0xffc), false);
    return pte & PRESENT ? (pte & 0xffff_f000) | (lin & 0xfff) : NO_PAGE;
  }
  if (!(load<u64>(STATE + S_EFER) & EFER_LMA)) {
    const pdpte = load<u64>(STATE + S_PDPTE + (<usize>(lin >> 27) & 0x18));
    if (!(pdpte & PRESENT)) return NO_PAGE;
    table = pdpte & FRAME;
    shift = 21;
  }
  for (; ; shift -= 9) {
    const entry = readEntry(table + ((lin >> (shift - 3)) & 0xff8), true);
    if (!(entry & PRESENT)) return NO_PAGE;
    const offset: u64 = ((<u64>1) << shift) - 1;
    if (shift == 12 || (shift < 39 && entry & PAGE_SIZE_BIT)) return (entry & FRAME & ~offset) | (lin & offset);
    table = entry & FRAME;
  }
  return NO_PAGE;
}
