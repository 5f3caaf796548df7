import { describe, expect, it } from 'vitest';
import { GuestBench, LAYOUT32, SEL, caught, protectedMode, type Changes } from '../../../testing/x86-guest.js';
import type { Assembler } from '../assembler/index.js';
import { R, byte, dword, word } from '../assembler/index.js';

const PROGRAM = 0x4000;
const DATA = 0x5000;

/** Runs a program; the #DB handler appends EIP and DR6 to a list, clears DR6 and returns. */
function run(
  program: (a: Assembler) => void,
  changes: Changes = {},
  prepare: (g: GuestBench) => void = () => undefined,
): { traps: { eip: number; dr6: number }[]; g: GuestBench } {
  const g = new GuestBench();
  const base = protectedMode(g);
  const LIST = 0x30_0000;
  g.asm(32, LAYOUT32.HANDLERS + 0x900, (a) => {
    a.emit('push', R.eax);
    a.emit('mov', R.eax, dword([R.esp, 4]));
    a.emit('mov', dword([R.edi]), R.eax);
    a.emit('mov', R.eax, R.dr6);
    a.emit('mov', dword([R.edi, 4]), R.eax);
    a.emit('xor', R.eax, R.eax);
    a.emit('mov', R.dr6, R.eax);
    a.emit('add', R.edi, 8);
    // RF in the image, so that an instruction breakpoint is not met again.
    a.emit('or', dword([R.esp, 12]), 0x1_0000);
    a.emit('pop', R.eax);
    a.emit('iret');
  });
  g.gate(LAYOUT32.IDT + 8, SEL.CODE0, LAYOUT32.HANDLERS + 0x900, 0x8e);
  g.asm(32, PROGRAM, program);
  prepare(g);
  g.set({
    ...base,
    rip: BigInt(PROGRAM),
    ...changes,
    gpr: { ...base.gpr, rdi: BigInt(LIST), ...changes.gpr },
  });
  g.run();
  const count = (Number(g.reg('rdi')) - LIST) / 8;
  return {
    g,
    traps: Array.from({ length: count }, (_, n) => ({ eip: g.u32(LIST + n * 8), dr6: g.u32(LIST + n * 8 + 4) >>> 0 })),
  };
}

const B = (n: number): number => (0xffff_0ff0 | (1 << n)) >>> 0;
const BS = 0xffff_4ff0;

describe('single step (SDM vol. 3 §17.3.1.4)', () => {
  it('traps after each instruction that begins with TF set', () => {
    const { traps } = run(
      (a) => {
        a.emit('nop');
        a.emit('mov', R.eax, 1);
        // Out of HLT too.
        a.emit('hlt');
        a.emit('push', 2);
        a.emit('popf');
        a.emit('hlt');
      },
      { rflags: 0x102n },
    );
    expect(traps).toEqual([1, 6, 7, 9, 10].map((offset) => ({ eip: PROGRAM + offset, dr6: BS })));
  });

  it('POPF that sets TF traps after the next instruction', () => {
    const { traps } = run((a) => {
      a.emit('push', 0x102);
      a.emit('popf');
      a.emit('nop');
      a.emit('push', 2);
      a.emit('popf');
      a.emit('nop');
      a.emit('hlt');
    });
    expect(traps.map(({ eip }) => eip)).toEqual([PROGRAM + 7, PROGRAM + 9, PROGRAM + 10]);
  });

  it('of a jump to where nothing can be fetched comes before the fault (SDM vol. 3 table 6-2)', () => {
    const { traps, g } = run(
      (a) => {
        a.emit('push', 0x50_0000);
        a.emit('ret');
      },
      { rflags: 0x102n, cr0: 0x8000_0011n, cr3: 0x10_0000n, cr4: 0x10n },
      // The first 4 MiB are mapped.
      (bench) => bench.setU32(0x10_0000, 0x83),
    );
    expect(traps).toEqual([PROGRAM + 5, 0x50_0000].map((eip) => ({ eip, dr6: BS })));
    expect(g.written.at(-1)?.[2]).toBe(14);
  });

  it('is lost behind MOV SS', () => {
    const { traps } = run(
      (a) => {
        a.emit('mov', R.ax, R.ss);
        a.emit('mov', R.ss, R.ax);
        a.emit('nop');
        a.emit('push', 2);
        a.emit('popf');
        a.emit('hlt');
      },
      { rflags: 0x102n },
    );
    expect(traps.map(({ eip }) => eip - PROGRAM)).toEqual([3, 6, 8, 9]);
  });
});

