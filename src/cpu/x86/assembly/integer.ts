/** Integer instructions that are not worth a form over the intermediate representation. Intel SDM vol. 2. */
import { STATE, fence, lock_bus, unlock_bus, yield_processor } from './env';
import { faulted, gp0, raise } from './faults';
import {
  L_SYNC,
  NEXT_CONTINUE,
  NEXT_FAULT,
  R_IMM,
  R_MASK_SLOT,
  R_PREFIX,
  R_SEG,
  SYNC_CPUS,
  SYNC_WIDE_LOCKS,
  S_BOUNCE,
  S_GPR,
  S_SEG_BASE,
} from './generated/layout';
import { ld16, ld32, ld64, ld8, rmw_commit, rmw_slow, st16, st32, st64, st8 } from './mmu';
import { is64 } from './modes';
import {
  FLAG_AF,
  FLAG_CF,
  FLAG_PF,
  FLAG_SF,
  FLAG_ZF,
  RAX,
  RBX,
  RCX,
  RDX,
  arithmeticFlags,
  gpr,
  operandSize,
  setArithmeticFlags,
  setGpr,
  setZero,
} from './registers';
import { checkSegment } from './segments';

const DE: i32 = 0;
/** Of a record's PREFIX. */
const PREFIX_LOCK: u32 = 1 << 6;

// ------------------------------------------------------------------------------------------- 128-bit division, RDX:RAX

/** Quotient and remainder of the last `divideUnsigned`. */
let quotient: u64 = 0;
let remainder: u64 = 0;

/** high:low / divisor; false when the quotient does not fit in 64 bits (or the divisor is 0). */
function divideUnsigned(high: u64, low: u64, divisor: u64): bool {
  if (high >= divisor) return false;
  if (high == 0) {
    quotient = low / divisor;
    remainder = low % divisor;
    return true;
  }
  // Long division in 32-bit digits (Knuth vol. 2 §4.3.1, algorithm D), with the divisor normalised.
  const shift = clz(divisor);
  const d = divisor << shift;
  const d1 = d >> 32;
  const d0 = d & 0xffff_ffff;
  const n32 = shift ? (high << shift) | (low >> (64 - shift)) : high;
  const n10 = low << shift;
  const n1 = n10 >> 32;
  const n0 = n10 & 0xffff_ffff;
  let q1 = n32 / d1;
  let r = n32 - q1 * d1;
  while (q1 > 0xffff_ffff || q1 * d0 > ((r << 32) | n1)) {
    q1--;
    r += d1;
    if (r > 0xffff_ffff) break;
  }
  const n21 = (n32 << 32) + n1 - q1 * d;
  let q0 = n21 / d1;
  r = n21 - q0 * d1;
  while (q0 > 0xffff_ffff || q0 * d0 > ((r << 32) | n0)) {
    q0--;
    r += d1;
    if (r > 0xffff_ffff) break;
  }
  quotient = (q1 << 32) + q0;
  remainder = ((n21 << 32) + n0 - q0 * d) >> shift;
  return true;
}

/** DIV and IDIV (`isSigned`) of RDX:RAX by a 64-bit divisor: 0, or 1 with #DE pending. */
export function divide_128(divisor: u64, isSigned: i32): i32 {
  let low = gpr(RAX);
  let high = gpr(RDX);
  const negative = isSigned && <i64>high < 0;
  const divisorNegative = isSigned && <i64>divisor < 0;
  if (negative) {
    low = 0 - low;
    high = ~high + (low == 0 ? 1 : 0);
  }
  if (!divideUnsigned(high, low, divisorNegative ? 0 - divisor : divisor)) return raise(DE);
  if (isSigned) {
    const limit: u64 = 0x8000_0000_0000_0000;
    if (negative != divisorNegative) {
      if (quotient > limit) return raise(DE);
      quotient = 0 - quotient;
    } else if (quotient >= limit) return raise(DE);
    if (negative) remainder = 0 - remainder;
  }
  setGpr(RAX, quotient);
  setGpr(RDX, remainder);
  return 0;
}

// -------------------------------------------------------------------------------------------------- wide compare-exchange

/** After many PAUSEs. */
export function long_pause(): void {
  if (load<u32>(L_SYNC + SYNC_CPUS) > 1) yield_processor();
}

/** See docs/interpreter.md: for code that has no access to the host's services itself. */
export function lock_the_bus(): void {
  lock_bus();
}
export function unlock_the_bus(): void {
  unlock_bus();
}

@inline
function isLocked(rec: usize): bool {
  return (load<u8>(rec + R_PREFIX) & PREFIX_LOCK) != 0;
}

