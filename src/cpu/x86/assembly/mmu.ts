/**
 * Guest memory by linear address: the fast paths of the helpers, and the slow paths that interpreter and translator
 * call when their own look-up misses. See docs/interpreter.md, "Memory".
 */
import { noteFetched } from './address-spaces';
import { codeWritten, isCodePage } from './code-pages';
import { noteAccess, watchesPage } from './debug';
import { STATE, mmio_read, mmio_write } from './env';
import { AC, GP, PF_I, PF_U, PF_W, faulted, gp0, isOfAddress, notCanonical, raiseCode, ss0 } from './faults';
import {
  R_SEG,
  SEG_SS,
  S_BOUNCE,
  S_CPL,
  S_EXC_VECTOR,
  S_MODE_KEY,
  S_SYSTEM_BUFFER,
  TLB_READ,
  TLB_WRITE,
} from './generated/layout';
import { ACCESS_IMPLICIT, IS_DIRTY, IS_GLOBAL, NO_PAGE, permits, translate, walked } from './paging';
import {
  CLASS_SLOW,
  fillFetch,
  fillSystem,
  fillTlb,
  isFree,
  physToHost,
  probe,
  probeAs,
  probeFetch,
  slotReadOnly,
  tlbClass,
} from './tlb';

/** Guest-physical address of the page that hostOf translated last. */
let physical: u64 = 0;

/** A page of ones: what is fetched where no memory is. Executing from devices is not modelled. */
const ONES: usize = memory.data(8192);
let onesReady: bool = false;

/** Cuts a linear address to what the mode has; in 64-bit mode, whether `size` bytes there are canonical. */
@inline
function linearOf(va: u64): u64 {
  return (load<u32>(STATE + S_MODE_KEY) & 3) == 2 ? va : va & 0xffff_ffff;
}

@inline
export function isCanonical(va: u64): bool {
  return <u64>(((<i64>va) << 16) >> 16) == va;
}

@inline
function userBit(): i32 {
  return load<u32>(STATE + S_CPL) == 3 ? PF_U : 0;
}

/**
 * Translates for an access within one page and enters it into the TLB where that is allowed. Returns the address in this
 * memory; 0 with an exception pending, or without one for MMIO at `physical`. `direct`: what follows accesses it at once, so
 * a page of code will do.
 */
function hostOf(lin: u64, access: i32): usize {
  const pa = translate(lin, access);
  if (pa == NO_PAGE) return 0;
  physical = pa;
  const host = physToHost(pa);
  if (host == 0) return 0;
  const isWrite = (access & PF_W) != 0;
  if (isWrite && slotReadOnly) return 0;
  if (access & ACCESS_IMPLICIT || tlbClass() == CLASS_SLOW || watchesPage(lin)) return host;
  const page = host & ~0xfff;
  const walk = walked;
  if (!isWrite) fillTlb(TLB_READ, lin, page, walk);
  else if (!isCodePage(page)) fillTlb(TLB_WRITE, lin, page, walk);
  // The other half too, where that costs nobody anything: most pages are both read and written.
  if (isWrite) {
    if (isFree(TLB_READ, lin)) fillTlb(TLB_READ, lin, page, walk);
  } else if (walk & IS_DIRTY && !slotReadOnly && isFree(TLB_WRITE, lin) && !isCodePage(page)) {
    if (permits(walk, access | PF_W)) fillTlb(TLB_WRITE, lin, page, walk);
  }
  return host;
}

/** Counts accesses that went to devices, modulo 2**32. */
export let deviceAccesses: u32 = 0;

function mmioLoad(pa: u64, into: usize, size: i32): void {
  deviceAccesses++;
  while (size > 0) {
    const n = size >= 4 ? 4 : size >= 2 ? 2 : 1;
    const value = mmio_read(<u32>pa, <u32>(pa >> 32), n);
    if (n == 4) store<u32>(into, value);
    else if (n == 2) store<u16>(into, <u16>value);
    else store<u8>(into, <u8>value);
    pa += n;
    into += n;
    size -= n;
  }
}

