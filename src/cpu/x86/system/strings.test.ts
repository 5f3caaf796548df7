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
import type { Assembler } from '../assembler/index.js';
import { R } from '../assembler/index.js';

const PROGRAM = 0x4000;
const FROM = 0x10_0000;
const TO = 0x20_0000;

function run(
  program: (a: Assembler) => void,
  gpr: Changes['gpr'],
  options: { prepare?: (g: GuestBench) => void; budget?: number; changes?: (c: Changes) => Changes } = {},
): GuestBench {
  const g = new GuestBench();
  const changes = protectedMode(g);
  options.prepare?.(g);
  g.asm(32, PROGRAM, (a) => {
    program(a);
    a.emit('hlt');
  });
  const whole: Changes = { ...changes, rip: BigInt(PROGRAM), gpr: { ...changes.gpr, ...gpr } };
  g.set(options.changes ? options.changes(whole) : whole);
  g.run(options.budget ?? 1000);
  return g;
}

const fill = (g: GuestBench, at: number, count: number): void => {
  for (let n = 0; n < count; n++) g.view.setUint8(at + n, (n * 7 + 3) & 0xff);
};
const slice = (g: GuestBench, at: number, count: number): number[] => [...g.vm.backing.subarray(at, at + count)];

describe('string instructions (SDM vol. 2, REP)', () => {
  it('REP MOVS of every size copies across pages', () => {
    for (const [name, size] of [
      ['movsb', 1],
      ['movsw', 2],
      ['movsd', 4],
    ] as const) {
      const g = run(
        (a) => {
          a.emit(`rep ${name}`);
        },
        { rsi: BigInt(FROM + 5), rdi: BigInt(TO + 11), rcx: BigInt(20_000 / size) },
        {
          prepare: (bench) => {
            fill(bench, FROM, 30_000);
          },
        },
      );
      expect(slice(g, TO + 11, 20_000)).toEqual(slice(g, FROM + 5, 20_000));
      expect(g.view.getUint8(TO + 11 + 20_000)).toBe(0);
      expect([g.reg('rcx'), g.reg('rsi'), g.reg('rdi')]).toEqual([0n, BigInt(FROM + 20_005), BigInt(TO + 20_011)]);
    }
  });

  it('an overlapping forward copy repeats the pattern; the backward one moves', () => {
    const pattern = run(
      (a) => {
        a.emit('rep movsb');
      },
      { rsi: BigInt(FROM), rdi: BigInt(FROM + 3), rcx: 100n },
      {
        prepare: (g) => {
          g.bytes(FROM, [1, 2, 3]);
        },
      },
    );
    expect(slice(pattern, FROM, 9)).toEqual([1, 2, 3, 1, 2, 3, 1, 2, 3]);
    const words = run(
      (a) => {
        a.emit('rep movsd');
      },
      { rsi: BigInt(FROM), rdi: BigInt(FROM + 2), rcx: 3n },
      {
        prepare: (g) => {
          g.bytes(FROM, [1, 2, 3, 4, 5, 6, 7, 8]);
        },
      },
    );
    // Each doubleword is read after the one before it was written.
    expect(slice(words, FROM, 14)).toEqual([1, 2, 1, 2, 3, 4, 3, 4, 7, 8, 7, 8, 0, 0]);
    const moved = run(
      (a) => {
        a.emit('std');
        a.emit('rep movsb');
        a.emit('cld');
      },
      { rsi: BigInt(FROM + 7), rdi: BigInt(FROM + 10), rcx: 8n },
      {
        prepare: (g) => {
          g.bytes(FROM, [1, 2, 3, 4, 5, 6, 7, 8]);
        },
      },
    );
    expect(slice(moved, FROM + 3, 8)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(moved.reg('rsi')).toBe(BigInt(FROM - 1));
  });

  it('REP STOS fills, with values whose bytes differ too', () => {
    const g = run(
      (a) => {
        a.emit('rep stosd');
      },
      { rax: 0x4433_2211n, rdi: BigInt(TO + 0xffe), rcx: 3000n },
    );
    expect([
      g.u32(TO + 0xffe),
      g.u32(TO + 0xffe + 4),
      g.u32(TO + 0xffe + 2999 * 4),
      g.u32(TO + 0xffe + 12_000),
    ]).toEqual([0x4433_2211, 0x4433_2211, 0x4433_2211, 0]);
  });

  it('a count of 0 touches nothing, not even pages that are not there', () => {
    const g = run(
      (a) => {
        a.emit('rep movsb');
      },
      { rsi: 0xffff_f000n, rdi: 0xffff_f000n, rcx: 0n },
    );
    expect(g.mmio).toEqual([]);
    expect(g.reg('rsi')).toBe(0xffff_f000n);
  });

  it('REPNE SCASB finds, REPE CMPSB compares; flags are those of the last comparison', () => {
    const found = run(
      (a) => {
        a.emit('repne scasb');
      },
      { rax: 0x5an, rdi: BigInt(TO), rcx: 10_000n },
      {
        prepare: (g) => {
          g.bytes(TO + 6000, [0x5a]);
        },
      },
    );
    expect([found.reg('rdi'), found.reg('rcx'), found.state.rflags & 0x41n]).toEqual([BigInt(TO + 6001), 3999n, 0x40n]);
    const differ = run(
      (a) => {
        a.emit('repe cmpsb');
      },
      { rsi: BigInt(FROM), rdi: BigInt(TO), rcx: 100n },
      {
        prepare: (g) => {
          g.bytes(FROM, [1, 2, 3]);
          g.bytes(TO, [1, 2, 4]);
        },
      },
    );
    expect([differ.reg('rsi'), differ.reg('rcx')]).toEqual([BigInt(FROM + 3), 97n]);
    // 3 - 4: CF, AF, SF, PF (FFh has eight ones).
    expect(differ.state.rflags & 0x8d5n).toBe(0x95n);
  });

  it('16-bit addresses wrap within the segment, and stop at its limit with registers of that moment', () => {
    const g = new GuestBench();
    for (let n = 0; n < 256; n++) {
      g.setU32(n * 4, 0x6000 + n * 8);
      g.bytes(0x6000 + n * 8, [0xb0, n, 0xe6, 0x80, 0xf4]);
    }
    const data = segment(0, 0n, 0xffff, ATTR.DATA16);
    g.asm(16, PROGRAM, (a) => {
      a.emit('rep movsb');
      a.emit('mov', R.si, 0xffff);
      a.emit('lodsw');
    });
    fill(g, 0xfff0, 16);
    g.set({
      rip: BigInt(PROGRAM),
      gpr: { rsp: 0x5000n, rsi: 0xfff8n, rdi: 0x8000n, rcx: 16n },
      idtr: { base: 0n, limit: 0x3ff },
      segments: { cs: segment(0, 0n, 0xffff, ATTR.CODE16), ss: data, ds: data, es: data },
    });
    g.run();
    expect(slice(g, 0x8000, 8)).toEqual(slice(g, 0xfff8, 8));
    expect(slice(g, 0x8008, 4)).toEqual(slice(g, 0, 4));
    expect(g.written.at(-1)?.[2]).toBe(13);
  });

  it('a page fault in the middle leaves the registers at the element that faulted', () => {
    const PD = 0x30_0000;
    const PT = 0x30_1000;
    const g = run(
      (a) => {
        a.emit('rep movsb');
      },
      { rsi: BigInt(FROM), rdi: BigInt(TO), rcx: 0x3000n },
      {
        prepare: (bench) => {
          for (let n = 0; n < 1024; n++) bench.setU32(PT + n * 4, (n << 12) | 3);
          bench.setU32(PD, PT | 3);
          bench.setU32(PT + ((TO + 0x2000) >> 12) * 4, 0);
          fill(bench, FROM, 0x3000);
        },
        changes: (c) => ({ ...c, cr0: 0x8000_0011n, cr3: BigInt(PD) }),
      },
    );
    expect(caught(g, 2)).toEqual({ vector: 14, stack: [2, PROGRAM] });
    expect([g.reg('rcx'), g.reg('rsi'), g.reg('rdi'), g.state.cr2]).toEqual([
      0x1000n,
      BigInt(FROM + 0x2000),
      BigInt(TO + 0x2000),
      BigInt(TO + 0x2000),
    ]);
    expect(slice(g, TO, 0x2000)).toEqual(slice(g, FROM, 0x2000));
  });

  it('interrupts come in between, with RIP at the instruction', () => {
    const g = new GuestBench();
    const changes = protectedMode(g);
    g.asm(32, LAYOUT32.HANDLERS + 0x900, (a) => {
      a.emit('inc', R.edx);
      a.emit('mov', R.ebx, R.ecx);
      a.emit('iret');
    });
    g.gate(LAYOUT32.IDT + 0x60 * 8, SEL.CODE0, LAYOUT32.HANDLERS + 0x900, 0x8e);
    g.asm(32, PROGRAM, (a) => {
      a.emit('sti');
      a.emit('rep outsb');
      a.emit('cli');
      a.emit('hlt');
    });
    fill(g, FROM, 100);
    g.set({
      ...changes,
      rip: BigInt(PROGRAM),
      gpr: { ...changes.gpr, rdx: 0x90n, rsi: BigInt(FROM), rcx: 100n },
    });
    g.onPort = () => {
      if (g.written.length === 40) g.interrupt(0x60);
    };
    expect(g.run()).toEqual({ kind: 'halt' });
    expect(g.reg('rbx')).toBe(60n);
    expect(g.written.map(([, , value]) => value)).toEqual(slice(g, FROM, 100));
    // The handler has moved DX on meanwhile.
    expect(g.written.map(([port]) => port)).toEqual([
      ...new Array<number>(40).fill(0x90),
      ...new Array<number>(60).fill(0x91),
    ]);
  });

  it('INS looks at its destination before it reads the port', () => {
    const g = run(
      (a) => {
        a.emit('insd');
        a.emit('mov', R.eax, SEL.CODE0);
        a.emit('mov', R.es, R.ax);
        a.emit('insb');
      },
      { rdx: 0x90n, rdi: BigInt(TO) },
      {
        prepare: (bench) => {
          bench.ports.set(0x90, 0x1234_5678);
        },
      },
    );
    expect(g.u32(TO)).toBe(0x1234_5678);
    expect(caught(g, 2)).toEqual({ vector: 13, stack: [0, PROGRAM + 1 + 5 + 2] });
    expect(g.reg('rdi')).toBe(BigInt(TO + 4));
  });
});
