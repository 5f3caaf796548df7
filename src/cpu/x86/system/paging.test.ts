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
import { R, byte, dword, qword } from '../assembler/index.js';

const PROGRAM = 0x4000;
const PD = 0x10_0000;
const PT = 0x10_1000;
const PDPT = 0x10_2000;
const PML4 = 0x10_3000;
/** Where tests put the page they are about: linear 0x20_0000 … through the second page table. */
const PT2 = 0x10_4000;
const LIN = 0x40_0000;
const PAGE = 0x20_0000;

const P = 1;
const W = 2;
const U = 4;
const A = 0x20;
const D = 0x40;
const PS = 0x80;

const CR0_PG = 0x8000_0011n;
const CR0_WP = 0x1_0000n;
const CR4 = { PSE: 0x10n, PAE: 0x20n, PGE: 0x80n, PCIDE: 1n << 17n, SMEP: 1n << 20n, SMAP: 1n << 21n } as const;

/** 2-level paging: 4 MiB identity for everybody, and a page table of the test's own at LIN. */
function twoLevel(g: GuestBench): Changes {
  const changes = protectedMode(g);
  for (let n = 0; n < 1024; n++) g.setU32(PT + n * 4, (n << 12) | P | W | U);
  g.setU32(PD, PT | P | W | U);
  g.setU32(PD + 4, PT2 | P | W | U);
  return { ...changes, cr0: CR0_PG, cr3: BigInt(PD) };
}

/** Runs a program in ring 0 or 3 with the PTE of LIN as given: the page fault's error code and CR2, or undefined. */
function access(
  pte: number,
  what: 'read' | 'write' | 'fetch',
  options: { ring?: 0 | 3; cr0?: bigint; cr4?: bigint; pde?: number; rflags?: bigint } = {},
): { code: number; cr2: bigint; pte: number } | { pte: number } {
  const g = new GuestBench();
  let changes = twoLevel(g);
  g.setU32(PT2, pte);
  if (options.pde !== undefined) g.setU32(PD + 4, options.pde);
  // With SMEP the program's own page must be the supervisor's.
  if (options.cr4 === CR4.SMEP) g.setU32(PD, PT | P | W);
  g.bytes(PAGE, [0xcd, 0x77]);
  g.gate(LAYOUT32.IDT + 0x77 * 8, SEL.CODE0, LAYOUT32.HANDLERS + 0x77 * 8, 0xee);
  g.asm(32, PROGRAM, (a) => {
    if (what === 'read') a.emit('mov', R.al, byte([LIN]));
    else if (what === 'write') a.emit('mov', byte([LIN]), R.al);
    else {
      a.emit('mov', R.eax, LIN);
      a.emit('jmp', R.eax);
    }
    a.emit('int', 0x77);
  });
  changes = { ...changes, cr0: CR0_PG | (options.cr0 ?? 0n), cr4: options.cr4 ?? 0n, rip: BigInt(PROGRAM) };
  if (options.ring === 3) changes = inRing3(changes, PROGRAM);
  g.set({ ...changes, rflags: options.rflags ?? 2n });
  g.run();
  const { vector, stack } = caught(g, 2);
  if (vector === 0x77) return { pte: g.u32(PT2) };
  expect(vector).toBe(14);
  return { code: stack[0], cr2: g.state.cr2, pte: g.u32(PT2) };
}

