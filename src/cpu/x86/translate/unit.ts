/** One instruction of a region in the intermediate form. */
import type { Node } from '../../../ir/nodes.js';
import { helperOf } from '../interpreter/handlers.js';
import type { Facts } from '../semantics/facts.js';
import { semanticsOf } from '../semantics/index.js';
import { Lift, type InstructionParts } from '../semantics/lift.js';
import { segmentedAddress } from '../semantics/segmented-address.js';
import { NEXT, RECORD, RECORD_SIZE } from '../state-layout.js';
import type { Variant } from '../variants.js';
import type { RecordReader } from './code-view.js';
import type { RegionBuilder } from './region-builder.js';
import type { Unit } from './scan.js';

/** Parts of an instruction that are known. */
function constantParts(b: RegionBuilder, view: RecordReader, record: number): InstructionParts {
  return {
    byte: (name) => b.i32(view.byte(record, name)),
    offset: () => b.i32(view.offset(record)),
    displacement: () => b.i64(view.displacement(record)),
    immediate: () => b.i64(view.immediate(record)),
    link: () => b.i32(1),
  };
}

const VECTOR = new Set(['V', 'U', 'W', 'P', 'N', 'Q', 'ST0', 'STi', 'XMM0']);

const XMM = new Set(['V', 'U', 'W', 'XMM0']);
/** x87 and vector instructions that use general registers which no operand names. */
const IMPLICIT = new Set(['fnstsw_ax', 'pcmpestri', 'pcmpestrm', 'pcmpistri', 'maskmovq', 'maskmovdqu']);

/** Whether an instruction done by a helper leaves general registers alone but for its address: x87, MMX and SSE. */
function isVector({ row }: Variant): boolean {
  if (IMPLICIT.has(row.name)) return false;
  const vectors = row.feature === 'fpu' || row.operands.some((o) => VECTOR.has(o.kind));
  return vectors && row.operands.every((o) => VECTOR.has(o.kind) || o.kind === 'I' || o.kind === 'M');
}

/** Rewrites all flags from registers, without a way out before. */
const OVERWRITING = new Set(['add', 'sub', 'and', 'or', 'xor', 'cmp', 'test', 'neg']);
/** Neither looks at flags nor leaves. */
const TRANSPARENT = new Set(['mov', 'lea', 'movzx', 'movsx', 'movsxd', 'bswap', 'not', 'nop', 'cbw', 'cwd']);

/** Whether nothing can see the flags that unit `index` sets. */
function flagsAreDead(units: readonly Unit[], index: number): boolean {
  for (let i = index + 1; i < units.length; i++) {
    const { row, form } = units[i].variant;
    if (form === 'mem' && row.name !== 'lea' && row.name !== 'nop') return false;
    if (OVERWRITING.has(row.name)) return true;
    if (!TRANSPARENT.has(row.name)) return false;
  }
  return false;
}

const writesSomeFlags = (variant: Variant): boolean => variant.row.flags.modified + variant.row.flags.undefined !== '';

export interface UnitOptions {
  readonly b: RegionBuilder;
  readonly view: RecordReader;
  /** Bit of the block's page in `proved`. */
  readonly pageBit: number;
  readonly is64: boolean;
  /** What is known in the block. */
  readonly facts: Facts;
}

/** Builds unit `index` of a block. */
export function buildUnit(options: UnitOptions, units: readonly Unit[], index: number): void {
  const { b, view } = options;
  const unit = units[index];
  const { variant, record } = unit;
  b.at(unit.start, index);
  if (unit.start !== record && unit.straddles === undefined)
    segmentedAddress(b, b.bases.state, constantParts(b, view, unit.start), () => {
      b.exit('fault');
    });
  const hooks = { flags: b.flags, facts: options.facts, fallback: () => b.exit('fallback') };
  const x = new Lift(b, variant, constantParts(b, view, record), b.mmu, b.bases.state, hooks);
  const semantics = semanticsOf(variant);
  if (semantics) {
    b.flags.dead = writesSomeFlags(variant) && flagsAreDead(units, index);
    semantics(x);
    b.flags.dead = false;
  } else callHelper(options, x, unit, index);
}

function callHelper({ b, view, pageBit, is64, facts }: UnitOptions, x: Lift, unit: Unit, index: number): void {
  facts.forget();
  const { variant, record } = unit;
  const { flags } = variant.row;
  const isMemory = variant.form === 'mem';
  const isolated = isVector(variant);
  const address = isMemory ? x.linear() : b.i64(0);
  const touchesFlags = !isolated || flags.tested !== '' || writesSomeFlags(variant);
  const usesXmm = variant.row.operands.some((o) => XMM.has(o.kind));
  // The operand size of a helper's instruction does not say how its mode cuts RIP.
  const next = (): Node => {
    const after = b.add(x.loadState64('CODE_BASE'), b.i64(view.offset(record) + view.byte(record, 'LENGTH')));
    return is64 ? after : b.and(after, b.i64(0xffff_ffffn));
  };
  if (!isolated) b.spill();
  else if (usesXmm) b.insert('spill-vectors');
  // It goes into the last instruction pointer.
  if (isolated && variant.row.feature === 'fpu') b.writeBack();
  if (touchesFlags) b.spillFlags();
  const answer = b.call(helperOf(variant.row), b.recordAddress(record), address);
  if (!isolated) b.reload();
  else if (usesXmm) b.reloadVectors();
  if (touchesFlags) b.reloadFlags();
  if (isMemory || !isolated) b.set(b.proved, b.i32(pageBit));
  b.if(answer, () => {
    b.if(b.op('i32.eq', answer, b.i32(NEXT.FAULT)), () => {
      b.exit('fault');
    });
    const rip = b.load('i64.load', b.i32(0), x.at('RIP'));
    b.set(b.target, b.select(b.op('i32.eq', answer, b.i32(NEXT.ATTENTION)), next(), rip));
    b.leave({ kind: 'answer', done: index + 1, flags: b.flags.kind }, answer);
  });
  if (!isMemory && isolated) return;
  // It may have overwritten its own page, or told the interrupt controller something.
  const overwritten = b.eqz(b.load('i32.load16_u', b.recordAddress(unit.start), RECORD.HANDLER));
  const attention = b.load('i32.load', b.i32(0), x.at('ATTN'));
  b.if(b.or(overwritten, attention), () => {
    if (unit.straddles === undefined) b.interpret(record + RECORD_SIZE, index + 1);
    else {
      b.set(b.target, next());
      b.leave({ kind: 'answer', done: index + 1, flags: b.flags.kind }, b.i32(NEXT.JUMP));
    }
  });
}
