/** Protected mode: 16- and 32-bit segments, exceptions, a task switch, rings and their gates, paging with 4 KiB pages. */
import { R, dword, far, word, type Label } from '../assembler/index.js';
import { clear, copyCell, countTimer, expectFault, fillTable, initPics, repeat, setCell, storeCell } from './common.js';
import type { Demo, EmittedStage } from './demo.js';
import { ABSENT, AT, SEL, StagePlan, VECTOR } from './plan.js';
import { TSS_IO_MAP } from './tables.js';

/** Page directory, the tables of the first 8 MiB, and the table of the memory that page faults fill. */
const DIRECTORY = AT.TABLES;
const DEMAND_TABLE = AT.TABLES + 0x3000;
const DEMAND = 0xc000_0000;
const DEMAND_PAGES = 16;
const PAGE = { P: 1, W: 2, U: 4 } as const;
const READ_ONLY = DEMAND + 0x10_0000;
const SUPERVISOR = DEMAND + 0x10_1000;
const NOTHING = DEMAND + 0x20_0000;

/** EDX of CPUID leaf 1. */
export const CPUID1 = { VME: 1 << 1, SEP: 1 << 11, PAE: 1 << 6 } as const;

/** Jumps to `target` when CPUID leaf 1 lacks a feature. Changes EAX … EDX. */
export function unlessFeature({ main }: Demo, bit: number, target: Label): void {
  main.emit('mov', R.eax, 1);
  main.emit('cpuid');
  main.emit('test', R.edx, bit);
  main.emit('je', target);
}

/** A subroutine that runs the code at EAX in ring 3, until it executes INT 81h. */
export function emitRing3(demo: Demo): Label {
  const { main, v } = demo;
  const routine = main.bind(main.label('into ring 3'));
  main.emit('mov', dword([v.ring0Stack]), R.esp);
  main.emit('push', SEL.USER_DATA);
  main.emit('push', AT.RING3_STACK);
  main.emit('push', 0x202);
  main.emit('push', SEL.USER_CODE32);
  main.emit('push', R.eax);
  main.emit('mov', R.eax, SEL.USER_DATA);
  main.emit('mov', R.ds, R.ax);
  main.emit('mov', R.es, R.ax);
  main.emit('iretd');
  return routine;
}

/** Emits a program of ring 3 in line, jumped over, and runs it. Data segments are the kernel's again afterwards. */
export function inRing3({ main }: Demo, ring3: Label, program: () => void): void {
  const over = main.label();
  const start = main.label('ring 3 program');
  main.emit('jmp', over);
  main.bind(start);
  program();
  main.emit('int', VECTOR.LEAVE);
  main.bind(over);
  main.emit('mov', R.eax, start);
  main.emit('call', ring3);
  main.emit('mov', R.eax, SEL.DATA);
  main.emit('mov', R.ds, R.ax);
  main.emit('mov', R.es, R.ax);
}

/** Fills the TSS for ring 0's stack, with the I/O bitmap of V86 mode, and loads TR. */
export function setUpTss({ main }: Demo, gdt: Label): void {
  clear(main, AT.TSS, 0x70);
  main.emit('mov', dword([AT.TSS + 4]), AT.RING0_STACK);
  main.emit('mov', dword([AT.TSS + 8]), SEL.DATA);
  main.emit('mov', word([AT.TSS + 102]), TSS_IO_MAP);
  // It is busy when it was loaded before: the type of its descriptor is made "available".
  main.emit('mov', R.eax, gdt);
  for (const selector of [SEL.TSS, SEL.TASK]) main.emit('and', dword([R.eax, selector + 4]), ~0x200);
  main.emit('mov', R.eax, SEL.TSS);
  main.emit('ltr', R.ax);
}

