/**
 * The micro-record EA_SEG over the intermediate form: the linear address of a memory operand, checked against its segment.
 * It does what most segments need; for the rest, and to raise an exception, there is the helper `ea_seg`.
 */
import type { Builder } from '../../../ir/builder.js';
import { STATE } from '../state-layout.js';
import type { InstructionParts } from './lift.js';

/** Of a segment's attributes (SDM vol. 3 §25.4.1): code, expand-down, writable, unusable. */
const ATTRIBUTES = { CODE: 1 << 3, DOWN: 1 << 2, WRITABLE: 1 << 1, UNUSABLE: 1 << 16 } as const;
const ANY_OF = ATTRIBUTES.CODE | ATTRIBUTES.DOWN | ATTRIBUTES.WRITABLE | ATTRIBUTES.UNUSABLE;

/**
 * Leaves the address in EA, when the segment is a writable one that grows upwards and the operand lies within its limit;
 * otherwise does what `slow` builds. IMM2 says how many bytes are accessed (`assembly/address.ts`).
 */
export function segmentedAddress(b: Builder, state: number, parts: InstructionParts, slow: () => void): void {
  const register = (slot: 'BASE' | 'INDEX' | 'MASK_SLOT' | 'SEG_SLOT') => b.load('i64.load', parts.byte(slot), state);
  const scaled = b.shl(register('INDEX'), b.extendU(parts.byte('SCALE')));
  const offset = b.and(b.add(b.add(register('BASE'), scaled), parts.displacement()), register('MASK_SLOT'));
  const segment = b.shl(parts.byte('SEG'), b.i32(2));
  const attributes = b.load('i32.load', segment, state + STATE.SEG_ATTR);
  const limit = b.extendU(b.load('i32.load', segment, state + STATE.SEG_LIMIT));
  const bytes = b.and(parts.byte('IMM2'), b.i32(127));
  // With 0 bytes at offset 0 this is beyond any limit, and the helper's business.
  const last = b.sub(b.add(offset, b.extendU(bytes)), b.i64(1));
  const isOpen = b.op('i32.eq', b.and(attributes, b.i32(ANY_OF)), b.i32(ATTRIBUTES.WRITABLE));
  const isSmall = b.op('i32.lt_u', bytes, b.i32(127));
  const fits = b.op('i64.le_u', last, limit);
  b.if(
    b.and(b.and(isOpen, isSmall), fits),
    () => {
      const linear = b.and(b.add(offset, register('SEG_SLOT')), b.i64(0xffff_ffffn));
      b.store('i64.store', b.i32(0), linear, state + STATE.EA);
    },
    slow,
  );
}
