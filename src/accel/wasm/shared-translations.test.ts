import { beforeEach, describe, expect, it } from 'vitest';
import { byte, R } from '../../cpu/x86/assembler/index.js';
import { builtVariants } from '../../testing/accelerators.js';
import { SharedTranslations, SharingCompiler } from '../../testing/fuzz/sharing-compiler.js';
import { GuestBench, protectedMode } from '../../testing/x86-guest.js';
import { Spans } from './spans.js';

const CODE = 0x10000;
/** On a page of its own, where only those go who are told to. */
const ASIDE = 0x12000;
const PATCH = 0x14000;
const ROUNDS = 200;
const STACK = 0x8000n;

/** Two CPUs of one machine, one after the other on this thread. What is translated for one is given to the other. */
function twoCpus(): { readonly shared: SharedTranslations; readonly cpus: readonly [GuestBench, GuestBench] } {
  const shared = new SharedTranslations(builtVariants());
  const bench = (index: number, memory?: WebAssembly.Memory): GuestBench =>
    new GuestBench({
      accelerator: 'wasm',
      hotAfter: 5,
      index,
      cpus: 2,
      ...(memory && { memory }),
      translator: { createCompiler: (bases, own) => new SharingCompiler(shared, index, bases, own) },
    });
  const first = bench(0);
  return { shared, cpus: [first, bench(1, first.vm.share)] };
}

let { shared, cpus } = twoCpus();

beforeEach(() => {
  ({ shared, cpus } = twoCpus());
  const [first] = cpus;
  // Goes round, adding 1 each time; where ECX is EDX it goes aside, and adds 100.
  first.asm(32, CODE, (asm) => {
    const [top, over, aside] = [asm.bind(), asm.label(), asm.label()];
    asm.emit('add', R.eax, 1);
    asm.emit('cmp', R.ecx, R.edx);
    asm.emit('jz', aside);
    asm.bind(over);
    asm.emit('dec', R.ecx);
    asm.emit('jnz', top);
    asm.emit('hlt');
    asm.org(ASIDE);
    asm.bind(aside);
    asm.emit('add', R.eax, 100);
    asm.emit('jmp', over);
  });
});

const AMOUNT = 2;

/** What a CPU gets; `aside`: the round in which it goes aside, if it does. */
function run(cpu: GuestBench, aside = 0): number {
  const gpr = {
    rax: 0n,
    rcx: BigInt(ROUNDS),
    rdx: BigInt(aside === 0 ? -1 : ROUNDS - aside) & 0xffff_ffffn,
    rsp: STACK,
  };
  cpu.set({ ...protectedMode(cpu), rip: BigInt(CODE), gpr });
  expect(cpu.run(100_000).kind).toBe('halt');
  return Number(cpu.reg('rax'));
}

/** A CPU changes what the ADD at an address adds. */
function patch(cpu: GuestBench, at: number, amount: number): void {
  cpu.asm(32, PATCH, (asm) => {
    asm.emit('mov', byte([at + AMOUNT]), amount);
    asm.emit('hlt');
  });
  cpu.vm.backingWritten(PATCH, 16);
  cpu.set({ ...protectedMode(cpu), rip: BigInt(PATCH), gpr: { rsp: STACK } });
  expect(cpu.run().kind).toBe('halt');
}

const given = (cpu: GuestBench): number =>
  Number(/made for other CPUs +([\d,]+) regions/.exec(cpu.cpu.describeWork().join('\n'))?.[1] ?? 0);

describe('what was translated for one CPU', () => {
  it('is used by another, also where it has not been yet', () => {
    const [first, second] = cpus;
    expect(run(first, 1)).toBe(ROUNDS + 100);
    const { modules } = shared;
    expect(modules).toBeGreaterThan(0);
    expect(run(second)).toBe(ROUNDS);
    expect(given(second)).toBeGreaterThan(0);
    expect(run(second, 150)).toBe(ROUNDS + 100);
    expect(shared.modules).toBe(modules);
  });

  it.each([0, 1])('goes on both when CPU %i writes over it, wherever', (writer) => {
    const [first, second] = cpus;
    run(first, 1);
    run(second);
    expect(given(second)).toBeGreaterThan(0);
    patch(cpus[writer], ASIDE, 7);
    for (const cpu of cpus) expect(run(cpu, 150)).toBe(ROUNDS + 7);
    patch(cpus[writer], CODE, 3);
    for (const cpu of cpus) expect(run(cpu, 150)).toBe(3 * ROUNDS + 7);
    for (const cpu of cpus) expect(run(cpu)).toBe(3 * ROUNDS);
  });

  it('is not used when the code is another by then', () => {
    const [first, second] = cpus;
    run(first, 1);
    patch(first, ASIDE, 9);
    patch(second, CODE, 2);
    expect(run(second, 150)).toBe(2 * ROUNDS + 9);
    expect(given(second)).toBe(0);
    expect(run(first, 150)).toBe(2 * ROUNDS + 9);
  });
});

describe('spans of numbers', () => {
  it('are given out in a row, and join again', () => {
    const spans = new Spans(10);
    const [a, b, c] = [spans.take(3), spans.take(4), spans.take(3)];
    expect([a, b, c, spans.take(1)]).toEqual([0, 3, 7, undefined]);
    expect(spans.take(0)).toBe(0);
    spans.giveBack(0, 3);
    spans.giveBack(7, 3);
    expect(spans.take(4)).toBeUndefined();
    spans.giveBack(3, 4);
    expect(spans.left).toBe(10);
    expect(spans.take(10)).toBe(0);
  });
});
