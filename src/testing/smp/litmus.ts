/**
 * What each of several CPUs sees of the others' memory accesses (Intel SDM vol. 3 §9.2.3): a kernel that counts what happened, writes the counts to COM1, and ends by
 * isa-debug-exit.
 */
import { Assembler, byte, dword, ptr, R } from '../../cpu/x86/assembler/index.js';
import { line, SeveralCpus, type Body, type SeveralCpusOptions } from './several-cpus.js';

/** What is counted, in this order: what may be, what may never be, and sums of what all CPUs did. */
export const COUNTS = [
  { name: 'store buffering', kind: 'may' },
  { name: 'store buffering in spite of MFENCE', kind: 'never' },
  { name: 'store buffering in spite of XCHG', kind: 'never' },
  { name: 'message passing: the flag without the data', kind: 'never' },
  { name: 'load buffering: both loads see the later stores', kind: 'never' },
  { name: 'independent reads of independent writes in two orders', kind: 'never' },
  { name: 'LOCK ADD', kind: 'sums' },
  { name: 'LOCK ADD across two cache lines', kind: 'splits' },
  { name: 'LOCK ADD across two pages', kind: 'splits' },
  { name: 'LOCK CMPXCHG16B, lower half', kind: 'wides' },
  { name: 'LOCK CMPXCHG16B, upper half', kind: 'wides' },
  { name: 'halves of CMPXCHG16B that differ', kind: 'never' },
  { name: 'INC under a lock of XADD', kind: 'wides' },
  { name: 'CPUs without memory types', kind: 'never' },
  { name: 'code that was executed as it had been before another CPU wrote it', kind: 'never' },
] as const;

export interface LitmusOptions extends SeveralCpusOptions {
  /** 2 … 8; with fewer than four there are no independent readers. */
  readonly cpus: number;
  /** Of each of the tests in which CPUs meet. */
  readonly rounds: number;
  /** Of each CPU, of what is counted. */
  readonly sums: number;
  readonly splits: number;
  readonly wides: number;
}

const [X, Y, COUNTERS, WIDE, TICKET, SERVED, GUARDED] = [0, 1, 4, 8, 9, 10, 11].map(line);
/** What CPUs have seen: two u32s each. */
const SEEN = line(16);
const SUM = line(32);
const SPLIT = line(34) + 62;
const PAGES = 0x41_0000 - 2;
/** Pages of code that is overwritten, each a few times and executed so often in between that it is worth translating. */
const CODE = { AT: 0x42_0000, PAGES: 8, TIMES: 6, LOOPS: 150_000 } as const;

/** Of the host bridge, by ECAM: what 0xe8000 … 0xeffff are. */
const PAM6 = 0xb000_0096;
const DEBUG_EXIT = 0xf4;
/** IA32_MTRR_DEF_TYPE, and its bits that enable. */
const [MTRR_DEF_TYPE, MTRR_ENABLED] = [0x2ff, 0xc00];

class LitmusKernel extends SeveralCpus<LitmusOptions> {
  protected tests(): void {
    const { asm, options } = this;
    this.pair(0, 'mov', () => undefined);
    this.pair(1, 'mov', () => asm.emit('mfence'));
    this.pair(2, 'xchg', () => undefined);
    this.messages();
    this.loads();
    if (options.cpus >= 4) this.independent();
    this.together();
    this.repeat(options.sums, () => asm.emit('lock add', dword([SUM]), 1));
    for (const at of [SPLIT, PAGES]) this.repeat(options.splits, () => asm.emit('lock add', dword([at]), 1));
    this.registers();
    this.wide();
    this.guarded();
    this.together();
    this.code();
  }

  /** LOCK on a register of a device that changes the memory map, by all at once: it has to end. */
  private registers(): void {
    this.asm.emit('mov', R.edi, PAM6);
    this.repeat(this.options.splits / 10, () => this.asm.emit('lock xor', byte([R.rdi]), 0x33));
  }

  /** Firmware, or who does its work, sets memory types in all CPUs (SDM vol. 3 §12.11.8). */
  protected prepare(): void {
    const { asm } = this;
    const set = asm.label();
    asm.emit('mov', R.ecx, MTRR_DEF_TYPE);
    asm.emit('rdmsr');
    asm.emit('and', R.eax, MTRR_ENABLED);
    asm.emit('cmp', R.eax, MTRR_ENABLED);
    asm.emit('je', set);
    asm.emit('lock inc', dword([COUNTERS + 13 * 4]));
    asm.bind(set);
  }

  /** Rounds in which CPUs do something at once, after which CPU 0 looks at SEEN, with X and Y 0 before. */
  private rounds(bodies: readonly Body[], judge: Body): void {
    const { asm } = this;
    this.repeat(this.options.rounds, () => {
      this.only(0, () => {
        for (const at of [X, Y]) asm.emit('mov', dword([at]), 0);
      });
      this.together();
      for (const [cpu, body] of bodies.entries()) this.only(cpu, body);
      this.together();
      this.only(0, judge);
    });
  }

