import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { R } from '../../cpu/x86/assembler/index.js';
import { builtVariants } from '../../testing/accelerators.js';
import { GuestBench, protectedMode } from '../../testing/x86-guest.js';
import { JoinedTranslation, TranslationThreads } from './translation-threads.js';
import { WorkerCompiler, type WorkerCompilerOptions } from './worker-compiler.js';

const CODE = 0x10000;
/** The compiled file: a worker does not know TypeScript. */
const ENTRY = new URL('../../../dist/runtime/node/translation-worker.js', import.meta.url);
const ROUNDS = 1000;

let bench: GuestBench | undefined;

afterEach(() => {
  bench?.vm.dispose();
});

/** A loop that goes on for as long as nothing of it is translated, up to a minute. */
function runUntilTranslated(options: Partial<WorkerCompilerOptions>, index = 0, cpus = 1): string {
  const variants = builtVariants();
  const made = new GuestBench({
    accelerator: 'wasm',
    hotAfter: 5,
    index,
    cpus,
    translator: {
      createCompiler: (bases, memory) =>
        new WorkerCompiler({
          bases,
          memory: new Uint8Array(memory.buffer),
          variants,
          report: () => undefined,
          ...options,
        }),
    },
  });
  bench = made;
  made.asm(32, CODE, (asm) => {
    const top = asm.bind();
    asm.emit('add', R.edx, 1);
    asm.emit('jmp', top);
  });
  made.set({ ...protectedMode(made), rip: BigInt(CODE), gpr: { rdx: 0n, rsp: 0x8000n } });
  const sleep = new Int32Array(new SharedArrayBuffer(4));
  let rounds = 0n;
  for (const end = Date.now() + 60_000; Date.now() < end;) {
    made.run(2 * ROUNDS);
    rounds += BigInt(ROUNDS);
    expect(made.reg('rdx')).toBe(rounds);
    const text = made.cpu.describeWork().join('\n');
    if (/in translated code +[1-9]/.test(text)) return text;
    Atomics.wait(sleep, 0, 0, 10);
  }
  return 'nothing was translated';
}

describe('the thread that translates', () => {
  it('gives regions to a thread that never waits for events', () => {
    expect(runUntilTranslated({ entry: ENTRY })).toMatch(/1 regions/);
  });

  it('gives a CPU what another has had made', () => {
    const threads = new TranslationThreads(2, ENTRY);
    onTestFinished(() => {
      threads.close();
    });
    const texts = [0, 1].map((cpu) => {
      const text = runUntilTranslated({ links: threads.links(cpu) }, cpu, 2);
      bench?.vm.dispose();
      return text;
    });
    expect(texts[0]).toMatch(/translated +1 regions/);
    expect(texts[1]).toMatch(/translated +0 regions/);
    expect(texts[1]).toMatch(/made for other CPUs +1 regions/);
  });

  it('serves machines that come and go', () => {
    const joined = new JoinedTranslation(ENTRY);
    onTestFinished(() => {
      joined.close();
    });
    for (let machine = 0; machine < 2; machine++) {
      expect(runUntilTranslated({ join: () => joined.join() })).toMatch(/translated +1 regions/);
      bench?.vm.dispose();
    }
  });

  it('is done without when it cannot be started, with a warning', () => {
    const report = vi.fn();
    const entry = new URL('no-such-file.js', ENTRY);
    expect(runUntilTranslated({ entry, patience: 300, report })).toMatch(/1 regions/);
    expect(report).toHaveBeenCalledExactlyOnceWith(expect.stringMatching(/^the thread that translates/));
  });

  it('is done without when it does not answer', () => {
    const entry = new URL('data:text/javascript,setInterval(() => {}, 1000)');
    expect(runUntilTranslated({ entry, patience: 300 })).toMatch(/1 regions/);
  });
});