describe('32-bit paging (SDM vol. 3 §4.3, §4.6, §4.7)', () => {
  it('sets accessed on a read, dirty too on a write', () => {
    expect(access(PAGE | P | W | U, 'read')).toEqual({ pte: PAGE | P | W | U | A });
    expect(access(PAGE | P | W | U, 'write')).toEqual({ pte: PAGE | P | W | U | A | D });
  });

  it('reports what was tried and whether the page was there, in CR2 and the error code', () => {
    const cr2 = BigInt(LIN);
    expect(access(0, 'read')).toEqual({ code: 0, cr2, pte: 0 });
    expect(access(0, 'write')).toEqual({ code: 2, cr2, pte: 0 });
    expect(access(0, 'read', { ring: 3 })).toEqual({ code: 4, cr2, pte: 0 });
    expect(access(0, 'write', { ring: 3 })).toEqual({ code: 6, cr2, pte: 0 });
    expect(access(PAGE | P | W, 'read', { ring: 3 })).toEqual({ code: 5, cr2, pte: PAGE | P | W });
    expect(access(PAGE | P | U, 'write', { ring: 3 })).toEqual({ code: 7, cr2, pte: PAGE | P | U });
  });

  it('supervisor writes ignore R/W unless CR0.WP', () => {
    expect(access(PAGE | P | U, 'write')).toEqual({ pte: PAGE | P | U | A | D });
    expect(access(PAGE | P | U, 'write', { cr0: CR0_WP })).toMatchObject({ code: 3 });
  });

  it('takes the narrower of the rights of both levels', () => {
    const pte = PAGE | P | W | U;
    expect(access(pte, 'read', { ring: 3, pde: PT2 | P | W })).toMatchObject({ code: 5 });
    expect(access(pte, 'write', { ring: 3, pde: PT2 | P | U })).toMatchObject({ code: 7 });
  });

  it('SMEP: a supervisor fetch from a user page faults, with I in the error code', () => {
    expect(access(PAGE | P | U, 'fetch')).toMatchObject({ pte: PAGE | P | U | A });
    expect(access(PAGE | P | U, 'fetch', { cr4: CR4.SMEP, pde: PT2 | P | U })).toMatchObject({ code: 0x11 });
  });

  it('instruction fetches are not told apart without SMEP or NX', () => {
    expect(access(0, 'fetch', { ring: 3 })).toMatchObject({ code: 4 });
  });

  it('4 MiB pages with CR4.PSE; PSE-36 address bits beyond MAXPHYADDR are reserved', () => {
    const pde = P | W | U | PS;
    // Linear 4 MiB is physical 0: the same memory again.
    expect(access(0, 'read', { cr4: CR4.PSE, pde })).toMatchObject({ pte: 0 });
    // MAXPHYADDR 39: bits 19:13 of the entry are address bits 38:32, bit 20 is reserved.
    expect(access(0, 'read', { cr4: CR4.PSE, pde: pde | (1 << 20) })).toMatchObject({ code: 9 });
    expect(access(0, 'read', { cr4: CR4.PSE, pde: pde | (1 << 21) })).toMatchObject({ code: 9 });
  });

  it('accesses across pages fault as a whole, at the first byte that is not there', () => {
    const g = new GuestBench();
    const changes = twoLevel(g);
    g.setU32(PT2, PAGE | P | W);
    g.asm(32, PROGRAM, (a) => {
      a.emit('mov', R.eax, 0x1234_5678);
      a.emit('mov', dword([LIN + 0xffe]), R.eax);
    });
    g.set({ ...changes, rip: BigInt(PROGRAM) });
    g.run();
    expect(caught(g, 2)).toEqual({ vector: 14, stack: [2, PROGRAM + 5] });
    expect(g.state.cr2).toBe(BigInt(LIN + 0x1000));
    expect(g.u16(PAGE + 0xffe)).toBe(0);
  });

  it('translations are kept until INVLPG or a load of CR3', () => {
    const g = new GuestBench();
    const changes = twoLevel(g);
    g.setU32(PT2, PAGE | P | W);
    g.setU32(PAGE, 1);
    g.setU32(PAGE + 0x1000, 2);
    g.asm(32, PROGRAM, (a) => {
      a.emit('mov', R.ebx, dword([LIN]));
      a.emit('mov', dword([PT2]), (PAGE + 0x1000) | P | W);
      a.emit('invlpg', byte([LIN]));
      a.emit('mov', R.ecx, dword([LIN]));
      a.emit('mov', dword([PT2]), PAGE | P | W);
      a.emit('mov', R.eax, R.cr3);
      a.emit('mov', R.cr3, R.eax);
      a.emit('mov', R.edx, dword([LIN]));
      a.emit('hlt');
    });
    g.set({ ...changes, rip: BigInt(PROGRAM) });
    expect(g.run()).toEqual({ kind: 'halt' });
    expect([g.reg('rbx'), g.reg('rcx'), g.reg('rdx')]).toEqual([1n, 2n, 1n]);
  });

  it('INVLPG forgets all of a large page', () => {
    const g = new GuestBench();
    const changes = twoLevel(g);
    g.setU32(PD + 4, P | W | PS);
    g.setU32(0x20_0000, 1);
    g.setU32(0x20_1000, 2);
    g.setU32(PAGE, 3);
    g.setU32(PAGE + 0x1000, 4);
    g.asm(32, PROGRAM, (a) => {
      a.emit('mov', R.eax, dword([LIN + 0x20_0000]));
      a.emit('mov', R.eax, dword([LIN + 0x20_1000]));
      a.emit('mov', dword([PD + 4]), PT2 | P | W);
      a.emit('invlpg', byte([LIN]));
      a.emit('mov', R.ebx, dword([LIN + 0x20_1000]));
      a.emit('hlt');
    });
    g.setU32(PT2 + 0x201 * 4, (PAGE + 0x2000) | P);
    g.setU32(PAGE + 0x2000, 5);
    g.set({ ...changes, cr4: CR4.PSE, rip: BigInt(PROGRAM) });
    expect(g.run()).toEqual({ kind: 'halt' });
    expect([g.written, g.reg('rbx')]).toEqual([[], 5n]);
  });

  it('alignment is checked in ring 3 with CR0.AM and EFLAGS.AC: #AC(0)', () => {
    const touch = (offset: number, rflags: bigint): number => {
      const g = new GuestBench();
      const changes = inRing3(twoLevel(g), PROGRAM);
      g.asm(32, PROGRAM, (a) => {
        a.emit('mov', R.eax, dword([0x5000]));
        a.emit('mov', R.eax, dword([0x5000 + offset]));
        a.emit('hlt');
      });
      g.set({ ...changes, cr0: CR0_PG | 0x4_0000n, rflags });
      g.run();
      return caught(g, 1).vector;
    };
    expect(touch(1, 0x4_0002n)).toBe(17);
    expect(touch(4, 0x4_0002n)).toBe(13);
    expect(touch(1, 2n)).toBe(13);
  });

  it('code is fetched anew after INVLPG of its page', () => {
    const g = new GuestBench();
    const changes = twoLevel(g);
    g.setU32(PT2, PAGE | P | W);
    // inc ebx; ret / inc ecx; ret
    g.bytes(PAGE, [0x43, 0xc3]);
    g.bytes(PAGE + 0x1000, [0x41, 0xc3]);
    g.asm(32, PROGRAM, (a) => {
      a.emit('mov', R.eax, LIN);
      a.emit('call', R.eax);
      a.emit('mov', dword([PT2]), (PAGE + 0x1000) | P | W);
      a.emit('invlpg', byte([LIN]));
      a.emit('call', R.eax);
      a.emit('hlt');
    });
    g.set({ ...changes, gpr: { ...changes.gpr, rbx: 0n, rcx: 0n }, rip: BigInt(PROGRAM) });
    expect(g.run()).toEqual({ kind: 'halt' });
    expect([g.reg('rbx'), g.reg('rcx')]).toEqual([1n, 1n]);
  });
});

