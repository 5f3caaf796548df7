/** Inputs that instructions take from fixed places: stacks, strings, implied registers. */
import type { Instruction } from '../../arch/x86/instructions/row.js';
import { CASE, PLACE, WINDOW_SIZE } from './case-format.js';
import { badStack, codeTarget, isNear, mask64, REG, type CaseBits } from './addresses.js';
import type { Random } from './random.js';

/** A case on its way. */
export interface Draft {
  readonly r: Random;
  readonly row: Instruction;
  readonly bits: CaseBits;
  readonly osz: 16 | 32 | 64;
  /** With the address-size prefix of 64-bit mode. */
  readonly address32: boolean;
  readonly regs: BigUint64Array;
  /** The case's bytes. */
  readonly target: Buffer;
}

/** Writes eight bytes to the window, if they lie inside. */
export function write64(draft: Draft, linear: bigint, value: bigint): void {
  const at = isNear(linear) ? Number(linear) - PLACE.WINDOW : -1;
  if (at >= 0 && at + 8 <= WINDOW_SIZE) draft.target.writeBigUInt64LE(mask64(value), CASE.WINDOW + at);
}

/** Sets RSP (and RBP) for stack instructions. Whether the stack faults. */
export function prepareStack(draft: Draft): boolean {
  const { r, row, bits, regs } = draft;
  const { name } = row;
  if (!row.attributes.has('stack')) return false;
  const faults = r.oneIn(40);
  const room = name === 'enter' ? 300 : 40;
  const inWindow = BigInt(PLACE.WINDOW + room + r.below(WINDOW_SIZE - room - 100));
  regs[REG.RSP] = faults ? badStack(r, bits) : r.oneIn(4) ? inWindow : inWindow & ~7n;
  if (name === 'enter' || name === 'leave')
    regs[REG.RBP] = r.oneIn(40) ? badStack(r, bits) : BigInt(PLACE.WINDOW + 300 + r.below(400));
  // When both the stack and the target fault, which comes first is the processor's choice.
  if (name.startsWith('ret')) write64(draft, regs[REG.RSP], codeTarget(r, bits, !faults));
  // Flags that user code may change and Linux restores from a signal frame; not TF.
  if (name === 'popf') write64(draft, regs[REG.RSP], BigInt((r.u32() & 0x4_0ed5) | 2));
  return faults;
}

/** Sets RSI, RDI and RCX; returns the repeat prefix. */
export function prepareString(draft: Draft): 0 | 0xf2 | 0xf3 {
  const { r, row, regs, target } = draft;
  const middle = (): bigint => BigInt(PLACE.WINDOW + 200 + r.below(WINDOW_SIZE - 400));
  const garbage = (): bigint => (draft.address32 ? BigInt(r.u32()) << 32n : 0n);
  const compares = row.attributes.has('repcc');
  const source = middle();
  regs[REG.RSI] = source + garbage();
  regs[REG.RDI] = (r.oneIn(3) ? source + BigInt(r.below(33) - 16) : middle()) + garbage();
  if (compares && r.oneIn(2)) {
    // Mostly equal bytes, so that comparisons go on for some elements.
    const value = r.below(256);
    for (let i = 0; i < WINDOW_SIZE; i++) if (!r.oneIn(16)) target[CASE.WINDOW + i] = value;
    if (r.oneIn(2)) regs[REG.RAX] = BigInt(value) * 0x0101_0101_0101_0101n;
  }
  if (!r.oneIn(3)) return 0;
  regs[REG.RCX] = BigInt(r.below(20)) + garbage();
  return compares ? r.pick([0xf2, 0xf3] as const) : 0xf3;
}

/** Whether it is SHLD or SHRD of 16 bits, whose result is undefined for counts beyond 16 (SDM vol. 2, SHLD). */
export const isDoubleShiftOf16 = ({ osz, row }: Pick<Draft, 'osz' | 'row'>): boolean =>
  osz === 16 && /^sh[lr]d$/.test(row.name);

export function prepareRegisters(draft: Draft): void {
  const { r, row, regs, address32 } = draft;
  const { name } = row;
  if (name === 'xlat')
    regs[REG.RBX] = BigInt(PLACE.WINDOW + 32 + r.below(400)) - (regs[REG.RAX] & 0xffn) + (address32 ? 1n << 40n : 0n);
  if (name.startsWith('maskmov')) regs[REG.RDI] = BigInt(PLACE.WINDOW + r.below(WINDOW_SIZE - 16));
  if (/^i?div/.test(name) && !r.oneIn(6)) {
    // Quotients that fit, as a rule.
    if (name.endsWith('8'))
      regs[REG.RAX] = (regs[REG.RAX] & ~0xff00n) | (r.oneIn(2) ? 0n : BigInt(r.below(0x60)) << 8n);
    else regs[REG.RDX] = name === 'div' ? BigInt(r.oneIn(2) ? 0 : r.below(1 << 12)) : r.oneIn(2) ? 0n : mask64(-1n);
  }
  if (/^(jrcxz|loop)/.test(name) && r.oneIn(2)) regs[REG.RCX] = BigInt(r.below(3)) + (r.oneIn(2) ? 0x1_0000_0000n : 0n);
  if (name.startsWith('xsave') || name.startsWith('xrstor')) {
    // Components that both sides have.
    regs[REG.RDX] = r.oneIn(8) ? regs[REG.RDX] : 0n;
    regs[REG.RAX] = (regs[REG.RAX] & ~0xffff_ffffn) | BigInt(r.below(4));
  }
  if (isDoubleShiftOf16(draft)) regs[REG.RCX] = (regs[REG.RCX] & ~0x1fn) | BigInt(r.below(17));
}

/** Registers that a memory operand's address must leave as they are. */
export function busyRegisters(draft: Draft): readonly number[] {
  const { name } = draft.row;
  if (/^(cmpxchg|i?div|xsave|xrstor|jmp|call|fxsave)/.test(name)) return [REG.RAX, REG.RDX, REG.RCX, REG.RBX];
  if (name === 'enter') return [REG.RBP];
  return isDoubleShiftOf16(draft) ? [REG.RCX] : [];
}

/** Makes a comparison with memory at `where` succeed in half of all cases. */
export function prepareExchange(draft: Draft, where: bigint): void {
  const { r, row, regs, target } = draft;
  const at = isNear(where) ? Number(where) - PLACE.WINDOW : -1;
  if (!row.name.startsWith('cmpxchg') || r.oneIn(2) || at < 0 || at + 16 > WINDOW_SIZE) return;
  const low = target.readBigUInt64LE(CASE.WINDOW + at);
  regs[REG.RAX] = row.name === 'cmpxchg8b' ? low & 0xffff_ffffn : low;
  if (row.name === 'cmpxchg8b') regs[REG.RDX] = low >> 32n;
  if (row.name === 'cmpxchg16b') regs[REG.RDX] = target.readBigUInt64LE(CASE.WINDOW + at + 8);
}
