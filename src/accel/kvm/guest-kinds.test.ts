/** Kinds of guests that every KVM runs, also one without VT-x or AMD-V below it: what such a one cannot do is not here. */
import { afterEach, expect, it } from 'vitest';
import { MSR } from '../../arch/x86/msrs.js';
import { dword, ptr, qword, R, type Assembler } from '../../cpu/x86/assembler/index.js';
import { CODE, KvmBench, longRing3, READ_ONLY, SECOND } from '../../testing/kvm-bench.js';
import { describeWith, requireKvm } from '../../testing/tools.js';
import { segment, type Changes } from '../../testing/x86-guest.js';

const kvm = await requireKvm();
const makeVm = kvm.missing === undefined ? (await import('./vm.js')).KvmVm : undefined;

const benches: KvmBench[] = [];
afterEach(() => {
  for (const { vm } of benches.splice(0)) vm.dispose();
});

/** Where no memory is: a write there ends a program. */
const END = 0x38_0000 + 0x10_0000;
const GDT = 0x5000;
const IDT = 0x6000;
const TSS = 0x7000;
const HANDLERS = 0x1_8000;
/** Numbers of exceptions as they came, and how many. */
const LOG = 0x2_0000;
const STACK0 = 0x3_0000;
const STACK3 = 0x4_0000;
const DATA = 0x5_0000;
/** Mapped by nothing. */
const UNMAPPED = 0x4000_0000;
const CODE0 = 8;
const DATA0 = 16;
const DATA3 = 0x23;
const CODE3 = 0x2b;

class KindsBench extends KvmBench {
  constructor() {
    super(makeVm);
    benches.push(this);
  }

  /** Runs until the program writes to END. */
  runToEnd(): void {
    for (let i = 0; i < 1000 && !this.log.some((line) => line.startsWith('write 480000')); i++)
      expect(this.cpu.run(SECOND / 100).kind).toMatch(/budget|kicked/);
    expect(this.log.at(-1)).toMatch(/^write 480000/);
  }

  u64(at: number): bigint {
    return this.view.getBigUint64(at, true);
  }

  /** Numbers of the exceptions that came. */
  get exceptions(): number[] {
    return Array.from({ length: this.view.getUint32(LOG, true) }, (_, i) => this.view.getUint32(LOG + 8 + 4 * i, true));
  }

  /**
   * Tables with a handler for each exception, which writes its number down and goes on in ring 3 at RBX: by IRETQ, with integer
   * instructions alone.
   */
  tables(): Changes {
    const { view } = this;
    const descriptors = [
      0n,
      0x00af_9b00_0000_ffffn,
      0x00cf_9300_0000_ffffn,
      0n,
      0x00cf_f300_0000_ffffn,
      0x00af_fb00_0000_ffffn,
    ];
    descriptors.forEach((descriptor, i) => view.setBigUint64(GDT + 8 * i, descriptor, true));
    view.setBigUint64(TSS + 4, BigInt(STACK0), true);
    const withCode = new Set([8, 10, 11, 12, 13, 14, 17]);
    for (let vector = 0; vector < 32; vector++) {
      const at = HANDLERS + 0x80 * vector;
      view.setBigUint64(
        IDT + 16 * vector,
        BigInt(at & 0xffff) | (BigInt(CODE0) << 16n) | (0xeen << 40n) | (BigInt(at >> 16) << 48n),
        true,
      );
      this.asm(64, at, (asm) => {
        if (withCode.has(vector)) asm.emit('add', R.rsp, 8);
        asm.emit('mov', R.ecx, ptr([LOG]));
        asm.emit('mov', R.esi, R.ecx);
        asm.emit('shl', R.esi, 2);
        asm.emit('mov', dword([R.rsi, LOG + 8]), vector);
        asm.emit('inc', R.ecx);
        asm.emit('mov', ptr([LOG]), R.ecx);
        asm.emit('mov', ptr([R.rsp]), R.rbx);
        asm.emit('iretq');
      });
    }
    const mode = longRing3(this.vm.backing, CODE);
    // Also what lies behind the memory is mapped.
    view.setBigUint64(0x3010, 0x40_0087n, true);
    return {
      ...mode,
      gdtr: { base: BigInt(GDT), limit: 0x2f },
      idtr: { base: BigInt(IDT), limit: 0x1ff },
      gpr: { rsp: BigInt(STACK3) },
    };
  }

  /** The state with the task whose stack interrupts of ring 3 take. */
  start(changes: Changes): void {
    const tr = { selector: 0x30, base: BigInt(TSS), limit: 0x67, attributes: 0x8b };
    this.set({ ...changes, segments: { ...changes.segments, tr } });
  }
}

