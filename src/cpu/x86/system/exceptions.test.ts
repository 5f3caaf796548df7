import { describe, expect, it } from 'vitest';
import { LAYOUT32, SEL, GuestBench, caught, inRing3, protectedMode } from '../../../testing/x86-guest.js';
import { R, dword } from '../assembler/index.js';

const PROGRAM = 0x4000;

describe('exceptions in 32-bit protected mode (SDM vol. 3 §6.12, §6.13)', () => {
  it('a fault pushes EFLAGS with RF, CS, EIP of the instruction and no error code for #UD', () => {
    const g = new GuestBench();
    g.asm(32, PROGRAM, (a) => {
      a.emit('nop');
      a.emit('ud2');
    });
    g.set({ ...protectedMode(g), rip: BigInt(PROGRAM) });
    expect(g.run()).toEqual({ kind: 'halt' });
    expect(caught(g, 3)).toEqual({ vector: 6, stack: [PROGRAM + 1, SEL.CODE0, 0x10002] });
  });

  it('from ring 3 it takes SS0:ESP0 of the TSS and pushes the old stack', () => {
    const g = new GuestBench();
    g.asm(32, PROGRAM, (a) => {
      a.emit('cli');
    });
    g.set(inRing3(protectedMode(g), PROGRAM));
    expect(g.run()).toEqual({ kind: 'halt' });
    expect(caught(g, 6)).toEqual({
      vector: 13,
      stack: [0, PROGRAM, SEL.CODE3, 0x10002, LAYOUT32.STACK3, SEL.DATA3],
    });
    expect(g.state.segments.cs.selector).toBe(SEL.CODE0);
    expect(g.state.segments.ss.selector).toBe(SEL.DATA0);
  });

  it('INT n through a gate of DPL 0 from ring 3 is #GP with the vector and IDT bit; the gate is not used', () => {
    const g = new GuestBench();
    g.asm(32, PROGRAM, (a) => {
      a.emit('int', 0x42);
    });
    g.set(inRing3(protectedMode(g), PROGRAM));
    g.run();
    expect(caught(g, 2)).toEqual({ vector: 13, stack: [0x42 * 8 + 2, PROGRAM] });
  });

  it('INT n through a gate of DPL 3 returns behind the instruction', () => {
    const g = new GuestBench();
    const changes = protectedMode(g);
    g.gate(LAYOUT32.IDT + 0x42 * 8, SEL.CODE0, LAYOUT32.HANDLERS + 0x42 * 8, 0xef);
    g.asm(32, PROGRAM, (a) => {
      a.emit('int', 0x42);
    });
    g.set(inRing3({ ...changes, rflags: 0x202n }, PROGRAM));
    g.run();
    expect(caught(g, 5)).toEqual({
      vector: 0x42,
      stack: [PROGRAM + 2, SEL.CODE3, 0x202, LAYOUT32.STACK3, SEL.DATA3],
    });
    // A trap gate leaves IF.
    expect(g.state.rflags & 0x200n).toBe(0x200n);
  });

  it('alignment is checked on the stack and of x87 images too (SDM vol. 3 table 6-7)', () => {
    const vector = (code: readonly number[], esp: number): number => {
      const g = new GuestBench();
      const changes = protectedMode(g);
      g.bytes(PROGRAM, [...code, 0x0f, 0x0b]);
      g.set({ ...inRing3({ ...changes, cr0: 0x4_0011n, rflags: 0x4_0002n }, PROGRAM), gpr: { rsp: BigInt(esp) } });
      g.run();
      return caught(g, 1).vector;
    };
    // pushf, popf, pusha, popa, enter 0, 0; call far and iret would go elsewhere.
    for (const code of [[0x9c], [0x9d], [0x60], [0x61], [0xc8, 0, 0, 0]]) {
      expect(vector(code, 0x9000)).toBe(6);
      expect(vector(code, 0x9002)).toBe(17);
    }
    // 16 bits: pushf16. fnstenv [esp], 28 and 14 bytes; fld tbyte [esp].
    expect([vector([0x66, 0x9c], 0x9002), vector([0x66, 0x9c], 0x9001)]).toEqual([6, 17]);
    expect([vector([0xd9, 0x34, 0x24], 0x9004), vector([0xd9, 0x34, 0x24], 0x9002)]).toEqual([6, 17]);
    expect([vector([0x66, 0xd9, 0x34, 0x24], 0x9002), vector([0x66, 0xd9, 0x34, 0x24], 0x9001)]).toEqual([6, 17]);
    expect([vector([0xdb, 0x2c, 0x24], 0x9008), vector([0xdb, 0x2c, 0x24], 0x9004)]).toEqual([6, 17]);
  });

  it('a gate that is not present is #NP, and EXT is set for an external interrupt', () => {
    const g = new GuestBench();
    const changes = protectedMode(g);
    g.gate(LAYOUT32.IDT + 0x50 * 8, SEL.CODE0, 0, 0x0e);
    g.asm(32, PROGRAM, (a) => {
      a.emit('sti');
      const top = a.bind();
      a.emit('jmp', top);
    });
    g.set({ ...changes, rip: BigInt(PROGRAM) });
    g.interrupt(0x50);
    g.run();
    expect(caught(g, 1)).toEqual({ vector: 11, stack: [0x50 * 8 + 2 + 1] });
  });

  it('an exception while #GP is delivered is a double fault with error code 0', () => {
    const g = new GuestBench();
    const changes = protectedMode(g);
    // The gate of #GP names a selector beyond the GDT.
    g.gate(LAYOUT32.IDT + 13 * 8, 0xff8, 0, 0x8e);
    g.asm(32, PROGRAM, (a) => {
      a.emit('mov', R.eax, 0x1000);
      a.emit('mov', R.ds, R.ax);
    });
    g.set({ ...changes, rip: BigInt(PROGRAM) });
    g.run();
    expect(caught(g, 2)).toEqual({ vector: 8, stack: [0, PROGRAM + 5] });
  });

  it('an exception while #UD is delivered is delivered itself: #UD is benign (table 6-5)', () => {
    const g = new GuestBench();
    const changes = protectedMode(g);
    g.gate(LAYOUT32.IDT + 6 * 8, 0xff8, 0, 0x8e);
    g.asm(32, PROGRAM, (a) => {
      a.emit('ud2');
    });
    g.set({ ...changes, rip: BigInt(PROGRAM) });
    g.run();
    expect(caught(g, 2)).toEqual({ vector: 13, stack: [0xff8 + 1, PROGRAM] });
  });

  it('a fault while a double fault is delivered shuts the processor down', () => {
    const g = new GuestBench();
    g.asm(32, PROGRAM, (a) => {
      a.emit('ud2');
    });
    g.set({ ...protectedMode(g), idtr: { base: 0n, limit: 0 }, rip: BigInt(PROGRAM) });
    expect(g.run()).toEqual({ kind: 'shutdown' });
    expect(g.state.activity).toBe('shutdown');
  });

  it('BOUND raises #BR outside the bounds and INTO #OF behind itself', () => {
    const g = new GuestBench();
    g.setU32(0x5000, 1);
    g.setU32(0x5004, 9);
    g.asm(32, PROGRAM, (a) => {
      a.emit('mov', R.eax, 5);
      a.emit('bound', R.eax, dword([0x5000]));
      a.emit('mov', R.eax, 10);
      a.emit('bound', R.eax, dword([0x5000]));
    });
    g.set({ ...protectedMode(g), rip: BigInt(PROGRAM) });
    g.run();
    expect(caught(g, 1).vector).toBe(5);
    const h = new GuestBench();
    h.asm(32, PROGRAM, (a) => {
      a.emit('mov', R.al, 0x7f);
      a.emit('inc', R.al);
      a.emit('into');
    });
    h.set({ ...protectedMode(h), rip: BigInt(PROGRAM) });
    h.run();
    expect(caught(h, 1)).toEqual({ vector: 4, stack: [PROGRAM + 5] });
  });
});

