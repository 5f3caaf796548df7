/** Inputs of instructions that load, examine or jump through segments. */
import { codeTarget, isNear, mask64, type Draft } from './addresses.js';
import { CASE, PLACE, WINDOW_SIZE } from './case-format.js';
import type { Random } from './random.js';
import { LDT, USER_CODE, USER_CODE_32, USER_DATA, type CaseSegment } from './segments.js';

/** Rows that use the stack without the attribute. */
export const usesStack = (draft: Draft): boolean =>
  draft.row.attributes.has('stack') || /^(ret_far|iret|call_far)/.test(draft.row.name);

export const loadsSegment = ({ row }: Draft): boolean =>
  /^(mov_to_sreg|pop_sreg|l[desfg]s|lar|lsl|verr|verw)$/.test(row.name);
const isFar = ({ row }: Draft): boolean => /^(jmp|call)_far/.test(row.name);

const KERNEL = [0x10, 0x18];
/** Beyond the limits of LDT and GDT. */
const BEYOND = [0x47, 0x1ffb];

/** Any selector, as a rule a useful one with RPL 3. */
export function chooseSelector(r: Random): number {
  const kind = r.below(12);
  if (kind === 0) return r.below(4);
  if (kind === 1) return r.pick([...KERNEL, ...BEYOND]);
  const segment = kind < 9 ? r.pick(LDT) : r.pick([USER_CODE_32, USER_DATA, USER_CODE]);
  return r.oneIn(10) ? (segment.selector & ~3) | r.below(4) : segment.selector;
}

/** A code segment and an offset in its page of INT3; now and then any other selector. */
function farTarget(draft: Draft, mayFault: boolean): { readonly offset: bigint; readonly selector: number } {
  const { r, environment } = draft;
  // From a 16-bit stack not to 64-bit code: the upper half of RSP would become visible, where Linux has its own.
  // Nor does a call from a stack with a base: see vendor.ts.
  const isCall = draft.row.name.startsWith('call_far');
  const has64 = environment.bits === 64 || (environment.ss.big && !(isCall && environment.ss.base !== 0));
  const codes: CaseSegment[] = [...LDT.filter(({ isCode }) => isCode), USER_CODE_32, ...(has64 ? [USER_CODE] : [])];
  const segment = r.pick(codes);
  const any = r.oneIn(6) ? chooseSelector(r) : segment.selector;
  const selector = !has64 && any >> 3 === USER_CODE.selector >> 3 ? segment.selector : any;
  // Relative to the segment that is jumped to.
  return { offset: codeTarget({ ...draft, environment: { ...environment, cs: segment } }, mayFault), selector };
}

function writeBytes(draft: Draft, linear: bigint, value: bigint, size: number): void {
  const at = isNear(linear) ? Number(linear) - PLACE.WINDOW : -1;
  if (at < 0 || at + size > WINDOW_SIZE) return;
  for (let i = 0; i < size; i++) draft.target[CASE.WINDOW + at + i] = Number((value >> BigInt(8 * i)) & 0xffn);
}

/** What ret_far, iret and POP of a segment register find at the linear address `top`. */
export function writeSelectorsOnStack(draft: Draft, top: bigint, mayFault: boolean): void {
  const { r, row, osz, environment } = draft;
  const size = osz / 8;
  const words: bigint[] = [];
  if (row.name === 'pop_sreg') words.push(BigInt(chooseSelector(r)));
  if (/^(ret_far|iret)/.test(row.name)) {
    const { offset, selector } = farTarget(draft, mayFault);
    words.push(offset, BigInt(selector));
  }
  if (row.name === 'iret') {
    // AC only from a stack that is aligned: see vendor.ts.
    const flags = top % BigInt(size) === 0n ? 0x4_0ed5 : 0xed5;
    words.push(BigInt((r.u32() & flags) | 2));
    const stack = r.oneIn(6) ? chooseSelector(r) : USER_DATA.selector;
    if (environment.bits === 64) words.push(BigInt(PLACE.WINDOW + 8 * r.below(64)), BigInt(stack));
  }
  words.forEach((word, n) => writeBytes(draft, top + BigInt(n * size), word, size));
}

/** A far pointer as an immediate: offset and selector. */
export function farPointer(draft: Draft, mayFault: boolean): bigint {
  const { offset, selector } = farTarget(draft, mayFault);
  return BigInt.asUintN(draft.osz, offset) | (BigInt(selector) << BigInt(draft.osz));
}

/** The memory operand at `where`: a far pointer, or a selector. */
export function writeSelectorOperand(draft: Draft, where: bigint, mayFault: boolean): void {
  const { r, row, osz } = draft;
  if (isFar(draft)) writeBytes(draft, where, farPointer(draft, mayFault), osz / 8 + 2);
  else if (/^l[desfg]s$/.test(row.name)) {
    writeBytes(draft, where + BigInt(osz / 8), BigInt(chooseSelector(r)), 2);
  } else if (loadsSegment(draft)) writeBytes(draft, where, BigInt(chooseSelector(r)), 2);
}

/** A selector in a register operand, with anything above it. */
export function setSelectorRegister(draft: Draft, register: number): void {
  const { r, regs, environment } = draft;
  const above = environment.bits === 64 ? mask64(regs[register] & ~0xffffn) : regs[register] & 0xffff_0000n;
  regs[register] = above | BigInt(chooseSelector(r));
}
