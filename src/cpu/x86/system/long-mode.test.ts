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
import type { VcpuState } from '../../../arch/x86/state.js';
import { R, far, ptr, qword } from '../assembler/index.js';

const PROGRAM = 0x4000;
const PML4 = 0x10_0000;
const CODE64_3 = 0x4b;
const SYSRET32_3 = 0x3b;
const STACK = 0x7000;

/** 64-bit ring 0 with identity paging of 4 MiB for everybody; 64-bit gates for 32 exceptions. */
function longMode(g: GuestBench): Changes {
  const changes = protectedMode(g);
  const { GDT, IDT, TSS, HANDLERS } = LAYOUT32;
  const flat = 0xffff_ffff;
  g.descriptor(GDT + SEL.CODE0, 0n, flat, ATTR.CODE64);
  g.descriptor(GDT + (CODE64_3 & ~7), 0n, flat, ATTR.CODE64 | ATTR.RING3);
  g.descriptor(GDT + SEL.TSS, BigInt(TSS), 0x2068, 0x8b);
  g.setU64(GDT + SEL.TSS + 8, 0n);
  g.setU64(PML4, BigInt((PML4 + 0x1000) | 7));
  g.setU64(PML4 + 0x1000, BigInt((PML4 + 0x2000) | 7));
  g.setU64(PML4 + 0x2000, 0x87n);
  g.setU64(PML4 + 0x2008, 0x20_0087n);
  for (let n = 0; n < 128; n++) g.gate64(IDT + n * 16, SEL.CODE0, HANDLERS + n * 8, 0x8e);
  g.setU64(TSS + 4, 0x8000n);
  g.setU64(TSS + 36, 0x9008n);
  return {
    ...changes,
    cr0: 0x8000_0011n,
    cr3: BigInt(PML4),
    cr4: 0x20n,
    efer: 0xd01n,
    idtr: { base: BigInt(IDT), limit: 0xfff },
    gpr: { rsp: BigInt(STACK) },
    segments: { ...changes.segments, cs: segment(SEL.CODE0, 0n, flat, ATTR.CODE64) },
    rip: BigInt(PROGRAM),
  };
}

const ring3 = (changes: Changes): Changes => ({
  ...changes,
  segments: {
    ...changes.segments,
    cs: segment(CODE64_3, 0n, 0xffff_ffff, ATTR.CODE64 | ATTR.RING3),
    ss: segment(SEL.DATA3, 0n, 0xffff_ffff, ATTR.DATA32 | ATTR.RING3),
  },
});

describe('REP with 32-bit addresses and ECX = 0 in 64-bit mode', () => {
  const cases: readonly [string, boolean, boolean][] = [
    ['movsb', true, true],
    ['stosb', false, true],
    ['lodsb', false, false],
    ['scasb', false, false],
    ['cmpsb', false, false],
  ];
  const OPCODES: Readonly<Record<string, number>> = { movsb: 0xa4, stosb: 0xaa, lodsb: 0xac, scasb: 0xae, cmpsb: 0xa6 };
  it.for(cases)('%s clears upper halves as on Intel processors', ([name, source, destination]) => {
    const g = new GuestBench();
    const upper = 0xa1a1_a1a1_0000_0000n;
    g.bytes(PROGRAM, [0x67, 0xf3, OPCODES[name], 0xf4]);
    g.set({ ...longMode(g), gpr: { rsp: BigInt(STACK), rcx: upper, rsi: upper | 0x5000n, rdi: upper | 0x6000n } });
    g.run();
    expect(g.reg('rcx')).toBe(0n);
    expect(g.reg('rsi')).toBe(source ? 0x5000n : upper | 0x5000n);
    expect(g.reg('rdi')).toBe(destination ? 0x6000n : upper | 0x6000n);
  });
});

