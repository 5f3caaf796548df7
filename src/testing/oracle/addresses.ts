/** Where operands, stacks and jumps of generated cases lie, and how addresses are written. */
import type { Instruction, Operand } from '../../arch/x86/instructions/row.js';
import { PLACE, WINDOW_SIZE } from './case-format.js';
import type { Address } from './encode.js';
import type { Random } from './random.js';

/** Code size of a case: 64-bit mode, or compatibility mode with 32-bit code. */
export type CaseBits = 32 | 64;

export const REG = { RAX: 0, RCX: 1, RDX: 2, RBX: 3, RSP: 4, RBP: 5, RSI: 6, RDI: 7 } as const;

const MEMORY_KINDS = new Set<Operand['kind']>(['E', 'M', 'W', 'Q']);

/** A row's operand that can be memory by ModRM. */
export const memoryOperandOf = (row: Instruction): Operand | undefined =>
  row.operands.find(({ kind }) => MEMORY_KINDS.has(kind));

export const mask64 = (value: bigint): bigint => BigInt.asUintN(64, value);

/** Below it an address means the same with 32-bit addresses. */
const NEAR = 0x8000_0000n;
export const isNear = (address: bigint): boolean => address < NEAR;

/** In 64-bit mode only. */
const NOT_CANONICAL = [0x8000_0000_0000n, 0x4000_0000_0000_0000n, 0xffff_7fff_ffff_ff00n] as const;

/** Where a memory operand of `size` bytes lies: in the window as a rule; now and then misaligned, or where it faults. */
export function chooseTarget(r: Random, row: Instruction, size: number, bits: CaseBits): bigint {
  const target = chooseAnyTarget(r, row, size, bits);
  // See vendor.ts.
  return row.name.startsWith('sha') ? target & ~15n : target;
}

function chooseAnyTarget(r: Random, row: Instruction, size: number, bits: CaseBits): bigint {
  if (r.oneIn(50)) {
    const faulting = r.below(bits === 64 ? 4 : 3);
    if (faulting === 0) return BigInt(PLACE.DATA + PLACE.DATA_SIZE - r.below(size));
    if (faulting === 1) return BigInt(PLACE.DATA - r.below(16) - Math.max(size, 16));
    if (faulting === 2) return BigInt(PLACE.DATA + PLACE.DATA_SIZE + r.below(4096));
    return r.pick(NOT_CANONICAL) + BigInt(r.below(64));
  }
  let at = r.below(WINDOW_SIZE - size + 1);
  const aligned = memoryOperandOf(row)?.size === 'x' || size > 128;
  const alignment = size >= 512 ? (row.name.startsWith('fx') ? 16 : 64) : aligned ? 16 : r.pick([1, 1, 2, 4, 8, 16]);
  if (!aligned || !r.oneIn(12)) at = Math.max(0, at - ((PLACE.WINDOW + at) % alignment));
  return BigInt(PLACE.WINDOW + at);
}

/** Chooses how a memory operand at `target` is written, and sets registers for it, none of `taken`. */
export function chooseAddress(
  r: Random,
  regs: BigUint64Array,
  target: bigint,
  options: { readonly bits: CaseBits; readonly address32: boolean; readonly taken: readonly number[] },
): Address {
  const { bits, address32, taken } = options;
  const form = r.below(isNear(target) ? 10 : 8);
  const free = (): number => {
    let register: number;
    do register = r.below(bits === 64 ? 16 : 8);
    while (taken.includes(register));
    return register;
  };
  // What 32-bit addresses leave out of a 64-bit register.
  const garbage = (): bigint => (bits === 64 && address32 ? BigInt(r.u32()) << 32n : 0n);
  const disp = r.oneIn(3) ? 0 : r.oneIn(2) ? r.below(256) - 128 : r.u32() | 0;
  if (form === 8) return { kind: 'rip', target: Number(target) };
  const index = free();
  const scale = r.below(4);
  if (form === 9) {
    if (r.oneIn(2) || index === REG.RSP) return { kind: 'absolute', index: undefined, scale, disp: Number(target) };
    // Without a base the index alone makes the address: it must be a multiple of the scale.
    const rest = target - BigInt(disp);
    const fitting = rest - (rest & ((1n << BigInt(scale)) - 1n));
    regs[index] = mask64((fitting >> BigInt(scale)) + garbage());
    if (bits === 32) regs[index] &= 0xffff_ffffn;
    return { kind: 'absolute', index, scale, disp: Number(BigInt.asIntN(32, target - fitting)) };
  }
  const base = free();
  const indexed = form < 4 && index !== REG.RSP && index !== base;
  const offset = indexed ? regs[index] << BigInt(scale) : 0n;
  const value = mask64(target - offset - BigInt(disp));
  regs[base] = bits === 32 || address32 ? (value & 0xffff_ffffn) | garbage() : value;
  return { kind: 'base', base, index: indexed ? index : undefined, scale, disp, wide: r.oneIn(8) };
}

/** An address in the page of INT3 to jump to, away from the instruction; now and then where it faults. */
export function codeTarget(r: Random, bits: CaseBits, mayFault: boolean): bigint {
  const bad = [BigInt(PLACE.CODE_PAGE) - 0x1000n, 0x6800_0000n, 0x7000_0000_0000n, 0x8000_0000_0000n];
  if (mayFault && r.oneIn(30)) return bad[r.below(bits === 64 ? 4 : 2)];
  return BigInt(PLACE.CODE + 64 + r.below(0x700));
}

/** Where a stack faults: not mapped, or not canonical. */
export function badStack(r: Random, bits: CaseBits): bigint {
  const bad = [BigInt(PLACE.DATA - 0x200), 0x8000_0000_1000n, 0x5a5a_0000_0000_0000n];
  return bad[r.below(bits === 64 ? 3 : 1)] + BigInt(r.below(64));
}
