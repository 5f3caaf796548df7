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
import { R, dword, far, ptr } from '../assembler/index.js';

const PROGRAM = 0x4000;
const { GDT, IDT, TSS, STACK0, STACK3 } = LAYOUT32;
const GATE = SEL.FREE;
const OTHER_TSS = 0x3800;

describe('call gates (SDM vol. 3 §5.8.3, §5.8.5)', () => {
  it('switch to the inner stack and copy the parameters; RETF n gives both stacks back', () => {
    const g = new GuestBench();
    const changes = protectedMode(g);
    g.gate(GDT + GATE, SEL.CODE0, PROGRAM + 0x100, 0xec, 2);
    g.asm(32, PROGRAM, (a) => {
      a.emit('push', 0x1111);
      a.emit('push', 0x2222);
      a.emit('callf', far(GATE | 3, 0));
      a.emit('mov', R.ecx, R.esp);
      a.emit('hlt');
    });
    g.asm(32, PROGRAM + 0x100, (a) => {
      a.emit('mov', R.ebx, R.esp);
      a.emit('mov', R.edx, dword([R.esp, 8]));
      a.emit('mov', R.esi, dword([R.esp, 12]));
      a.emit('mov', R.edi, dword([R.esp, 16]));
      a.emit('mov', R.ebp, dword([R.esp, 20]));
      a.emit('retf', 8);
    });
    g.set(inRing3(changes, PROGRAM));
    g.run();
    // HLT in ring 3.
    expect(caught(g, 1).vector).toBe(13);
    expect(g.reg('rbx')).toBe(BigInt(STACK0 - 24));
    expect([g.reg('rdx'), g.reg('rsi'), g.reg('rdi'), g.reg('rbp')]).toEqual([
      0x2222n,
      0x1111n,
      BigInt(STACK3 - 8),
      BigInt(SEL.DATA3),
    ]);
    expect(g.reg('rcx')).toBe(BigInt(STACK3));
  });

  it('RETF to an outer level empties data segments that it may not have', () => {
    const g = new GuestBench();
    const changes = protectedMode(g);
    g.asm(32, PROGRAM, (a) => {
      a.emit('push', SEL.DATA3);
      a.emit('push', STACK3);
      a.emit('push', SEL.CODE3);
      a.emit('push', PROGRAM + 0x100);
      a.emit('retf');
    });
    g.asm(32, PROGRAM + 0x100, (a) => {
      a.emit('mov', R.bx, R.ds);
      a.emit('hlt');
    });
    g.set({ ...changes, rip: BigInt(PROGRAM) });
    g.run();
    expect(g.reg('rbx') & 0xffffn).toBe(0n);
    expect(caught(g, 6).stack).toEqual([0, PROGRAM + 0x103, SEL.CODE3, 0x10002, STACK3, SEL.DATA3]);
  });

  it('a gate whose DPL is below CPL or RPL is #GP(gate), one that is not present #NP(gate)', () => {
    for (const [type, vector] of [
      [0x8c, 13],
      [0x6c, 11],
    ] as const) {
      const g = new GuestBench();
      const changes = protectedMode(g);
      g.gate(GDT + GATE, SEL.CODE0, PROGRAM, type);
      g.asm(32, PROGRAM, (a) => {
        a.emit('callf', far(GATE | 3, 0));
      });
      g.set(inRing3(changes, PROGRAM));
      g.run();
      expect(caught(g, 2)).toEqual({ vector, stack: [GATE, PROGRAM] });
    }
  });

  it('a jump through a gate may not change the level', () => {
    const g = new GuestBench();
    const changes = protectedMode(g);
    g.gate(GDT + GATE, SEL.CODE0, PROGRAM, 0xec);
    g.asm(32, PROGRAM, (a) => {
      a.emit('jmpf', far(GATE | 3, 0));
    });
    g.set(inRing3(changes, PROGRAM));
    g.run();
    expect(caught(g, 1)).toEqual({ vector: 13, stack: [SEL.CODE0] });
  });

  it('conforming code runs at the caller’s level', () => {
    const g = new GuestBench();
    g.asm(32, PROGRAM, (a) => {
      a.emit('callf', far(SEL.CONFORMING, PROGRAM + 0x100));
    });
    g.asm(32, PROGRAM + 0x100, (a) => {
      a.emit('mov', R.bx, R.cs);
      a.emit('hlt');
    });
    g.set(inRing3(protectedMode(g), PROGRAM));
    g.run();
    expect(g.reg('rbx') & 0xffffn).toBe(BigInt(SEL.CONFORMING | 3));
    expect(caught(g, 1).vector).toBe(13);
  });
});

