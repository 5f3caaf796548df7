/**
 * Random programs that change page tables, spaces and privilege, against a model that has no TLB: whoever forgets what the architecture
 * asks to forget (SDM vol. 3 §4.10.4) sees what the model sees.
 */
import { describe, expect, it } from 'vitest';
import {
  BACK,
  CR4,
  FIRST,
  KEEP,
  LIN,
  OTHER,
  PTE,
  USER,
  goToUser,
  invpcid,
  loadCr3,
  page,
  spaces,
  toggle,
} from '../../../testing/address-spaces.js';
import { RandomSource } from '../../../testing/random-source.js';
import { GuestBench } from '../../../testing/x86-guest.js';
import { R, dword, ptr, type Assembler, type Label } from '../assembler/index.js';

const { P, W, U, G } = PTE;
/** Room for long programs, behind the pages that are mapped. */
const PROGRAM = 0x30_0000;
/** Page tables of pages that meet others in the TLB: 2048 pages behind them. */
const FAR_TABLES = [0x12_0000, 0x12_1000] as const;
const FAR = 0x80_0000;
/** 2 MiB that are one page or many, at times. */
const REGION_TABLES = [0x12_2000, 0x12_3000] as const;
const REGION_PAGES = [10, 12] as const;
const REGION = LIN + 0x40_0000;
const TABLES = [FIRST.PT, OTHER.PT] as const;
const ROOTS = [BigInt(FIRST.PML4), BigInt(OTHER.PML4)] as const;
const PAGES = 24;
/** Pages that a sweep reads, so many that lists of what was entered overflow. */
const SWEPT = 300;
const SWEEP = LIN + 0x2_0000;
/** Of user mode, in a page of each space. */
const STACK = LIN + 0x1_2000;
/** In each page: its number at 0, and at CODE a function that returns it. */
const CODE = 0x100;
const PAGE_FAULT = 14;
/** A function of user mode that does nothing. */
const NOTHING = LIN + 0x1_0000 + 0x200;

/** A linear address that programs use, and what they may do there. */
interface Slot {
  readonly lin: number;
  readonly bits: number;
}
const SLOTS: readonly Slot[] = [
  ...[0, 1, 2, 3].map((n) => ({ lin: LIN + n * 0x1000, bits: P | W | U })),
  ...[0, 1].map((n) => ({ lin: LIN + FAR + n * 0x1000, bits: P | W | U })),
  ...[2, 4].map((n) => ({ lin: LIN + FAR + n * 0x1000, bits: P | W })),
  ...[4, 5].map((n) => ({ lin: LIN + n * 0x1000, bits: P | W })),
  { lin: LIN + 6 * 0x1000, bits: P | U },
  { lin: LIN + 7 * 0x1000, bits: P | W | G },
  ...[3, 8].map((n) => ({ lin: REGION + n * 0x1000, bits: P | W | U })),
];
const isUser = ({ bits }: Slot): boolean => (bits & U) !== 0;
const isGlobal = ({ bits }: Slot): boolean => (bits & G) !== 0;
const REGION_ENTRIES = [FIRST, OTHER].map(({ PD }) => PD + (REGION >> 21) * 8);
const isInRegion = ({ lin }: Slot): boolean => lin >= REGION && lin < REGION + 0x20_0000;
const entryOf = (space: number, slot: Slot): number =>
  (isInRegion(slot) ? REGION_TABLES : slot.lin < LIN + FAR ? TABLES : FAR_TABLES)[space] + ((slot.lin >> 12) & 511) * 8;

/** A program of ring 0 as it is made, and what it does in the model. */
class Program {
  /** Page of each slot in each space; what the pages have. */
  private readonly mapped = [0, 1].map((space) => SLOTS.map((_, n) => 2 + ((n * 2 + space) % (PAGES - 2))));
  private readonly values = Array.from({ length: PAGES }, (_, n) => n);
  private space = 0;
  /** Whether the region is one page, in each space. */
  private readonly isOne = [false, false];
  /** Spaces whose tables were changed while they were not the current one. */
  private readonly changed = [false, false];
  readonly expected: number[] = [];
  private nextValue = 1000;
  /**
   * What hides other things: code is never written by way of the TLB, and pages that the supervisor executes are forgotten with everything
   * else; sweeps empty the TLB.
   */
  private readonly executes: boolean;
  private readonly sweeps: boolean;

  constructor(
    private readonly a: Assembler,
    private readonly random: RandomSource,
    private readonly cr4: bigint,
    private readonly enterUser: Label,
  ) {
    this.executes = random.once(2);
    this.sweeps = random.once(3);
  }