describe('interrupts', () => {
  it('STI holds interrupts off for one instruction (SDM vol. 2, STI)', () => {
    const g = new GuestBench();
    g.asm(32, PROGRAM, (a) => {
      a.emit('sti');
      a.emit('hlt');
      a.emit('ud2');
    });
    g.set({ ...protectedMode(g), rip: BigInt(PROGRAM) });
    g.interrupt(0x60);
    expect(g.run()).toEqual({ kind: 'halt' });
    // Taken out of HLT, not before it.
    expect(caught(g, 1)).toEqual({ vector: 0x60, stack: [PROGRAM + 2] });
  });

  it('STI, NOP, CLI lets an interrupt in', () => {
    const g = new GuestBench();
    g.asm(32, PROGRAM, (a) => {
      a.emit('sti');
      a.emit('nop');
      a.emit('cli');
      a.emit('hlt');
    });
    g.set({ ...protectedMode(g), rip: BigInt(PROGRAM) });
    g.interrupt(0x61);
    g.run();
    expect(caught(g, 1)).toEqual({ vector: 0x61, stack: [PROGRAM + 2] });
  });

  it.each([
    ['STI', ['sti', 'nop', 'nop', 'hlt'], 2],
    ['POPF', ['popf', 'nop', 'nop', 'hlt'], 1],
  ] as const)(
    'one that waits is taken as soon as %s lets it, and the next one behind it at the same place',
    (_, code, at) => {
      const g = new GuestBench();
      const base = protectedMode(g);
      // mov al, 0x61; out 0x80, al; iret
      g.bytes(LAYOUT32.HANDLERS + 0x61 * 8, [0xb0, 0x61, 0xe6, 0x80, 0xcf]);
      g.asm(32, PROGRAM, (a) => {
        for (const name of code) a.emit(name);
      });
      g.set({ ...base, rip: BigInt(PROGRAM), gpr: { rsp: 0x7000n } });
      g.setU32(0x7000, 0x202);
      g.interrupt(0x61);
      g.interrupt(0x62);
      g.run();
      expect(g.written.map(([, , value]) => value)).toEqual([0x61, 0x62]);
      expect(caught(g, 1).stack).toEqual([PROGRAM + at]);
    },
  );

  it('STI, CLI does not', () => {
    const g = new GuestBench();
    g.asm(32, PROGRAM, (a) => {
      a.emit('sti');
      a.emit('cli');
      a.emit('hlt');
    });
    g.set({ ...protectedMode(g), rip: BigInt(PROGRAM) });
    g.interrupt(0x61);
    expect(g.run()).toEqual({ kind: 'halt' });
    expect(g.state.rip).toBe(BigInt(PROGRAM + 3));
    expect(g.written).toEqual([]);
  });

  it('NMIs are held back until IRET', () => {
    const g = new GuestBench();
    const changes = protectedMode(g);
    g.asm(32, LAYOUT32.HANDLERS + 0x900, (a) => {
      a.emit('inc', R.ebx);
      a.emit('out', 0x81, R.al);
      a.emit('iret');
    });
    g.gate(LAYOUT32.IDT + 2 * 8, SEL.CODE0, LAYOUT32.HANDLERS + 0x900, 0x8e);
    g.asm(32, PROGRAM, (a) => {
      const top = a.bind();
      a.emit('nop');
      a.emit('cmp', R.ebx, 2);
      a.emit('jne', top);
      a.emit('hlt');
    });
    g.set({ ...changes, rip: BigInt(PROGRAM) });
    let once = true;
    g.onPort = () => {
      if (once) g.cpu.nmi();
      once = false;
    };
    g.cpu.nmi();
    expect(g.run()).toEqual({ kind: 'halt' });
    expect(g.reg('rbx')).toBe(2n);
    expect(g.state.events.nmiMasked).toBe(false);
  });
});
