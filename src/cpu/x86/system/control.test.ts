import { describe, expect, it } from 'vitest';
import {
  ATTR,
  GuestBench,
  LAYOUT32,
  SEL,
  caught,
  inRing3,
  protectedMode,
  segment,
  type Changes,
} from '../../../testing/x86-guest.js';
import type { Assembler } from '../assembler/index.js';
import { R, dword, ptr, word } from '../assembler/index.js';

const PROGRAM = 0x4000;
const { GDT, TSS, STACK3 } = LAYOUT32;

/** Runs 32-bit code at ring 0 or 3: the vector that stopped it (-1: it came to HLT in ring 0). */
function run(
  program: (a: Assembler) => void,
  options: { ring?: 0 | 3; changes?: Changes; model?: string; prepare?: (g: GuestBench) => void } = {},
): { g: GuestBench; vector: number; code: number } {
  const g = new GuestBench(options.model === undefined ? {} : { model: options.model });
  const base: Changes = { ...protectedMode(g), rip: BigInt(PROGRAM) };
  options.prepare?.(g);
  g.asm(32, PROGRAM, (a) => {
    program(a);
    a.emit('hlt');
  });
  const placed = options.ring === 3 ? inRing3(base, PROGRAM) : base;
  g.set({ ...placed, ...options.changes, gpr: { ...placed.gpr, ...options.changes?.gpr } });
  g.run();
  const { vector, stack } = caught(g, 1);
  return { g, vector, code: stack[0] };
}

const setCr =
  (register: (typeof R)['cr0'], value: number) =>
  (a: Assembler): void => {
    a.emit('mov', R.eax, value);
    a.emit('mov', register, R.eax);
  };

describe('control registers (SDM vol. 3 §2.5, vol. 2 MOV)', () => {
  it('CR0 refuses PG without PE and NW without CD; reserved bits read 0; ET stays', () => {
    expect(run(setCr(R.cr0, 0x8000_0010)).vector).toBe(13);
    expect(run(setCr(R.cr0, 0x2000_0011)).vector).toBe(13);
    const { g, vector } = run(setCr(R.cr0, 0x7fff_ffe1));
    expect(vector).toBe(-1);
    expect(g.state.cr0).toBe(0x6005_0031n);
  });

  it('CR4 refuses bits that the model does not have', () => {
    expect(run(setCr(R.cr4, 0x2000)).vector).toBe(13);
    expect(run(setCr(R.cr4, 0x35_0ef8)).vector).toBe(-1);
    expect(run(setCr(R.cr4, 0x10), { model: '486' }).vector).toBe(13);
    expect(run(setCr(R.cr4, 0x80), { model: 'pentium4' }).vector).toBe(-1);
    expect(run(setCr(R.cr4, 0x10_0000), { model: 'pentium4' }).vector).toBe(13);
  });

  it('CR4.PCIDE wants long mode', () => {
    expect(run(setCr(R.cr4, 0x2_0000)).vector).toBe(13);
  });

  it('CR1, CR5, CR6, CR7 are #UD; all are #GP(0) in ring 3', () => {
    const g = new GuestBench();
    g.bytes(PROGRAM, [0x0f, 0x20, 0xc8]);
    g.set({ ...protectedMode(g), rip: BigInt(PROGRAM) });
    g.run();
    expect(caught(g, 1).vector).toBe(6);
    expect(run((a) => a.emit('mov', R.eax, R.cr0), { ring: 3 })).toMatchObject({ vector: 13, code: 0 });
    expect(run((a) => a.emit('mov', R.eax, R.dr0), { ring: 3 })).toMatchObject({ vector: 13, code: 0 });
  });

  it('LMSW sets PE but does not clear it; SMSW stores the low half, UMIP forbids it to ring 3', () => {
    const { g } = run((a) => {
      a.emit('mov', R.eax, 0x8);
      a.emit('lmsw', R.ax);
      a.emit('smsw', word([0x5000]));
      a.emit('clts');
    });
    expect(g.u16(0x5000)).toBe(0x19);
    expect(g.state.cr0).toBe(0x11n);
    const umip = { cr4: 0x800n };
    for (const name of ['sgdt', 'sidt', 'sldt', 'str', 'smsw']) {
      const program = (a: Assembler): void => {
        a.emit(name, word([0x5000]));
      };
      const table = name === 'sgdt' || name === 'sidt';
      if (table) continue;
      expect(run(program, { ring: 3 }).g.u16(0x5000) === 0).toBe(name === 'sldt');
      expect(run(program, { ring: 3, changes: umip })).toMatchObject({ vector: 13, code: 0 });
    }
  });

  it('WP, AM, NE and the rest of CR0 come and go as written', () => {
    const { g } = run(setCr(R.cr0, 0x5_0023));
    expect(g.state.cr0).toBe(0x5_0033n);
  });
});

