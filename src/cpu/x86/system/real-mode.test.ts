import { describe, expect, it } from 'vitest';
import {
  ATTR,
  GuestBench,
  LAYOUT32,
  SEL,
  caught,
  protectedMode,
  segment,
  type Changes,
} from '../../../testing/x86-guest.js';
import { R, byte, far, word } from '../assembler/index.js';

const PROGRAM = 0x4000;

/** Real mode with everything at paragraph 0 and a stack below 0x7000. */
function realMode(): Changes {
  const data = segment(0, 0n, 0xffff, ATTR.DATA16);
  return {
    rip: BigInt(PROGRAM),
    gpr: { rsp: 0x7000n },
    idtr: { base: 0n, limit: 0x3ff },
    segments: { cs: segment(0, 0n, 0xffff, ATTR.CODE16), ss: data, ds: data, es: data },
  };
}

/** The vector's handler at 0:0x6000 + 16 n tells port 0x80 and halts. */
function vectors(g: GuestBench): void {
  for (let n = 0; n < 256; n++) {
    g.setU32(n * 4, 0x6000 + n * 8);
    g.bytes(0x6000 + n * 8, [0xb0, n, 0xe6, 0x80, 0xf4]);
  }
}

describe('real mode (SDM vol. 3 §20.1)', () => {
  it('starts at FFFF:FFF0 of the reset vector, with the signature in EDX', () => {
    const g = new GuestBench();
    g.set({});
    const { state } = g;
    expect(state.segments.cs).toEqual(segment(0xf000, 0xffff_0000n, 0xffff, ATTR.CODE16));
    expect([state.rip, state.rflags, state.cr0]).toEqual([0xfff0n, 2n, 0x6000_0010n]);
    expect(g.reg('rdx')).toBe(0x3_0661n);
  });

  it('INT pushes FLAGS, CS and IP, and clears IF and TF; IRET restores them', () => {
    const g = new GuestBench();
    g.setU16(0x21 * 4, 0x100);
    g.setU16(0x21 * 4 + 2, 0x500);
    g.asm(
      16,
      0x100,
      (a) => {
        a.emit('mov', R.bp, R.sp);
        a.emit('mov', R.bx, word([R.bp, 4]));
        a.emit('pushf');
        a.emit('pop', R.cx);
        a.emit('iret');
      },
      0x5000,
    );
    g.asm(16, PROGRAM, (a) => {
      a.emit('sti');
      a.emit('stc');
      a.emit('int', 0x21);
      a.emit('pushf');
      a.emit('pop', R.dx);
      a.emit('cli');
      a.emit('hlt');
    });
    g.set(realMode());
    expect(g.run()).toEqual({ kind: 'halt' });
    expect([g.reg('rbx') & 0xffffn, g.reg('rcx') & 0xffffn, g.reg('rdx') & 0xffffn]).toEqual([0x203n, 0x3n, 0x203n]);
    expect(g.reg('rsp')).toBe(0x7000n);
  });

  it('a word at offset FFFF is beyond the limit: #GP, #SS through SS', () => {
    for (const [emit, vector] of [
      [R.bx, 13],
      [R.bp, 12],
    ] as const) {
      const g = new GuestBench();
      vectors(g);
      g.asm(16, PROGRAM, (a) => {
        a.emit('mov', emit, 0xffff);
        a.emit('mov', R.ax, word([emit]));
      });
      g.set(realMode());
      g.run();
      expect(g.written.at(-1)?.[2]).toBe(vector);
      // IP of the instruction, and no error code.
      expect(g.u16(Number(g.reg('rsp')))).toBe(PROGRAM + 3);
    }
  });

  it('16-bit addresses wrap at 64 KiB', () => {
    const g = new GuestBench();
    g.setU16(0x10, 0x1234);
    g.asm(16, PROGRAM, (a) => {
      a.emit('mov', R.bx, 0xfff0);
      a.emit('mov', R.ax, word([R.bx, 0x20]));
      a.emit('hlt');
    });
    g.set(realMode());
    g.run();
    expect(g.reg('rax')).toBe(0x1234n);
  });

  it('A20 masks bit 20, or lets FFFF:0010 reach above 1 MiB', () => {
    for (const on of [true, false]) {
      const g = new GuestBench();
      g.setU16(0x10_0500, 0x1111);
      g.setU16(0x500, 0x2222);
      g.asm(16, PROGRAM, (a) => {
        a.emit('mov', R.ax, 0xffff);
        a.emit('mov', R.ds, R.ax);
        a.emit('mov', R.ax, word([0x510]));
        a.emit('hlt');
      });
      g.set({ ...realMode(), a20: on });
      g.run();
      expect(g.reg('rax')).toBe(on ? 0x1111n : 0x2222n);
    }
  });

  it('far calls and returns', () => {
    const g = new GuestBench();
    g.asm(
      16,
      0x10,
      (a) => {
        a.emit('mov', R.ax, R.cs);
        a.emit('retf', 2);
      },
      0x5000,
    );
    g.asm(16, PROGRAM, (a) => {
      a.emit('push', R.ax);
      a.emit('callf', far(0x500, 0x10));
      a.emit('hlt');
    });
    g.set(realMode());
    g.run();
    expect(g.reg('rax')).toBe(0x500n);
    expect(g.reg('rsp')).toBe(0x7000n);
  });

  it('segments keep their limits when real mode is entered again ("unreal mode")', () => {
    const g = new GuestBench();
    const changes = protectedMode(g);
    g.view.setUint8(0x30_0000, 0x5a);
    g.asm(16, PROGRAM, (a) => {
      a.emit('mov', R.eax, R.cr0);
      a.emit('or', R.al, 1);
      a.emit('mov', R.cr0, R.eax);
      a.emit('mov', R.bx, SEL.DATA0);
      a.emit('mov', R.ds, R.bx);
      a.emit('and', R.al, 0xfe);
      a.emit('mov', R.cr0, R.eax);
      a.emit('xor', R.bx, R.bx);
      a.emit('mov', R.ds, R.bx);
      a.emit('mov', R.ebx, 0x30_0000);
      a.emit('mov', R.cl, byte([R.ebx]));
      a.emit('hlt');
    });
    g.set({ ...realMode(), gdtr: changes.gdtr ?? { base: 0n, limit: 0 } });
    expect(g.run()).toEqual({ kind: 'halt' });
    expect(g.reg('rcx')).toBe(0x5an);
  });

  it('instructions of protected mode are #UD', () => {
    for (const bytes of [
      [0x0f, 0x00, 0xd0],
      [0x0f, 0x00, 0xc0],
      [0x0f, 0x02, 0xc0],
      [0x63, 0xc0],
    ]) {
      const g = new GuestBench();
      vectors(g);
      g.bytes(PROGRAM, bytes);
      g.set(realMode());
      g.run();
      expect(g.written.at(-1)?.[2]).toBe(6);
    }
  });
});

