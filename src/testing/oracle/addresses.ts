/** Where operands, stacks and jumps of generated cases lie, and how addresses are written. */
import type { Instruction, Operand } from '../../arch/x86/instructions/row.js';
import { PLACE, WINDOW_SIZE } from './case-format.js';
import type { Address } from './encode.js';
import type { Random } from './random.js';
import type { CaseSegment, Environment } from './segments.js';

export const REG = { RAX: 0, RCX: 1, RDX: 2, RBX: 3, RSP: 4, RBP: 5, RSI: 6, RDI: 7 } as const;

/** A case on its way. */
export interface Draft {
  readonly r: Random;
  readonly row: Instruction;
  readonly environment: Environment;
  readonly osz: 16 | 32 | 64;
  readonly addressBits: 16 | 32 | 64;
  readonly regs: BigUint64Array;
  /** The case's bytes. */
  readonly target: Buffer;
}

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
export function chooseTarget(draft: Draft, size: number): bigint {
  const target = chooseAnyTarget(draft, size);
  // See vendor.ts.
  return draft.row.name.startsWith('sha') ? target & ~15n : target;
}

function chooseAnyTarget({ r, row, environment }: Draft, size: number): bigint {
  if (r.oneIn(50)) {
    const faulting = r.below(environment.bits === 64 ? 4 : 3);
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

/** A register's value whose low bits, as many as addresses have, are `value`; the rest does not count and is random. */
export function addressValue({ r, environment, addressBits }: Draft, value: bigint): bigint {
  const low = BigInt.asUintN(addressBits, value);
  const garbage = addressBits === 64 ? 0n : ((BigInt(r.u32()) << 32n) | BigInt(r.u32())) << BigInt(addressBits);
  return BigInt.asUintN(environment.bits === 64 ? 64 : 32, low | garbage);
}

/** Offset of a linear address in a segment. */
export const offsetIn = (segment: CaseSegment, linear: bigint): bigint => linear - BigInt(segment.base);

const OVERRIDES = { es: 0x26, cs: 0x2e, ss: 0x36, ds: 0x3e, fs: 0x64, gs: 0x65 } as const;

/** A segment override (or 0), and the segment that counts; FS and GS are taken for flat, as they are in 64-bit mode. */
export function chooseSegment(
  { r, environment }: Draft,
  usual: 'ds' | 'ss',
): { readonly prefix: number; readonly segment: CaseSegment } {
  const often = environment.ds.base !== 0;
  if (!r.oneIn(often ? 5 : 30)) return { prefix: 0, segment: environment[usual] };
  const name = r.pick(['es', 'cs', 'ss', 'ds', 'fs', 'gs'] as const);
  const segment = name === 'fs' || name === 'gs' ? environment[usual] : environment[name];
  return { prefix: OVERRIDES[name], segment };
}

export interface WrittenAddress {
  readonly address: Address;
  /** Segment override or 0. */
  readonly prefix: number;
  readonly addressBits: 16 | 32 | 64;
}

/** Chooses how a memory operand at `target` is written, and sets registers for it, none of `taken`. */
export function chooseAddress(draft: Draft, target: bigint, taken: readonly number[]): WrittenAddress {
  const { addressBits } = draft;
  const choose = addressBits === 16 ? chooseAddress16 : chooseAddress32;
  return { ...choose(draft, target, taken), addressBits };
}

type AddressAndPrefix = Omit<WrittenAddress, 'addressBits'>;

function chooseAddress32(draft: Draft, target: bigint, taken: readonly number[]): AddressAndPrefix {
  const { r, environment, regs, addressBits } = draft;
  const is64 = environment.bits === 64;
  const free = (): number => {
    let register: number;
    do register = r.below(is64 ? 16 : 8);
    while (taken.includes(register));
    return register;
  };
  const form = r.below(isNear(target) ? 10 : 8);
  const disp = r.oneIn(3) ? 0 : r.oneIn(2) ? r.below(256) - 128 : r.u32() | 0;
  const index = free();
  const scale = r.below(4);
  if (form >= 8) {
    const { prefix, segment } = chooseSegment(draft, 'ds');
    const offset = offsetIn(segment, target);
    const signed = Number(BigInt.asIntN(32, offset));
    if (form === 8 && is64) return { prefix, address: { kind: 'rip', target: Number(target) } };
    if (form === 8) return { prefix, address: { kind: 'displacement', disp: signed } };
    if (r.oneIn(2) || index === REG.RSP)
      return { prefix, address: { kind: 'absolute', index: undefined, scale, disp: signed } };
    // Without a base the index alone makes the address: it must be a multiple of the scale.
    const rest = offset - BigInt(disp);
    const fitting = rest - (rest & ((1n << BigInt(scale)) - 1n));
    regs[index] =
      is64 && addressBits === 64 ? mask64(fitting >> BigInt(scale)) : addressValue(draft, fitting >> BigInt(scale));
    return { prefix, address: { kind: 'absolute', index, scale, disp: Number(BigInt.asIntN(32, offset - fitting)) } };
  }
  const base = free();
  const { prefix, segment } = chooseSegment(draft, base === REG.RSP || base === REG.RBP ? 'ss' : 'ds');
  const indexed = form < 4 && index !== REG.RSP && index !== base;
  const fromIndex = indexed ? regs[index] << BigInt(scale) : 0n;
  regs[base] = addressValue(draft, offsetIn(segment, target) - fromIndex - BigInt(disp));
  return {
    prefix,
    address: { kind: 'base', base, index: indexed ? index : undefined, scale, disp, wide: r.oneIn(8) },
  };
}

/** Registers of the 16-bit address forms, SDM vol. 2 table 2-1. The last one is set so that the sum comes out. */
const FORMS_16: readonly (readonly number[])[] = [
  [REG.RBX, REG.RSI],
  [REG.RBX, REG.RDI],
  [REG.RBP, REG.RSI],
  [REG.RBP, REG.RDI],
  [REG.RSI],
  [REG.RDI],
  [REG.RBP],
  [REG.RBX],
];

function chooseAddress16(draft: Draft, target: bigint, taken: readonly number[]): AddressAndPrefix {
  const { r, regs } = draft;
  const disp = r.oneIn(3) ? 0 : r.oneIn(2) ? r.below(256) - 128 : r.below(0x10000) - 0x8000;
  const usable = FORMS_16.map((_, form) => form).filter((form) => !FORMS_16[form].some((n) => taken.includes(n)));
  if (usable.length === 0 || r.oneIn(8)) {
    const { prefix, segment } = chooseSegment(draft, 'ds');
    return { prefix, address: { kind: 'displacement', disp: Number(BigInt.asIntN(16, offsetIn(segment, target))) } };
  }
  const form = r.pick(usable);
  const registers = FORMS_16[form];
  const { prefix, segment } = chooseSegment(draft, registers[0] === REG.RBP ? 'ss' : 'ds');
  let rest = offsetIn(segment, target) - BigInt(disp);
  for (const n of registers.slice(0, -1)) rest -= regs[n];
  regs[registers[registers.length - 1]] = addressValue(draft, rest);
  return { prefix, address: { kind: 'form16', form, disp, wide: r.oneIn(8) } };
}

/** An offset in the page of INT3 to jump to, away from the instruction; now and then where it faults. */
export function codeTarget({ r, environment }: Draft, mayFault: boolean): bigint {
  const bad = [BigInt(PLACE.CODE_PAGE) - 0x1000n, 0x6800_0000n, 0x7000_0000_0000n, 0x8000_0000_0000n];
  if (mayFault && r.oneIn(30)) return bad[r.below(environment.bits === 64 ? 4 : 2)];
  return offsetIn(environment.cs, BigInt(PLACE.CODE + 64 + r.below(0x700)));
}

/** Where a stack faults: not mapped, or not canonical (unless only `near` ones are wanted). */
export function badStack({ r, environment }: Draft, near = false): bigint {
  const bad = [BigInt(PLACE.DATA - 0x200), 0x8000_0000_1000n, 0x5a5a_0000_0000_0000n];
  return bad[r.below(environment.bits === 64 && !near ? 3 : 1)] + BigInt(r.below(64));
}