function mmioStore(pa: u64, from: usize, size: i32): void {
  deviceAccesses++;
  while (size > 0) {
    const n = size >= 4 ? 4 : size >= 2 ? 2 : 1;
    const value: u32 = n == 4 ? load<u32>(from) : n == 2 ? <u32>load<u16>(from) : <u32>load<u8>(from);
    mmio_write(<u32>pa, <u32>(pa >> 32), n, value);
    pa += n;
    from += n;
    size -= n;
  }
}

/** Copies to a place in a page that hostOf returned for writing (0: MMIO at `pa`). */
@inline
function put(host: usize, pa: u64, from: usize, size: i32): void {
  if (host == 0) {
    mmioStore(pa, from, size);
    return;
  }
  // One store where the architecture promises that other processors see no part of it.
  if (size == 4) store<u32>(host, load<u32>(from));
  else if (size == 8) store<u64>(host, load<u64>(from));
  else if (size == 2) store<u16>(host, load<u16>(from));
  else if (size == 1) store<u8>(host, load<u8>(from));
  else memory.copy(host, from, size);
  if (isCodePage(host & ~0xfff)) codeWritten(host, size);
}

/** What an operand of `size` bytes is aligned to, SDM vol. 3 table 6-7; those of 16 bytes and more see to it themselves. */
function alignmentOf(size: i32): i32 {
  if (!(size & (size - 1))) return size <= 8 ? size : 1;
  // 80 bits; the x87's environment and state by operand size.
  if (size == 10) return 8;
  return size == 28 || size == 108 ? 4 : size == 14 || size == 94 ? 2 : 1;
}

/** Whether an operand is aligned, where EFLAGS.AC asks for it; else #AC(0) is pending. */
@inline
export function checkAlignment(lin: u64, size: i32): bool {
  if (tlbClass() == CLASS_SLOW && <i32>lin & (alignmentOf(size) - 1)) {
    raiseCode(AC, 0);
    return false;
  }
  return true;
}

/** Checks an access that missed, before translation: canonical, and aligned where EFLAGS.AC asks for it. */
@inline
function check(lin: u64, size: i32): bool {
  if (!isCanonical(lin) || !isCanonical(lin + size - 1)) {
    notCanonical();
    return false;
  }
  return checkAlignment(lin, size);
}

/** Bytes of an access of `size` at `lin` that lie in its first page. */
@inline
function firstPart(lin: u64, size: i32): i32 {
  const room = 4096 - (<i32>lin & 0xfff);
  return room < size ? room : size;
}

/** See docs/interpreter.md. */
export function load_slow(va: u64, size: i32): usize {
  const lin = linearOf(va);
  return check(lin, size) ? loadChecked(lin, size) : 0;
}

/** The same for an address that has passed the checks before translation. */
function loadChecked(lin: u64, size: i32): usize {
  const user = userBit();
  const part = firstPart(lin, size);
  const host = hostOf(lin, user);
  if (host == 0 && faulted()) return 0;
  if (part == size) {
    noteAccess(lin, size, false);
    if (host) return host;
    mmioLoad(physical, STATE + S_BOUNCE, size);
    return STATE + S_BOUNCE;
  }
  const pa = physical;
  const host2 = hostOf(linearOf(lin + part), user);
  if (host2 == 0 && faulted()) return 0;
  const pa2 = physical;
  noteAccess(lin, size, false);
  if (host) memory.copy(STATE + S_BOUNCE, host, part);
  else mmioLoad(pa, STATE + S_BOUNCE, part);
  if (host2) memory.copy(STATE + S_BOUNCE + part, host2, size - part);
  else mmioLoad(pa2, STATE + S_BOUNCE + part, size - part);
  return STATE + S_BOUNCE;
}

/** Stores `size` bytes from `from` at `va`, all or none. */
function storeFrom(va: u64, from: usize, size: i32): bool {
  const lin = linearOf(va);
  if (!check(lin, size)) return false;
  const access = userBit() | PF_W;
  const part = firstPart(lin, size);
  const host = hostOf(lin, access);
  if (host == 0 && faulted()) return false;
  const pa = physical;
  if (part == size) {
    noteAccess(lin, size, true);
    put(host, pa, from, size);
    return true;
  }
  const host2 = hostOf(linearOf(lin + part), access);
  if (host2 == 0 && faulted()) return false;
  const pa2 = physical;
  noteAccess(lin, size, true);
  put(host, pa, from, part);
  put(host2, pa2, from + part, size - part);
  return true;
}

