/**
 * The semantics of SSE instructions made for constant operands, as a translator makes them, alone and in blocks that share what
 * is known, against the helpers.
 */
import { describe, expect, it } from 'vitest';
import { INSTRUCTIONS } from '../../../arch/x86/instructions/index.js';
import type { Instruction } from '../../../arch/x86/instructions/row.js';
import { LAYOUT } from '../../../memory/layout.js';
import { dataFormat } from '../../../testing/oracle/operand-data.js';
import { random, type Random } from '../../../testing/oracle/random.js';
import { writeVector, type Format } from '../../../testing/oracle/values.js';
import { compileBlocks, OPERAND, type Step } from '../../../testing/x86-blocks.js';
import { HelperBench } from '../../../testing/x86-helpers.js';
import type { STATE } from '../state-layout.js';
import { STATE_SIZE } from '../state-layout.js';
import { variants, type Variant } from '../variants.js';
import { semanticsOf } from './index.js';

const XMM_KINDS = new Set(['V', 'U', 'W']);

/** Every variant of the SSE rows that has semantics; 16-bit operands are those of 32. */
const sseVariants = INSTRUCTIONS.filter((row) => row.operands.some(({ kind }) => XMM_KINDS.has(kind)))
  .flatMap(variants)
  .filter((variant) => variant.osz !== 16 && semanticsOf(variant) !== undefined);

function slotOf(row: Instruction, field: 'reg' | 'rm', number: number): number {
  const kinds = field === 'reg' ? 'G' : 'ER';
  return row.operands.some(({ kind }) => kinds.includes(kind)) ? number * 8 : number * 16;
}

function randomStep(r: Random, variant: Variant, registers: number): Step {
  return {
    variant,
    reg: slotOf(variant.row, 'reg', r.below(registers)),
    rm: slotOf(variant.row, 'rm', r.below(registers)),
    imm: r.oneIn(3) ? r.below(256) : r.below(40),
  };
}

/** Bytes that count: all of the state but what lookups and accesses leave behind, and the memory operand. */
function outcome(bench: HelperBench): string {
  const part = (field: keyof typeof STATE, length: number): string =>
    Buffer.from(bench.bytes.slice(bench.at(field), bench.at(field) + length)).toString('hex');
  const at = bench.ram + OPERAND;
  const memory = Buffer.from(bench.bytes.slice(at, at + 16)).toString('hex');
  const flags = `${part('FLAG_RES', 8)} ${part('FLAG_AUX', 4)}`;
  return `${part('GPR', 128)}\n${part('XMM', 256)}\n${part('MXCSR', 4)} ${flags} ${memory}`;
}

function randomState(r: Random, bench: HelperBench, format: Format): void {
  const values = Buffer.alloc(16);
  for (let n = 0; n < 16; n++) {
    writeVector(r, values, 0, format);
    bench.bytes.set(values, bench.at('XMM', 16 * n));
    bench.setU64('GPR', r.u64(), n);
  }
  writeVector(r, values, 0, format);
  bench.bytes.set(values, bench.ram + OPERAND);
  bench.setU32('MXCSR', r.oneIn(4) ? 0x1f80 | (r.below(4) << 13) | r.below(128) : r.pick([0x1fa0, 0x1f80]));
}

interface Tally {
  steps: number;
  done: number;
}

/** Runs blocks on random states and compares with the helpers. */
function check(r: Random, blocks: readonly (readonly Step[])[], states: number, format?: Format): Tally {
  const bench = new HelperBench();
  const compiled = compileBlocks(bench, blocks);
  const tally = { steps: 0, done: 0 };
  blocks.forEach((block, n) => {
    for (let i = 0; i < states; i++) {
      randomState(r, bench, format ?? dataFormat(block[0].variant.row));
      const state = bench.bytes.slice(LAYOUT.STATES, LAYOUT.STATES + STATE_SIZE);
      const operand = bench.bytes.slice(bench.ram + OPERAND, bench.ram + OPERAND + 16);
      const done = compiled[n]();
      const found = outcome(bench);
      bench.bytes.set(state, LAYOUT.STATES);
      bench.bytes.set(operand, bench.ram + OPERAND);
      for (const { variant, ...step } of block.slice(0, done)) {
        const ea = variant.form === 'mem' ? { ea: BigInt(OPERAND) } : {};
        expect(bench.run(variant.row.name, { ...step, ...ea, wide: variant.osz === 64 })).toBe('done');
      }
      const text = block
        .map(({ variant, reg, rm, imm }) => `${variant.row.name} ${variant.form} ${String([reg, rm, imm])}`)
        .join('; ');
      expect(found, `${text}, ${String(done)} done`).toBe(outcome(bench));
      tally.steps += block.length;
      tally.done += done;
    }
  });
  return tally;
}

describe('semantics of SSE instructions with constant operands', () => {
  it('are those of the helpers', () => {
    const r = random(1);
    const blocks = sseVariants.flatMap((variant) =>
      Array.from({ length: 6 }, (_, i) => [randomStep(r, variant, i === 0 ? 1 : 16)]),
    );
    const { steps, done } = check(r, blocks, 8);
    expect(done / steps).toBeGreaterThan(0.6);
  });

  for (const [title, pattern, format] of [
    ['doubles', /^((h?add|h?sub|addsub|mul|div|sqrt|min|max|round)[sp]d|u?comisd|mov.*|unpck.*|cvt.*)$/, 'f64'],
    ['singles', /^((h?add|h?sub|addsub|mul|div|sqrt|min|max|round)[sp]s|u?comiss|mov.*|unpck.*|cvt.*)$/, 'f32'],
  ] as const)
    it(`stay so in blocks that share what is known: ${title}`, () => {
      const r = random(2);
      const choice = sseVariants.filter(({ row }) => pattern.test(row.name));
      const arithmetic = choice.filter(({ row }) => !/^(mov|unpck|cvt)/.test(row.name));
      const blocks = Array.from({ length: 600 }, () =>
        Array.from({ length: 12 }, () => randomStep(r, r.pick(r.oneIn(2) ? arithmetic : choice), 3)),
      );
      const { steps, done } = check(r, blocks, 4, format);
      expect(done / steps).toBeGreaterThan(0.15);
    });
});