describe('descriptor table registers (SDM vol. 2, LTR, LLDT)', () => {
  const ltr = (selector: number, attributes = 0x89): ReturnType<typeof run> =>
    run(
      (a) => {
        a.emit('mov', R.eax, selector);
        a.emit('ltr', R.ax);
      },
      {
        prepare: (g) => {
          g.descriptor(GDT + SEL.FREE, 0x3800n, 0x67, attributes);
        },
      },
    );

  it('LTR marks the TSS busy', () => {
    const { g, vector } = ltr(SEL.FREE);
    expect(vector).toBe(-1);
    expect(g.view.getUint8(GDT + SEL.FREE + 5)).toBe(0x8b);
    expect(g.state.segments.tr).toEqual(segment(SEL.FREE, 0x3800n, 0x67, 0x8b));
  });

  it('LTR: null #GP(0), busy or of another type #GP(sel), in an LDT #GP(sel), not present #NP(sel)', () => {
    expect(ltr(0)).toMatchObject({ vector: 13, code: 0 });
    expect(ltr(SEL.FREE, 0x8b)).toMatchObject({ vector: 13, code: SEL.FREE });
    expect(ltr(SEL.DATA0)).toMatchObject({ vector: 13, code: SEL.DATA0 });
    expect(ltr(SEL.FREE | 4)).toMatchObject({ vector: 13, code: SEL.FREE | 4 });
    expect(ltr(SEL.FREE, 0x09)).toMatchObject({ vector: 11, code: SEL.FREE });
  });

  it('an LDT serves selectors with TI', () => {
    const { g, vector } = run(
      (a) => {
        a.emit('mov', R.eax, SEL.FREE);
        a.emit('lldt', R.ax);
        a.emit('mov', R.eax, 0x0c);
        a.emit('mov', R.fs, R.ax);
        a.emit('mov', R.ebx, dword([0], R.fs));
      },
      {
        prepare: (bench) => {
          bench.descriptor(GDT + SEL.FREE, 0x3800n, 0x0f, 0x82);
          bench.descriptor(0x3808, 0x10_0000n, 0xffff, ATTR.DATA16);
          bench.setU32(0x10_0000, 0x1234_5678);
        },
      },
    );
    expect([vector, g.reg('rbx')]).toEqual([-1, 0x1234_5678n]);
  });
});

describe('flags (SDM vol. 2, POPF, CLI)', () => {
  it('ring 3 changes IF only with IOPL 3, and IOPL never', () => {
    const popf = (iopl: bigint): bigint => {
      const { g } = run(
        (a) => {
          a.emit('push', 0x3ed7);
          a.emit('popf');
          a.emit('pushf');
          a.emit('pop', R.ebx);
        },
        { ring: 3, changes: { rflags: 0x2n | (iopl << 12n) } },
      );
      return g.reg('rbx');
    };
    expect(popf(0n)).toBe(0xcd7n);
    expect(popf(3n)).toBe(0x3ed7n);
  });

  it('CR4.PVI turns STI and CLI of ring 3 into VIF, and #GP(0) when VIP is set', () => {
    const sti = (rflags: bigint, cr4 = 2n): { vector: number; flags: number } => {
      const { g, vector } = run(
        (a) => {
          a.emit('sti');
          a.emit('ud2');
        },
        { ring: 3, changes: { rflags, cr4 } },
      );
      return { vector, flags: caught(g, 4).stack[vector === 13 ? 3 : 2] & 0x18_0200 };
    };
    expect(sti(2n)).toEqual({ vector: 6, flags: 0x8_0000 });
    expect(sti(0x10_0002n)).toEqual({ vector: 13, flags: 0x10_0000 });
    expect(sti(2n, 0n)).toEqual({ vector: 13, flags: 0 });
    const { g } = run(
      (a) => {
        a.emit('cli');
        a.emit('ud2');
      },
      { ring: 3, changes: { rflags: 0x8_0202n, cr4: 2n } },
    );
    expect(caught(g, 3).stack[2] & 0x8_0200).toBe(0x200);
  });

  it('16-bit POPF leaves AC and ID', () => {
    const { g } = run((a) => {
      a.emit('push', 0x24_0002);
      a.emit('popfd');
      a.emit('o16 push', 0x202);
      a.emit('popfw');
      a.emit('pushfd');
      a.emit('pop', R.ebx);
      a.emit('cli');
    });
    expect(g.reg('rbx')).toBe(0x24_0202n);
  });
});