/** See docs/interpreter.md. */
export function store_slow(va: u64, size: i32): i32 {
  return storeFrom(va, STATE + S_BOUNCE, size);
}

// The read-modify-write in the bounce buffer: where its parts go. It never outlives an instruction.
let rmwHost: usize = 0;
let rmwHost2: usize = 0;
let rmwPa: u64 = 0;
let rmwPa2: u64 = 0;
let rmwSize: i32 = 0;
let rmwPart: i32 = 0;

/** See docs/interpreter.md. */
export function rmw_slow(va: u64, size: i32): usize {
  const lin = linearOf(va);
  // Helpers come here without having looked.
  const hit = probe(TLB_WRITE, lin, size);
  if (hit) return hit;
  if (!check(lin, size)) return 0;
  const access = userBit() | PF_W;
  const part = firstPart(lin, size);
  const host = hostOf(lin, access);
  if (host == 0 && faulted()) return 0;
  rmwHost = host;
  rmwPa = physical;
  rmwSize = size;
  rmwPart = part;
  if (part == size) {
    noteAccess(lin, size, true);
    if (host && !isCodePage(host & ~0xfff)) return host;
  } else {
    rmwHost2 = hostOf(linearOf(lin + part), access);
    if (rmwHost2 == 0 && faulted()) return 0;
    rmwPa2 = physical;
    noteAccess(lin, size, true);
    if (rmwHost2) memory.copy(STATE + S_BOUNCE + part, rmwHost2, size - part);
    else mmioLoadForWrite(rmwPa2, STATE + S_BOUNCE + part, size - part);
  }
  if (host) memory.copy(STATE + S_BOUNCE, host, part);
  else mmioLoadForWrite(rmwPa, STATE + S_BOUNCE, part);
  return STATE + S_BOUNCE;
}

/** Reads what a write will go to: ROM is read as memory though it is written as a device. */
function mmioLoadForWrite(pa: u64, into: usize, size: i32): void {
  const host = physToHost(pa);
  if (host) memory.copy(into, host, size);
  else mmioLoad(pa, into, size);
}

/** See docs/interpreter.md. */
export function rmw_commit(): i32 {
  put(rmwHost, rmwPa, STATE + S_BOUNCE, rmwPart);
  if (rmwPart != rmwSize) put(rmwHost2, rmwPa2, STATE + S_BOUNCE + rmwPart, rmwSize - rmwPart);
  return 1;
}

// -------------------------------------------------------------------------- with the current privilege, for helpers

export function ld8(lin: u64): u32 {
  let at = probe(TLB_READ, lin, 1);
  if (!at) {
    at = load_slow(lin, 1);
    if (!at) return 0;
  }
  return load<u8>(at);
}

export function ld16(lin: u64): u32 {
  let at = probe(TLB_READ, lin, 2);
  if (!at) {
    at = load_slow(lin, 2);
    if (!at) return 0;
  }
  return load<u16>(at);
}

export function ld32(lin: u64): u32 {
  let at = probe(TLB_READ, lin, 4);
  if (!at) {
    at = load_slow(lin, 4);
    if (!at) return 0;
  }
  return load<u32>(at);
}

export function ld64(lin: u64): u64 {
  let at = probe(TLB_READ, lin, 8);
  if (!at) {
    at = load_slow(lin, 8);
    if (!at) return 0;
  }
  return load<u64>(at);
}

export function st8(lin: u64, value: u32): bool {
  const at = probe(TLB_WRITE, lin, 1);
  if (at) {
    store<u8>(at, <u8>value);
    return true;
  }
  store<u32>(STATE + S_BOUNCE, value);
  return storeFrom(lin, STATE + S_BOUNCE, 1);
}

