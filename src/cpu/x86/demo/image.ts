/**
 * The demonstration guest: a multiboot 1 kernel, made by our own assembler. It goes through the processor's modes, compares
 * what happens with what should, reports on COM1 and switches the machine off; after a failure it ends by isa-debug-exit.
 *
 * Command line: `stages=real,protected,v86,pae,long,ring3,calls` runs those named.
 */
import { assert } from '../../../base/assert.js';
import { Assembler, R, byte, dword, far, ptr, type Label } from '../assembler/index.js';
import { clear, initPics, setCell } from './common.js';
import type { Demo, EmittedStage } from './demo.js';
import { emitDemand64, enterLongMode, longMode } from './long-mode.js';
import { EXTENDED, pae, unlessExtended } from './pae.js';
import { AT, Cells, SEL, UNSEEN, VECTOR, variables, type Stage } from './plan.js';
import { CPUID1, emitDemand32, emitGateTarget, emitRing3, protectedMode, unlessFeature } from './protected-mode.js';
import { MULTIBOOT_MAGIC, realMode } from './real-mode.js';
import { PICTURE_AT, emitRing3Parts, ring3, systemCalls } from './ring3.js';
import { Report, reportCells, setUpReport, type ReportCells } from './report.js';
import { emitGdt, emitLongHandlers, emitProtectedHandlers } from './tables.js';
import { emitMonitor, v86Mode } from './v86-mode.js';

/** Address fields are valid (Multiboot Specification 0.6.96 §3.1.2). */
const HEADER_FLAGS = 1 << 16;
const INFO_COMMAND_LINE = 1 << 2;
/** PM1a_CNT of the ACPI block: SLP_TYP of S5 (7 with our tables, 0 with QEMU's) and SLP_EN. */
const PM1A_CNT = 0x604;
const POWER_OFF = [0x3c00, 0x2000] as const;
/** Reads of a port until we say that nothing happens. */
const POWER_OFF_WAIT = 100_000;
/** isa-debug-exit ends the machine with exit code 3 for this value. */
const DEBUG_EXIT = 0xf4;
const FAILURE = 1;
/** Interrupt vectors of real mode that are set; the BIOS data area lies behind. */
const IVT_ENTRIES = 0x80;

/** The image, and what it checks. */
export interface DemoImage {
  readonly image: Uint8Array;
  readonly stages: readonly Stage[];
}

function emitHeader(asm: Assembler, entry: Label): void {
  asm.dd(MULTIBOOT_MAGIC, HEADER_FLAGS, (-MULTIBOOT_MAGIC - HEADER_FLAGS) >>> 0);
  asm.dd(AT.IMAGE, AT.IMAGE, 0, AT.END, entry);
}

/** The word before the names of stages. */
const OPTION = 'stages=';

/**
 * Finds the stages that the command line names and leaves a bit for each in EDI; all of them when it names none. EBX: the
 * multiboot information. Changes all registers but ESP.
 */
function parseCommandLine(asm: Assembler, stages: readonly Stage[]): void {
  const [all, end, found] = [asm.label(), asm.label(), asm.label()];
  asm.emit('test', dword([R.ebx]), INFO_COMMAND_LINE);
  asm.emit('je', all);
  asm.emit('mov', R.esi, dword([R.ebx, 16]));
  const search = asm.bind();
  const next = asm.label();
  asm.emit('cmp', byte([R.esi]), 0);
  asm.emit('je', all);
  for (const [n, character] of Array.from(OPTION).entries()) {
    asm.emit('cmp', byte([R.esi, n]), character.charCodeAt(0));
    asm.emit('jne', next);
  }
  asm.emit('add', R.esi, OPTION.length);
  asm.emit('xor', R.edi, R.edi);
  asm.emit('jmp', found);
  asm.bind(next);
  asm.emit('inc', R.esi);
  asm.emit('jmp', search);

  // At the start of a name: which one is it?
  asm.bind(found);
  const skip = asm.label();
  stages.forEach(({ name }, bit) => {
    const other = asm.label();
    for (const [n, character] of Array.from(name).entries()) {
      asm.emit('cmp', byte([R.esi, n]), character.charCodeAt(0));
      asm.emit('jne', other);
    }
    asm.emit('mov', R.al, byte([R.esi, name.length]));
    const matched = asm.label();
    for (const character of [0, 0x20, 0x2c]) {
      asm.emit('cmp', R.al, character);
      asm.emit('je', matched);
    }
    asm.emit('jmp', other);
    asm.bind(matched);
    asm.emit('or', R.edi, 1 << bit);
    asm.emit('jmp', skip);
    asm.bind(other);
  });
  // An unknown name is passed over, up to a comma.
  asm.bind(skip);
  asm.emit('mov', R.al, byte([R.esi]));
  asm.emit('cmp', R.al, 0x20);
  asm.emit('jbe', end);
  asm.emit('inc', R.esi);
  asm.emit('cmp', R.al, 0x2c);
  asm.emit('je', found);
  asm.emit('jmp', skip);
  asm.bind(all);
  asm.emit('mov', R.edi, -1);
  asm.bind(end);
}