describe('SYSENTER and SYSEXIT (SDM vol. 2)', () => {
  const msrs = [
    { index: 0x174, value: BigInt(SEL.CODE0) },
    { index: 0x175, value: 0x7000n },
    { index: 0x176, value: BigInt(PROGRAM + 0x100) },
  ];
  it('go to ring 0 and back on flat segments', () => {
    const { g } = run(
      (a) => {
        a.emit('sysenter');
      },
      {
        ring: 3,
        changes: { msrs, rflags: 0x202n },
        prepare: (bench) => {
          bench.asm(32, PROGRAM + 0x100, (a) => {
            a.emit('mov', R.ebx, R.esp);
            a.emit('pushf');
            a.emit('pop', R.esi);
            a.emit('mov', R.ecx, STACK3);
            a.emit('mov', R.edx, PROGRAM + 0x200);
            a.emit('sysexit');
          });
          bench.asm(32, PROGRAM + 0x200, (a) => {
            a.emit('mov', R.di, R.cs);
            a.emit('ud2');
          });
        },
      },
    );
    expect([g.reg('rbx'), g.reg('rsi'), g.reg('rdi') & 0xffffn]).toEqual([0x7000n, 2n, BigInt(SEL.CODE3)]);
    expect(caught(g, 5).stack).toEqual([PROGRAM + 0x203, SEL.CODE3, 0x10002, STACK3, SEL.DATA3]);
  });

  it('are #GP(0) with a null SYSENTER_CS', () => {
    expect(run((a) => a.emit('sysenter'), { ring: 3 })).toMatchObject({ vector: 13, code: 0 });
  });
});

describe('MSRs and the time-stamp counter', () => {
  const wrmsr =
    (index: number, low: number, high: number) =>
    (a: Assembler): void => {
      a.emit('mov', R.ecx, index);
      a.emit('mov', R.eax, low);
      a.emit('mov', R.edx, high);
      a.emit('wrmsr');
    };

  it('unknown ones, reserved bits and addresses that are not canonical are #GP(0)', () => {
    expect(run(wrmsr(0x1234_5678, 0, 0))).toMatchObject({ vector: 13, code: 0 });
    expect(run(wrmsr(0xc000_0080, 0x2000, 0))).toMatchObject({ vector: 13, code: 0 });
    expect(run(wrmsr(0xc000_0102, 0, 0x8000))).toMatchObject({ vector: 13, code: 0 });
    expect(run(wrmsr(0xc000_0102, 1, 0xffff_8000)).vector).toBe(-1);
    expect(run(wrmsr(0x174, 1, 0), { ring: 3 })).toMatchObject({ vector: 13, code: 0 });
  });

  it('a model without long mode has no SYSCALL MSRs', () => {
    expect(run(wrmsr(0xc000_0081, 0, 0), { model: 'pentium4' }).vector).toBe(13);
  });

  it('moving the counter and moving IA32_TSC_ADJUST are the same', () => {
    const { g } = run((a) => {
      // The counter moves by 2**40 with the adjustment, which holds the sum.
      wrmsr(0x3b, 0, 0x100)(a);
      a.emit('rdtsc');
      a.emit('mov', R.ebx, R.edx);
      a.emit('rdmsr');
      a.emit('mov', R.esi, R.edx);
      wrmsr(0x3b, 0, 0)(a);
      a.emit('rdtsc');
      a.emit('mov', R.edi, R.edx);
      // Setting the counter shows in the adjustment.
      wrmsr(0x10, 0, 0x2000)(a);
      a.emit('mov', R.ecx, 0x3b);
      a.emit('rdmsr');
    });
    expect([g.reg('rbx'), g.reg('rsi'), g.reg('rdi')]).toEqual([0x100n, 0x100n, 0n]);
    expect([0x1fffn, 0x2000n]).toContain(g.reg('rdx'));
    expect(run(wrmsr(0x3b, 0, 0), { model: 'pentium4' }).vector).toBe(13);
  });

  it('the counter can be set, and CR4.TSD keeps ring 3 out', () => {
    const { g } = run((a) => {
      wrmsr(0x10, 0, 0x1000)(a);
      a.emit('rdtsc');
      a.emit('mov', R.ebx, R.edx);
    });
    expect(g.reg('rbx')).toBe(0x1000n);
    expect(run((a) => a.emit('rdtsc'), { ring: 3 }).vector).toBe(13);
    const { g: user } = run(
      (a) => {
        a.emit('xor', R.edx, R.edx);
        a.emit('rdtsc');
        a.emit('ud2');
      },
      { ring: 3 },
    );
    expect(caught(user, 1).vector).toBe(6);
    expect(
      run(
        (a) => {
          a.emit('rdtsc');
          a.emit('ud2');
        },
        { ring: 3, changes: { cr4: 4n } },
      ),
    ).toMatchObject({ vector: 13, code: 0 });
  });
});

