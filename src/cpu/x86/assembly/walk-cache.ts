/**
 * Page walks that are remembered, whatever the privilege class that asked: finished ones, which make a miss cheap that only a
 * change of class or a conflict in the TLB brought about, and page-directory entries, after which one level is left.
 */
import { kernelGeneration, tablesTag, userGeneration } from './address-spaces';
import { TLB_PDES, TLB_WALKS, tlbBase } from './tlb';

/** Sets of finished walks, two in each: u64 page | generation, u64 value. */
const WALK_SETS: u64 = 4096;
/** Page-directory entries: u64 tag, u64 value. */
const PDES: u64 = 256;

@inline
function setOf(lin: u64, generation: u64): usize {
  const set = ((lin >> 12) ^ ((generation >> 3) * 83)) & (WALK_SETS - 1);
  return tlbBase + TLB_WALKS + ((<usize>set) << 5);
}

/** A finished walk of the page of `lin`, or 0. Never 0 for a finished one: the permissions are in the low bits. */
export function findWalk(lin: u64): u64 {
  const page = lin & ~0xfff;
  let set = setOf(lin, userGeneration);
  let tag = page | userGeneration;
  if (load<u64>(set) == tag) return load<u64>(set, 8);
  if (load<u64>(set, 16) == tag) return load<u64>(set, 24);
  set = setOf(lin, kernelGeneration);
  tag = page | kernelGeneration;
  if (load<u64>(set) == tag) return load<u64>(set, 8);
  if (load<u64>(set, 16) == tag) return load<u64>(set, 24);
  return 0;
}

/** Remembers a finished walk of a page that is global or of the current space. */
export function noteWalk(lin: u64, value: u64, isGlobal: bool): void {
  const generation = isGlobal ? kernelGeneration : userGeneration;
  const set = setOf(lin, generation);
  const tag = (lin & ~0xfff) | generation;
  if (load<u64>(set) != tag) {
    store<u64>(set, load<u64>(set), 16);
    store<u64>(set, load<u64>(set, 8), 24);
    store<u64>(set, tag);
  }
  store<u64>(set, value, 8);
}

@inline
function forget(lin: u64, generation: u64): void {
  const set = setOf(lin, generation);
  const tag = (lin & ~0xfff) | generation;
  if (load<u64>(set) == tag) store<u64>(set, 0);
  if (load<u64>(set, 16) == tag) store<u64>(set, 0, 16);
}

/** Forgets the finished walks of a page. */
export function forgetWalks(lin: u64): void {
  forget(lin, userGeneration);
  forget(lin, kernelGeneration);
}

@inline
function pdeOf(lin: u64): usize {
  return tlbBase + TLB_PDES + ((<usize>((lin >> 21) ^ (lin >> 29) ^ (tablesTag * 11)) & (<usize>PDES - 1)) << 4);
}

/** Bits 47:21 and the space: its tags never come again. */
@inline
function pdeTag(lin: u64): u64 {
  return ((lin >> 21) & 0x7ff_ffff) | (tablesTag << 27);
}

/** The page table of the 2 MiB at `lin` and the rights down to it, or 0. */
@inline
export function findPde(lin: u64): u64 {
  const entry = pdeOf(lin);
  return load<u64>(entry) == pdeTag(lin) ? load<u64>(entry, 8) : 0;
}

@inline
export function notePde(lin: u64, value: u64): void {
  const entry = pdeOf(lin);
  store<u64>(entry, pdeTag(lin));
  store<u64>(entry, value, 8);
}