describe('event delivery in 64-bit mode (SDM vol. 3 §6.14)', () => {
  it('aligns the stack to 16 bytes and always pushes SS:RSP', () => {
    const g = new GuestBench();
    g.asm(64, PROGRAM, (a) => {
      a.emit('ud2');
    });
    g.set({ ...longMode(g), gpr: { rsp: BigInt(STACK + 9) } });
    g.run();
    expect(g.written.at(-1)?.[2]).toBe(6);
    const sp = Number(g.reg('rsp'));
    expect(sp).toBe(STACK - 40);
    expect([0, 8, 16, 24, 32].map((n) => g.u64(sp + n))).toEqual([
      BigInt(PROGRAM),
      BigInt(SEL.CODE0),
      0x10002n,
      BigInt(STACK + 9),
      BigInt(SEL.DATA0),
    ]);
  });

  it('from ring 3 takes RSP0 and loads a null SS', () => {
    const g = new GuestBench();
    g.asm(64, PROGRAM, (a) => {
      a.emit('hlt');
    });
    g.set(ring3(longMode(g)));
    g.run();
    const sp = Number(g.reg('rsp'));
    expect(sp).toBe(0x8000 - 48);
    expect(g.u64(sp)).toBe(0n);
    expect(g.u64(sp + 16)).toBe(BigInt(CODE64_3));
    expect(g.state.segments.ss.selector).toBe(0);
    expect(g.state.segments.ss.attributes & 0x10000).toBe(0x10000);
  });

  it('an IST entry is used whatever the level', () => {
    const g = new GuestBench();
    const changes = longMode(g);
    g.gate64(LAYOUT32.IDT + 6 * 16, SEL.CODE0, LAYOUT32.HANDLERS + 6 * 8, 0x8e, 1);
    g.asm(64, PROGRAM, (a) => {
      a.emit('ud2');
    });
    g.set(changes);
    g.run();
    expect(g.reg('rsp')).toBe(0x9000n - 40n);
  });

  it('IRETQ goes back to ring 3 with SS:RSP and drops nothing from the flags', () => {
    const g = new GuestBench();
    g.asm(64, PROGRAM, (a) => {
      a.emit('push', SEL.DATA3);
      a.emit('push', 0x6800);
      a.emit('push', 0x3246);
      a.emit('push', CODE64_3);
      a.emit('push', PROGRAM + 0x100);
      a.emit('iretq');
    });
    g.asm(64, PROGRAM + 0x100, (a) => {
      a.emit('pushfq');
      a.emit('hlt');
    });
    g.set(longMode(g));
    g.run();
    // HLT in ring 3 is #GP(0).
    expect(caught(g, 1)).toEqual({ vector: 13, stack: [0] });
    expect(g.u64(0x6800 - 8)).toBe(0x3246n);
  });

  it('gates of 16 and 32 bits, and code that is not 64-bit, are #GP', () => {
    const g = new GuestBench();
    const changes = longMode(g);
    g.gate64(LAYOUT32.IDT + 6 * 16, SEL.CODE16, LAYOUT32.HANDLERS, 0x8e);
    g.asm(64, PROGRAM, (a) => {
      a.emit('ud2');
    });
    g.set(changes);
    g.run();
    expect(caught(g, 1)).toEqual({ vector: 13, stack: [SEL.CODE16 + 1] });
  });
});

describe('SYSCALL and SYSRET (SDM vol. 2)', () => {
  const STAR = BigInt(SEL.CODE0) << 32n;
  const msrs = (lstar: number, fmask: number): VcpuState['msrs'] => [
    { index: 0xc000_0081, value: STAR | (BigInt(SYSRET32_3) << 48n) },
    { index: 0xc000_0082, value: BigInt(lstar) },
    { index: 0xc000_0084, value: BigInt(fmask) },
  ];

  it('SYSCALL saves RIP and RFLAGS, masks, and enters ring 0 with flat segments', () => {
    const g = new GuestBench();
    g.asm(64, PROGRAM, (a) => {
      a.emit('syscall');
    });
    g.asm(64, PROGRAM + 0x100, (a) => {
      a.emit('hlt');
    });
    g.set({ ...ring3(longMode(g)), msrs: msrs(PROGRAM + 0x100, 0x200), rflags: 0x246n });
    expect(g.run()).toEqual({ kind: 'halt' });
    const { state } = g;
    expect(g.reg('rcx')).toBe(BigInt(PROGRAM + 2));
    expect(g.reg('r11')).toBe(0x246n);
    expect(state.rflags).toBe(0x46n);
    expect(state.segments.cs).toEqual(segment(SEL.CODE0, 0n, 0xffff_ffff, ATTR.CODE64));
    expect(state.segments.ss).toEqual(segment(SEL.CODE0 + 8, 0n, 0xffff_ffff, ATTR.DATA32));
  });

  it('SYSRET to 64-bit and to compatibility mode', () => {
    for (const wide of [true, false]) {
      const g = new GuestBench();
      g.asm(64, PROGRAM, (a) => {
        a.emit('mov', R.rcx, PROGRAM + 0x100);
        a.emit('mov', R.r11, 0x246);
        a.emit(wide ? 'o64 sysret' : 'o32 sysret');
      });
      g.bytes(PROGRAM + 0x100, [0x0f, 0x0b]);
      g.set({ ...longMode(g), msrs: msrs(0, 0) });
      g.run();
      const sp = Number(g.reg('rsp'));
      expect(g.u64(sp)).toBe(BigInt(PROGRAM + 0x100));
      expect(g.u64(sp + 8)).toBe(BigInt(wide ? SYSRET32_3 + 16 : SYSRET32_3));
      expect(g.u64(sp + 32)).toBe(BigInt(SYSRET32_3 + 8));
    }
  });

  it('SYSCALL without EFER.SCE is #UD', () => {
    const g = new GuestBench();
    g.asm(64, PROGRAM, (a) => {
      a.emit('syscall');
    });
    g.set({ ...longMode(g), efer: 0xd00n });
    g.run();
    expect(g.written.at(-1)?.[2]).toBe(6);
  });
});

