/** Two address spaces in 64-bit mode, and pieces of programs that change them: what tests of translations are made of. */
import { type Assembler, R, dword, ptr } from '../cpu/x86/assembler/index.js';
import { ATTR, GuestBench, LAYOUT32, SEL, protectedMode, segment, type Changes } from './x86-guest.js';

export const PROGRAM = 0x4000;
/** Where user code lies, and where INT 77h leads. */
export const USER = 0x5000;
export const BACK = 0x5800;
export const PT2 = 0x10_4000;
/** A second address space: all its own but the page directory of the first 2 MiB. */
export const OTHER = { PML4: 0x11_0000, PDPT: 0x11_1000, PD: 0x11_2000, PT: 0x11_3000 } as const;
export const FIRST = { PML4: 0x10_0000, PDPT: 0x10_1000, PD: 0x10_2000, PT: PT2 } as const;
export const LIN = 0x40_0000;
/** User code in both spaces. */
const LIN_USER = LIN + 0x10_000;
/** Pages with their own number in them. */
const PAGES = 0x20_0000;
export const page = (n: number): number => PAGES + n * 0x1000;

/** Bits of page-table entries. */
export const PTE = { P: 1, W: 2, U: 4, PS: 0x80, G: 0x100 } as const;
const { P, W, U, PS, G } = PTE;
export const CR4 = { PAE: 0x20n, PGE: 0x80n, PCIDE: 1n << 17n, SMEP: 1n << 20n, SMAP: 1n << 21n } as const;
export const KEEP = 1n << 63n;
const CODE64_3 = SEL.FREE | 3;

/** 64-bit ring 0 with supervisor identity pages of 2 MiB, global ones, and LIN by a page table. */
export function spaces(g: GuestBench, cr4 = 0n): Changes {
  const changes = protectedMode(g);
  const flat = 0xffff_ffff;
  const code64 = segment(SEL.CODE0, 0n, flat, ATTR.CODE64);
  g.descriptor(LAYOUT32.GDT + SEL.CODE0, 0n, flat, ATTR.CODE64);
  g.descriptor(LAYOUT32.GDT + SEL.FREE, 0n, flat, ATTR.CODE64 | ATTR.RING3);
  for (const { PML4, PDPT, PD, PT } of [FIRST, OTHER]) {
    g.setU64(PML4, BigInt(PDPT | P | W | U));
    g.setU64(PDPT, BigInt(PD | P | W | U));
    g.setU64(PD, BigInt(P | W | PS | G));
    g.setU64(PD + 8, BigInt(0x20_0000 | P | W | PS | G));
    g.setU64(PD + 16, BigInt(PT | P | W | U));
    g.setU64(PT + 0x10 * 8, BigInt(USER | P | U));
  }
  for (let n = 0; n < 32; n++) {
    g.gate64(LAYOUT32.IDT + n * 16, SEL.CODE0, LAYOUT32.HANDLERS + n * 8, 0x8e);
    g.setU32(page(n), n);
  }
  g.gate64(LAYOUT32.IDT + 0x77 * 16, SEL.CODE0, BACK, 0xee);
  g.setU64(LAYOUT32.TSS + 4, 0x8000n);
  return {
    ...changes,
    cr0: 0x8000_0011n,
    cr3: BigInt(FIRST.PML4),
    cr4: CR4.PAE | cr4,
    efer: 0xd00n,
    idtr: { base: BigInt(LAYOUT32.IDT), limit: 0xfff },
    segments: { ...changes.segments, cs: code64 },
    rip: BigInt(PROGRAM),
  };
}

/** Pieces of test programs. */
export const show = (a: Assembler, lin = LIN): void => {
  a.emit('mov', R.eax, dword([lin]));
  a.emit('out', 0x80, R.eax);
};
export const map = (a: Assembler, n: number, bits: number, table = PT2, lin = LIN): void => {
  a.emit('mov', dword([table + ((lin >> 12) & 511) * 8]), page(n) | bits);
};
export const loadCr3 = (a: Assembler, value: bigint): void => {
  a.emit('mov', R.rax, value);
  a.emit('mov', R.cr3, R.rax);
};
export const invpcid = (a: Assembler, type: number, pcid: number, lin = 0): void => {
  a.emit('mov', dword([0x3800]), pcid);
  a.emit('mov', dword([0x3808]), lin);
  a.emit('mov', R.eax, type);
  a.emit('invpcid', R.rax, ptr([0x3800]));
};
export const toggle = (a: Assembler, bit: bigint): void => {
  a.emit('mov', R.rax, R.cr4);
  a.emit('xor', R.rax, Number(bit));
  a.emit('mov', R.cr4, R.rax);
  a.emit('xor', R.rax, Number(bit));
  a.emit('mov', R.cr4, R.rax);
};

/** Runs a program of ring 0; what it showed, and -n-1 for exception n at the end. */
export function shown(cr4: bigint, program: (a: Assembler) => void, prepare?: (g: GuestBench) => Changes): number[] {
  const g = new GuestBench();
  const changes = { ...spaces(g, cr4), ...prepare?.(g) };
  g.asm(64, PROGRAM, (a) => {
    program(a);
    a.emit('hlt');
  });
  g.set(changes);
  const exit = g.run(100_000);
  if (exit.kind !== 'halt') throw new Error(`the program ended with ${exit.kind}`);
  return g.written.map(([, size, value]) => (size === 1 ? -value - 1 : value));
}

export const goToUser = (a: Assembler, rflags = 2): void => {
  a.emit('push', SEL.DATA3);
  a.emit('push', 0);
  a.emit('push', rflags);
  a.emit('push', CODE64_3);
  a.emit('push', LIN_USER);
  a.emit('iretq');
};
