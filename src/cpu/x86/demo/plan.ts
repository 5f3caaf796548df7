/**
 * The demonstration guest: where it keeps things, and what it checks. Addresses are physical and linear at once: all its
 * page tables map the memory below 4 MiB to itself.
 */

/** Fixed places, by address. */
export const AT = {
  /** Variables and what was seen, 8 bytes each, below 64 KiB so that real mode reaches them. */
  CELLS: 0x5000,
  CELLS_END: 0x6000,
  REAL_STACK: 0x7000,
  /** 16-bit code is copied here. */
  LOW_CODE: 0x8000,
  LOW_CODE_END: 0x1_0000,
  /** Data that V86 code reads by segment 1000h. */
  V86_DATA: 0x1_0000,
  V86_STACK: 0x7000,
  /** The image as multiboot loads it. */
  IMAGE: 0x10_0000,
  IMAGE_END: 0x16_0000,
  /** Stacks, by where they begin (they grow downwards). */
  TASK_STACK: 0x17_0000,
  RING3_STACK: 0x17_4000,
  RING0_STACK: 0x17_8000,
  STACK: 0x18_0000,
  TSS: 0x1a_0000,
  TASK_TSS: 0x1a_4000,
  TSS64: 0x1a_5000,
  /** Page tables. */
  TABLES: 0x20_0000,
  TABLES_END: 0x22_0000,
  /** Page frames that page faults hand out. */
  FRAMES: 0x28_0000,
  /** Memory of the programs in ring 3. */
  USER: 0x30_0000,
  END: 0x40_0000,
} as const;

/** Selectors, in the order that SYSCALL, SYSENTER and their ways back take them in. */
export const SEL = {
  CODE32: 0x08,
  DATA: 0x10,
  USER_CODE32: 0x1b,
  USER_DATA: 0x23,
  CODE16: 0x28,
  DATA16: 0x30,
  CODE64: 0x38,
  DATA64: 0x40,
  /** Behind SYSENTER's and in front of SYSRET's code segments of long mode. */
  USER_CODE32_LONG: 0x4b,
  USER_DATA_LONG: 0x53,
  USER_CODE64: 0x5b,
  USER_DATA64: 0x63,
  TSS: 0x68,
  TASK: 0x70,
  CALL_GATE: 0x7b,
  /** A data segment of 256 bytes, and one that is not present. */
  SMALL: 0x80,
  ABSENT: 0x88,
  TSS64: 0x90,
} as const;

/** Vectors that the demonstration gives a meaning. */
export const VECTOR = { TIMER: 0x20, APIC_TIMER: 0x40, CALL: 0x80, LEAVE: 0x81, SPURIOUS: 0x4f } as const;

/** What a cell holds before it is written, and when the CPU has no such thing. */
export const UNSEEN = 0x3f3f_3f3f;
export const ABSENT = 0x2d2d_2d2d;

/** What a stage has seen, to be compared with what it should have. */
export interface Check {
  readonly text: string;
  readonly cell: number;
  readonly expected: bigint;
  /** `at-least`: more is as good. */
  readonly compare: 'equal' | 'at-least';
  readonly show: 'decimal' | 'hex';
}

/** A part of the demonstration that can be chosen by its name. */
export interface Stage {
  readonly name: string;
  readonly title: string;
  readonly checks: readonly Check[];
}

/** Hands out cells. */
export class Cells {
  private next: number = AT.CELLS;

  /** The address of a fresh cell of 8 bytes. */
  cell(): number {
    const at = this.next;
    this.next += 8;
    if (this.next > AT.CELLS_END) throw new RangeError('no cells left');
    return at;
  }
}

/** Variables that all parts share; each is the address of a cell. */
export interface Variables {
  /** Last exception: vector, error code, instruction pointer, linear address. */
  readonly vector: number;
  readonly error: number;
  readonly pointer: number;
  readonly address: number;
  /** Where to go on after the next exception; 0: there should be none. */
  readonly resume: number;
  /** Not 0: page faults are answered by mapping a page; how many there were. */
  readonly demand: number;
  readonly demanded: number;
  readonly ticks: number;
  readonly calls: number;
  /** Not 0: the next exception is how ring 3 of long mode ends. */
  readonly leaving: number;
  /** Stack pointer of ring 0 while ring 3 runs; of ring 3 while a system call does. */
  readonly ring0Stack: number;
  readonly ring3Stack: number;
  /** Where a stage that meets an unexpected exception goes. */
  readonly stageEnd: number;
  /** Where 16-bit code goes then. */
  readonly died: number;
  /** Far pointer out of 16-bit code. */
  readonly wayBack: number;
  readonly trapped: number;
}

export function variables(cells: Cells): Variables {
  const cell = (): number => cells.cell();
  return {
    vector: cell(),
    error: cell(),
    pointer: cell(),
    address: cell(),
    resume: cell(),
    demand: cell(),
    demanded: cell(),
    ticks: cell(),
    calls: cell(),
    leaving: cell(),
    ring0Stack: cell(),
    ring3Stack: cell(),
    stageEnd: cell(),
    died: cell(),
    wayBack: cell(),
    trapped: cell(),
  };
}

/** Collects the checks of a stage. */
export class StagePlan implements Stage {
  readonly checks: Check[] = [];

  constructor(
    readonly name: string,
    readonly title: string,
    private readonly cells: Cells,
  ) {}

  /** A cell that must end up with a value. */
  equal(text: string, expected: number | bigint, show: 'decimal' | 'hex' = 'decimal'): number {
    return this.add({ text, cell: this.cells.cell(), expected: BigInt(expected), compare: 'equal', show });
  }

  atLeast(text: string, expected: number): number {
    return this.add({
      text,
      cell: this.cells.cell(),
      expected: BigInt(expected),
      compare: 'at-least',
      show: 'decimal',
    });
  }

  private add(check: Check): number {
    this.checks.push(check);
    return check.cell;
  }
}
