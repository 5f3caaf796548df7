/** Virtual 8086 mode: 16-bit code under a monitor of ring 0 that carries out what is privileged, with and without VME. */
import { R, byte, dword, word, type Label } from '../assembler/index.js';
import { copyCell, setCell, storeCell } from './common.js';
import type { Demo, EmittedStage } from './demo.js';
import { ABSENT, AT, SEL, StagePlan } from './plan.js';
import { CPUID1, setUpTss, unlessFeature } from './protected-mode.js';
import { FRAME32, TSS_IO_MAP } from './tables.js';

/** Interrupts that the V86 code calls: one that the monitor reflects, one that VME redirects. */
const REFLECTED = 0x61;
const REDIRECTED = 0x62;
const SERVICE_CALLS = 10;
const CR4_VME = 1;

/** In the vector table: AX plus one; and with AX untouched flags of the caller. */
function emitServices({ low, vectors }: Demo): void {
  vectors.set(REFLECTED, Number(low.here));
  vectors.set(REDIRECTED, Number(low.here));
  low.emit('inc', R.ax);
  low.emit('iret');
}

const OPCODE = { INT: 0xcd, IRET: 0xcf, HLT: 0xf4, IN: 0xe4 } as const;

/**
 * The monitor: what V86 code with IOPL 0 may not do arrives as #GP, with the exception's frame on the stack. HLT ends the
 * program.
 */
export function emitMonitor({ main, v }: Demo, label: Label, parts: { die: Label; done: Label }): void {
  const [interrupt, iret, halt, input] = ['INT', 'IRET', 'HLT', 'IN'].map((name) => main.label(`monitor: ${name}`));
  /** EBX: the linear address of the V86 stack, with ESP lowered by `bytes`. */
  const stack = (bytes: number): void => {
    if (bytes !== 0) main.emit('sub', word([R.esp, FRAME32.ESP]), bytes);
    main.emit('movzx', R.ebx, word([R.esp, FRAME32.SS]));
    main.emit('shl', R.ebx, 4);
    main.emit('movzx', R.edx, word([R.esp, FRAME32.ESP]));
    main.emit('add', R.ebx, R.edx);
  };
  main.bind(label);
  main.emit('cmp', R.eax, 13);
  main.emit('jne', parts.die);
  main.emit('inc', dword([v.trapped]));
  main.emit('movzx', R.esi, word([R.esp, FRAME32.CS]));
  main.emit('shl', R.esi, 4);
  main.emit('add', R.esi, dword([R.esp, FRAME32.EIP]));
  for (const [opcode, target] of [
    [OPCODE.INT, interrupt],
    [OPCODE.IRET, iret],
    [OPCODE.HLT, halt],
    [OPCODE.IN, input],
  ] as const) {
    main.emit('cmp', byte([R.esi]), opcode);
    main.emit('je', target);
  }
  main.emit('jmp', parts.die);

  // INT n: as the processor does it in real mode.
  main.bind(interrupt);
  stack(6);
  main.emit('mov', R.ax, word([R.esp, FRAME32.EFLAGS]));
  main.emit('mov', word([R.ebx, 4]), R.ax);
  main.emit('mov', R.ax, word([R.esp, FRAME32.CS]));
  main.emit('mov', word([R.ebx, 2]), R.ax);
  main.emit('mov', R.ax, word([R.esp, FRAME32.EIP]));
  main.emit('add', R.ax, 2);
  main.emit('mov', word([R.ebx]), R.ax);
  main.emit('movzx', R.eax, byte([R.esi, 1]));
  main.emit('shl', R.eax, 2);
  main.emit('movzx', R.edx, word([R.eax]));
  main.emit('mov', dword([R.esp, FRAME32.EIP]), R.edx);
  main.emit('movzx', R.edx, word([R.eax, 2]));
  main.emit('mov', dword([R.esp, FRAME32.CS]), R.edx);
  main.emit('jmp', parts.done);

  main.bind(iret);
  stack(0);
  main.emit('add', word([R.esp, FRAME32.ESP]), 6);
  main.emit('movzx', R.eax, word([R.ebx]));
  main.emit('mov', dword([R.esp, FRAME32.EIP]), R.eax);
  main.emit('movzx', R.eax, word([R.ebx, 2]));
  main.emit('mov', dword([R.esp, FRAME32.CS]), R.eax);
  main.emit('mov', R.ax, word([R.ebx, 4]));
  main.emit('mov', word([R.esp, FRAME32.EFLAGS]), R.ax);
  main.emit('jmp', parts.done);

  // IN AL, imm8: a port that is not there.
  main.bind(input);
  main.emit('mov', byte([R.esp, FRAME32.EAX]), 0x5a);
  main.emit('add', word([R.esp, FRAME32.EIP]), 2);
  main.emit('jmp', parts.done);

  main.bind(halt);
  main.emit('mov', R.esp, dword([v.ring0Stack]));
  main.emit('ret');
}

