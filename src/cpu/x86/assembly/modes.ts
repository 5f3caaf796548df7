/** What follows from the control registers and segments: mode key, privilege, traps of the floating-point units. */
import { STATE } from './env';
import {
  ATTN_CPU,
  S_ATTN,
  S_CPL,
  S_CR0,
  S_CR4,
  S_EFER,
  S_EFLAGS,
  S_FP_TRAP,
  S_HELD,
  S_MODE_KEY,
  S_SEG_ATTR,
  S_SEG_BASE,
  S_SEG_LIMIT,
  SEG_CS,
  SEG_DS,
  SEG_ES,
  SEG_SS,
} from './generated/layout';
import { EFER_LMA } from './paging';
import { CR0_EM, CR0_PE, CR0_TS, CR4_OSFXSR, FLAG_VM } from './registers';
import { updateContext } from './tlb';

@inline
export function segAttr(seg: u32): u32 {
  return load<u32>(STATE + S_SEG_ATTR + seg * 4);
}
@inline
export function segLimit(seg: u32): u32 {
  return load<u32>(STATE + S_SEG_LIMIT + seg * 4);
}
@inline
export function segBase(seg: u32): u64 {
  return load<u64>(STATE + S_SEG_BASE + seg * 8);
}

@inline
export function cpl(): u32 {
  return load<u32>(STATE + S_CPL);
}
@inline
export function isReal(): bool {
  return !(load<u64>(STATE + S_CR0) & CR0_PE);
}
@inline
export function isV86(): bool {
  return (load<u32>(STATE + S_EFLAGS) & FLAG_VM) != 0;
}
/** Real or V86 mode: segments are paragraphs. */
@inline
export function isRealStyle(): bool {
  return isReal() || isV86();
}
/** Long mode is active: 64-bit or compatibility mode. */
@inline
export function isLong(): bool {
  return (load<u64>(STATE + S_EFER) & EFER_LMA) != 0;
}
@inline
export function is64(): bool {
  return (load<u32>(STATE + S_MODE_KEY) & 3) == 2;
}

/** Attributes of a flat, writable data segment: P, S, W; not E, not code, not unusable. */
const FLAT_DATA_MASK: u32 = 0x1009e;
const FLAT_DATA: u32 = 0x92;
/** Of a flat, readable code segment. */
const FLAT_CODE_MASK: u32 = 0x1009a;
const FLAT_CODE: u32 = 0x9a;

@inline
function isFlat(seg: u32, mask: u32, want: u32): bool {
  return segBase(seg) == 0 && segLimit(seg) == 0xffff_ffff && (segAttr(seg) & mask) == want;
}

/** Recomputes what depends on segments, control registers and flags. True when decoding changes. */
export function updateMode(): bool {
  const before = load<u32>(STATE + S_MODE_KEY);
  const cs = segAttr(SEG_CS);
  let key: u32;
  if (isLong() && cs & 0x2000) {
    key = 6;
  } else {
    key = (cs >> 14) & 1;
    if (segAttr(SEG_SS) & 0x4000) key |= 8;
    if (
      isFlat(SEG_CS, FLAT_CODE_MASK, FLAT_CODE) &&
      isFlat(SEG_SS, FLAT_DATA_MASK, FLAT_DATA) &&
      isFlat(SEG_DS, FLAT_DATA_MASK, FLAT_DATA) &&
      isFlat(SEG_ES, FLAT_DATA_MASK, FLAT_DATA)
    )
      key |= 4;
  }
  store<u32>(STATE + S_MODE_KEY, key);
  updateContext();
  return key != before;
}

/** Recomputes FP_TRAP after CR0 or CR4 changed. */
export function updateFpTrap(): void {
  let trap: u32 = load<u64>(STATE + S_CR0) & (CR0_EM | CR0_TS) ? 3 : 0;
  if (!(load<u64>(STATE + S_CR4) & CR4_OSFXSR)) trap |= 2;
  store<u32>(STATE + S_FP_TRAP, trap);
}

/** CPL is the DPL of SS in every mode (SDM vol. 3 §5.5); it is kept there too, for null SS in 64-bit mode as well. */
export function setCpl(value: u32): void {
  store<u32>(STATE + S_CPL, value);
  const at = STATE + S_SEG_ATTR + SEG_SS * 4;
  store<u32>(at, (load<u32>(at) & ~0x60) | (value << 5));
}

/** Events that were held back may be possible now: look at them at the next jump. */
export function releaseEvents(bits: u32): void {
  const held = load<u32>(STATE + S_HELD);
  const free = held & bits;
  if (free == 0) return;
  store<u32>(STATE + S_HELD, held & ~free);
  atomic.or<u32>(STATE + S_ATTN, free);
}

/** Has the driver look at the CPU's inside before the next instruction but one, at the latest at the next jump. */
@inline
export function attend(): void {
  atomic.or<u32>(STATE + S_ATTN, ATTN_CPU);
}