  private see(cpu: number, word: number, at: number): void {
    this.asm.emit('mov', R.eax, dword([at]));
    this.asm.emit('mov', dword([SEEN + cpu * 128 + word * 4]), R.eax);
  }

  /** Counts when CPUs have seen this, in order: cpu, word, value. */
  private countIf(counter: number, seen: readonly (readonly [number, number, number])[]): void {
    const { asm } = this;
    const not = asm.label();
    for (const [cpu, word, value] of seen) {
      asm.emit('cmp', dword([SEEN + cpu * 128 + word * 4]), value);
      asm.emit('jne', not);
    }
    asm.emit('inc', dword([COUNTERS + counter * 4]));
    asm.bind(not);
  }

  /** Store buffering: each stores one word and then loads the other. */
  private pair(counter: number, store: 'mov' | 'xchg', between: Body): void {
    const { asm } = this;
    const side = (cpu: number, own: number, other: number) => () => {
      asm.emit('mov', R.ecx, 1);
      asm.emit(store, dword([own]), R.ecx);
      between();
      this.see(cpu, 0, other);
    };
    this.rounds([side(0, X, Y), side(1, Y, X)], () =>
      this.countIf(counter, [
        [0, 0, 0],
        [1, 0, 0],
      ]),
    );
  }

  /** CPU 0 writes numbers to X and then to Y; CPU 1 must not find in X what is older than in Y. */
  private messages(): void {
    const { asm, options } = this;
    const count = options.rounds * 50;
    this.only(0, () => {
      for (const at of [X, Y]) asm.emit('mov', dword([at]), 0);
    });
    this.together();
    this.only(0, () => {
      asm.emit('xor', R.eax, R.eax);
      this.repeat(count, () => {
        asm.emit('inc', R.eax);
        asm.emit('mov', dword([X]), R.eax);
        asm.emit('mov', dword([Y]), R.eax);
      });
    });
    this.only(1, () => {
      const [look, fine] = [asm.bind(), asm.label()];
      asm.emit('mov', R.eax, dword([Y]));
      asm.emit('mov', R.ecx, dword([X]));
      asm.emit('cmp', R.ecx, R.eax);
      asm.emit('jae', fine);
      asm.emit('inc', dword([COUNTERS + 3 * 4]));
      asm.bind(fine);
      asm.emit('cmp', R.eax, count);
      asm.emit('jne', look);
    });
    this.together();
  }

  /** Load buffering: each loads one word and then stores the other. */
  private loads(): void {
    const { asm } = this;
    const side = (cpu: number, from: number, to: number) => () => {
      this.see(cpu, 0, from);
      asm.emit('mov', dword([to]), 1);
    };
    this.rounds([side(0, X, Y), side(1, Y, X)], () =>
      this.countIf(4, [
        [0, 0, 1],
        [1, 0, 1],
      ]),
    );
  }

  /** Two write, two read both in opposite order. */
  private independent(): void {
    const { asm } = this;
    const write = (at: number) => () => asm.emit('mov', dword([at]), 1);
    const read = (cpu: number, first: number, second: number) => () => {
      this.see(cpu, 0, first);
      this.see(cpu, 1, second);
    };
    this.rounds([write(X), write(Y), read(2, X, Y), read(3, Y, X)], () =>
      this.countIf(5, [
        [2, 0, 1],
        [2, 1, 0],
        [3, 0, 1],
        [3, 1, 0],
      ]),
    );
  }

  private wide(): void {
    const { asm } = this;
    this.repeat(this.options.wides, () => {
      const [again, same, done] = [asm.label(), asm.label(), asm.label()];
      asm.emit('xor', R.eax, R.eax);
      asm.emit('xor', R.edx, R.edx);
      asm.bind(again);
      asm.emit('lea', R.rbx, ptr([R.rax, 1]));
      asm.emit('lea', R.rcx, ptr([R.rdx, 1]));
      asm.emit('lock cmpxchg16b', ptr([WIDE]));
      asm.emit('je', done);
      asm.emit('cmp', R.rax, R.rdx);
      asm.emit('je', same);
      asm.emit('lock inc', dword([COUNTERS + 11 * 4]));
      asm.bind(same);
      asm.emit('jmp', again);
      asm.bind(done);
    });
  }

  private guarded(): void {
    const { asm } = this;
    this.repeat(this.options.wides, () => {
      const [look, mine] = [asm.label(), asm.label()];
      asm.emit('mov', R.eax, 1);
      asm.emit('lock xadd', dword([TICKET]), R.eax);
      asm.bind(look);
      asm.emit('cmp', dword([SERVED]), R.eax);
      asm.emit('je', mine);
      asm.emit('pause');
      asm.emit('jmp', look);
      asm.bind(mine);
      asm.emit('inc', dword([GUARDED]));
      asm.emit('inc', dword([SERVED]));
    });
  }

