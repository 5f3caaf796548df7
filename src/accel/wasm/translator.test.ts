import { describe, expect, it } from 'vitest';
import { R, ptr } from '../../cpu/x86/assembler/index.js';
import { cpuBases } from '../../cpu/x86/interpreter/handlers.js';
import { GuestBench, protectedMode } from '../../testing/x86-guest.js';
import type { Compiled, Compiler, RegionRequest } from './compiler.js';
import { InThreadCompiler } from './in-thread-compiler.js';
import { STORE_LIMITS } from './region-store.js';
import { compileRegions } from './region-module.js';
import type { CreateCompiler } from './translator.js';

const CODE = 0x10000;
const LOOPS = 400;
const ROUNDS = 4;

/** Many small loops, one after the other, several times over: each adds its number ten times. */
function runLoops(options: ConstructorParameters<typeof GuestBench>[0]): GuestBench {
  const bench = new GuestBench({ hotAfter: 2, ...options });
  bench.asm(32, CODE, (asm) => {
    asm.emit('mov', R.ebx, ROUNDS);
    const again = asm.bind();
    for (let i = 0; i < LOOPS; i++) {
      asm.emit('mov', R.ecx, 10);
      const top = asm.bind();
      asm.emit('add', R.eax, i);
      asm.emit('dec', R.ecx);
      asm.emit('jnz', top);
    }
    asm.emit('dec', R.ebx);
    asm.emit('jnz', again);
    asm.emit('hlt');
  });
  bench.set({ ...protectedMode(bench), rip: BigInt(CODE), gpr: { rax: 0n, rsp: 0x8000n } });
  expect(bench.run(1_000_000).kind).toBe('halt');
  expect(bench.reg('rax')).toBe(BigInt((ROUNDS * 10 * (LOOPS * (LOOPS - 1))) / 2));
  return bench;
}

const work = (bench: GuestBench): string => bench.cpu.describeWork().join('\n');
const numberIn = (text: string, pattern: RegExp): number =>
  Number((pattern.exec(text)?.[1] ?? 'none').replace(/,/g, ''));

/** Answers when the test says so. */
class HeldCompiler implements Compiler {
  readonly isReady = true;
  readonly held: RegionRequest[] = [];
  isClosed = false;

  constructor(private readonly inner: Compiler) {}

  request(region: RegionRequest): void {
    this.held.push(region);
  }

  answer(): void {
    for (const region of this.held.splice(0)) this.inner.request(region);
  }

  take(): Compiled | undefined {
    return this.inner.take();
  }

  close(): void {
    this.isClosed = true;
  }
}

/** How often the interpreter had to go on after translated code, and why. */
function exits(text: string): Map<string, number> {
  const lines = text.matchAll(/^ {4}(\S.*?) +([\d,]+), [\d.]+ %$/gm);
  return new Map(Array.from(lines, ([, name, times]) => [name, Number(times.replace(/,/g, ''))]));
}

describe('the ways out of translated code', () => {
  it('are counted by reason', () => {
    const PAGES = 50;
    const bench = new GuestBench({ accelerator: 'wasm', hotAfter: 2 });
    bench.asm(32, CODE, (asm) => {
      asm.emit('mov', R.ecx, PAGES);
      const top = asm.bind();
      asm.emit('add', R.edi, 0x1000);
      asm.emit('mov', R.eax, ptr([R.edi]));
      asm.emit('dec', R.ecx);
      asm.emit('jnz', top);
      asm.emit('hlt');
    });
    bench.set({ ...protectedMode(bench), rip: BigInt(CODE), gpr: { rdi: 0x20000n, rsp: 0x8000n } });
    expect(bench.run(1000).kind).toBe('halt');
    const text = work(bench);
    const reasons = exits(text);
    expect([...reasons.keys()]).toContain('a jump to where nothing is known');
    // The TLB has none of the pages.
    const misses = reasons.get('an instruction');
    expect(misses).toBeGreaterThan(PAGES - 10);
    expect(numberIn(text, /from the interpreter +([\d,]+),/)).toBe(misses);
  });
});

describe('regions beyond what may be kept', () => {
  const roomy = work(runLoops({ accelerator: 'wasm' }));

  it('are none with room for all', () => {
    expect(numberIn(roomy, /; ([\d,]+) gone/)).toBe(0);
    expect(numberIn(roomy, /translated +([\d,]+) regions/)).toBeGreaterThan(3);
  });

  it.each([
    ['bytes', { ...STORE_LIMITS, bytes: 40_000 }],
    ['entries', { ...STORE_LIMITS, slots: 160 }],
    ['functions', { ...STORE_LIMITS, regions: 4 }],
  ])('make room for others: %s', (_, limits) => {
    const text = work(runLoops({ accelerator: 'wasm', translator: { limits } }));
    expect(numberIn(text, /; ([\d,]+) gone/)).toBeGreaterThan(0);
    expect(numberIn(text, /kept +([\d,]+) in/)).toBeLessThan(numberIn(roomy, /kept +([\d,]+) in/));
    expect(numberIn(text, /modules, ([\d,]+) bytes/)).toBeLessThan(limits.bytes + 40_000);
  });
});