/** A second task in a 32-bit TSS: EIP, flat ring 0 segments, its own stack. */
function secondTask(g: GuestBench, changes: Changes, fields: Readonly<Record<number, number>> = {}): Changes {
  const words: Record<number, number> = {
    28: 0,
    32: PROGRAM + 0x200,
    36: 2,
    40: 0xa0,
    44: 0xc0,
    48: 0xd0,
    52: 0xb0,
    56: 0x7800,
    60: 0xb9,
    64: 0x51,
    68: 0xd1,
    72: SEL.DATA0,
    76: SEL.CODE0,
    80: SEL.DATA0,
    84: SEL.DATA0,
    88: 0,
    92: 0,
    96: 0,
    ...fields,
  };
  for (const [offset, value] of Object.entries(words)) g.setU32(OTHER_TSS + Number(offset), value);
  g.setU16(OTHER_TSS + 102, 0x68);
  g.descriptor(GDT + GATE, BigInt(OTHER_TSS), 0x67, 0x89);
  return { ...changes, rip: BigInt(PROGRAM) };
}

const busy = (g: GuestBench, selector: number): boolean => (g.u32(GDT + selector + 4) & 0x200) !== 0;

describe('task switches (SDM vol. 3 chapter 7)', () => {
  it('CALL saves the task, links it, sets NT, TS and busy; IRET goes back', () => {
    const g = new GuestBench();
    const changes = secondTask(g, protectedMode(g));
    g.asm(32, PROGRAM, (a) => {
      a.emit('mov', R.ebx, 0x1234);
      a.emit('callf', far(GATE, 0));
      a.emit('hlt');
    });
    g.asm(32, PROGRAM + 0x200, (a) => {
      a.emit('pushf');
      a.emit('pop', R.eax);
      a.emit('mov', R.ecx, R.cr0);
      a.emit('clts');
      a.emit('mov', dword([0x5000]), R.eax);
      a.emit('mov', dword([0x5004]), R.ecx);
      a.emit('mov', dword([0x5008]), R.ebx);
      a.emit('mov', dword([0x500c]), R.esp);
      a.emit('str', R.eax);
      a.emit('mov', dword([0x5010]), R.eax);
      a.emit('iret');
    });
    g.set(changes);
    expect(g.run()).toEqual({ kind: 'halt' });
    expect(g.written).toEqual([]);
    expect(g.u32(0x5000) & 0x4000).toBe(0x4000);
    expect(g.u32(0x5004) & 8).toBe(8);
    expect([g.u32(0x5008), g.u32(0x500c), g.u32(0x5010)]).toEqual([0xb0, 0x7800, GATE]);
    expect(g.u16(OTHER_TSS)).toBe(SEL.TSS);
    expect(g.reg('rbx')).toBe(0x1234n);
    expect([busy(g, SEL.TSS), busy(g, GATE)]).toEqual([true, false]);
    // The second task saved itself with NT clear and EIP behind IRET.
    expect(g.u32(OTHER_TSS + 36) & 0x4000).toBe(0);
    expect(g.u32(OTHER_TSS + 32)).toBeGreaterThan(PROGRAM + 0x200);
    expect(g.state.segments.tr.selector).toBe(SEL.TSS);
  });

  it('JMP leaves the old task available and does not link', () => {
    const g = new GuestBench();
    const changes = secondTask(g, protectedMode(g));
    g.asm(32, PROGRAM, (a) => {
      a.emit('jmpf', far(GATE, 0));
    });
    g.bytes(PROGRAM + 0x200, [0xf4]);
    g.set(changes);
    expect(g.run()).toEqual({ kind: 'halt' });
    expect([busy(g, SEL.TSS), busy(g, GATE)]).toEqual([false, true]);
    expect(g.u16(OTHER_TSS)).toBe(0);
    expect(g.u32(TSS + 32)).toBe(PROGRAM + 7);
    expect(g.state.rflags & 0x4000n).toBe(0n);
  });

  it('a busy task is #GP(TSS), a short TSS #TS(TSS), both in the old task', () => {
    const g = new GuestBench();
    const changes = secondTask(g, protectedMode(g));
    g.descriptor(GDT + GATE, BigInt(OTHER_TSS), 0x67, 0x8b);
    g.asm(32, PROGRAM, (a) => {
      a.emit('jmpf', far(GATE, 0));
    });
    g.set(changes);
    g.run();
    expect(caught(g, 2)).toEqual({ vector: 13, stack: [GATE, PROGRAM] });

    const h = new GuestBench();
    const again = secondTask(h, protectedMode(h));
    h.descriptor(GDT + GATE, BigInt(OTHER_TSS), 0x66, 0x89);
    h.asm(32, PROGRAM, (a) => {
      a.emit('jmpf', far(GATE, 0));
    });
    h.set(again);
    h.run();
    expect(caught(h, 2)).toEqual({ vector: 10, stack: [GATE, PROGRAM] });
  });

  it('a bad segment of the new task is #TS in the new task', () => {
    const g = new GuestBench();
    const changes = secondTask(g, protectedMode(g), { 84: SEL.CODE0 | 0xff0 });
    g.asm(32, PROGRAM, (a) => {
      a.emit('jmpf', far(GATE, 0));
    });
    g.set(changes);
    g.run();
    const { vector, stack } = caught(g, 2);
    expect(vector).toBe(10);
    expect(stack).toEqual([(SEL.CODE0 | 0xff0) & 0xfffc, PROGRAM + 0x200]);
    expect(g.state.segments.tr.selector).toBe(GATE);
  });

  it('a task gate in the IDT takes an exception, with the error code on the new stack', () => {
    const g = new GuestBench();
    const changes = secondTask(g, protectedMode(g));
    g.gate(IDT + 13 * 8, GATE, 0, 0x85);
    g.asm(32, PROGRAM, (a) => {
      a.emit('mov', R.eax, 0x1000);
      a.emit('mov', R.ds, R.ax);
    });
    g.asm(32, PROGRAM + 0x200, (a) => {
      a.emit('pop', R.eax);
      a.emit('hlt');
    });
    g.set(changes);
    expect(g.run()).toEqual({ kind: 'halt' });
    expect(g.reg('rax')).toBe(0x1000n);
    // The old task comes back to the instruction that faulted.
    expect(g.u32(TSS + 32)).toBe(PROGRAM + 5);
    expect(g.u16(OTHER_TSS)).toBe(SEL.TSS);
  });

  it('a 16-bit TSS', () => {
    const g = new GuestBench();
    const changes = protectedMode(g);
    const words = [0, 0, 0, 0, 0, 0, 0, PROGRAM + 0x200, 2, 0xa0, 0xc0, 0xd0, 0xb0, 0x7800, 0xb9, 0x51, 0xd1];
    words.forEach((value, n) => {
      g.setU16(OTHER_TSS + n * 2, value);
    });
    [SEL.DATA16, SEL.CODE16, SEL.DATA16, SEL.DATA16, 0].forEach((value, n) => {
      g.setU16(OTHER_TSS + 34 + n * 2, value);
    });
    g.descriptor(GDT + GATE, BigInt(OTHER_TSS), 0x2b, 0x81);
    g.asm(32, PROGRAM, (a) => {
      a.emit('callf', far(GATE, 0));
      a.emit('hlt');
    });
    g.asm(16, PROGRAM + 0x200, (a) => {
      a.emit('mov', R.ax, R.sp);
      a.emit('mov', ptr([0x5000]), R.ax);
      a.emit('iret');
    });
    g.set({ ...changes, rip: BigInt(PROGRAM) });
    expect(g.run()).toEqual({ kind: 'halt' });
    expect(g.written).toEqual([]);
    expect(g.u16(0x5000)).toBe(0x7800);
    expect(g.state.segments.cs).toEqual(segment(SEL.CODE0, 0n, 0xffff_ffff, ATTR.CODE32));
  });
});