  /**
   * One CPU writes code, says so, and all execute it: the others after CPUID, as SDM vol. 3 §9.1.3 wants it. In each page is a loop that loads a
   * number, and ends early when that is not EBX.
   */
  private code(): void {
    const { asm } = this;
    const loop = new Assembler({ bits: 64, origin: CODE.AT });
    const [top, end] = [loop.bind(), loop.label()];
    loop.bytes([0xb8, 0, 0, 0, 0]);
    loop.emit('cmp', R.eax, R.ebx);
    loop.emit('jne', end);
    loop.emit('dec', R.ecx);
    loop.emit('jne', top);
    loop.bind(end);
    loop.emit('ret');
    loop.align(4);
    const words = new DataView(loop.finish().slice().buffer);
    this.only(0, () => {
      for (let page = 0; page < CODE.PAGES; page++)
        for (let i = 0; i < words.byteLength; i += 4)
          asm.emit('mov', dword([CODE.AT + page * 4096 + i]), words.getUint32(i, true));
      asm.emit('mov', dword([X]), 0);
    });
    this.together();
    this.repeat(CODE.PAGES * CODE.TIMES, () => {
      const [written, look, fine] = [asm.label(), asm.label(), asm.label()];
      asm.emit('xor', R.edx, R.edx);
      asm.emit('mov', R.eax, R.r14d);
      asm.emit('mov', R.ecx, CODE.PAGES);
      asm.emit('div', R.ecx);
      asm.emit('shl', R.edx, 12);
      asm.emit('lea', R.ebp, ptr([R.rdx, CODE.AT]));
      // The first two take turns.
      asm.emit('and', R.eax, 1);
      asm.emit('cmp', R.eax, R.r13d);
      asm.emit('jne', look);
      asm.emit('mov', dword([R.rbp, 1]), R.r14d);
      asm.emit('mov', dword([X]), R.r14d);
      asm.emit('jmp', written);
      asm.bind(look);
      asm.emit('pause');
      asm.emit('cmp', dword([X]), R.r14d);
      asm.emit('jne', look);
      asm.emit('cpuid');
      asm.bind(written);
      asm.emit('mov', R.ebx, R.r14d);
      asm.emit('mov', R.ecx, CODE.LOOPS);
      asm.emit('call', R.rbp);
      asm.emit('cmp', R.eax, R.ebx);
      asm.emit('je', fine);
      asm.emit('lock inc', dword([COUNTERS + 14 * 4]));
      asm.bind(fine);
      this.together();
    });
  }

  protected report(): void {
    const { asm } = this;
    const sums: readonly (readonly [number, number])[] = [
      [6, SUM],
      [7, SPLIT],
      [8, PAGES],
      [9, WIDE],
      [10, WIDE + 8],
      [12, GUARDED],
    ];
    for (const [counter, at] of sums) {
      asm.emit('mov', R.eax, dword([at]));
      asm.emit('mov', dword([COUNTERS + counter * 4]), R.eax);
    }
    this.write('LITM');
    asm.emit('mov', R.esi, COUNTERS);
    this.repeat(COUNTS.length, () => {
      asm.emit('mov', R.edi, dword([R.rsi]));
      asm.emit('add', R.rsi, 4);
      asm.emit('mov', R.ebp, 8);
      const next = asm.bind();
      asm.emit('rol', R.edi, 4);
      asm.emit('mov', R.ecx, R.edi);
      asm.emit('and', R.ecx, 15);
      asm.emit('add', R.ecx, 'A'.charCodeAt(0));
      this.sendCl();
      asm.emit('dec', R.ebp);
      asm.emit('jne', next);
    });
    asm.emit('xor', R.eax, R.eax);
    asm.emit('mov', R.edx, DEBUG_EXIT);
    asm.emit('out', R.dx, R.eax);
  }
}

/** What it has counted, by what it wrote: behind `LITM` eight digits each, A … P. */
export function readCounts(output: string): number[] {
  const at = output.indexOf('LITM') + 4;
  return COUNTS.map((_, i) => {
    let value = 0;
    for (let digit = 0; digit < 8; digit++) value = value * 16 + output.charCodeAt(at + i * 8 + digit) - 65;
    return value;
  });
}

/** What is not as x86 has it, as lines. */
export function wrongCounts(counts: readonly number[], options: LitmusOptions): string[] {
  return COUNTS.flatMap(({ name, kind }, i) => {
    const expected = kind === 'never' ? 0 : kind === 'may' ? counts[i] : options[kind] * options.cpus;
    return counts[i] === expected ? [] : [`${name}: ${String(counts[i])}, not ${String(expected)}`];
  });
}

/** A multiboot kernel without a file format around it. */
export const litmusKernel = (options: LitmusOptions): Uint8Array => new LitmusKernel(options).build();