function segments({ main, low, v }: Demo, stage: StagePlan): void {
  // ---- a 16-bit segment ----
  const sixteen = low.bind();
  low.emit('mov', R.ax, 0xfff0);
  low.emit('add', R.ax, 0x0020);
  low.emit('pushfw');
  low.emit('pop', R.bx);
  low.emit('and', R.bx, 1);
  low.emit('o32 retf');
  main.emit('xor', R.eax, R.eax);
  main.emit('xor', R.ebx, R.ebx);
  main.emit('callf', far(SEL.CODE16, Number(low.addressOf(sixteen))));
  main.emit('shl', R.ebx, 16);
  main.emit('or', R.eax, R.ebx);
  storeCell(main, stage.equal('16-bit code segment: FFF0h + 20h and carry', 0x1_0010, 'hex'));

  // ---- exceptions ----
  const faults: readonly (readonly [text: string, seen: number, expected: number, body: () => void])[] = [
    [
      'IDIV overflow raises #DE, vector',
      v.vector,
      0,
      () => {
        main.emit('mov', R.eax, 0x8000_0000);
        main.emit('cdq');
        main.emit('mov', R.ecx, -1);
        main.emit('idiv', R.ecx);
      },
    ],
    ['INT3 raises #BP, vector', v.vector, 3, () => main.emit('int3')],
    [
      'single step raises #DB, vector',
      v.vector,
      1,
      () => {
        main.emit('pushfd');
        main.emit('or', dword([R.esp]), 0x100);
        main.emit('popfd');
        main.emit('nop');
      },
    ],
    [
      'beyond a limit of 256 bytes: #GP, vector',
      v.vector,
      13,
      () => {
        main.emit('mov', R.eax, SEL.SMALL);
        main.emit('mov', R.fs, R.ax);
        main.emit('mov', R.eax, dword([0xfe], R.fs));
      },
    ],
    [
      'segment not present: #NP, error code',
      v.error,
      SEL.ABSENT,
      () => {
        main.emit('mov', R.eax, SEL.ABSENT);
        main.emit('mov', R.fs, R.ax);
      },
    ],
  ];
  for (const [text, seen, expected, body] of faults) {
    expectFault(main, v, body);
    copyCell(main, seen, stage.equal(text, expected, seen === v.error ? 'hex' : 'decimal'));
  }
}

function tasks({ main }: Demo, stage: StagePlan): void {
  const cell = stage.equal('task switch by CALL, and back by IRET', 2);
  const start = main.label('task');
  const over = main.label();
  main.emit('jmp', over);
  main.bind(start);
  main.emit('inc', dword([cell]));
  main.emit('iretd');
  // The next switch goes on behind the IRET.
  main.emit('jmp', start);
  main.bind(over);
  setCell(main, cell, 0);
  clear(main, AT.TASK_TSS, 0x68);
  for (const [field, value] of [
    [0x20, start],
    [0x24, 2],
    [0x38, AT.TASK_STACK],
    [0x4c, SEL.CODE32],
    [0x48, SEL.DATA],
    [0x50, SEL.DATA],
    [0x54, SEL.DATA],
    [0x64, 0x68 << 16],
  ] as const)
    main.emit('mov', dword([AT.TASK_TSS + field]), value);
  for (let n = 0; n < 2; n++) main.emit('callf', far(SEL.TASK, 0));
}

function rings(demo: Demo, stage: StagePlan, ring3: Label): void {
  const { main, v } = demo;
  const calls = stage.equal('INT 80h from ring 3, calls', 100);
  const answer = stage.equal('its answer, NOT 12345678h', 0xedcb_a987n, 'hex');
  const forbidden = stage.equal('CLI in ring 3: #GP, vector', 13);
  const gate = stage.equal('call gate to ring 0, parameter copied', 0x600d, 'hex');
  main.emit('mov', dword([v.calls]), 0);
  inRing3(demo, ring3, () => {
    repeat(main, 100, () => {
      main.emit('mov', R.eax, 0x1234_5678);
      main.emit('int', VECTOR.CALL);
    });
    storeCell(main, answer);
    copyCell(main, v.calls, calls);
    expectFault(main, v, () => main.emit('cli'));
    copyCell(main, v.vector, forbidden);
    main.emit('push', 0x600d);
    main.emit('callf', far(SEL.CALL_GATE, 0));
    storeCell(main, gate);
  });

  const cell = stage.equal('SYSENTER and SYSEXIT, calls', 100);
  const [absent, end] = [main.label(), main.label()];
  unlessFeature(demo, CPUID1.SEP, absent);
  const target = main.label('SYSENTER');
  for (const [msr, value] of [
    [0x174, SEL.CODE32],
    [0x175, AT.RING0_STACK],
    [0x176, target],
  ] as const) {
    main.emit('mov', R.ecx, msr);
    main.emit('mov', R.eax, value);
    main.emit('xor', R.edx, R.edx);
    main.emit('wrmsr');
  }
  setCell(main, cell, 0);
  inRing3(demo, ring3, () => {
    main.emit('mov', R.ebx, 100);
    const again = main.bind();
    const back = main.label();
    main.emit('mov', R.ecx, R.esp);
    main.emit('mov', R.edx, back);
    main.emit('sysenter');
    main.bind(back);
    main.emit('dec', R.ebx);
    main.emit('jne', again);
  });
  main.emit('jmp', end);
  main.bind(target);
  main.emit('inc', dword([cell]));
  main.emit('sysexit');
  main.bind(absent);
  setCell(main, cell, ABSENT);
  main.bind(end);
}

