/**
 * Data breakpoints of the debug registers (SDM vol. 3 §17.2) and watchpoints of a debugger. A page that holds one never enters
 * the TLB, so accesses to it come here. DEBUG_FLAGS: see below.
 */
import { STATE } from './env';
import {
  ATTN_CPU,
  S_ATTN,
  S_CR4,
  S_DEBUG_FLAGS,
  S_DR,
  S_DR6_PENDING,
  S_WATCH_ADDR,
  S_WATCH_HIT,
  S_WATCH_KIND,
} from './generated/layout';
import { CR4_DE } from './registers';

/** DEBUG_FLAGS: the conditions of DR6_PENDING are due as a trap after this instruction. */
export const DEBUG_TRAP: u32 = 1;
/** DEBUG_FLAGS: some data breakpoint or watchpoint is armed. */
export const DEBUG_DATA: u32 = 2;
/** DEBUG_FLAGS: some instruction breakpoint is armed. */
export const DEBUG_CODE: u32 = 4;
/** DEBUG_FLAGS: some I/O breakpoint is armed. */
export const DEBUG_IO: u32 = 8;
/** DEBUG_FLAGS: TF was set when the instruction began. */
export const DEBUG_STEP: u32 = 16;
/** DEBUG_FLAGS: RF was set by the instruction that just ended (IRET), and holds for the next. */
export const DEBUG_RF: u32 = 32;

const LENGTHS: u32 = 0x4821; // by LEN: 1, 2, 8, 4 bytes, a nibble each

@inline
function lengthOf(dr7: u32, n: u32): u64 {
  return (LENGTHS >> (((dr7 >> (18 + n * 4)) & 3) * 4)) & 15;
}

@inline
function kindOf(dr7: u32, n: u32): u32 {
  return (dr7 >> (16 + n * 4)) & 3;
}

/** Whether the page of `lin` must stay out of the TLB because something in it is watched. */
export function watchesPage(lin: u64): bool {
  if (!(load<u32>(STATE + S_DEBUG_FLAGS) & DEBUG_DATA)) return false;
  const page = lin & ~0xfff;
  const dr7 = <u32>load<u64>(STATE + S_DR + 56);
  for (let n: u32 = 0; n < 4; n++) {
    if ((dr7 >> (n * 2)) & 3 && kindOf(dr7, n) & 1 && (load<u64>(STATE + S_DR + n * 8) & ~0xfff) == page) return true;
  }
  for (let n: usize = 0; n < 8; n++) {
    const kind = load<u32>(STATE + S_WATCH_KIND + n * 4);
    if (kind == 0) continue;
    const first = load<u64>(STATE + S_WATCH_ADDR + n * 8);
    if ((first & ~0xfff) == page || ((first + (kind & 0xff) - 1) & ~0xfff) == page) return true;
  }
  return false;
}

/** Notes the breakpoints and watchpoints that an access meets; the trap comes after the instruction. */
export function noteAccess(lin: u64, size: u64, isWrite: bool): void {
  if (!(load<u32>(STATE + S_DEBUG_FLAGS) & DEBUG_DATA)) return;
  const dr7 = <u32>load<u64>(STATE + S_DR + 56);
  let hits: u64 = 0;
  let armed = false;
  for (let n: u32 = 0; n < 4; n++) {
    const kind = kindOf(dr7, n);
    if (!(kind & 1) || (kind == 1 && !isWrite)) continue;
    const length = lengthOf(dr7, n);
    const first = load<u64>(STATE + S_DR + n * 8) & ~(length - 1);
    if (lin < first + length && first < lin + size) {
      hits |= 1 << n;
      if ((dr7 >> (n * 2)) & 3) armed = true;
    }
  }
  if (armed) pendTrap(hits);
  for (let n: usize = 0; n < 8; n++) {
    const kind = load<u32>(STATE + S_WATCH_KIND + n * 4);
    if (kind == 0 || (!isWrite && !(kind & 0x100))) continue;
    const first = load<u64>(STATE + S_WATCH_ADDR + n * 8);
    if (lin < first + (kind & 0xff) && first < lin + size && load<u32>(STATE + S_WATCH_HIT) == 0) {
      store<u32>(STATE + S_WATCH_HIT, (<u32>n + 1) | (isWrite ? 0x100 : 0));
      atomic.or<u32>(STATE + S_ATTN, ATTN_CPU);
    }
  }
}

/** Marks debug conditions (bits of DR6) that trap after the current instruction. */
export function pendTrap(bits: u64): void {
  store<u64>(STATE + S_DR6_PENDING, load<u64>(STATE + S_DR6_PENDING) | bits);
  store<u32>(STATE + S_DEBUG_FLAGS, load<u32>(STATE + S_DEBUG_FLAGS) | DEBUG_TRAP);
  atomic.or<u32>(STATE + S_ATTN, ATTN_CPU);
}

/** Enters the conditions that wait for their trap into DR6; the caller delivers #DB. */
export function takePending(): void {
  const flags = load<u32>(STATE + S_DEBUG_FLAGS);
  if (!(flags & DEBUG_TRAP)) return;
  const dr6 = STATE + S_DR + 48;
  store<u64>(dr6, (load<u64>(dr6) & ~0xf) | load<u64>(STATE + S_DR6_PENDING));
  store<u64>(STATE + S_DR6_PENDING, 0);
  store<u32>(STATE + S_DEBUG_FLAGS, flags & ~DEBUG_TRAP);
}

/** Notes the I/O breakpoints that an access to `size` ports meets. */
export function noteIo(port: u32, size: u32): void {
  if (!(load<u32>(STATE + S_DEBUG_FLAGS) & DEBUG_IO) || !(load<u64>(STATE + S_CR4) & CR4_DE)) return;
  const dr7 = <u32>load<u64>(STATE + S_DR + 56);
  let hits: u64 = 0;
  for (let n: u32 = 0; n < 4; n++) {
    if (kindOf(dr7, n) != 2 || !((dr7 >> (n * 2)) & 3)) continue;
    const length = lengthOf(dr7, n);
    const first = load<u64>(STATE + S_DR + n * 8) & ~(length - 1);
    if (<u64>port < first + length && first < <u64>port + size) hits |= 1 << n;
  }
  if (hits) pendTrap(hits);
}

/** Which instruction breakpoints `lin` meets: bits 3:0. */
export function codeBreakpoints(lin: u64): u32 {
  const dr7 = <u32>load<u64>(STATE + S_DR + 56);
  let hits: u32 = 0;
  for (let n: u32 = 0; n < 4; n++) {
    if (kindOf(dr7, n) == 0 && (dr7 >> (n * 2)) & 3 && load<u64>(STATE + S_DR + n * 8) == lin) hits |= 1 << n;
  }
  return hits;
}

/** Recomputes which kinds of breakpoints are armed, after DR7 or the debugger's watchpoints changed. */
export function updateBreakpoints(): void {
  const dr7 = <u32>load<u64>(STATE + S_DR + 56);
  let flags = load<u32>(STATE + S_DEBUG_FLAGS) & (DEBUG_TRAP | DEBUG_STEP | DEBUG_RF);
  for (let n: u32 = 0; n < 4; n++) {
    if (!((dr7 >> (n * 2)) & 3)) continue;
    const kind = kindOf(dr7, n);
    flags |= kind == 0 ? DEBUG_CODE : kind == 2 ? DEBUG_IO : DEBUG_DATA;
  }
  for (let n: usize = 0; n < 8; n++) if (load<u32>(STATE + S_WATCH_KIND + n * 4)) flags |= DEBUG_DATA;
  store<u32>(STATE + S_DEBUG_FLAGS, flags);
}