describe('breakpoints (SDM vol. 3 §17.2)', () => {
  const armed = (address: number, dr7: number): Changes => ({
    breakpoints: [BigInt(address), 0n, 0n, 0n],
    dr7: BigInt(0x400 | dr7),
  });

  it('an instruction breakpoint faults before the instruction; RF lets it pass', () => {
    const { traps, g } = run(
      (a) => {
        a.emit('nop');
        a.emit('inc', R.ebx);
        a.emit('hlt');
      },
      { ...armed(PROGRAM + 1, 1), gpr: { rbx: 0n } },
    );
    expect(traps).toEqual([{ eip: PROGRAM + 1, dr6: B(0) }]);
    expect(g.reg('rbx')).toBe(1n);
  });

  it('a write breakpoint traps behind the instruction, for writes that touch the range', () => {
    const { traps } = run(
      (a) => {
        a.emit('mov', R.al, byte([DATA]));
        a.emit('mov', byte([DATA - 1]), R.al);
        a.emit('mov', dword([DATA - 1]), R.eax);
        a.emit('hlt');
      },
      armed(DATA, 0xd_0001),
    );
    expect(traps).toEqual([{ eip: PROGRAM + 15, dr6: B(0) }]);
  });

  it('a read-write breakpoint traps for reads too', () => {
    const { traps } = run(
      (a) => {
        a.emit('mov', R.al, byte([DATA + 3]));
        a.emit('mov', R.al, byte([DATA + 4]));
        a.emit('hlt');
      },
      armed(DATA, 0xf_0001),
    );
    expect(traps).toEqual([{ eip: PROGRAM + 5, dr6: B(0) }]);
  });

  it('INT1 behind MOV SS tells the breakpoint that waits: one exception', () => {
    const { traps } = run(
      (a) => {
        a.emit('mov', R.ss, word([DATA]));
        a.emit('int1');
        a.emit('hlt');
      },
      armed(DATA, 0xf_0001),
      (g) => g.setU16(DATA, SEL.DATA0),
    );
    expect(traps).toEqual([{ eip: PROGRAM + 7, dr6: B(0) }]);
  });

  it('PUSHF and PUSHA meet breakpoints on the stack', () => {
    const { traps } = run(
      (a) => {
        a.emit('mov', R.esp, DATA + 4);
        a.emit('pushf');
        a.emit('mov', R.esp, DATA + 0x20);
        a.emit('pushad');
        a.emit('mov', R.esp, 0x7000);
        a.emit('hlt');
      },
      armed(DATA, 0xf_0001),
    );
    expect(traps.map(({ eip }) => eip - PROGRAM)).toEqual([6, 12]);
  });

  it('a disabled one does nothing', () => {
    expect(
      run(
        (a) => {
          a.emit('mov', byte([DATA]), R.al);
          a.emit('hlt');
        },
        armed(DATA, 0xd_0000),
      ).traps,
    ).toEqual([]);
  });

  it('an I/O breakpoint traps with CR4.DE', () => {
    const { traps } = run(
      (a) => {
        a.emit('out', 0x44, R.al);
        a.emit('out', 0x45, R.al);
        a.emit('hlt');
      },
      { ...armed(0x45, 0x2_0001), cr4: 8n },
    );
    expect(traps).toEqual([{ eip: PROGRAM + 4, dr6: B(0) }]);
  });

  it('general detect: an access to a debug register is #DB with BD, and GD is cleared', () => {
    const { traps } = run(
      (a) => {
        a.emit('mov', R.eax, R.dr0);
        a.emit('hlt');
      },
      { dr7: 0x2400n },
    );
    expect(traps).toEqual([{ eip: PROGRAM, dr6: 0xffff_2ff0 }]);
  });

  it('DR4 and DR5 are DR6 and DR7 without CR4.DE, #UD with it', () => {
    const read = (cr4: bigint): GuestBench => {
      const g = new GuestBench();
      const base = protectedMode(g);
      g.bytes(PROGRAM, [0x0f, 0x21, 0xe3, 0xf4]);
      g.set({ ...base, cr4, rip: BigInt(PROGRAM) });
      g.run();
      return g;
    };
    expect(read(0n).reg('rbx')).toBe(0xffff_0ff0n);
    expect(caught(read(8n), 1).vector).toBe(6);
  });
});

describe('the debugger of the host', () => {
  const program = (g: GuestBench): void => {
    const base = protectedMode(g);
    g.asm(32, PROGRAM, (a) => {
      a.emit('nop');
      a.emit('mov', byte([DATA]), R.al);
      a.emit('mov', R.bl, byte([DATA]));
      a.emit('hlt');
    });
    g.set({ ...base, rip: BigInt(PROGRAM) });
  };

  it('steps, stops at breakpoints once, and goes on', () => {
    const g = new GuestBench();
    program(g);
    g.cpu.setDebug({ singleStep: true, breakpoints: [], watchpoints: [] });
    expect(g.run()).toEqual({ kind: 'debug', reason: { kind: 'step' } });
    expect(g.state.rip).toBe(BigInt(PROGRAM + 1));
    g.cpu.setDebug({ singleStep: false, breakpoints: [BigInt(PROGRAM + 6)], watchpoints: [] });
    expect(g.run()).toEqual({ kind: 'debug', reason: { kind: 'breakpoint', address: BigInt(PROGRAM + 6) } });
    expect(g.state.rip).toBe(BigInt(PROGRAM + 6));
    expect(g.run()).toEqual({ kind: 'halt' });
  });

  it('watchpoints stop behind the access', () => {
    for (const access of ['write', 'access'] as const) {
      const g = new GuestBench();
      program(g);
      g.cpu.setDebug({
        singleStep: false,
        breakpoints: [],
        watchpoints: [{ address: BigInt(DATA), length: 1, access }],
      });
      expect(g.run()).toMatchObject({ kind: 'debug', reason: { kind: 'watchpoint', address: BigInt(DATA) } });
      expect(g.state.rip).toBe(BigInt(PROGRAM + 6));
      if (access === 'access') {
        expect(g.run()).toMatchObject({ kind: 'debug', reason: { kind: 'watchpoint' } });
        expect(g.state.rip).toBe(BigInt(PROGRAM + 12));
      }
      expect(g.run()).toEqual({ kind: 'halt' });
    }
  });
});