/** Prints the brand string of CPUID, or the vendor. */
function printCpu(asm: Assembler, report: Report): void {
  const text = AT.USER;
  const [vendor, print] = [asm.label(), asm.label()];
  clear(asm, text, 64);
  asm.emit('mov', R.eax, 0x8000_0000);
  asm.emit('cpuid');
  asm.emit('cmp', R.eax, 0x8000_0004);
  asm.emit('jb', vendor);
  for (let leaf = 0; leaf < 3; leaf++) {
    asm.emit('mov', R.eax, 0x8000_0002 + leaf);
    asm.emit('cpuid');
    for (const [n, register] of [R.eax, R.ebx, R.ecx, R.edx].entries())
      asm.emit('mov', dword([text + leaf * 16 + n * 4]), register);
  }
  asm.emit('jmp', print);
  asm.bind(vendor);
  asm.emit('xor', R.eax, R.eax);
  asm.emit('cpuid');
  for (const [n, register] of [R.ebx, R.edx, R.ecx].entries()) asm.emit('mov', dword([text + n * 4]), register);
  asm.bind(print);
  // Some brand strings begin with blanks.
  asm.emit('mov', R.esi, text - 1);
  const blank = asm.bind();
  asm.emit('inc', R.esi);
  asm.emit('cmp', byte([R.esi]), 0x20);
  asm.emit('je', blank);
  report.printAt();
}

/** The summary, and the end of the machine. */
function finish(asm: Assembler, report: Report, cells: ReportCells): void {
  const failed = asm.label();
  report.print('\r\n');
  asm.emit('cmp', dword([cells.failures]), 0);
  asm.emit('jne', failed);
  asm.emit('mov', R.eax, dword([cells.checked]));
  report.printDecimal(0);
  report.print(' checks passed\r\n');
  for (const value of POWER_OFF) {
    asm.emit('mov', R.edx, PM1A_CNT);
    asm.emit('mov', R.eax, value);
    asm.emit('out', R.dx, R.ax);
  }
  // It may take a moment.
  asm.emit('mov', R.ecx, POWER_OFF_WAIT);
  const wait = asm.bind();
  asm.emit('in', R.al, 0x80);
  asm.emit('dec', R.ecx);
  asm.emit('jne', wait);
  report.print('the machine does not switch off\r\n');
  asm.bind(failed);
  asm.emit('mov', R.eax, dword([cells.failures]));
  report.printDecimal(0);
  report.print(' of ');
  asm.emit('mov', R.eax, dword([cells.checked]));
  report.printDecimal(0);
  report.print(' checks failed\r\n');
  endInFailure(asm);
}

function endInFailure(asm: Assembler): void {
  asm.emit('mov', R.edx, DEBUG_EXIT);
  asm.emit('mov', R.eax, FAILURE);
  asm.emit('out', R.dx, R.eax);
  // Without isa-debug-exit: a triple fault.
  asm.emit('lidt', ptr([AT.TABLES_END]));
  asm.emit('int3');
}

