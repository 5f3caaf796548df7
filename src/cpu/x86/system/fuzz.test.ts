import { describe, expect, it } from 'vitest';
import {
  ATTR,
  GuestBench,
  LAYOUT32,
  SEL,
  inRing3,
  protectedMode,
  segment,
  type Changes,
} from '../../../testing/x86-guest.js';

/** A small generator of repeatable noise (xorshift32). */
function noise(seed: number): () => number {
  let x = seed | 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x >>> 0;
  };
}

const PROGRAM = 0x10_0000;

function mode(g: GuestBench, which: number): Changes {
  const base = { ...protectedMode(g), rip: BigInt(PROGRAM) };
  const data = segment(0, 0n, 0xffff, ATTR.DATA16);
  switch (which) {
    case 0:
      return {
        rip: 0x100n,
        gpr: { rsp: 0xf000n },
        segments: { cs: segment(0xf000, 0xf_0000n, 0xffff, ATTR.CODE16), ss: data, ds: data, es: data },
      };
    case 1:
      return base;
    case 2:
      return inRing3({ ...base, rflags: 0x3202n }, PROGRAM);
    case 3: {
      const v86 = segment(0xf000, 0xf_0000n, 0xffff, 0xf3);
      return {
        ...base,
        rip: 0x100n,
        rflags: 0x2_3202n,
        cr4: 1n,
        segments: { ...base.segments, cs: v86, ss: v86, ds: v86, es: v86, fs: v86, gs: v86 },
      };
    }
    default: {
      const PML4 = 0x38_0000;
      g.setU64(PML4, BigInt((PML4 + 0x1000) | 7));
      g.setU64(PML4 + 0x1000, BigInt((PML4 + 0x2000) | 7));
      g.setU64(PML4 + 0x2000, 0x87n);
      g.setU64(PML4 + 0x2008, 0x20_0087n);
      for (let n = 0; n < 128; n++) g.gate64(LAYOUT32.IDT + n * 16, SEL.CODE0, LAYOUT32.HANDLERS + n * 8, 0x8e);
      g.descriptor(LAYOUT32.GDT + SEL.CODE0, 0n, 0xffff_ffff, ATTR.CODE64);
      return {
        ...base,
        cr0: 0x8000_0011n,
        cr3: BigInt(PML4),
        cr4: 0x6_06a0n,
        efer: 0xd01n,
        segments: { ...base.segments, cs: segment(SEL.CODE0, 0n, 0xffff_ffff, ATTR.CODE64) },
      };
    }
  }
}

const NAMES = ['real mode', 'ring 0', 'ring 3', 'V86 mode', '64-bit mode'];

describe('random bytes never throw in the host', () => {
  it.each(NAMES.map((name, which) => [name, which] as const))('%s', (_, which) => {
    const next = noise(0x5eed + which);
    const g = new GuestBench();
    for (let round = 0; round < 60; round++) {
      for (const start of [PROGRAM, 0xf_0100]) for (let n = 0; n < 4096; n += 4) g.setU32(start + n, next());
      const changes = mode(g, which);
      g.set({
        ...changes,
        gpr: {
          ...Object.fromEntries(
            ['rax', 'rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rbp'].map((name) => [name, BigInt(next() & 0x3f_ffff)]),
          ),
          ...changes.gpr,
        },
      });
      for (let n = 0; n < 4; n++) {
        if (n === 2) g.interrupt(0x20 + (next() & 0x7f));
        const exit = g.run(500);
        expect(['halt', 'budget', 'shutdown']).toContain(exit.kind);
      }
    }
  });
});