export function v86Mode(demo: Demo, parts: { gdt: Label }): EmittedStage {
  const { main, low, v } = demo;
  const stage = new StagePlan('v86', 'virtual 8086 mode', demo.cells);
  emitServices(demo);

  const sum = stage.equal('1000:0010 + INT 61h reflected by a monitor', 0x1234 + SERVICE_CALLS, 'hex');
  const port = stage.equal('IN from a port that the bitmap forbids', 0x5a, 'hex');
  const traps = stage.equal('instructions that the monitor carried out', SERVICE_CALLS * 2 + 2);
  const open = stage.equal('IN from a port that the bitmap permits', 1);
  const direct = stage.equal('INT 62h redirected by VME', SERVICE_CALLS);
  const untrapped = stage.equal('instructions trapped with VME (the HLT)', 1);

  const first = low.bind();
  low.emit('mov', R.ax, AT.V86_DATA >> 4);
  low.emit('mov', R.ds, R.ax);
  low.emit('mov', R.ax, word([0x10]));
  low.emit('mov', R.cx, SERVICE_CALLS);
  const again = low.bind();
  low.emit('int', REFLECTED);
  low.emit('loop', again);
  low.emit('movzx', R.eax, R.ax);
  low.emit('mov', dword([sum], R.cs), R.eax);
  low.emit('in', R.al, 0xee);
  low.emit('movzx', R.eax, R.al);
  low.emit('mov', dword([port], R.cs), R.eax);
  // Bit 5 of port 61h follows the 8254; what matters is that it can be read.
  low.emit('in', R.al, 0x61);
  low.emit('mov', dword([open], R.cs), 1);
  low.emit('hlt');

  const second = low.bind();
  low.emit('xor', R.eax, R.eax);
  low.emit('mov', R.cx, SERVICE_CALLS);
  const more = low.bind();
  low.emit('int', REDIRECTED);
  low.emit('loop', more);
  low.emit('mov', dword([direct], R.cs), R.eax);
  low.emit('hlt');

  // ---- enters V86 mode at EAX, and returns behind HLT ----
  const run = main.bind(main.label('into V86 mode'));
  main.emit('mov', dword([v.ring0Stack]), R.esp);
  main.emit('mov', dword([v.trapped]), 0);
  for (let n = 0; n < 4; n++) main.emit('push', 0);
  main.emit('push', 0);
  main.emit('push', AT.V86_STACK);
  main.emit('push', 0x2_0202);
  main.emit('push', 0);
  main.emit('push', R.eax);
  main.emit('iretd');

  const entry = main.bind();
  setUpTss(demo, parts.gdt);
  // Port EEh is forbidden, all others are open; INT 62h does not go to the monitor.
  main.emit('mov', R.edi, AT.TSS + 0x68);
  main.emit('mov', R.ecx, (TSS_IO_MAP + 0x2004 - 0x68) / 4);
  main.emit('xor', R.eax, R.eax);
  main.emit('rep stosd');
  main.emit('mov', byte([AT.TSS + TSS_IO_MAP + (0xee >> 3)]), 1 << (0xee & 7));
  main.emit('mov', byte([AT.TSS + TSS_IO_MAP + 0x2000]), 0xff);
  main.emit('mov', byte([AT.TSS + TSS_IO_MAP - 32 + (REFLECTED >> 3)]), 1 << (REFLECTED & 7));
  main.emit('mov', word([AT.V86_DATA + 0x10]), 0x1234);
  for (const cell of [sum, port, open, direct]) setCell(main, cell, 0);
  main.emit('mov', R.eax, Number(low.addressOf(first)));
  const callRun = (): void => {
    main.emit('call', run);
    main.emit('mov', R.eax, SEL.DATA);
    main.emit('mov', R.ds, R.ax);
    main.emit('mov', R.es, R.ax);
  };
  callRun();
  copyCell(main, v.trapped, traps);

  const [absent, end] = [main.label(), main.label()];
  unlessFeature(demo, CPUID1.VME, absent);
  main.emit('mov', R.eax, R.cr4);
  main.emit('or', R.eax, CR4_VME);
  main.emit('mov', R.cr4, R.eax);
  main.emit('mov', R.eax, Number(low.addressOf(second)));
  callRun();
  copyCell(main, v.trapped, untrapped);
  main.emit('mov', R.eax, R.cr4);
  main.emit('and', R.eax, ~CR4_VME);
  main.emit('mov', R.cr4, R.eax);
  main.emit('jmp', end);
  main.bind(absent);
  main.emit('mov', R.eax, ABSENT);
  storeCell(main, direct);
  storeCell(main, untrapped);
  main.bind(end);
  main.emit('ret');
  return { stage, entry };
}
