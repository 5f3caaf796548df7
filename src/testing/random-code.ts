/**
 * Random code in every processor mode: nothing that a guest executes may throw in the host, hang it, or leave the CPU in a
 * state that cannot be saved.
 */
import { descriptor } from '../arch/x86/boot-state.js';
import { vcpuStateSchema, type SegmentState } from '../arch/x86/state.js';
import type { VcpuExit } from '../iface/vcpu.js';
import { noise } from './noise.js';
import { ATTR, type Changes, type GuestBench } from './x86-guest.js';

/** Choices from a seed. */
class Dice {
  /** 0 … 2**32 - 1. */
  readonly word: () => number;

  constructor(seed: number) {
    this.word = noise(Math.imul(seed, 0x9e37_79b1));
  }

  /** 0 … limit - 1. */
  below(limit: number): number {
    return this.word() % limit;
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  wide(): bigint {
    return (BigInt(this.word()) << 32n) | BigInt(this.word());
  }
}

const CODE = 0x1_0000;
const CODE_SIZE = 0x2000;
const STACK = 0x2_0000;
const GDT = 0x5000;
const IDT = 0x6000;
const TSS = 0x7000;
const PAGES = 0x8000;

const segment = (selector: number, attributes: number, limit = 0xffff_ffff): SegmentState => ({
  selector,
  base: 0n,
  limit,
  attributes,
});

/** A GDT with code and data of every size and privilege, and a TSS. */
function writeTables(bench: GuestBench, long: boolean, dice: Dice): void {
  const { view } = bench;
  const table = [
    0n,
    ...[ATTR.CODE32, ATTR.DATA32, ATTR.CODE64, ATTR.CODE16, ATTR.DATA16].flatMap((attributes) =>
      [0, ATTR.RING3].map((ring) =>
        descriptor({ base: 0n, limit: attributes & 0x8000 ? 0xffff_ffff : 0xffff, attributes: attributes | ring }),
      ),
    ),
    descriptor({ base: BigInt(TSS), limit: 0x2067, attributes: 0x8b }),
    0n,
  ];
  table.forEach((entry, i) => {
    view.setBigUint64(GDT + i * 8, entry, true);
  });
  for (let i = table.length; i < 32; i++) view.setBigUint64(GDT + i * 8, dice.wide(), true);
  // Every gate leads back into the random code; some are nonsense.
  for (let vector = 0; vector < 256; vector++) {
    const target = CODE + dice.below(CODE_SIZE);
    const type = dice.chance(80) ? 0x8e : dice.below(256);
    const low =
      BigInt(target & 0xffff) | ((long ? 0x28n : 0x8n) << 16n) | (BigInt(type) << 40n) | (BigInt(target >>> 16) << 48n);
    if (long) {
      view.setBigUint64(IDT + vector * 16, low, true);
      view.setBigUint64(IDT + vector * 16 + 8, 0n, true);
    } else view.setBigUint64(IDT + vector * 8, low, true);
  }
  for (let i = 0; i < 0x68; i += 4) view.setUint32(TSS + i, i < 0x28 ? STACK : dice.word(), true);
  view.setUint32(TSS + 8, long ? 0 : 0x10, true);
}

/** Identity mapping of the first 2 MiB by small pages with random rights, repeated in the tables that each mode wants. */
function writePages(bench: GuestBench, dice: Dice): void {
  const { view } = bench;
  for (let level = 0; level < 3; level++)
    for (let i = 0; i < 512; i++)
      view.setBigUint64(PAGES + level * 0x1000 + i * 8, BigInt(PAGES + (level + 1) * 0x1000) | 7n, true);
  for (let i = 0; i < 512; i++) {
    const rights = dice.chance(90) ? 7 : dice.below(512);
    view.setBigUint64(PAGES + 0x3000 + i * 8, BigInt(i * 4096) | BigInt(rights), true);
  }
}

export const MODES = ['real', 'v86', 'protected16', 'protected32', 'paged32', 'pae', 'compatibility', 'long'] as const;
export type Mode = (typeof MODES)[number];

const CR0_PE = 0x11n;
const CR0_PG = 0x8001_0011n;
const CR4_ALL = 0x0037_06ffn & ~(1n << 12n);

function modeState(mode: Mode, dice: Dice): Changes {
  const ring3 = dice.chance(50) ? 3 : 0;
  const ring = ring3 ? ATTR.RING3 : 0;
  const sel = (index: number): number => index * 8 + ring3;
  const flat = (code: number, attributes: number): NonNullable<Changes['segments']> => ({
    cs: segment(code, attributes | ring),
    ...Object.fromEntries(
      (['ss', 'ds', 'es', 'fs', 'gs'] as const).map((name) => [name, segment(sel(ring3 ? 4 : 3), ATTR.DATA32 | ring)]),
    ),
    tr: { selector: 0x58, base: BigInt(TSS), limit: 0x2067, attributes: 0x8b },
  });
  const cr4 = dice.wide() & CR4_ALL & ~0x20020n;
  const at = BigInt(CODE + dice.below(CODE_SIZE));
  switch (mode) {
    case 'real':
      return {
        cr4,
        rip: at & 0xffffn,
        segments: { cs: { selector: 0x1000, base: 0x1_0000n, limit: 0xffff, attributes: ATTR.CODE16 } },
      };
    case 'v86': {
      const paragraph = (selector: number): SegmentState => ({
        selector,
        base: BigInt(selector) << 4n,
        limit: 0xffff,
        attributes: 0xf3,
      });
      const all = Object.fromEntries(
        (['ss', 'ds', 'es', 'fs', 'gs'] as const).map((name) => [name, paragraph(0x1000)]),
      );
      return {
        cr0: CR0_PE,
        cr4,
        rflags: 0x2_0002n | (dice.wide() & 0x3000n),
        rip: at & 0xffffn,
        segments: {
          cs: paragraph(0x1000),
          ...all,
          tr: { selector: 0x58, base: BigInt(TSS), limit: 0x2067, attributes: 0x8b },
        },
      };
    }
    case 'protected16':
      return {
        cr0: CR0_PE,
        cr4,
        rip: at & 0xffffn,
        segments: {
          ...flat(sel(ring3 ? 8 : 7), ATTR.CODE16),
          cs: { selector: sel(ring3 ? 8 : 7), base: 0x1_0000n, limit: 0xffff, attributes: ATTR.CODE16 | ring },
        },
      };
    case 'protected32':
      return { cr0: CR0_PE, cr4, rip: at, segments: flat(sel(ring3 ? 2 : 1), ATTR.CODE32) };
    case 'paged32':
      return { cr0: CR0_PG, cr4, cr3: BigInt(PAGES), rip: at, segments: flat(sel(ring3 ? 2 : 1), ATTR.CODE32) };
    case 'pae':
      return {
        cr0: CR0_PG,
        cr4: cr4 | 0x20n,
        cr3: BigInt(PAGES + 0x1000),
        pdptes: [0n, 1n, 2n, 3n].map(() => BigInt(PAGES + 0x2000) | 1n),
        rip: at,
        segments: flat(sel(ring3 ? 2 : 1), ATTR.CODE32),
      };
    case 'compatibility':
      return {
        cr0: CR0_PG,
        cr4: cr4 | 0x20n,
        cr3: BigInt(PAGES),
        efer: 0xd01n,
        rip: at,
        segments: flat(sel(ring3 ? 2 : 1), ATTR.CODE32),
      };
    case 'long':
      return {
        cr0: CR0_PG,
        cr4: cr4 | 0x20n,
        cr3: BigInt(PAGES),
        efer: 0xd01n,
        rip: at,
        segments: flat(sel(ring3 ? 6 : 5), ATTR.CODE64),
      };
  }
}

/** Bytes that are often the start of something: prefixes, escapes, system opcodes. */
const LIKELY = [
  0x0f, 0x66, 0xf2, 0xf3, 0x48, 0x4c, 0xf0, 0xff, 0xcd, 0xcf, 0xcb, 0x9a, 0xea, 0x8e, 0x0f, 0x0f, 0xc7, 0xd8, 0xd9,
  0xdb, 0xdd, 0xa4, 0xa5, 0xab, 0x6c, 0x6e, 0xc8, 0xc4, 0x62,
];
const SYSTEM = [0x00, 0x01, 0x05, 0x06, 0x07, 0x20, 0x22, 0x23, 0x30, 0x32, 0x34, 0x35, 0xa2, 0xae, 0xc7, 0x38, 0x3a];

/** Fills the code area with random bytes, with a leaning towards what is rare. */
function writeCode(bench: GuestBench, dice: Dice): void {
  const bytes = bench.vm.backing;
  for (let i = 0; i < CODE_SIZE; i++) {
    const kind = dice.below(10);
    let byte = dice.word() & 0xff;
    if (kind < 3) byte = LIKELY[dice.below(LIKELY.length)] ?? 0;
    else if (bytes[CODE + i - 1] === 0x0f && kind < 6) byte = SYSTEM[dice.below(SYSTEM.length)] ?? 0;
    // Not HLT with interrupts off: it would end the run at once.
    bytes[CODE + i] = byte === 0xf4 ? 0x90 : byte;
  }
  bytes.fill(0xcc, CODE + CODE_SIZE, CODE + CODE_SIZE + 32);
}

export interface RandomRun {
  readonly mode: Mode;
  readonly exits: Partial<Record<VcpuExit['kind'], number>>;
  readonly retired: number;
}

/** One run: sets everything from the seed, executes up to `instructions`, saves and restores the state on the way. */
export function runRandomCode(bench: GuestBench, seed: number, instructions: number): RandomRun {
  const dice = new Dice(seed + 1);
  const mode = MODES[dice.below(MODES.length)] ?? 'long';
  const long = mode === 'long' || mode === 'compatibility';
  writePages(bench, dice);
  writeTables(bench, long, dice);
  writeCode(bench, dice);
  // Vectors of real mode: into the code as well. The tables above lie behind them.
  for (let vector = 0; vector < 256; vector++)
    bench.view.setUint32(vector * 4, 0x1000_0000 + dice.below(CODE_SIZE), true);
  bench.vm.dma.write(0 as never, bench.vm.backing.slice(0, 0x2_4000));
  const pick = (): bigint => {
    const kind = dice.below(5);
    if (kind === 0) return dice.wide();
    if (kind === 1) return BigInt(dice.below(16));
    if (kind === 2) return BigInt.asUintN(64, -BigInt(dice.below(256)));
    return BigInt(CODE - 0x1000 + dice.below(CODE_SIZE * 4));
  };
  const gpr = {
    rax: pick(),
    rcx: dice.chance(70) ? BigInt(dice.below(64)) : pick(),
    rdx: pick(),
    rbx: pick(),
    rsp: BigInt(STACK - 256),
    rbp: pick(),
    rsi: pick(),
    rdi: pick(),
    r8: pick(),
    r9: pick(),
    r10: pick(),
  };
  const real = mode === 'real';
  const state = modeState(mode, dice);
  bench.set({
    gdtr: { base: BigInt(GDT), limit: 0xff },
    idtr: real ? { base: 0n, limit: 0x3ff } : { base: BigInt(IDT), limit: 0xfff },
    ...state,
    gpr: { ...gpr, ...(mode === 'real' || mode === 'v86' || mode === 'protected16' ? { rsp: 0xff00n } : {}) },
  });
  const before = bench.cpu.retired;
  const exits: Partial<Record<VcpuExit['kind'], number>> = {};
  for (let left = instructions; left > 0;) {
    const budget = Math.min(left, 1 + dice.below(400));
    const started = bench.cpu.retired;
    const exit = bench.cpu.run(budget);
    exits[exit.kind] = (exits[exit.kind] ?? 0) + 1;
    const done = Number(bench.cpu.retired - started);
    if (done > budget) throw new Error(`seed ${String(seed)}: ran ${String(done)} instructions of ${String(budget)}`);
    left -= Math.max(done, 1);
    bench.written.length = 0;
    bench.mmio.length = 0;
    if (dice.chance(20)) bench.cpu.restoreState(bench.cpu.saveState());
    if (dice.chance(10)) bench.interrupt(32 + dice.below(200));
    if (dice.chance(5)) bench.cpu.nmi();
    if (exit.kind === 'shutdown' || exit.kind === 'halt') break;
  }
  vcpuStateSchema.check(bench.cpu.saveState(), 'cpu');
  return { mode, exits, retired: Number(bench.cpu.retired - before) };
}