describe('ports (SDM vol. 1 §18.5.2)', () => {
  it('above IOPL go by the bitmap of the TSS, and a bitmap beyond its limit forbids', () => {
    const out = (port: number, prepare: (g: GuestBench) => void = () => undefined): number =>
      run(
        (a) => {
          a.emit('out', port, R.al);
          a.emit('ud2');
        },
        { ring: 3, prepare },
      ).vector;
    expect(out(0x40)).toBe(6);
    expect(
      out(0x40, (g) => {
        g.view.setUint8(TSS + 0x68 + 8, 1);
      }),
    ).toBe(13);
    expect(
      out(0x40, (g) => {
        g.setU16(TSS + 102, 0x2060);
      }),
    ).toBe(13);
  });

  it('wide accesses need all their ports, across bytes of the bitmap', () => {
    const { vector } = run(
      (a) => {
        a.emit('mov', R.edx, 0x46);
        a.emit('out', R.dx, R.eax);
      },
      {
        ring: 3,
        prepare: (g) => {
          g.view.setUint8(TSS + 0x68 + 9, 1);
        },
      },
    );
    expect(vector).toBe(13);
  });
});

describe('stacks of 16 bits (SDM vol. 1 §6.2.3)', () => {
  it('PUSHA, POPA, ENTER with levels and LEAVE use SP and leave the rest of ESP', () => {
    const { g, vector } = run(
      (a) => {
        a.emit('mov', R.eax, SEL.DATA16);
        a.emit('mov', R.ss, R.ax);
        a.emit('mov', R.esp, 0xabcd_7000);
        a.emit('mov', R.ebp, 0x1111_7100);
        a.emit('mov', R.ecx, 0xcccc);
        a.emit('pushad');
        a.emit('mov', R.ecx, 1);
        a.emit('mov', R.esi, R.esp);
        a.emit('popad');
        a.emit('enter', 0x10, 2);
        a.emit('mov', R.edi, R.esp);
        a.emit('mov', R.ebx, R.ebp);
        a.emit('leave');
      },
      {
        prepare: (bench) => {
          bench.setU32(0x70fc, 0x2222_3333);
        },
      },
    );
    expect(vector).toBe(-1);
    expect(g.reg('rcx')).toBe(0xccccn);
    // ENTER 16, 2: old EBP, the outer frame's pointer, its own, 16 bytes.
    // The frame's pointer is all of ESP, in EBP and on the stack; a processor does so.
    expect([g.reg('rdi'), g.reg('rbx')]).toEqual([0xabcd_6fe4n, 0xabcd_6ffcn]);
    expect([g.u32(0x6ffc), g.u32(0x6ff8), g.u32(0x6ff4)]).toEqual([0x1111_7100, 0x2222_3333, 0xabcd_6ffc]);
    expect([g.reg('rsp'), g.reg('rbp')]).toEqual([0xabcd_7000n, 0x1111_7100n]);
  });

  it('a push below the limit of an expand-down stack is #SS(0)', () => {
    const { vector, code } = run(
      (a) => {
        a.emit('mov', R.eax, SEL.FREE);
        a.emit('mov', R.ss, R.ax);
        a.emit('mov', R.esp, 0x7004);
        a.emit('push', R.eax);
        a.emit('push', R.eax);
      },
      {
        // SS is bad for delivery too: a task of its own takes #SS.
        prepare: (g) => {
          g.descriptor(GDT + SEL.FREE, 0n, 0x6fff, 0x4097);
          const T = 0x3800;
          g.descriptor(GDT + SEL.FREE + 8, BigInt(T), 0x67, 0x89);
          g.setU32(T + 32, LAYOUT32.HANDLERS + 12 * 8);
          g.setU32(T + 36, 2);
          g.setU32(T + 56, 0x7800);
          for (const [at, value] of [
            [72, SEL.DATA0],
            [76, SEL.CODE0],
            [80, SEL.DATA0],
            [84, SEL.DATA0],
          ] as const)
            g.setU32(T + at, value);
          g.gate(LAYOUT32.IDT + 12 * 8, SEL.FREE + 8, 0, 0x85);
        },
      },
    );
    expect([vector, code]).toEqual([12, 0]);
  });
});