/** Runs the stages chosen, in code of the assembler's width. EBX … are anything before and after each. */
function emitStages(
  demo: Demo,
  report: Report,
  chosen: number,
  stages: readonly { emitted: EmittedStage; bit: number; skip?: (target: Label) => void; after?: () => void }[],
): void {
  const { main: asm, v } = demo;
  for (const { emitted, bit, skip, after } of stages) {
    const [end, next] = [asm.label('end of a stage'), asm.label()];
    asm.emit('test', dword([chosen]), 1 << bit);
    asm.emit('je', next);
    skip?.(next);
    for (const { cell } of emitted.stage.checks) {
      asm.emit('mov', dword([cell]), UNSEEN);
      asm.emit('mov', dword([cell + 4]), 0);
    }
    setCell(asm, v.resume, 0);
    setCell(asm, v.demand, 0);
    asm.emit('mov', dword([v.stageEnd]), end);
    report.start();
    asm.emit('call', emitted.entry);
    asm.bind(end);
    report.finishStage(emitted.stage);
    after?.();
    asm.bind(next);
  }
}

/** After an unexpected exception: says so, and goes on with the end of the stage. */
function emitDie(demo: Demo, report: Report, label: Label): void {
  const { main: asm, v } = demo;
  asm.bind(label);
  if (asm.bits === 32) {
    // From any mode: flat segments, no paging.
    asm.emit('mov', R.eax, SEL.DATA);
    for (const segment of [R.ds, R.es, R.fs, R.gs, R.ss]) asm.emit('mov', segment, R.ax);
    asm.emit('mov', R.eax, R.cr0);
    asm.emit('and', R.eax, 0x7ffe_ffff);
    asm.emit('mov', R.cr0, R.eax);
  }
  asm.emit('mov', R.esp, AT.STACK);
  report.print('\r\nunexpected exception, vector ');
  asm.emit('mov', R.eax, dword([v.vector]));
  report.printDecimal(0);
  report.print(' at ');
  asm.emit('mov', R.eax, dword([v.pointer]));
  report.printDecimal(0);
  report.print('\r\n');
  asm.emit('mov', R.eax, dword([v.stageEnd]));
  asm.emit('jmp', asm.bits === 64 ? R.rax : R.eax);
}

/** The rest of a line that names a stage which this CPU has nothing for. */
function reportAbsent(report: Report, { name, title }: Stage): void {
  report.print(`\r\n${name.padEnd(10)} ${title}: not in this CPU\r\n`);
}

