/** The semantics of x87 instructions in blocks that share what is known, against the helpers. */
import { describe, expect, it } from 'vitest';
import { INSTRUCTIONS } from '../../../arch/x86/instructions/index.js';
import { LAYOUT } from '../../../memory/layout.js';
import { random, type Random } from '../../../testing/oracle/random.js';
import { writeF32, writeF64, writeF80, writeInt } from '../../../testing/oracle/values.js';
import { compileBlocks, OPERAND, type Step } from '../../../testing/x86-blocks.js';
import { HelperBench } from '../../../testing/x86-helpers.js';
import type { STATE } from '../state-layout.js';
import { STATE_SIZE } from '../state-layout.js';
import { variants, type Variant } from '../variants.js';
import { semanticsOf } from './index.js';

const choice = INSTRUCTIONS.filter((row) => row.feature === 'fpu' || /^f(u?comi|isttp|cmov|wait)/.test(row.name))
  .flatMap(variants)
  .filter((variant) => semanticsOf(variant) !== undefined);
const pushes = choice.filter(({ row }) => /^fi?ld/.test(row.name) && row.name !== 'fldcw');
const others = choice.filter(({ row }) => row.name !== 'fldcw');

const LEAST_MEMORY = 16;

function randomStep(r: Random, depth: number): Step {
  // Deep stacks are popped and flat ones filled, more often than not.
  const wanted: readonly Variant[] = depth < 2 || r.oneIn(4) ? pushes : r.oneIn(20) ? choice : others;
  const variant = r.pick(wanted);
  return { variant, reg: 0, rm: 0, imm: 0, modrm: variant.form === 'mem' ? 0 : 0xc0 | r.below(r.oneIn(8) ? 8 : 3) };
}

/** How much deeper the stack is after an instruction. */
function growth({ row }: Variant): number {
  if (/^(fi?ld|fld[1z])/.test(row.name) && row.name !== 'fldcw') return 1;
  return row.name.endsWith('pp') ? -2 : /p(_|$)/.test(row.name) && !row.name.startsWith('fnst') ? -1 : 0;
}

function randomBlock(r: Random): Step[] {
  let depth = 2;
  return Array.from({ length: 12 + r.below(2) }, () => {
    const step = randomStep(r, depth);
    depth += growth(step.variant);
    return step;
  });
}

/** Ordinary numbers mostly, and such as cancel each other out. */
function writeOperand(r: Random, target: Buffer): void {
  const kind = r.below(4);
  if (kind === 0) writeF32(r, target, 0, !r.oneIn(4));
  else if (kind === 1) writeInt(r, target, 0, 8);
  else writeF64(r, target, 0, !r.oneIn(4));
}

function randomState(r: Random, bench: HelperBench): void {
  const value = Buffer.alloc(LEAST_MEMORY);
  for (let n = 0; n < 8; n++) {
    value.fill(0);
    if (r.oneIn(4)) writeF80(r, value, 0);
    else {
      value.writeBigUInt64LE(r.u64() | (1n << 63n));
      if (r.oneIn(2)) value.writeBigUInt64LE(value.readBigUInt64LE() & ~0x7ffn);
      value.writeUInt16LE((r.below(2) << 15) | (16383 - 40 + r.below(80)), 8);
      if (r.oneIn(8))
        value
          .fill(0, 0, 8)
          .fill(0, 8, 9)
          .writeUInt8(r.below(2) << 7, 9);
    }
    bench.bytes.set(value, bench.at('FPR', 16 * n));
    bench.setU64('GPR', r.u64(), n);
  }
  bench.setU64('FLAG_RES', r.oneIn(2) ? 0n : r.u64());
  bench.setU32('FLAG_AUX', r.u32() & 0xc000ff09);
  value.fill(0);
  writeOperand(r, value);
  bench.bytes.set(value, bench.ram + OPERAND);
  const top = r.below(8);
  // Two registers or more hold something.
  const full = 2 + r.below(5);
  let tags = 0;
  for (let i = 0; i < full; i++) tags |= 1 << ((top + i) & 7);
  bench.setU32('FTW', r.oneIn(8) ? r.below(256) : tags);
  bench.setU32('FSW', (top << 11) | (r.u32() & 0x4700) | r.below(64));
  bench.setU32('FCW', r.oneIn(4) ? 0x7f | (r.below(16) << 8) : r.oneIn(10) ? 0x340 | r.below(64) : 0x37f);
  for (const field of ['FOP', 'FCS', 'FDS'] as const) bench.setU32(field, r.below(0x700));
  if (!r.oneIn(3)) return;
  // An exception that is not masked is pending.
  if (bench.u32('FSW') & ~bench.u32('FCW') & 0x3f) bench.setU32('FSW', bench.u32('FSW') | 0x8080);
}

/** All of the state from GPR to FLAG_AUX and of the x87, and the memory operand. */
function outcome(bench: HelperBench): string {
  const hex = (from: number, to: number): string => Buffer.from(bench.bytes.slice(from, to)).toString('hex');
  const part = (field: keyof typeof STATE, length: number): string => hex(bench.at(field), bench.at(field) + length);
  const registers = Array.from({ length: 8 }, (_, n) => hex(bench.at('FPR', 16 * n), bench.at('FPR', 16 * n + 16)));
  const words = (['FSW', 'FCW', 'FTW', 'FOP', 'FCS', 'FDS'] as const).map((f) => `${f} ${bench.u32(f).toString(16)}`);
  const pointers = `${part('FIP', 8)} ${part('FDP', 8)} ${part('FLAG_RES', 8)} ${part('FLAG_AUX', 4)}`;
  return [...registers, ...words, pointers, part('GPR', 64), hex(bench.ram + OPERAND, bench.ram + OPERAND + 16)].join(
    '\n',
  );
}

describe('semantics of x87 instructions in blocks', () => {
  it('are those of the helpers', () => {
    const r = random(1);
    const bench = new HelperBench();
    const blocks = Array.from({ length: 500 }, () => randomBlock(r));
    const compiled = compileBlocks(bench, blocks);
    let done = 0;
    blocks.forEach((block, n) => {
      for (let i = 0; i < 6; i++) {
        randomState(r, bench);
        const state = bench.bytes.slice(LAYOUT.STATES, LAYOUT.STATES + STATE_SIZE);
        const operand = bench.bytes.slice(bench.ram + OPERAND, bench.ram + OPERAND + LEAST_MEMORY);
        const count = compiled[n]();
        const found = outcome(bench);
        bench.bytes.set(state, LAYOUT.STATES);
        bench.bytes.set(operand, bench.ram + OPERAND);
        for (const { variant, modrm } of block.slice(0, count)) {
          const ea = variant.form === 'mem' ? { ea: BigInt(OPERAND) } : {};
          expect(bench.run(variant.row.name, { ...ea, modrm: modrm ?? 0 })).toBe('done');
        }
        const text = block.map(({ variant, modrm }) => `${variant.row.name} ${String(modrm)}`).join('; ');
        expect(found, `${text}, ${String(count)} done`).toBe(outcome(bench));
        done += count;
      }
    });
    expect(done / (blocks.length * 12 * 6)).toBeGreaterThan(0.3);
  });
});
