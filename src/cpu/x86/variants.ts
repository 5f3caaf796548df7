/**
 * Handlers of the interpreter: each row of the instruction table, specialised by what is known when an instruction is
 * decoded. The decoder computes a row's variant index from these dimensions; a table maps it to a handler number.
 */
import type { Instruction } from '../../arch/x86/instructions/row.js';

/** Operand size in bits. */
export type Width = 8 | 16 | 32 | 64;

/** What a stack access looks like: 64-bit mode; flat 32-bit; anything else goes through helpers. */
export type StackKind = 'flat64' | 'flat32' | 'segmented';

export const OPERAND_SIZES = [16, 32, 64] as const;
export const STACK_KINDS: readonly StackKind[] = ['flat64', 'flat32', 'segmented'];

/** Which dimensions a row has. The variant index is ((osz × forms + form) × locks + lock) × stacks + stack. */
export interface Dimensions {
  /** By operand size: 3 (16, 32, 64), or 1. */
  readonly osz: 1 | 3;
  /** Register (0) and memory (1) form: 2, or 1 when the row has only one. */
  readonly form: 1 | 2;
  /** With LOCK (1): 2, or 1. */
  readonly lock: 1 | 2;
  /** By kind of stack in the order of STACK_KINDS: 3, or 1. */
  readonly stack: 1 | 3;
}

/** One specialisation of a row. */
export interface Variant {
  readonly row: Instruction;
  /** Effective operand size in bits; 32 where the row does not depend on it. */
  readonly osz: 16 | 32 | 64;
  /** Where the ModRM.rm operand is; 'none' without one. Rows with O operands are 'mem'. */
  readonly form: 'reg' | 'mem' | 'none';
  readonly lock: boolean;
  readonly stack: StackKind;
}

const RM_KINDS = new Set(['E', 'M', 'R', 'U', 'W', 'N', 'Q']);

/** Whether a row's operand size matters to its meaning. */
export function dependsOnOperandSize(row: Instruction): boolean {
  return (
    row.attributes.has('osz') ||
    row.attributes.has('d64') ||
    row.attributes.has('f64') ||
    row.operands.some((o) => o.size === 'v' || o.size === 'z' || o.size === 'y')
  );
}

/** The forms that a row can take: reg and mem, one of them, or neither. */
export function forms(row: Instruction): readonly Variant['form'][] {
  if (row.operands.some((o) => o.kind === 'O')) return ['mem'];
  if (!row.modrm) return ['none'];
  if (row.mod === 'reg') return ['reg'];
  if (row.mod === 'mem') return ['mem'];
  const rm = row.operands.find((o) => RM_KINDS.has(o.kind));
  if (rm === undefined) return ['none'];
  if (rm.kind === 'M') return ['mem'];
  if (rm.kind === 'R' || rm.kind === 'U' || rm.kind === 'N') return ['reg'];
  return ['reg', 'mem'];
}

export function dimensions(row: Instruction): Dimensions {
  return {
    osz: dependsOnOperandSize(row) ? 3 : 1,
    form: forms(row).length === 2 ? 2 : 1,
    lock: row.attributes.has('lock') ? 2 : 1,
    stack: row.attributes.has('stack') ? 3 : 1,
  };
}

/** All variants of a row in index order; some are never reached (a register form with LOCK). */
export function variants(row: Instruction): Variant[] {
  const dims = dimensions(row);
  const list: Variant[] = [];
  for (const osz of dims.osz === 3 ? OPERAND_SIZES : ([32] as const))
    for (const form of forms(row))
      for (const lock of dims.lock === 2 ? [false, true] : [false])
        for (const stack of dims.stack === 3 ? STACK_KINDS : (['flat64'] as const))
          list.push({ row, osz, form, lock, stack });
  return list;
}