describe('segment loads (SDM vol. 2, MOV)', () => {
  const load = (bytes: readonly number[], selector: number, ring: 0 | 3, prepare?: (g: GuestBench) => void) => {
    const g = new GuestBench();
    let changes: Changes = { ...protectedMode(g), rip: BigInt(PROGRAM) };
    prepare?.(g);
    // mov eax, selector; then the load; hlt
    g.bytes(PROGRAM, [0xb8, selector & 0xff, selector >> 8, 0, 0, ...bytes, 0xf4]);
    if (ring === 3) changes = inRing3(changes, PROGRAM);
    g.set(changes);
    g.run();
    const { vector, stack } = caught(g, 2);
    return vector < 0 ? undefined : stack[1] === PROGRAM + 5 ? [vector, stack[0]] : 'later';
  };
  const MOV_DS = [0x8e, 0xd8];
  const MOV_SS = [0x8e, 0xd0];
  const MOV_CS = [0x8e, 0xc8];

  it('DS: null is fine; privileged, execute-only, out of the table #GP(sel); not present #NP(sel)', () => {
    expect(load(MOV_DS, 0, 0)).toBeUndefined();
    expect(load(MOV_DS, 3, 0)).toBeUndefined();
    expect(load(MOV_DS, SEL.DATA0, 3)).toEqual([13, SEL.DATA0]);
    expect(load(MOV_DS, 0x400, 0)).toEqual([13, 0x400]);
    expect(load(MOV_DS, 0x4c, 0)).toEqual([13, 0x4c]);
    expect(load(MOV_DS, SEL.TSS, 0)).toEqual([13, SEL.TSS]);
    expect(
      load(MOV_DS, SEL.FREE, 0, (g) => {
        g.descriptor(GDT + SEL.FREE, 0n, 0xffff, 0x0013);
      }),
    ).toEqual([11, SEL.FREE]);
    expect(
      load(MOV_DS, SEL.FREE, 0, (g) => {
        g.descriptor(GDT + SEL.FREE, 0n, 0xffff, 0x0099);
      }),
    ).toEqual([13, SEL.FREE]);
  });

  it('SS: null is #GP(0); it wants writable data of RPL and DPL as CPL; not present #SS(sel)', () => {
    expect(load(MOV_SS, 0, 0)).toEqual([13, 0]);
    expect(load(MOV_SS, SEL.CODE0, 0)).toEqual([13, SEL.CODE0]);
    expect(load(MOV_SS, SEL.DATA3, 0)).toEqual([13, SEL.DATA3 & ~3]);
    expect(load(MOV_SS, SEL.DATA0 | 1, 0)).toEqual([13, SEL.DATA0]);
    expect(
      load(MOV_SS, SEL.FREE, 0, (g) => {
        g.descriptor(GDT + SEL.FREE, 0n, 0xffff, 0x0013);
      }),
    ).toEqual([12, SEL.FREE]);
  });

  it('CS: #UD', () => {
    // No error code: EIP is on top.
    const g = new GuestBench();
    g.bytes(PROGRAM, MOV_CS);
    g.set({ ...protectedMode(g), rip: BigInt(PROGRAM) });
    g.run();
    expect(caught(g, 1)).toEqual({ vector: 6, stack: [PROGRAM] });
  });

  it('sets the accessed bit', () => {
    const g = new GuestBench();
    const changes = protectedMode(g);
    g.descriptor(GDT + SEL.FREE, 0n, 0xffff, 0x0092);
    g.bytes(PROGRAM, [0xb8, SEL.FREE, 0, 0, 0, ...MOV_DS, 0xf4]);
    g.set({ ...changes, rip: BigInt(PROGRAM) });
    g.run();
    expect(g.view.getUint8(GDT + SEL.FREE + 5)).toBe(0x93);
  });

  it('limits: expand-up, expand-down and null', () => {
    const touch = (attributes: number, limit: number, offset: number): number => {
      const g = new GuestBench();
      const changes = protectedMode(g);
      g.descriptor(GDT + SEL.FREE, 0x10_0000n, limit, attributes);
      g.asm(32, PROGRAM, (a) => {
        a.emit('mov', R.eax, SEL.FREE);
        a.emit('mov', R.ds, R.ax);
        a.emit('mov', dword([offset]), R.eax);
        a.emit('hlt');
      });
      g.set({ ...changes, rip: BigInt(PROGRAM) });
      g.run();
      return caught(g, 1).vector;
    };
    expect(touch(0x0093, 0xfff, 0xffc)).toBe(-1);
    expect(touch(0x0093, 0xfff, 0xffd)).toBe(13);
    expect(touch(0x0091, 0xfff, 0)).toBe(13);
    // Expand-down: above the limit, up to FFFF or FFFF FFFF by D/B.
    expect(touch(0x0097, 0xfff, 0xfff)).toBe(13);
    expect(touch(0x0097, 0xfff, 0x1000)).toBe(-1);
    expect(touch(0x0097, 0xfff, 0xfffd)).toBe(13);
    expect(touch(0x4097, 0xfff, 0xfffd)).toBe(-1);
  });
});