/** EDX:EAX with m64. The destination is written in any case, as the processor does. */
export function x_cmpxchg8b(rec: usize, ea: u64): i32 {
  const at = rmw_slow(ea, 8);
  if (at == 0) return NEXT_FAULT;
  const expected = (gpr(RDX) << 32) | (gpr(RAX) & 0xffff_ffff);
  const wanted = (gpr(RCX) << 32) | (gpr(RBX) & 0xffff_ffff);
  let found: u64;
  if (at != STATE + S_BOUNCE && !(at & 7)) found = atomic.cmpxchg<u64>(at, expected, wanted);
  else {
    const apart = isLocked(rec);
    let to = at;
    if (apart) {
      lock_bus();
      // Once more: only now nobody else writes to it.
      to = rmw_slow(ea, 8);
      if (to == 0) {
        unlock_bus();
        return NEXT_FAULT;
      }
    }
    found = load<u64>(to);
    if (found == expected) store<u64>(to, wanted);
    if (to == STATE + S_BOUNCE) rmw_commit();
    if (apart) unlock_bus();
  }
  if (found != expected) {
    setGpr(RAX, found & 0xffff_ffff);
    setGpr(RDX, found >> 32);
  }
  setZero(found == expected);
  return NEXT_CONTINUE;
}

/** Words of WIDE_LOCKS, by address. */
const WIDE_LOCKS: usize = L_SYNC + SYNC_WIDE_LOCKS;
/** Nanoseconds after which a CPU that waits for one looks again: whoever has it may have lost its processor. */
const WIDE_WAIT: i64 = 20_000;

/**
 * Takes the lock of the 16 bytes at `at`. WebAssembly has no atomic of 16 bytes, so LOCK CMPXCHG16B excludes only itself.
 * DEVIATION: what another CPU stores to 8 of these bytes by another instruction, between this one's load and its store, is lost. Code that
 * uses CMPXCHG16B writes what others change by it too; nobody sees half of what was stored, since 16 aligned bytes are one access on x86
 * processors that have AVX (SDM vol. 3 §9.1.1).
 */
function lockWide(at: usize): usize {
  const lock = WIDE_LOCKS + (((at >> 4) & 63) << 2);
  while (atomic.cmpxchg<u32>(lock, 0, 1) != 0) {
    for (let n = 0; n < 100 && atomic.load<u32>(lock) != 0; n++) {}
    if (atomic.load<u32>(lock) != 0) atomic.wait<i32>(lock, 1, WIDE_WAIT);
  }
  return lock;
}

/** RDX:RAX with m128. */
export function x_cmpxchg16b(rec: usize, ea: u64): i32 {
  if (ea & 15) return gp0();
  let at = rmw_slow(ea, 16);
  if (at == 0) return NEXT_FAULT;
  const apart = isLocked(rec) && load<u32>(L_SYNC + SYNC_CPUS) > 1;
  let lock: usize = 0;
  if (apart && at == STATE + S_BOUNCE) {
    lock_bus();
    at = rmw_slow(ea, 16);
    if (at == 0) {
      unlock_bus();
      return NEXT_FAULT;
    }
  } else if (apart) lock = lockWide(at);
  const found = v128.load(at);
  const low = v128.extract_lane<u64>(found, 0);
  const high = v128.extract_lane<u64>(found, 1);
  const equal = low == gpr(RAX) && high == gpr(RDX);
  if (equal) {
    v128.store(at, v128.replace_lane<u64>(v128.splat<u64>(gpr(RBX)), 1, gpr(RCX)));
  } else {
    setGpr(RAX, low);
    setGpr(RDX, high);
  }
  if (at == STATE + S_BOUNCE) rmw_commit();
  if (lock) {
    atomic.store<u32>(lock, 0);
    atomic.notify(lock, 1);
  } else if (apart) unlock_bus();
  setZero(equal);
  return NEXT_CONTINUE;
}

// ----------------------------------------------------------------------------------------------------- decimal arithmetic

@inline
function al(): u32 {
  return load<u8>(STATE + S_GPR);
}
@inline
function setAx(value: u32): void {
  store<u16>(STATE + S_GPR, <u16>value);
}

/** SF, ZF and PF of a byte. */
function flagsOfByte(value: u32): u32 {
  let flags: u32 = value & 0x80 ? FLAG_SF : 0;
  if ((value & 0xff) == 0) flags |= FLAG_ZF;
  if (!(popcnt<u32>(value & 0xff) & 1)) flags |= FLAG_PF;
  return flags;
}

function decimalAdjust(subtract: bool): i32 {
  const old = al();
  const flags = arithmeticFlags();
  let value = old;
  let set: u32 = 0;
  if ((old & 15) > 9 || flags & FLAG_AF) {
    value = subtract ? value - 6 : value + 6;
    set |= FLAG_AF;
    if (subtract && (flags & FLAG_CF || old < 6)) set |= FLAG_CF;
  }
  if (old > 0x99 || flags & FLAG_CF) {
    value = subtract ? value - 0x60 : value + 0x60;
    set |= FLAG_CF;
  }
  store<u8>(STATE + S_GPR, <u8>value);
  setArithmeticFlags(set | flagsOfByte(value));
  return NEXT_CONTINUE;
}

export function x_daa(rec: usize, ea: u64): i32 {
  return decimalAdjust(false);
}
export function x_das(rec: usize, ea: u64): i32 {
  return decimalAdjust(true);
}