const V86 = 0x2_0000n;

/** A V86 program at 0400:0000 under the ring 0 of protectedMode. */
function v86(g: GuestBench, flags: bigint, cr4 = 0n): Changes {
  const changes = protectedMode(g);
  const seg = (selector: number): ReturnType<typeof segment> => segment(selector, BigInt(selector) << 4n, 0xffff, 0xf3);
  return {
    ...changes,
    cr4,
    rip: 0n,
    rflags: V86 | flags | 2n,
    gpr: { rsp: 0x100n },
    segments: {
      ...changes.segments,
      cs: seg(0x400),
      ss: seg(0x700),
      ds: seg(0x500),
      es: seg(0x510),
      fs: seg(0x520),
      gs: seg(0x530),
    },
  };
}

const IOPL3 = 0x3000n;
const VME = 1n;

describe('V86 mode (SDM vol. 3 §20.2, §20.3)', () => {
  const program = (g: GuestBench, bytes: readonly number[]): void => {
    g.bytes(PROGRAM, bytes);
  };

  it('an exception goes to ring 0 with the data segments on the stack and null in the registers', () => {
    const g = new GuestBench();
    program(g, [0x0f, 0x0b]);
    g.set(v86(g, 0n));
    g.run();
    expect(caught(g, 9)).toEqual({
      vector: 6,
      stack: [0, 0x400, 0x3_0002, 0x100, 0x700, 0x510, 0x500, 0x520, 0x530],
    });
    const { segments } = g.state;
    expect([segments.ds.selector, segments.es.selector, segments.fs.selector, segments.gs.selector]).toEqual([
      0, 0, 0, 0,
    ]);
    expect(g.state.rflags & V86).toBe(0n);
  });

  it('CLI, STI, PUSHF, POPF, INT n and IRET are #GP(0) with IOPL below 3', () => {
    for (const bytes of [[0xfa], [0xfb], [0x9c], [0x9d], [0xcd, 0x21], [0xcf]]) {
      const g = new GuestBench();
      program(g, bytes);
      g.set(v86(g, 0n));
      g.run();
      expect(caught(g, 3)).toEqual({ vector: 13, stack: [0, 0, 0x400] });
    }
  });

  it('INT n with IOPL 3 goes through the IDT, which must lead to ring 0', () => {
    const g = new GuestBench();
    const changes = v86(g, IOPL3);
    g.gate(LAYOUT32.IDT + 0x21 * 8, SEL.CODE0, LAYOUT32.HANDLERS + 0x21 * 8, 0xee);
    g.gate(LAYOUT32.IDT + 0x22 * 8, SEL.CONFORMING, LAYOUT32.HANDLERS + 0x22 * 8, 0xee);
    program(g, [0xcd, 0x21]);
    g.set(changes);
    g.run();
    expect(caught(g, 2)).toEqual({ vector: 0x21, stack: [2, 0x400] });
    const h = new GuestBench();
    const again = v86(h, IOPL3);
    h.gate(LAYOUT32.IDT + 0x22 * 8, SEL.CONFORMING, LAYOUT32.HANDLERS + 0x22 * 8, 0xee);
    program(h, [0xcd, 0x22]);
    h.set(again);
    h.run();
    expect(caught(h, 2)).toEqual({ vector: 13, stack: [SEL.CONFORMING, 0] });
  });

  it('VME: the redirection bitmap sends INT n through the vector table of the program, with VIF for IF', () => {
    const g = new GuestBench();
    const changes = v86(g, 0x8_0000n, VME);
    const { TSS } = LAYOUT32;
    // Redirection bitmap at 0x68 (all through the program), I/O bitmap behind it.
    g.setU16(TSS + 102, 0x88);
    g.setU32(0x21 * 4, (0x600 << 16) | 0x40);
    // pushf; pop bx; hlt (which is #GP)
    g.bytes(0x6040, [0x9c, 0x5b, 0xf4]);
    program(g, [0xcd, 0x21]);
    g.set(changes);
    g.run();
    expect(caught(g, 3)).toEqual({ vector: 13, stack: [0, 0x42, 0x600] });
    // FLAGS on the program's stack: IF as VIF, IOPL as 3.
    expect([g.u16(0x70fa), g.u16(0x70fc), g.u16(0x70fe)]).toEqual([2, 0x400, 0x3202]);
    // In the handler VIF is clear.
    expect(g.reg('rbx') & 0xffffn).toBe(0x3002n);
  });

  it('VME: STI sets VIF, and is #GP(0) when VIP is set', () => {
    const g = new GuestBench();
    program(g, [0xfb, 0xf4]);
    g.set(v86(g, 0n, VME));
    g.run();
    expect(caught(g, 4)).toEqual({ vector: 13, stack: [0, 1, 0x400, 0xb_0002] });
    const h = new GuestBench();
    program(h, [0xfb]);
    h.set(v86(h, 0x10_0000n, VME));
    h.run();
    expect(caught(h, 2)).toEqual({ vector: 13, stack: [0, 0] });
  });

  it('IRET from ring 0 enters V86 mode with all segments from the stack', () => {
    const g = new GuestBench();
    const changes = protectedMode(g);
    g.asm(32, 0x5000, (a) => {
      for (const value of [0x530, 0x520, 0x500, 0x510, 0x700, 0x100, 0x2_0202, 0x400, 0]) a.emit('push', value);
      a.emit('iret');
    });
    g.bytes(PROGRAM, [0x8c, 0xdb, 0xf4]);
    g.set({ ...changes, rip: 0x5000n });
    g.run();
    expect(g.reg('rbx') & 0xffffn).toBe(0x500n);
    expect(caught(g, 9)).toEqual({
      vector: 13,
      stack: [0, 2, 0x400, 0x3_0202, 0x100, 0x700, 0x510, 0x500, 0x520],
    });
  });

  it('ports go by the I/O bitmap whatever IOPL says', () => {
    const g = new GuestBench();
    const changes = v86(g, IOPL3);
    // Bit 0x21 of the bitmap at 0x68.
    g.view.setUint8(LAYOUT32.TSS + 0x68 + 4, 2);
    program(g, [0xe6, 0x20, 0xe6, 0x21]);
    g.set(changes);
    g.run();
    expect(g.written[0]).toEqual([0x20, 1, 0]);
    expect(caught(g, 2)).toEqual({ vector: 13, stack: [0, 2] });
  });
});