  prepare(g: GuestBench): void {
    for (const space of [0, 1]) {
      g.setU64([FIRST, OTHER][space].PD + 6 * 8, BigInt(FAR_TABLES[space] | P | W | U));
      g.setU64(REGION_ENTRIES[space], BigInt(REGION_TABLES[space] | P | W | U));
      SLOTS.forEach((slot, n) => {
        const at = isInRegion(slot) ? REGION_PAGES[space] + (n & 1) : this.mapped[isGlobal(slot) ? 0 : space][n];
        this.mapped[space][n] = at;
        g.setU64(entryOf(space, slot), BigInt(page(at) | slot.bits));
      });
      g.setU64(TABLES[space] + ((STACK >> 12) - 1 - (LIN >> 12)) * 8, BigInt(page(PAGES + space) | P | W | U));
      for (let n = 0; n < SWEPT; n++) {
        const bits = P | W | (n & 1 ? U : 0);
        g.setU64(TABLES[space] + (((SWEEP >> 12) & 511) + n) * 8, BigInt(page(n & 1) | bits));
      }
    }
    for (let n = 0; n < PAGES; n++) {
      g.setU32(page(n), n);
      g.bytes(page(n) + CODE, [0xb8, n, 0, 0, 0, 0xc3]);
    }
  }

  step(): void {
    const { random } = this;
    const n = random.below(SLOTS.length);
    const kind = random.below(16);
    if (kind < 3) this.read(n);
    else if (kind < 6) this.write(n);
    else if (kind < 8) this.execute(n);
    else if (kind < 11) this.asUser(n);
    else if (kind < 13) this.remap(n);
    else if (kind < 14) this.change();
    else this.forgetMore();
  }

  /** The last steps: a page that may no longer be written to, but was by the supervisor, is out of reach of user mode. */
  end(): void {
    const n = SLOTS.findIndex(({ bits }) => bits === (P | W | U));
    this.write(n);
    this.map(n, this.space, this.pages[n], P | U);
    this.a.emit('invlpg', ptr([SLOTS[n].lin]));
    this.write(n);
    this.asUser(n, true);
    this.expected.push(PAGE_FAULT);
  }

  private get pages(): number[] {
    return this.mapped[this.space];
  }

  private open(slot: Slot): void {
    if (isUser(slot)) this.a.emit('stac');
  }
  private close(): void {
    if (this.random.once(2)) this.a.emit('clac');
  }

  private read(n: number): void {
    this.open(SLOTS[n]);
    this.a.emit('mov', R.eax, dword([SLOTS[n].lin]));
    this.a.emit('out', 0x80, R.eax);
    this.expected.push(this.values[this.pages[n]]);
    this.close();
  }

  /** CR0.WP is clear: what is read-only is so for user mode. */
  private write(n: number): void {
    this.open(SLOTS[n]);
    this.a.emit('mov', dword([SLOTS[n].lin]), this.nextValue);
    this.values[this.pages[n]] = this.nextValue++;
    this.close();
  }

  private execute(n: number): void {
    if (!this.executes && !isGlobal(SLOTS[n])) return;
    this.a.emit('mov', R.ebx, SLOTS[n].lin + CODE);
    this.a.emit('call', R.rbx);
    this.a.emit('out', 0x80, R.eax);
    this.expected.push(this.pages[n]);
  }

  /** Ring 3 reads, executes, and writes where it may; or, last of all, where it may not. */
  private asUser(n: number, writes = (SLOTS[n].bits & W) !== 0): void {
    const { a } = this;
    const slot = SLOTS[n];
    if (!isUser(slot)) return;
    a.emit('mov', R.r8d, slot.lin);
    a.emit('mov', R.r9d, writes ? this.nextValue : 0);
    a.emit('mov', R.r10d, this.executes ? slot.lin + CODE : NOTHING);
    a.emit('call', this.enterUser);
    const at = this.pages[n];
    this.expected.push(this.values[at], this.executes ? at : this.values[at]);
    if (writes) this.values[at] = this.nextValue++;
  }

  private map(n: number, space: number, to: number, bits = SLOTS[n].bits): void {
    this.a.emit('mov', dword([entryOf(space, SLOTS[n])]), page(to) | bits);
    this.mapped[space][n] = to;
  }

  /** Another page in a slot; what must be forgotten for that is. */
  private remap(n: number): void {
    const { a, random } = this;
    const slot = SLOTS[n];
    if (isInRegion(slot)) {
      this.remapRegion(slot.lin);
      return;
    }
    const to = 2 + random.below(PAGES - 2);
    const here = isGlobal(slot) || random.once(2);
    const changes = isGlobal(slot) ? [0, 1] : [here ? this.space : 1 - this.space];
    for (const space of changes) this.map(n, space, to);
    if (here) a.emit('invlpg', ptr([slot.lin]));
    else this.changed[1 - this.space] = true;
  }