/** Answers a page fault in the demand region: a fresh frame for the page at CR2. The 32-bit exception frame is on the stack. */
export function emitDemand32({ main, v }: Demo, label: Label, done: Label): void {
  main.bind(label);
  main.emit('mov', R.eax, R.cr2);
  main.emit('shr', R.eax, 12);
  main.emit('and', R.eax, 0x3ff);
  main.emit('mov', R.ebx, R.eax);
  main.emit('shl', R.ebx, 12);
  main.emit('add', R.ebx, AT.FRAMES + (PAGE.P | PAGE.W | PAGE.U));
  main.emit('shl', R.eax, 2);
  main.emit('mov', dword([R.eax, DEMAND_TABLE]), R.ebx);
  main.emit('inc', dword([v.demanded]));
  main.emit('jmp', done);
}

function paging(demo: Demo, stage: StagePlan, ring3: Label): void {
  const { main, v } = demo;
  const all = PAGE.P | PAGE.W | PAGE.U;
  clear(main, DIRECTORY, 0x4000);
  fillTable(main, { at: DIRECTORY, count: 2, size: 4, first: (DIRECTORY + 0x1000) | all, step: 0x1000 });
  fillTable(main, { at: DIRECTORY + 0x1000, count: 2048, size: 4, first: all, step: 0x1000 });
  main.emit('mov', dword([DIRECTORY + (DEMAND >>> 22) * 4]), DEMAND_TABLE | all);
  main.emit('mov', dword([DEMAND_TABLE + 0x100 * 4]), AT.FRAMES | PAGE.P | PAGE.U);
  main.emit('mov', dword([DEMAND_TABLE + 0x101 * 4]), AT.FRAMES | PAGE.P | PAGE.W);
  main.emit('mov', R.eax, DIRECTORY);
  main.emit('mov', R.cr3, R.eax);
  main.emit('mov', R.eax, R.cr0);
  main.emit('or', R.eax, 0x8001_0000);
  main.emit('mov', R.cr0, R.eax);

  // Every page of the region is written, which maps it; then the frames are read where they lie.
  setCell(main, v.demanded, 0);
  main.emit('mov', dword([v.demand]), 1);
  main.emit('mov', R.edi, DEMAND);
  repeat(main, DEMAND_PAGES, () => {
    main.emit('mov', dword([R.edi, 0xffc]), R.ecx);
    main.emit('add', R.edi, 0x1000);
  });
  main.emit('mov', dword([v.demand]), 0);
  copyCell(main, v.demanded, stage.equal('pages mapped by #PF as they were touched', DEMAND_PAGES));
  main.emit('xor', R.eax, R.eax);
  main.emit('mov', R.edi, AT.FRAMES);
  repeat(main, DEMAND_PAGES, () => {
    main.emit('add', R.eax, dword([R.edi, 0xffc]));
    main.emit('add', R.edi, 0x1000);
  });
  storeCell(main, stage.equal('sum of what their frames hold', (DEMAND_PAGES * (DEMAND_PAGES + 1)) / 2));

  expectFault(main, v, () => main.emit('mov', R.eax, dword([NOTHING])));
  copyCell(main, v.address, stage.equal('page not there: CR2', NOTHING, 'hex'));
  expectFault(main, v, () => main.emit('mov', dword([READ_ONLY]), R.eax));
  copyCell(main, v.error, stage.equal('ring 0 writes a read-only page (WP): error', 3));
  const user = stage.equal('ring 3 reads a page of ring 0: error', 5);
  inRing3(demo, ring3, () => {
    expectFault(main, v, () => main.emit('mov', R.eax, dword([SUPERVISOR])));
    copyCell(main, v.error, user);
  });

  main.emit('mov', R.eax, R.cr0);
  main.emit('and', R.eax, 0x7ffe_ffff);
  main.emit('mov', R.cr0, R.eax);
}

/** What the call gate names: returns its parameter in EAX. */
export function emitGateTarget({ main }: Demo): number {
  const at = Number(main.here);
  main.emit('mov', R.eax, dword([R.esp, 8]));
  main.emit('retf', 4);
  return at;
}

export function protectedMode(demo: Demo, parts: { ring3: Label; gdt: Label }): EmittedStage {
  const { main, v } = demo;
  const stage = new StagePlan('protected', 'protected mode, 16 and 32 bits', demo.cells);
  const entry = main.bind();
  setUpTss(demo, parts.gdt);
  segments(demo, stage);
  tasks(demo, stage);
  rings(demo, stage, parts.ring3);
  paging(demo, stage, parts.ring3);
  initPics(main, VECTOR.TIMER);
  countTimer(main, v, 3, stage.atLeast('8254 interrupts through the 8259', 3));
  main.emit('ret');
  return { stage, entry };
}