describe('LAR, LSL, VERR, VERW, ARPL (SDM vol. 2)', () => {
  const zero = (bytes: readonly number[], selector: number): { zf: boolean; ebx: bigint } => {
    const g = new GuestBench();
    const changes = protectedMode(g);
    g.bytes(PROGRAM, [0xb8, selector & 0xff, selector >> 8, 0, 0, ...bytes, 0xf4]);
    g.set({ ...changes, rip: BigInt(PROGRAM) });
    g.run();
    expect(g.written).toEqual([]);
    return { zf: (g.state.rflags & 0x40n) !== 0n, ebx: g.reg('rbx') };
  };

  it('answer with ZF', () => {
    // lar ebx, eax; lsl ebx, eax
    expect(zero([0x0f, 0x02, 0xd8], SEL.CODE0)).toEqual({ zf: true, ebx: 0xc0_9b00n });
    expect(zero([0x0f, 0x03, 0xd8], SEL.DATA16)).toEqual({ zf: true, ebx: 0xffffn });
    expect(zero([0x0f, 0x03, 0xd8], SEL.CODE0)).toEqual({ zf: true, ebx: 0xffff_ffffn });
    expect(zero([0x0f, 0x02, 0xd8], 0)).toEqual({ zf: false, ebx: 0n });
    expect(zero([0x0f, 0x02, 0xd8], 0x7f8)).toEqual({ zf: false, ebx: 0n });
    // verr ax; verw ax
    expect(zero([0x0f, 0x00, 0xe0], SEL.CODE0).zf).toBe(true);
    expect(zero([0x0f, 0x00, 0xe8], SEL.CODE0).zf).toBe(false);
    expect(zero([0x0f, 0x00, 0xe8], SEL.DATA0).zf).toBe(true);
    expect(zero([0x0f, 0x00, 0xe0], SEL.TSS).zf).toBe(false);
  });

  it('ARPL raises the RPL', () => {
    const g = new GuestBench();
    g.bytes(PROGRAM, [0xb8, 0x10, 0, 0, 0, 0xb9, 0x3, 0, 0, 0, 0x63, 0xc8, 0xf4]);
    g.set({ ...protectedMode(g), rip: BigInt(PROGRAM) });
    g.run();
    expect(g.reg('rax')).toBe(0x13n);
    expect(g.state.rflags & 0x40n).toBe(0x40n);
  });

  it('ARPL needs a writable destination only when it writes', () => {
    const arpl = (rpl: number): { vector: number; zf: boolean } => {
      const g = new GuestBench();
      const changes = protectedMode(g);
      // arpl [0x5000], cx; hlt
      g.bytes(PROGRAM, [0x63, 0x0d, 0x00, 0x50, 0, 0, 0xf4]);
      g.setU16(0x5000, 0x12);
      g.set({
        ...changes,
        rip: BigInt(PROGRAM),
        gpr: { ...changes.gpr, rcx: BigInt(rpl) },
        segments: { ...changes.segments, ds: segment(SEL.DATA0, 0n, 0xffff_ffff, 0xc091) },
      });
      g.run();
      return { vector: g.written.at(-1)?.[2] ?? -1, zf: (g.state.rflags & 0x40n) !== 0n };
    };
    expect(arpl(1)).toEqual({ vector: -1, zf: false });
    expect(arpl(3).vector).toBe(13);
  });
});