  /** The region becomes one page, or many. */
  private remapRegion(lin: number): void {
    const space = this.random.below(2);
    const one = !this.isOne[space];
    this.isOne[space] = one;
    const entry = one ? page(0) | PTE.PS : REGION_TABLES[space];
    this.a.emit('mov', dword([REGION_ENTRIES[space]]), entry | P | W | U);
    SLOTS.forEach((slot, n) => {
      if (isInRegion(slot)) this.mapped[space][n] = one ? (slot.lin >> 12) & 511 : REGION_PAGES[space] + (n & 1);
    });
    if (space !== this.space) this.changed[space] = true;
    // One address is enough for all of a large page, but not for all pages of a region (SDM vol. 3 §4.10.4.1).
    else if (one) this.enter(false);
    else this.a.emit('invlpg', ptr([lin]));
  }

  /** Loads CR3 with the current space. */
  private enter(keep: boolean): void {
    const pcid = this.cr4 & CR4.PCIDE ? BigInt(this.space + 1) : 0n;
    loadCr3(this.a, ROOTS[this.space] | pcid | (keep ? KEEP : 0n));
    this.changed[this.space] = false;
  }

  private change(): void {
    const { random } = this;
    if (random.once(3)) this.space = 1 - this.space;
    else if (random.once(4)) return;
    else this.space = random.below(2);
    this.enter((this.cr4 & CR4.PCIDE) !== 0n && !this.changed[this.space] && random.once(2));
  }

  /** Nothing has changed, but more or less has to be found anew; or other things take the places. */
  private forgetMore(): void {
    const { a, random } = this;
    switch (random.below(5)) {
      case 0:
        a.emit('invlpg', ptr([random.pick(SLOTS).lin]));
        break;
      case 1:
        toggle(a, CR4.PGE);
        break;
      case 2: {
        if (!this.sweeps) return;
        a.emit('stac');
        a.emit('mov', R.ecx, SWEPT);
        a.emit('mov', R.ebx, SWEEP);
        const next = a.bind();
        a.emit('add', R.edx, dword([R.rbx]));
        a.emit('add', R.rbx, 0x1000);
        a.emit('dec', R.ecx);
        a.emit('jne', next);
        this.close();
        break;
      }
      case 3:
        invpcid(a, random.pick([2, 3]), 0);
        break;
      default:
        a.emit('mov', R.rax, R.cr3);
        a.emit('mov', R.cr3, R.rax);
    }
  }
}

/** What a program of so many steps wrote to the port, and what it should have. */
function run(
  seed: number,
  cr4: bigint,
  steps: number,
): { readonly seen: readonly number[]; readonly expected: readonly number[] } {
  const g = new GuestBench();
  const changes = spaces(g, cr4);
  let program: Program | undefined;
  g.asm(64, PROGRAM, (a) => {
    const begin = a.label();
    const enterUser = a.label();
    a.emit('jmp', begin);
    a.bind(enterUser);
    a.emit('mov', R.r13, R.rsp);
    goToUser(a, 0x3002);
    a.bind(begin);
    program = new Program(a, new RandomSource(seed), cr4, enterUser);
    program.prepare(g);
    for (let n = 0; n < steps; n++) program.step();
    program.end();
    a.emit('hlt');
  });
  g.asm(64, USER, (a) => {
    const readOnly = a.label();
    a.emit('mov', R.esp, STACK);
    a.emit('mov', R.eax, dword([R.r8]));
    a.emit('out', 0x80, R.eax);
    a.emit('call', R.r10);
    a.emit('out', 0x80, R.eax);
    a.emit('test', R.r9d, R.r9d);
    a.emit('je', readOnly);
    a.emit('mov', dword([R.r8]), R.r9d);
    a.bind(readOnly);
    a.emit('int', 0x77);
  });
  g.bytes(USER + 0x200, [0xc3]);
  // With the stack that ENTER_USER was called with.
  g.asm(64, BACK, (a) => {
    a.emit('mov', R.rsp, R.r13);
    a.emit('ret');
  });
  const pcid = cr4 & CR4.PCIDE ? 1n : 0n;
  g.set({ ...changes, cr3: ROOTS[0] | pcid, rip: BigInt(PROGRAM) });
  expect(g.run(1_000_000)).toEqual({ kind: 'halt' });
  return { seen: g.written.map(([, , value]) => value), expected: program?.expected ?? [] };
}

describe('random programs see what there would be without a TLB', () => {
  const PROGRAMS = 8;
  const STEPS = 400;
  for (const [name, cr4] of [
    ['global pages', CR4.PGE],
    ['no global pages', 0n],
    ['SMAP', CR4.PGE | CR4.SMAP],
    ['PCIDs', CR4.PGE | CR4.PCIDE],
    ['PCIDs and SMAP', CR4.PGE | CR4.PCIDE | CR4.SMAP],
  ] as const)
    it(name, () => {
      for (let seed = 0; seed < PROGRAMS; seed++) {
        const { seen, expected } = run(seed, cr4, STEPS);
        const at = expected.findIndex((value, n) => seen[n] !== value);
        expect({ seed, at, seen: seen[at], count: seen.length }).toEqual({ seed, at: -1, count: expected.length });
      }
    });
});