export function st16(lin: u64, value: u32): bool {
  const at = probe(TLB_WRITE, lin, 2);
  if (at) {
    store<u16>(at, <u16>value);
    return true;
  }
  store<u32>(STATE + S_BOUNCE, value);
  return storeFrom(lin, STATE + S_BOUNCE, 2);
}

export function st32(lin: u64, value: u32): bool {
  const at = probe(TLB_WRITE, lin, 4);
  if (at) {
    store<u32>(at, value);
    return true;
  }
  store<u32>(STATE + S_BOUNCE, value);
  return storeFrom(lin, STATE + S_BOUNCE, 4);
}

export function st64(lin: u64, value: u64): bool {
  const at = probe(TLB_WRITE, lin, 8);
  if (at) {
    store<u64>(at, value);
    return true;
  }
  store<u64>(STATE + S_BOUNCE, value);
  return storeFrom(lin, STATE + S_BOUNCE, 8);
}

/** Reads at most a page; all or nothing. */
export function ldBytes(lin: u64, into: usize, n: i32): bool {
  const at = probe(TLB_READ, lin, n);
  if (at) {
    memory.copy(into, at, n);
    return true;
  }
  if (n <= 64) {
    const slow = load_slow(lin, n);
    if (!slow) return false;
    memory.copy(into, slow, n);
    return true;
  }
  lin = linearOf(lin);
  if (!check(lin, n)) return false;
  // Long ones (FXSAVE images): both pages are tried before any byte is read.
  const part = firstPart(lin, n);
  if (part < n && (!loadChecked(lin, 1) || !loadChecked(linearOf(lin + part), 1))) return false;
  for (let done = 0; done < n;) {
    const room = firstPart(lin + done, n - done);
    const step = room < 64 ? room : 64;
    const slow = loadChecked(linearOf(lin + done), step);
    if (!slow) return false;
    memory.copy(into + done, slow, step);
    done += step;
  }
  return true;
}

/** Writes at most a page; all or nothing. */
export function stBytes(lin: u64, from: usize, n: i32): bool {
  const at = probe(TLB_WRITE, lin, n);
  if (at) {
    memory.copy(at, from, n);
    return true;
  }
  return storeFrom(lin, from, n);
}

// ------------------------------------------- supervisor accesses whatever the CPL: descriptor tables, TSS, stacks of gates

function sysHost(lin: u64, access: i32): usize {
  const pa = translate(lin, access & PF_U ? access : access | ACCESS_IMPLICIT);
  if (pa == NO_PAGE) return 0;
  physical = pa;
  const host = physToHost(pa);
  if (host == 0 || watchesPage(lin)) return access & PF_W && slotReadOnly ? 0 : host;
  if (!(access & PF_W)) {
    if (!(access & PF_U)) fillSystem(TLB_READ, lin, host & ~0xfff, walked);
    return host;
  }
  if (slotReadOnly) return 0;
  if (!(access & PF_U) && !isCodePage(host & ~0xfff)) fillSystem(TLB_WRITE, lin, host & ~0xfff, walked);
  return host;
}

@inline
function copySmall(to: usize, from: usize, n: i32): void {
  if (n == 8) store<u64>(to, load<u64>(from));
  else if (n == 4) store<u32>(to, load<u32>(from));
  else if (n == 2) store<u16>(to, load<u16>(from));
  else memory.copy(to, from, n);
}

/** `lin` is 64 bits wide in long mode, compatibility mode included; the caller cuts it elsewhere. */
export function sysLdBytes(lin: u64, into: usize, n: i32): bool {
  return loadAs(lin, into, n, 0);
}

export function sysStBytes(lin: u64, from: usize, n: i32): bool {
  return storeAs(lin, from, n, 0);
}

/** Reads with the rights that `access` names: PF_U for user mode, 0 for an implicit supervisor access. */
export function loadAs(lin: u64, into: usize, n: i32, access: i32): bool {
  // `frameProbe` asks for the right to write.
  if (!(access & PF_W)) {
    const hit = probeAs(TLB_READ, lin, n, (access & PF_U) != 0);
    if (hit) {
      copySmall(into, hit, n);
      return true;
    }
  }
  if (!isCanonical(lin) || !isCanonical(lin + n - 1)) {
    gp0();
    return false;
  }
  const part = firstPart(lin, n);
  const host = sysHost(lin, access);
  if (host == 0 && faulted()) return false;
  const pa = physical;
  if (part < n) {
    const host2 = sysHost(lin + part, access);
    if (host2 == 0 && faulted()) return false;
    if (host2) memory.copy(into + part, host2, n - part);
    else mmioLoad(physical, into + part, n - part);
  }
  if (host) memory.copy(into, host, part);
  else mmioLoad(pa, into, part);
  return true;
}