function asciiAdjust(subtract: bool): i32 {
  let ax: u32 = load<u16>(STATE + S_GPR);
  let set: u32 = 0;
  if ((ax & 15) > 9 || arithmeticFlags() & FLAG_AF) {
    ax = subtract ? ax - 0x106 : ax + 0x106;
    set = FLAG_AF | FLAG_CF;
  }
  setAx(ax & 0xff0f);
  // OF, SF, ZF and PF are undefined: they follow AL.
  setArithmeticFlags(set | flagsOfByte(ax & 15));
  return NEXT_CONTINUE;
}

export function x_aaa(rec: usize, ea: u64): i32 {
  return asciiAdjust(false);
}
export function x_aas(rec: usize, ea: u64): i32 {
  return asciiAdjust(true);
}

export function x_aam(rec: usize, ea: u64): i32 {
  const base: u32 = load<u8>(rec + R_IMM);
  if (base == 0) return raise(DE);
  const value = al();
  setAx(((value / base) << 8) | (value % base));
  setArithmeticFlags(flagsOfByte(value % base));
  return NEXT_CONTINUE;
}

export function x_aad(rec: usize, ea: u64): i32 {
  const base: u32 = load<u8>(rec + R_IMM);
  const ax: u32 = load<u16>(STATE + S_GPR);
  const value = ((ax >> 8) * base + (ax & 0xff)) & 0xff;
  setAx(value);
  setArithmeticFlags(flagsOfByte(value));
  return NEXT_CONTINUE;
}

/** Undocumented until lately: AL = CF ? FF : 0. */
export function x_salc(rec: usize, ea: u64): i32 {
  store<u8>(STATE + S_GPR, arithmeticFlags() & FLAG_CF ? 0xff : 0);
  return NEXT_CONTINUE;
}

// ------------------------------------------------------------------------------------------------------ addresses, caches

/** Linear address of `offset` in the record's segment; false with an exception pending. */
let linear: u64 = 0;
function segmented(rec: usize, offset: u64, size: u32, isWrite: bool): bool {
  const seg: u32 = load<u8>(rec + R_SEG);
  if (!is64()) {
    if (!checkSegment(seg, offset, size, isWrite)) return false;
    linear = (offset + load<u64>(STATE + S_SEG_BASE + (seg << 3))) & 0xffff_ffff;
    return true;
  }
  linear = offset + (seg >= 4 ? load<u64>(STATE + S_SEG_BASE + (seg << 3)) : 0);
  return true;
}

export function x_xlat(rec: usize, ea: u64): i32 {
  const mask = load<u64>(STATE + <usize>load<u8>(rec + R_MASK_SLOT));
  if (!segmented(rec, (gpr(RBX) + <u64>al()) & mask, 1, false)) return NEXT_FAULT;
  const value = ld8(linear);
  if (faulted()) return NEXT_FAULT;
  store<u8>(STATE + S_GPR, <u8>value);
  return NEXT_CONTINUE;
}

/** MOV between the accumulator and a 64-bit absolute address, which stands in IMM. */
function moffs(rec: usize, size: i32, isStore: bool): i32 {
  if (!segmented(rec, load<u64>(rec + R_IMM), size, isStore)) return NEXT_FAULT;
  const value = gpr(RAX);
  if (isStore) {
    let done: bool;
    if (size == 1) done = st8(linear, <u32>value);
    else if (size == 2) done = st16(linear, <u32>value);
    else if (size == 4) done = st32(linear, <u32>value);
    else done = st64(linear, value);
    return done ? NEXT_CONTINUE : NEXT_FAULT;
  }
  if (size == 8) {
    const wide = ld64(linear);
    if (faulted()) return NEXT_FAULT;
    setGpr(RAX, wide);
    return NEXT_CONTINUE;
  }
  const narrow = size == 1 ? ld8(linear) : size == 2 ? ld16(linear) : ld32(linear);
  if (faulted()) return NEXT_FAULT;
  if (size == 1) store<u8>(STATE + S_GPR, <u8>narrow);
  else if (size == 2) store<u16>(STATE + S_GPR, <u16>narrow);
  else setGpr(RAX, narrow);
  return NEXT_CONTINUE;
}

@inline
function wideSize(rec: usize): i32 {
  return 2 << operandSize(rec);
}

export function x_mov_al_moffs64(rec: usize, ea: u64): i32 {
  return moffs(rec, 1, false);
}
export function x_mov_rax_moffs64(rec: usize, ea: u64): i32 {
  return moffs(rec, wideSize(rec), false);
}
export function x_mov_moffs64_al(rec: usize, ea: u64): i32 {
  return moffs(rec, 1, true);
}
export function x_mov_moffs64_rax(rec: usize, ea: u64): i32 {
  return moffs(rec, wideSize(rec), true);
}

/** CLFLUSH, CLFLUSHOPT: there are no caches to flush, but the address is checked like a load (SDM vol. 2). */
export function x_clflush(rec: usize, ea: u64): i32 {
  ld8(ea);
  return faulted() ? NEXT_FAULT : NEXT_CONTINUE;
}

/** MFENCE, LFENCE, SFENCE. All but a load before a store of another CPU is in order by itself. */
export function x_fence(rec: usize, ea: u64): i32 {
  fence();
  return NEXT_CONTINUE;
}