describe('a region that is compiled while the guest runs on', () => {
  const AMOUNT = CODE + 5 + 2;

  /** Adds an immediate operand in a loop; `between` happens while the loop waits for its translation. */
  function runHeld(between: (bench: GuestBench, compiler: HeldCompiler) => void, failed?: (error: Error) => void) {
    let compiler: HeldCompiler | undefined;
    const createCompiler: CreateCompiler = (bases) =>
      (compiler = new HeldCompiler(new InThreadCompiler(bases, () => 0)));
    const bench = new GuestBench({
      accelerator: 'wasm',
      hotAfter: 5,
      translator: { createCompiler, ...(failed && { failed }) },
    });
    bench.asm(32, CODE, (asm) => {
      asm.emit('mov', R.ecx, 1000);
      const top = asm.bind();
      asm.emit('add', R.edx, 1);
      asm.emit('dec', R.ecx);
      asm.emit('jnz', top);
      asm.emit('hlt');
    });
    bench.set({ ...protectedMode(bench), rip: BigInt(CODE), gpr: { rdx: 0n, rsp: 0x8000n } });
    expect(bench.run(1 + 3 * 500).kind).toBe('budget');
    if (compiler === undefined) throw new Error('the CPU has a compiler');
    expect(compiler.held).toHaveLength(1);
    between(bench, compiler);
    expect(bench.run(10_000).kind).toBe('halt');
    return { bench, compiler, text: work(bench) };
  }

  it('is entered as soon as it is there', () => {
    const { bench, text } = runHeld((_, compiler) => compiler.answer());
    expect(bench.reg('rdx')).toBe(1000n);
    expect(numberIn(text, /in translated code +([\d,]+)/)).toBeGreaterThan(1000);
  });

  it('is thrown away when its code was overwritten meanwhile', () => {
    const { bench, text } = runHeld((b, compiler) => {
      expect(b.vm.backing[AMOUNT]).toBe(1);
      b.vm.backing[AMOUNT] = 3;
      b.vm.backingWritten(AMOUNT, 1);
      compiler.answer();
    });
    expect(bench.reg('rdx')).toBe(500n + 3n * 500n);
    expect(text).toMatch(/\b1 overwritten meanwhile/);
  });

  it('is thrown away when all decoded code was', () => {
    const { bench, text } = runHeld((b, compiler) => {
      b.cpu.restoreState(b.cpu.saveState());
      compiler.answer();
    });
    expect(bench.reg('rdx')).toBe(1000n);
    expect(text).toMatch(/\b1 overwritten meanwhile/);
  });

  it('can be in one module with another that was asked for before all decoded code was thrown away', () => {
    const { bench, text } = runHeld((b, compiler) => {
      b.cpu.restoreState(b.cpu.saveState());
      expect(b.run(3 * 100).kind).toBe('budget');
      const [before, after] = compiler.held;
      expect(after.index).toBe(before.index);
      const compiled = compileRegions(compiler.held.splice(0), cpuBases(false), { now: () => 0 });
      compiler.take = () => {
        compiler.take = () => undefined;
        return compiled;
      };
    });
    expect(bench.reg('rdx')).toBe(1000n);
    expect(text).toMatch(/kept +1 in 1 modules/);
  });

  function fail(compiler: HeldCompiler): void {
    const tickets = compiler.held.splice(0).map(({ ticket }) => ticket);
    compiler.take = () => {
      compiler.take = () => undefined;
      return { kind: 'failed', tickets, error: new Error('broken') };
    };
  }

  it('is reported when it could not be made, unless its code was changed', () => {
    expect(() => runHeld((_, compiler) => fail(compiler))).toThrow('could not be translated');
    const { bench } = runHeld((b, compiler) => {
      b.vm.backingWritten(AMOUNT, 1);
      fail(compiler);
    });
    expect(bench.reg('rdx')).toBe(1000n);
  });

  it('is done without when it could not be made, for whoever wants to hear of it', () => {
    const errors: Error[] = [];
    const { bench, text } = runHeld(
      (_, compiler) => fail(compiler),
      (error) => errors.push(error),
    );
    expect(bench.reg('rdx')).toBe(1000n);
    expect(errors.map(({ cause }) => (cause as Error).message)).toEqual(['broken']);
    expect(text).toMatch(/ 1 failed$/m);
  });

  it('is made once only when there is no way into it', () => {
    const bench = new GuestBench({ accelerator: 'wasm', hotAfter: 1 });
    bench.asm(32, CODE, (asm) => {
      const stay = asm.bind();
      asm.emit('jmp', stay);
    });
    bench.set({ ...protectedMode(bench), rip: BigInt(CODE) });
    for (let i = 0; i < 5; i++) expect(bench.run(1000).kind).toBe('budget');
    expect(work(bench)).toMatch(/not translated +[1-9]\d? not translatable, 0 too many/);
  });

  it('is waited for no longer when the VM ends', () => {
    const { bench, compiler } = runHeld(() => undefined);
    bench.vm.dispose();
    expect(compiler.isClosed).toBe(true);
  });
});