/** Says that the program is at its end, and stays there. */
function end(asm: Assembler): void {
  asm.emit('mov', ptr([END]), R.eax);
  const stay = asm.bind();
  asm.emit('jmp', stay);
}

const flat32 = (): Changes => {
  const data = segment(16, 0n, 0xffff_ffff, 0xc093);
  const segments = { cs: segment(8, 0n, 0xffff_ffff, 0xc09b), ss: data, ds: data, es: data, fs: data, gs: data };
  return { cr0: 0x11n, rip: BigInt(CODE), gpr: { rsp: BigInt(STACK0) }, segments };
};

/** Long mode in ring 0. */
const long0 = (backing: Uint8Array): Changes => {
  const data = segment(16, 0n, 0xffff_ffff, 0xc093);
  const segments = { cs: segment(8, 0n, 0xffff_ffff, 0xa09b), ss: data, ds: data, es: data, fs: data, gs: data };
  return { ...longRing3(backing, CODE), gpr: { rsp: BigInt(STACK0) }, segments };
};

/** Fibonacci's 30th number by calls and a stack. */
function fibonacci(asm: Assembler, accumulator: typeof R.eax, stack: typeof R.eax): void {
  const [work, small, start] = [asm.label(), asm.label(), asm.label()];
  asm.emit('jmp', start);
  asm.bind(work);
  asm.emit('cmp', R.edi, 2);
  asm.emit('jb', small);
  asm.emit('push', stack);
  asm.emit('dec', R.edi);
  asm.emit('push', stack);
  asm.emit('call', work);
  asm.emit('pop', stack);
  asm.emit('dec', R.edi);
  asm.emit('call', work);
  asm.emit('pop', stack);
  asm.emit('ret');
  asm.bind(small);
  asm.emit('add', accumulator, R.edi);
  asm.emit('ret');
  asm.bind(start);
  asm.emit('xor', accumulator, accumulator);
  asm.emit('mov', R.edi, 12);
  asm.emit('call', work);
}