describe('IRET to ring 3 (SDM vol. 2)', () => {
  it('makes privileged data segments null and null selectors 0; the bases of FS and GS stay', () => {
    const g = new GuestBench();
    const changes = longMode(g);
    g.asm(64, PROGRAM, (a) => {
      for (const value of [SEL.DATA3, 0x9000, 2, CODE64_3, PROGRAM + 0x100]) a.emit('push', value);
      a.emit('iretq');
    });
    // mov rcx, gs:[8]; ud2
    g.bytes(PROGRAM + 0x100, [0x65, 0x48, 0x8b, 0x0c, 0x25, 8, 0, 0, 0, 0x0f, 0x0b]);
    g.setU64(0x5008, 0x1234n);
    g.set({
      ...changes,
      segments: {
        ...changes.segments,
        gs: segment(SEL.DATA0, 0x5000n, 0xffff_ffff, ATTR.DATA32),
        // A null selector with an RPL.
        fs: segment(3, 0x6000n, 0, 0x1_0000),
      },
    });
    g.run();
    expect(g.written.at(-1)?.[2]).toBe(6);
    expect(g.reg('rcx')).toBe(0x1234n);
    expect(g.state.segments.gs).toMatchObject({ selector: 0, base: 0x5000n });
    expect(g.state.segments.fs).toMatchObject({ selector: 0, base: 0x6000n });
  });
});

describe('entering long mode (SDM vol. 3 §9.8.5)', () => {
  it('from protected mode: PAE, EFER.LME, CR0.PG, far jump to 64-bit code; and back to compatibility mode', () => {
    const g = new GuestBench();
    const changes = longMode(g);
    g.descriptor(LAYOUT32.GDT + SEL.FREE, 0n, 0xffff_ffff, ATTR.CODE32);
    g.asm(32, PROGRAM, (a) => {
      a.emit('mov', R.eax, R.cr4);
      a.emit('or', R.eax, 0x20);
      a.emit('mov', R.cr4, R.eax);
      a.emit('mov', R.eax, PML4);
      a.emit('mov', R.cr3, R.eax);
      a.emit('mov', R.ecx, 0xc000_0080);
      a.emit('rdmsr');
      a.emit('or', R.eax, 0x100);
      a.emit('wrmsr');
      a.emit('mov', R.eax, R.cr0);
      a.emit('or', R.eax, 0x8000_0000);
      a.emit('mov', R.cr0, R.eax);
      a.emit('jmpf', far(SEL.CODE0, PROGRAM + 0x100));
    });
    g.asm(64, PROGRAM + 0x100, (a) => {
      a.emit('mov', R.rbx, 0x1_2345_6789n);
      a.emit('mov', R.rax, PROGRAM + 0x200);
      a.emit('push', SEL.FREE);
      a.emit('push', R.rax);
      a.emit('o64 retf');
    });
    g.asm(32, PROGRAM + 0x200, (a) => {
      a.emit('mov', R.ecx, 0xc000_0080);
      a.emit('rdmsr');
      a.emit('hlt');
    });
    g.set({
      ...changes,
      cr0: 0x11n,
      cr3: 0n,
      cr4: 0n,
      efer: 0n,
      segments: { ...changes.segments, cs: segment(SEL.FREE, 0n, 0xffff_ffff, ATTR.CODE32) },
    });
    expect(g.run()).toEqual({ kind: 'halt' });
    expect(g.reg('rbx')).toBe(0x1_2345_6789n);
    // LME and LMA.
    expect(g.reg('rax') & 0x500n).toBe(0x500n);
    expect(g.state.segments.cs.selector).toBe(SEL.FREE);
  });

  it('CR0.PG with EFER.LME and without CR4.PAE is #GP(0); so is clearing CR4.PAE in long mode', () => {
    const g = new GuestBench();
    const changes = longMode(g);
    g.asm(64, PROGRAM, (a) => {
      a.emit('xor', R.eax, R.eax);
      a.emit('mov', R.cr4, R.rax);
    });
    g.set(changes);
    g.run();
    expect(caught(g, 1)).toEqual({ vector: 13, stack: [0] });
  });
});

describe('64-bit call gates (SDM vol. 3 §5.8.3.1)', () => {
  it('go to ring 0 on RSP0 with SS, RSP, CS, RIP', () => {
    const g = new GuestBench();
    const changes = longMode(g);
    const at = LAYOUT32.GDT + 0x60;
    g.gate(at, SEL.CODE0, PROGRAM + 0x100, 0xec);
    g.setU64(at + 8, 0n);
    // A far pointer: 32-bit offset, selector.
    g.setU32(0x5000, 0);
    g.setU16(0x5004, 0x63);
    g.asm(64, PROGRAM, (a) => {
      a.emit('o32 callf', ptr([0x5000]));
    });
    g.asm(64, PROGRAM + 0x100, (a) => {
      a.emit('mov', R.rax, qword([R.rsp]));
      a.emit('hlt');
    });
    g.set(ring3(changes));
    expect(g.run()).toEqual({ kind: 'halt' });
    expect(g.written).toEqual([]);
    const sp = Number(g.reg('rsp'));
    expect(sp).toBe(0x8000 - 32);
    expect(g.u64(sp + 8)).toBe(BigInt(CODE64_3));
    expect(g.u64(sp + 16)).toBe(BigInt(STACK));
    expect(g.u64(sp + 24)).toBe(BigInt(SEL.DATA3));
  });
});