/** Puts the guest together. */
export function buildDemo(): DemoImage {
  const cells = new Cells();
  const main = new Assembler({ bits: 32, origin: AT.IMAGE });
  const low = new Assembler({ bits: 16, origin: AT.LOW_CODE });
  const demo: Demo = { v: variables(cells), cells, low, main, vectors: new Map() };
  const reported = reportCells(cells);
  const chosen = cells.cell();
  const entry = main.label('entry');
  emitHeader(main, entry);

  // ---- stages in 32-bit code ----
  const report = new Report(main, reported);
  const gdt = emitGdt(main, { target: emitGateTarget(demo), words: 1 });
  const [die, done, monitor, demand] = ['die', 'done', 'monitor', 'demand'].map((name) => main.label(name));
  const idt = emitProtectedHandlers(demo, { die, done, fromV86: monitor, demand });
  emitMonitor(demo, monitor, { die, done });
  emitDemand32(demo, demand, done);
  const parts = { ring3: emitRing3(demo), gdt: gdt.table, die };
  const real = realMode(demo, parts);
  const protectedStage = protectedMode(demo, parts);
  const v86 = v86Mode(demo, parts);
  const paeStage = pae(demo);
  emitDie(demo, report, die);

  // ---- stages in 64-bit code ----
  main.bits = 64;
  const report64 = new Report(main, reported);
  const [die64, done64, demand64] = ['die64', 'done64', 'demand64'].map((name) => main.label(name));
  const idt64 = emitLongHandlers(demo, { die: die64, demand: demand64, done: done64 });
  emitDemand64(demo, demand64, done64);
  const ring3Parts = emitRing3Parts(demo);
  const emitted64 = [longMode(demo), ring3(demo, ring3Parts), systemCalls(demo, ring3Parts)];
  emitDie(demo, report64, die64);
  main.bits = 32;
  const emitted = [real, protectedStage, v86, paeStage, ...emitted64];
  const stages = emitted.map(({ stage }) => stage);
  const bitOf = (each: EmittedStage): number => emitted.indexOf(each);

  // ---- entry ----
  main.bind(entry);
  main.emit('cli');
  main.emit('mov', R.esp, AT.STACK);
  parseCommandLine(main, stages);
  // Only now may anything be written below 1 MiB: the command line may lie there.
  main.emit('mov', R.ebp, R.edi);
  clear(main, AT.CELLS, AT.CELLS_END - AT.CELLS);
  main.emit('mov', dword([chosen]), R.ebp);
  main.emit('lgdt', ptr([gdt.pointer]));
  const flat = main.label();
  main.emit('jmpf', far(SEL.CODE32, flat));
  main.bind(flat);
  main.emit('mov', R.eax, SEL.DATA);
  for (const segment of [R.ds, R.es, R.fs, R.gs, R.ss]) main.emit('mov', segment, R.ax);
  const [vectors, code, codeEnd] = [main.label('vectors'), main.label('low code'), main.label()];
  main.emit('mov', R.esi, vectors);
  main.emit('xor', R.edi, R.edi);
  main.emit('mov', R.ecx, IVT_ENTRIES);
  main.emit('rep movsd');
  main.emit('mov', R.esi, code);
  main.emit('mov', R.edi, AT.LOW_CODE);
  main.emit('mov', R.ecx, Math.ceil(low.size / 4));
  main.emit('rep movsd');
  // Whatever firmware left: no interrupts but those that a stage asks for.
  initPics(main, VECTOR.TIMER);
  setUpReport(main, reported);
  report.print('\r\nVitrine demo: ');
  printCpu(main, report);
  report.print('\r\n');

  const some = main.label();
  main.emit('cmp', dword([chosen]), 0);
  main.emit('jne', some);
  report.print(`\r\n${OPTION} names none of ${stages.map(({ name }) => name).join(', ')}\r\n`);
  endInFailure(main);
  main.bind(some);

  const absent =
    (feature: number, { stage }: EmittedStage) =>
    (next: Label) => {
      const [missing, present] = [main.label(), main.label()];
      unlessFeature(demo, feature, missing);
      main.emit('jmp', present);
      main.bind(missing);
      reportAbsent(report, stage);
      main.emit('jmp', next);
      main.bind(present);
    };
  const loadIdt = (): void => main.emit('lidt', ptr([idt]));
  loadIdt();
  emitStages(demo, report, chosen, [
    { emitted: real, bit: bitOf(real), after: loadIdt },
    { emitted: protectedStage, bit: bitOf(protectedStage) },
    { emitted: v86, bit: bitOf(v86) },
    { emitted: paeStage, bit: bitOf(paeStage), skip: absent(CPUID1.PAE, paeStage) },
  ]);

  const [end, missing, present] = [main.label(), main.label(), main.label()];
  const wide = emitted64.reduce((bits, each) => bits | (1 << bitOf(each)), 0);
  main.emit('test', dword([chosen]), wide);
  main.emit('je', end);
  unlessExtended(demo, EXTENDED.LM, missing);
  main.emit('jmp', present);
  main.bind(missing);
  for (const { stage } of emitted64) reportAbsent(report, stage);
  main.bind(end);
  finish(main, report, reported);
  main.bind(present);
  enterLongMode(demo, { gdt: gdt.table, idt: idt64 });
  emitStages(
    demo,
    report64,
    chosen,
    emitted64.map((each) => ({
      emitted: each,
      bit: bitOf(each),
      ...(each.stage.name === 'ring3' && { after: () => printPicture(main, report64) }),
    })),
  );
  finish(main, report64, reported);

  // ---- data ----
  report.finish();
  report64.finish();
  main.align(4);
  main.bind(vectors);
  for (let n = 0; n < IVT_ENTRIES; n++) main.dd(demo.vectors.get(n) ?? 0);
  main.bind(code);
  main.bytes(low.finish());
  main.bind(codeEnd);
  assert(main.here <= BigInt(AT.IMAGE_END), 'the image ends before the stacks');
  assert(low.here <= BigInt(AT.LOW_CODE_END), '16-bit code ends before V86 data');
  return { image: main.finish(), stages };
}

function printPicture(asm: Assembler, report: Report): void {
  report.print('\r\n');
  asm.emit('mov', R.esi, PICTURE_AT);
  report.printAt();
}
