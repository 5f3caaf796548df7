/** Inputs that instructions take from fixed places: stacks, strings, implied registers. */
import {
  addressValue,
  badStack,
  chooseSegment,
  codeTarget,
  isNear,
  mask64,
  offsetIn,
  REG,
  type Draft,
} from './addresses.js';
import { CASE, PLACE, WINDOW_SIZE } from './case-format.js';
import { usesStack, writeSelectorsOnStack } from './selectors.js';

/** Writes eight bytes to the window, if they lie inside. */
export function write64(draft: Draft, linear: bigint, value: bigint): void {
  const at = isNear(linear) ? Number(linear) - PLACE.WINDOW : -1;
  if (at >= 0 && at + 8 <= WINDOW_SIZE) draft.target.writeBigUInt64LE(mask64(value), CASE.WINDOW + at);
}

/**
 * Bits 31:16 of ESP with a 16-bit stack. IRET loads bits 15:0 only, so these come from the stack pointer of the guest's
 * kernel (Linux goes to some length to restore all): they must be the ones that it has.
 */
const STACK_16_HIGH = 0x8000_0000n;

export const isStack16 = ({ environment }: Draft): boolean => environment.bits !== 64 && !environment.ss.big;

/** RSP or RBP that points to a linear address through SS. */
function stackValue(draft: Draft, linear: bigint): bigint {
  const { environment } = draft;
  const offset = offsetIn(environment.ss, linear);
  if (environment.bits === 64) return mask64(offset);
  return environment.ss.big ? BigInt.asUintN(32, offset) : BigInt.asUintN(16, offset) | STACK_16_HIGH;
}

/** Sets RSP (and RBP) for stack instructions. Whether the stack faults. */
export function prepareStack(draft: Draft): boolean {
  const { r, row, regs } = draft;
  const { name } = row;
  if (isStack16(draft)) regs[REG.RSP] = (regs[REG.RSP] & 0xffffn) | STACK_16_HIGH;
  if (!usesStack(draft)) return false;
  const faults = r.oneIn(40);
  const room = name === 'enter' ? 300 : 40;
  const inWindow = BigInt(PLACE.WINDOW + room + r.below(WINDOW_SIZE - room - 100));
  const top = faults ? badStack(draft, name.startsWith('call_far')) : r.oneIn(4) ? inWindow : inWindow & ~7n;
  regs[REG.RSP] = stackValue(draft, top);
  if (name === 'enter' || name === 'leave')
    regs[REG.RBP] = stackValue(draft, r.oneIn(40) ? badStack(draft) : BigInt(PLACE.WINDOW + 300 + r.below(400)));
  // When both the stack and the target fault, which comes first is the processor's choice.
  if (/^ret(_imm)?$/.test(name)) write64(draft, top, codeTarget(draft, !faults));
  writeSelectorsOnStack(draft, top, !faults);
  // Flags that user code may change and Linux restores from a signal frame; not TF.
  if (name === 'popf') write64(draft, top, BigInt((r.u32() & 0x4_0ed5) | 2));
  return faults;
}

/** Sets RSI, RDI and RCX. */
export function prepareString(draft: Draft): { readonly repeat: 0 | 0xf2 | 0xf3; readonly prefix: number } {
  const { r, row, environment, regs, target } = draft;
  const middle = (): bigint => BigInt(PLACE.WINDOW + 200 + r.below(WINDOW_SIZE - 400));
  const compares = row.attributes.has('repcc');
  const { prefix, segment } = chooseSegment(draft, 'ds');
  const source = middle();
  const destination = r.oneIn(3) ? source + BigInt(r.below(33) - 16) : middle();
  regs[REG.RSI] = addressValue(draft, offsetIn(segment, source));
  regs[REG.RDI] = addressValue(draft, offsetIn(environment.es, destination));
  if (compares && r.oneIn(2)) {
    // Mostly equal bytes, so that comparisons go on for some elements.
    const value = r.below(256);
    for (let i = 0; i < WINDOW_SIZE; i++) if (!r.oneIn(16)) target[CASE.WINDOW + i] = value;
    if (r.oneIn(2)) regs[REG.RAX] = BigInt(value) * 0x0101_0101_0101_0101n;
  }
  if (!r.oneIn(3)) return { repeat: 0, prefix };
  const count = r.below(20);
  regs[REG.RCX] = addressValue(draft, BigInt(count));
  // See vendor.ts.
  if (count === 0 && environment.bits === 64 && draft.addressBits === 32)
    for (const register of [REG.RCX, REG.RSI, REG.RDI]) regs[register] &= 0xffff_ffffn;
  return { repeat: compares ? r.pick([0xf2, 0xf3] as const) : 0xf3, prefix };
}

/** Whether it is SHLD or SHRD of 16 bits, whose result is undefined for counts beyond 16 (SDM vol. 2, SHLD). */
export const isDoubleShiftOf16 = ({ osz, row }: Pick<Draft, 'osz' | 'row'>): boolean =>
  osz === 16 && /^sh[lr]d$/.test(row.name);

export function prepareRegisters(draft: Draft): void {
  const { r, row, environment, regs } = draft;
  const { name } = row;
  const inDs = (linear: number): bigint => offsetIn(environment.ds, BigInt(linear));
  if (name === 'xlat')
    regs[REG.RBX] = addressValue(draft, inDs(PLACE.WINDOW + 32 + r.below(400)) - (regs[REG.RAX] & 0xffn));
  if (name.startsWith('maskmov')) regs[REG.RDI] = addressValue(draft, inDs(PLACE.WINDOW + r.below(WINDOW_SIZE - 16)));
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