/** 4-level paging, 64-bit code: 2 MiB identity pages for the first 4 MiB, PT2 at LIN. `user`: everything is a user page. */
function fourLevel(g: GuestBench): Changes {
  const changes = protectedMode(g);
  const code64 = segment(SEL.CODE0, 0n, 0xffff_ffff, ATTR.CODE64);
  g.descriptor(LAYOUT32.GDT + SEL.CODE0, 0n, 0xffff_ffff, ATTR.CODE64);
  g.setU64(PML4, BigInt(PDPT | P | W | U));
  g.setU64(PDPT, BigInt(PD | P | W | U));
  g.setU64(PD, BigInt(P | W | PS));
  g.setU64(PD + 8, BigInt(0x20_0000 | P | W | PS));
  g.setU64(PD + 16, BigInt(PT2 | P | W | U));
  for (let n = 0; n < 32; n++) {
    g.gate64(LAYOUT32.IDT + n * 16, SEL.CODE0, LAYOUT32.HANDLERS + n * 8, 0x8e);
  }
  return {
    ...changes,
    cr0: CR0_PG,
    cr3: BigInt(PML4),
    cr4: CR4.PAE,
    efer: 0xd00n,
    idtr: { base: BigInt(LAYOUT32.IDT), limit: 0xfff },
    segments: { ...changes.segments, cs: code64 },
    rip: BigInt(PROGRAM),
  };
}

/** In 64-bit ring 0: the page fault's error code, or undefined. */
function access64(
  pte: bigint,
  what: 'read' | 'write' | 'fetch' | 'stac',
  options: { cr4?: bigint; pde?: bigint; pdpte?: bigint; efer?: bigint } = {},
): number | undefined {
  const g = new GuestBench();
  const changes = fourLevel(g);
  g.setU64(PT2, pte);
  if (options.pde !== undefined) g.setU64(PD + 16, options.pde);
  if (options.pdpte !== undefined) g.setU64(PDPT + 8, options.pdpte);
  const lin = options.pdpte === undefined ? LIN : 0x4000_0000;
  g.bytes(PAGE, [0xf4]);
  g.asm(64, PROGRAM, (a) => {
    a.emit('mov', R.rbx, lin);
    if (what === 'stac') a.emit('stac');
    if (what === 'write') a.emit('mov', byte([R.rbx]), R.al);
    else if (what === 'fetch') a.emit('jmp', R.rbx);
    else a.emit('mov', R.al, byte([R.rbx]));
    a.emit('hlt');
  });
  g.set({ ...changes, cr4: CR4.PAE | (options.cr4 ?? 0n), efer: options.efer ?? 0xd00n });
  expect(g.run()).toEqual({ kind: 'halt' });
  if (g.written.length === 0) return undefined;
  const { vector, stack } = caught(g, 1);
  expect(vector).toBe(14);
  return stack[0];
}