describeWith([kvm], 'a guest on KVM', () => {
  it('in real mode counts, moves strings and calls', () => {
    const bench = new KindsBench();
    bench.asm(16, CODE, (asm) => {
      asm.emit('mov', R.ax, 0x2000);
      asm.emit('mov', R.es, R.ax);
      asm.emit('mov', R.cx, 256);
      asm.emit('xor', R.di, R.di);
      asm.emit('mov', R.ax, 0x1234);
      asm.emit('rep stosw');
      asm.emit('hlt');
    });
    bench.realMode();
    expect(bench.cpu.run(SECOND).kind).toBe('halt');
    expect([bench.view.getUint16(0x2_0000, true), bench.view.getUint16(0x2_01fe, true)]).toEqual([0x1234, 0x1234]);
    expect(bench.view.getUint16(0x2_0200, true)).toBe(0);
  });

  it('in flat 32-bit mode without paging recurs', () => {
    const bench = new KindsBench();
    bench.asm(32, CODE, (asm) => {
      fibonacci(asm, R.eax, R.edi);
      asm.emit('hlt');
    });
    bench.set(flat32());
    expect(bench.cpu.run(SECOND).kind).toBe('halt');
    expect(bench.state.gpr[0]).toBe(144n);
  });

  it('in long mode in ring 0 recurs', () => {
    const bench = new KindsBench();
    bench.asm(64, CODE, (asm) => {
      fibonacci(asm, R.eax, R.rdi);
      asm.emit('hlt');
    });
    bench.set(long0(bench.vm.backing));
    expect(bench.cpu.run(SECOND).kind).toBe('halt');
    expect(bench.state.gpr[0]).toBe(144n);
  });

  it('in ring 3 computes with SSE and the x87', () => {
    const bench = new KindsBench();
    bench.view.setFloat64(DATA, 2, true);
    bench.asm(64, CODE, (asm) => {
      asm.emit('movsd', R.xmm0, qword([DATA]));
      asm.emit('sqrtsd', R.xmm1, R.xmm0);
      asm.emit('movsd', ptr([DATA + 8]), R.xmm1);
      // Power-on leaves exceptions unmasked.
      asm.emit('fninit');
      asm.emit('fld', qword([DATA]));
      asm.emit('fsqrt');
      asm.emit('fstp', qword([DATA + 16]));
      asm.emit('movd', R.xmm2, R.ebx);
      asm.emit('pshufd', R.xmm2, R.xmm2, 0);
      asm.emit('paddd', R.xmm2, R.xmm2);
      asm.emit('movdqu', ptr([DATA + 32]), R.xmm2);
      end(asm);
    });
    const start = bench.tables();
    bench.start({ ...start, gpr: { ...start.gpr, rbx: 21n } });
    bench.runToEnd();
    expect(bench.view.getFloat64(DATA + 8, true)).toBe(Math.SQRT2);
    expect(bench.view.getFloat64(DATA + 16, true)).toBe(Math.SQRT2);
    expect([0, 4, 8, 12].map((at) => bench.view.getUint32(DATA + 32 + at, true))).toEqual([42, 42, 42, 42]);
  });

  it('in ring 3 raises exceptions, whose handlers return by IRETQ', () => {
    const bench = new KindsBench();
    bench.asm(64, CODE, (asm) => {
      const raise = (faults: () => void): void => {
        const next = asm.label();
        asm.emit('lea', R.rbx, ptr([next]));
        faults();
        asm.bind(next);
      };
      raise(() => asm.emit('mov', R.eax, ptr([UNMAPPED])));
      raise(() => {
        asm.emit('xor', R.ecx, R.ecx);
        asm.emit('xor', R.edx, R.edx);
        asm.emit('div', R.ecx);
      });
      // Privileged.
      raise(() => asm.emit('hlt'));
      raise(() => asm.emit('int3'));
      raise(() => asm.emit('ud2'));
      end(asm);
    });
    bench.start(bench.tables());
    bench.runToEnd();
    expect(bench.exceptions).toEqual([14, 0, 13, 3, 6]);
    expect(bench.state.cr2).toBe(BigInt(UNMAPPED));
  });

  it('in ring 3 makes system calls by SYSCALL', () => {
    const bench = new KindsBench();
    const KERNEL = 0x1_7000;
    // Counts the calls in memory and goes back by IRETQ.
    bench.asm(64, KERNEL, (asm) => {
      asm.emit('mov', R.rdx, R.rsp);
      asm.emit('mov', R.esp, STACK0);
      asm.emit('push', DATA3);
      asm.emit('push', R.rdx);
      asm.emit('push', R.r11);
      asm.emit('push', CODE3);
      asm.emit('push', R.rcx);
      asm.emit('add', dword([DATA]), R.eax);
      asm.emit('iretq');
    });
    bench.asm(64, CODE, (asm) => {
      asm.emit('mov', R.r8d, 1000);
      const again = asm.bind();
      asm.emit('mov', R.eax, 3);
      asm.emit('syscall');
      asm.emit('dec', R.r8d);
      asm.emit('jnz', again);
      end(asm);
    });
    const start = bench.tables();
    const msrs = [
      { index: MSR.STAR, value: (BigInt(DATA0 + 3) << 48n) | (BigInt(CODE0) << 32n) },
      { index: MSR.LSTAR, value: BigInt(KERNEL) },
      { index: MSR.FMASK, value: 0x200n },
    ];
    const others = bench.state.msrs.filter(({ index }) => !msrs.some((msr) => msr.index === index));
    bench.start({ ...start, msrs: [...others, ...msrs] });
    bench.runToEnd();
    expect(bench.view.getUint32(DATA, true)).toBe(3000);
  });

  it('reaches devices from ring 3 in every width, and reads read-only memory', () => {
    const bench = new KindsBench();
    bench.view.setUint32(READ_ONLY, 0x1357_9bdf, true);
    bench.asm(64, CODE, (asm) => {
      asm.emit('mov', R.eax, ptr([END - 0x1000]));
      asm.emit('mov', ptr([END - 0x2000]), R.ax);
      asm.emit('mov', ptr([END - 0x2004]), R.al);
      asm.emit('mov', R.edx, ptr([READ_ONLY]));
      asm.emit('mov', ptr([READ_ONLY + 4]), R.edx);
      end(asm);
    });
    bench.start(bench.tables());
    bench.runToEnd();
    expect(bench.log).toEqual([
      'read 47f000.4',
      'write 47e000.2 7788',
      'write 47dffc.1 88',
      'write 300004.4 13579bdf',
      'write 480000.4 55667788',
    ]);
  });

  it('halts, and goes on by an interrupt', () => {
    const bench = new KindsBench();
    bench.view.setUint16(0x20 * 4, 0x100, true);
    bench.view.setUint16(0x20 * 4 + 2, CODE >> 4, true);
    bench.asm(16, CODE, (asm) => {
      asm.emit('sti');
      const again = asm.bind();
      asm.emit('hlt');
      asm.emit('jmp', again);
    });
    bench.asm(16, CODE + 0x100, (asm) => {
      asm.emit('inc', R.bx);
      asm.emit('iret');
    });
    bench.realMode({ rsp: 0x8000n });
    for (let i = 0; i < 100; i++) {
      expect(bench.cpu.run(SECOND).kind).toBe('halt');
      bench.pending.push(0x20);
    }
    expect(bench.cpu.run(SECOND).kind).toBe('halt');
    expect(bench.state.gpr[3]).toBe(100n);
  });
});