export function storeAs(lin: u64, from: usize, n: i32, access: i32): bool {
  const hit = probeAs(TLB_WRITE, lin, n, (access & PF_U) != 0);
  if (hit) {
    copySmall(hit, from, n);
    return true;
  }
  access |= PF_W;
  if (!isCanonical(lin) || !isCanonical(lin + n - 1)) {
    gp0();
    return false;
  }
  const part = firstPart(lin, n);
  const host = sysHost(lin, access);
  if (host == 0 && faulted()) return false;
  const pa = physical;
  if (part < n) {
    const host2 = sysHost(lin + part, access);
    if (host2 == 0 && faulted()) return false;
    put(host2, physical, from + part, n - part);
  }
  put(host, pa, from, part);
  return true;
}

const sysBuffer: usize = STATE + S_SYSTEM_BUFFER;

export function sysLd8(lin: u64): u32 {
  return sysLdBytes(lin, sysBuffer, 1) ? <u32>load<u8>(sysBuffer) : 0;
}
export function sysLd16(lin: u64): u32 {
  return sysLdBytes(lin, sysBuffer, 2) ? <u32>load<u16>(sysBuffer) : 0;
}
export function sysLd32(lin: u64): u32 {
  return sysLdBytes(lin, sysBuffer, 4) ? load<u32>(sysBuffer) : 0;
}
export function sysLd64(lin: u64): u64 {
  return sysLdBytes(lin, sysBuffer, 8) ? load<u64>(sysBuffer) : 0;
}
export function sysSt8(lin: u64, value: u32): bool {
  store<u32>(sysBuffer, value);
  return sysStBytes(lin, sysBuffer, 1);
}
export function sysSt16(lin: u64, value: u32): bool {
  store<u32>(sysBuffer, value);
  return sysStBytes(lin, sysBuffer, 2);
}
export function sysSt32(lin: u64, value: u32): bool {
  store<u32>(sysBuffer, value);
  return sysStBytes(lin, sysBuffer, 4);
}
export function sysSt64(lin: u64, value: u64): bool {
  store<u64>(sysBuffer, value);
  return sysStBytes(lin, sysBuffer, 8);
}

// ------------------------------------------------------------------------------------------------- instruction fetch

/**
 * The address in this memory of the instruction byte at linear address `lin`, or 0 with an exception pending. The rest
 * of its page follows there. Where there is no memory, a page of ones.
 */
export function fetchTranslate(lin: u64): usize {
  if ((load<u32>(STATE + S_MODE_KEY) & 3) != 2) lin &= 0xffff_ffff;
  const hit = probeFetch(lin);
  if (hit) return hit;
  if (!isCanonical(lin)) {
    gp0();
    return 0;
  }
  const pa = translate(lin, userBit() | PF_I);
  if (pa == NO_PAGE) return 0;
  let host = physToHost(pa);
  if (host == 0) {
    const ones = (ONES + 4095) & ~4095;
    if (!onesReady) {
      memory.fill(ones, 0xff, 4096);
      onesReady = true;
    }
    host = ones + (<usize>pa & 0xfff);
  }
  noteFetched(lin, userBit() != 0, (walked & IS_GLOBAL) != 0);
  fillFetch(lin, host & ~0xfff);
  return host;
}

/** After a helper has faulted: the #GP(0) of a non-canonical operand becomes #SS(0) when the operand is in SS. */
export function blame_segment(rec: usize, ea: u64): void {
  if (load<i32>(STATE + S_EXC_VECTOR) == GP && isOfAddress() && load<u8>(rec + R_SEG) == <u8>SEG_SS) ss0();
}