describe('4-level paging (SDM vol. 3 §4.5)', () => {
  const page = BigInt(PAGE | P | W | U);
  const NX = 1n << 63n;

  it('maps 4 KiB, 2 MiB and 1 GiB pages', () => {
    expect(access64(page, 'write')).toBeUndefined();
    expect(access64(0n, 'read', { pde: BigInt(P | W | PS) })).toBeUndefined();
    expect(access64(0n, 'read', { pdpte: BigInt(P | W | PS) })).toBeUndefined();
  });

  it('reserved bits fault with RSVD: above MAXPHYADDR, within large pages, NX without EFER.NXE', () => {
    expect(access64(page | (1n << 39n), 'read')).toBe(9);
    expect(access64(page | (1n << 51n), 'write')).toBe(11);
    // Bits 58:52 and 62:59 are ignored.
    expect(access64(page | (0x7ffn << 52n), 'read')).toBeUndefined();
    expect(access64(0n, 'read', { pde: BigInt(P | W | PS | 0x2000) })).toBe(9);
    expect(access64(0n, 'read', { pdpte: BigInt(P | W | PS | 0x2000) })).toBe(9);
    expect(access64(page | NX, 'read', { efer: 0x500n })).toBe(9);
  });

  it('NX stops fetches only', () => {
    expect(access64(page | NX, 'read')).toBeUndefined();
    expect(access64(page | NX, 'fetch')).toBe(0x11);
    expect(access64(page, 'fetch')).toBeUndefined();
  });

  it('SMAP stops supervisor accesses to user pages unless AC is set', () => {
    expect(access64(page, 'read', { cr4: CR4.SMAP })).toBe(1);
    expect(access64(page, 'write', { cr4: CR4.SMAP })).toBe(3);
    expect(access64(page, 'stac', { cr4: CR4.SMAP })).toBeUndefined();
    expect(access64(page & ~BigInt(U), 'read', { cr4: CR4.SMAP })).toBeUndefined();
  });

  it('SMEP stops supervisor fetches from user pages', () => {
    expect(access64(page, 'fetch', { cr4: CR4.SMEP })).toBe(0x11);
    expect(access64(page & ~BigInt(U), 'fetch', { cr4: CR4.SMEP })).toBeUndefined();
  });

  it('a non-canonical address is #GP(0), #SS(0) through RSP', () => {
    for (const [base, vector] of [
      [R.rbx, 13],
      [R.rbp, 12],
    ] as const) {
      const g = new GuestBench();
      const changes = fourLevel(g);
      g.asm(64, PROGRAM, (a) => {
        a.emit('mov', R.rax, 0x8000_0000_0000n);
        a.emit('mov', base, R.rax);
        a.emit('mov', R.rcx, qword([base]));
      });
      g.set(changes);
      g.run();
      expect(caught(g, 1)).toEqual({ vector, stack: [0] });
    }
  });
});

describe('PAE paging (SDM vol. 3 §4.4)', () => {
  it('loads the pointers with CR3 only, and refuses reserved bits in them with #GP', () => {
    const g = new GuestBench();
    const changes = protectedMode(g);
    g.setU64(PDPT, BigInt(PD | P));
    g.setU64(PD, BigInt(P | W | PS));
    g.setU64(PD + 8, BigInt(0x20_0000 | P | W | PS));
    g.asm(32, PROGRAM, (a) => {
      a.emit('mov', R.eax, PDPT);
      a.emit('mov', R.cr3, R.eax);
      a.emit('mov', R.eax, R.cr0);
      a.emit('or', R.eax, 0x8000_0000);
      a.emit('mov', R.cr0, R.eax);
      // No longer looked at:
      a.emit('mov', dword([PDPT]), 0);
      a.emit('mov', R.ebx, dword([0x20_0000]));
      // R/W is reserved in these pointers.
      a.emit('mov', dword([PDPT]), PD | P | W);
      a.emit('mov', R.eax, R.cr3);
      a.emit('mov', R.cr3, R.eax);
    });
    g.setU32(0x20_0000, 0x1234);
    g.set({ ...changes, cr4: CR4.PAE, rip: BigInt(PROGRAM) });
    g.run();
    expect(g.reg('rbx')).toBe(0x1234n);
    expect(caught(g, 1)).toEqual({ vector: 13, stack: [0] });
  });
});