describe('INIT and SIPI (SDM vol. 3 §9.4.4)', () => {
  it('INIT keeps x87, SSE and MSRs and starts the first CPU at the reset vector', () => {
    const g = new GuestBench();
    const base = protectedMode(g);
    g.asm(32, PROGRAM, (a) => {
      const top = a.bind();
      a.emit('jmp', top);
    });
    g.set({ ...base, rip: BigInt(PROGRAM), msrs: [{ index: 0x174, value: 0x1234n }] });
    g.run(10);
    g.cpu.init();
    g.run(0);
    const { state } = g;
    expect([state.rip, state.segments.cs.selector, state.cr0]).toEqual([0xfff0n, 0xf000, 0x10n]);
    expect(state.msrs.find(({ index }) => index === 0x174)?.value).toBe(0x1234n);
  });

  it('SIPI starts a CPU that waits for it at the page it names', () => {
    const g = new GuestBench();
    g.bytes(0x9000, [0xf4]);
    g.set({ activity: 'wait-for-sipi' });
    expect(g.run()).toEqual({ kind: 'halt' });
    expect(g.state.activity).toBe('wait-for-sipi');
    g.cpu.startup(9);
    expect(g.run()).toEqual({ kind: 'halt' });
    expect([g.state.activity, g.state.segments.cs.base, g.state.rip]).toEqual(['halted', 0x9000n, 1n]);
  });
});

describe('INVPCID (SDM vol. 2)', () => {
  it('refuses types above 3 and PCIDs without CR4.PCIDE', () => {
    const invpcid = (type: number, pcid: number): number =>
      run(
        (a) => {
          a.emit('mov', R.eax, type);
          a.emit('invpcid', R.eax, ptr([0x5000]));
        },
        {
          prepare: (g) => {
            g.setU32(0x5000, pcid);
          },
        },
      ).vector;
    expect([invpcid(4, 0), invpcid(0, 1), invpcid(2, 0), invpcid(1, 0)]).toEqual([13, 13, -1, -1]);
  });
});

describe('far pointers in registers', () => {
  it('LSS loads SS and ESP at once, LES faults without changes', () => {
    const { g } = run(
      (a) => {
        a.emit('lss', R.esp, ptr([0x5000]));
        a.emit('mov', R.ebx, R.esp);
        a.emit('les', R.edi, ptr([0x5008]));
      },
      {
        changes: { gpr: { rdi: 0x77n } },
        prepare: (bench) => {
          bench.setU32(0x5000, 0x6f00);
          bench.setU16(0x5004, SEL.DATA0);
          bench.setU32(0x5008, 0x1234);
          bench.setU16(0x500c, SEL.TSS);
        },
      },
    );
    expect([g.reg('rbx'), g.reg('rdi')]).toEqual([0x6f00n, 0x77n]);
    expect(caught(g, 1)).toEqual({ vector: 13, stack: [SEL.TSS] });
  });
});
