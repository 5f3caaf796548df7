/**
 * Printing on COM1. The same source makes 32- and 64-bit code: it computes in 32-bit registers, and addresses are below
 * 4 GiB. Nothing here needs an interrupt or a stack of more than a few words.
 */
import { R, byte, dword, ptr, type Assembler, type Label } from '../assembler/index.js';
import { setCell } from './common.js';
import { ABSENT, UNSEEN, type Cells, type Check, type Stage } from './plan.js';

const COM1 = 0x3f8;
const LSR_THRE = 0x20;
/** The PM timer of the ACPI block, which counts at 3.579545 MHz in 24 bits. */
const PM_TIMER = 0x608;
const PM_TIMER_KHZ = 3580;
/** How long the TSC is measured, in ticks of the PM timer: half a millisecond, to a thousandth. */
const CALIBRATION = PM_TIMER_KHZ / 2;

/** Columns: of the text, and of a value. */
const TEXT_WIDTH = 46;
const VALUE_WIDTH = 18;
const BUFFER = 32;

/** Variables of the report. */
export interface ReportCells {
  readonly hasTsc: number;
  readonly ticksPerMs: number;
  readonly started: number;
  readonly ended: number;
  readonly failures: number;
  readonly checked: number;
  /** Space where a number is written, `BUFFER` bytes. */
  readonly buffer: number;
}

export function reportCells(cells: Cells): ReportCells {
  const cell = (): number => cells.cell();
  const buffer = cell();
  for (let n = 1; n < BUFFER / 8; n++) cell();
  return {
    hasTsc: cell(),
    ticksPerMs: cell(),
    started: cell(),
    ended: cell(),
    failures: cell(),
    checked: cell(),
    buffer,
  };
}

/** Subroutines of the report, in code of one width. */
export class Report {
  private readonly put: Label;
  private readonly puts: Label;
  private readonly now: Label;
  private readonly decimal: Label;
  private readonly hexadecimal: Label;
  private readonly time: Label;
  private readonly texts = new Map<string, Label>();

  /** Emits them. `texts` are emitted by `finish`. */
  constructor(
    private readonly asm: Assembler,
    readonly cells: ReportCells,
  ) {
    this.put = this.emitPut();
    this.puts = this.emitPuts();
    this.now = this.emitNow();
    this.decimal = this.emitDecimal();
    this.hexadecimal = this.emitHexadecimal();
    this.time = this.emitTime();
  }

  /** Bytes of texts that were asked for. */
  finish(): void {
    for (const [text, label] of this.texts) {
      this.asm.bind(label);
      this.asm.asciz(text);
    }
    this.texts.clear();
  }

  private textLabel(text: string): Label {
    const label = this.texts.get(text) ?? this.asm.label('a text');
    this.texts.set(text, label);
    return label;
  }

  // ---- what stages and the main program call in line ----

  print(text: string): void {
    this.asm.emit('mov', R.esi, this.textLabel(text));
    this.asm.emit('call', this.puts);
  }

  /** Prints the text at ESI. */
  printAt(): void {
    this.asm.emit('call', this.puts);
  }

  /** Prints EAX right-aligned in a number of columns. */
  printDecimal(width: number): void {
    this.asm.emit('mov', R.ebp, width);
    this.asm.emit('call', this.decimal);
  }

  start(): void {
    const { asm, cells } = this;
    asm.emit('call', this.now);
    asm.emit('mov', dword([cells.started]), R.eax);
    asm.emit('mov', dword([cells.started + 4]), R.edx);
  }

  /** Prints what a stage was and how long it took, and its checks. Time is taken first. */
  finishStage(stage: Stage): void {
    const { asm, cells } = this;
    asm.emit('call', this.now);
    asm.emit('mov', dword([cells.ended]), R.eax);
    asm.emit('mov', dword([cells.ended + 4]), R.edx);
    this.print(`\r\n${stage.name.padEnd(10)} ${stage.title}`.padEnd(2 + TEXT_WIDTH + 5));
    asm.emit('call', this.time);
    this.print('\r\n');
    for (const check of stage.checks) this.check(check);
  }

  private check({ text, cell, expected, compare, show }: Check): void {
    const { asm, cells } = this;
    const [bad, absent, end] = [asm.label(), asm.label(), asm.label()];
    const low = Number(expected & 0xffff_ffffn);
    const high = Number(expected >> 32n);
    asm.emit('inc', dword([cells.checked]));
    this.print(`  ${text.padEnd(TEXT_WIDTH)}`);
    asm.emit('cmp', dword([cell]), ABSENT);
    asm.emit('je', absent);
    asm.emit('mov', R.eax, dword([cell]));
    asm.emit('mov', R.edx, dword([cell + 4]));
    asm.emit('mov', R.ebp, VALUE_WIDTH);
    asm.emit('call', show === 'hex' ? this.hexadecimal : this.decimal);
    asm.emit('cmp', dword([cell]), low);
    asm.emit(compare === 'equal' ? 'jne' : 'jb', bad);
    if (compare === 'at-least') {
      asm.emit('cmp', dword([cell]), UNSEEN);
      asm.emit('je', bad);
    } else {
      asm.emit('cmp', dword([cell + 4]), high);
      asm.emit('jne', bad);
    }
    this.print('  ok\r\n');
    asm.emit('jmp', end);
    asm.bind(absent);
    this.print(`${'-'.padStart(VALUE_WIDTH)}  not in this CPU\r\n`);
    asm.emit('jmp', end);
    asm.bind(bad);
    this.print(`  FAILED: ${show === 'hex' ? hex(expected) : String(expected)} expected\r\n`);
    asm.emit('inc', dword([cells.failures]));
    asm.bind(end);
  }

  // ---- subroutines ----

  /** AL to COM1. Changes AX, DX. */
  private emitPut(): Label {
    const { asm } = this;
    const start = asm.bind(asm.label('put'));
    asm.emit('mov', R.ah, R.al);
    asm.emit('mov', R.dx, COM1 + 5);
    const wait = asm.bind();
    asm.emit('in', R.al, R.dx);
    asm.emit('test', R.al, LSR_THRE);
    asm.emit('je', wait);
    asm.emit('mov', R.al, R.ah);
    asm.emit('mov', R.dx, COM1);
    asm.emit('out', R.dx, R.al);
    asm.emit('ret');
    return start;
  }

  /** The text at ESI. Changes EAX, EDX, ESI. */
  private emitPuts(): Label {
    const { asm, put } = this;
    const start = asm.bind(asm.label('puts'));
    const end = asm.label();
    asm.emit('mov', R.al, byte([R.esi]));
    asm.emit('test', R.al, R.al);
    asm.emit('je', end);
    asm.emit('call', put);
    asm.emit('inc', R.esi);
    asm.emit('jmp', start);
    asm.bind(end);
    asm.emit('ret');
    return start;
  }

  /** EDX:EAX: the time-stamp counter, or the PM timer on a CPU without one. */
  private emitNow(): Label {
    const { asm, cells } = this;
    const start = asm.bind(asm.label('now'));
    const without = asm.label();
    asm.emit('cmp', dword([cells.hasTsc]), 0);
    asm.emit('je', without);
    asm.emit('rdtsc');
    asm.emit('ret');
    asm.bind(without);
    asm.emit('mov', R.edx, PM_TIMER);
    asm.emit('in', R.eax, R.dx);
    asm.emit('and', R.eax, 0xff_ffff);
    asm.emit('xor', R.edx, R.edx);
    asm.emit('ret');
    return start;
  }

  /** Prints what stands in the buffer from EDI to its end, right-aligned in EBP columns. */
  private printBuffer(): void {
    const { asm, cells, put, puts } = this;
    const end = cells.buffer + BUFFER - 1;
    const [pad, print] = [asm.label(), asm.label()];
    asm.emit('mov', byte([end]), 0);
    asm.emit('mov', R.ecx, end);
    asm.emit('sub', R.ecx, R.edi);
    asm.emit('sub', R.ebp, R.ecx);
    asm.bind(pad);
    asm.emit('cmp', R.ebp, 0);
    asm.emit('jle', print);
    asm.emit('mov', R.al, 0x20);
    asm.emit('call', put);
    asm.emit('dec', R.ebp);
    asm.emit('jmp', pad);
    asm.bind(print);
    asm.emit('mov', R.esi, R.edi);
    asm.emit('jmp', puts);
  }

  /** EAX in decimal, in EBP columns. Changes all but EBX. */
  private emitDecimal(): Label {
    const { asm, cells } = this;
    const start = asm.bind(asm.label('decimal'));
    asm.emit('mov', R.edi, cells.buffer + BUFFER - 1);
    asm.emit('mov', R.ecx, 10);
    const next = asm.bind();
    asm.emit('xor', R.edx, R.edx);
    asm.emit('div', R.ecx);
    asm.emit('add', R.dl, 0x30);
    asm.emit('dec', R.edi);
    asm.emit('mov', byte([R.edi]), R.dl);
    asm.emit('test', R.eax, R.eax);
    asm.emit('jne', next);
    this.printBuffer();
    return start;
  }

  /** EDX:EAX in hexadecimal, in EBP columns. Changes all but EBX. */
  private emitHexadecimal(): Label {
    const { asm, cells } = this;
    const start = asm.bind(asm.label('hexadecimal'));
    const digit = asm.label();
    asm.emit('mov', R.edi, cells.buffer + BUFFER - 1);
    const next = asm.bind();
    asm.emit('mov', R.ecx, R.eax);
    asm.emit('and', R.cl, 15);
    asm.emit('cmp', R.cl, 10);
    asm.emit('jb', digit);
    asm.emit('add', R.cl, 0x61 - 0x30 - 10);
    asm.bind(digit);
    asm.emit('add', R.cl, 0x30);
    asm.emit('dec', R.edi);
    asm.emit('mov', byte([R.edi]), R.cl);
    asm.emit('shrd', R.eax, R.edx, 4);
    asm.emit('shr', R.edx, 4);
    asm.emit('mov', R.ecx, R.eax);
    asm.emit('or', R.ecx, R.edx);
    asm.emit('jne', next);
    asm.emit('sub', R.edi, 2);
    asm.emit('mov', byte([R.edi]), 0x30);
    asm.emit('mov', byte([R.edi, 1]), 0x78);
    this.printBuffer();
    return start;
  }

  /** Prints the time from `started` to `ended` in milliseconds. Changes all registers. */
  private emitTime(): Label {
    const { asm, cells, put } = this;
    const start = asm.bind(asm.label('time'));
    const [plain, noted] = [asm.label(), asm.label()];
    asm.emit('mov', R.eax, dword([cells.ended]));
    asm.emit('mov', R.edx, dword([cells.ended + 4]));
    asm.emit('sub', R.eax, dword([cells.started]));
    asm.emit('sbb', R.edx, dword([cells.started + 4]));
    asm.emit('cmp', dword([cells.hasTsc]), 0);
    asm.emit('jne', plain);
    asm.emit('and', R.eax, 0xff_ffff);
    asm.emit('xor', R.edx, R.edx);
    asm.bind(plain);
    // Microseconds: ticks × 1000 / ticks per millisecond.
    asm.emit('mov', R.ebx, R.edx);
    asm.emit('imul', R.ebx, R.ebx, 1000);
    asm.emit('mov', R.ecx, 1000);
    asm.emit('mul', R.ecx);
    asm.emit('add', R.edx, R.ebx);
    asm.emit('mov', R.ecx, dword([cells.ticksPerMs]));
    asm.emit('cmp', R.edx, R.ecx);
    asm.emit('jb', noted);
    asm.emit('mov', R.eax, -1);
    asm.emit('xor', R.edx, R.edx);
    asm.bind(noted);
    asm.emit('div', R.ecx);
    asm.emit('xor', R.edx, R.edx);
    asm.emit('mov', R.ecx, 1000);
    asm.emit('div', R.ecx);
    asm.emit('mov', R.ebx, R.edx);
    this.printDecimal(8);
    asm.emit('mov', R.al, 0x2e);
    asm.emit('call', put);
    // Three digits of what is left.
    asm.emit('mov', R.eax, R.ebx);
    asm.emit('xor', R.edx, R.edx);
    asm.emit('mov', R.ecx, 100);
    asm.emit('div', R.ecx);
    asm.emit('mov', R.ebx, R.edx);
    asm.emit('add', R.al, 0x30);
    asm.emit('call', put);
    asm.emit('mov', R.eax, R.ebx);
    asm.emit('xor', R.edx, R.edx);
    asm.emit('mov', R.ecx, 10);
    asm.emit('div', R.ecx);
    asm.emit('mov', R.ebx, R.edx);
    asm.emit('add', R.al, 0x30);
    asm.emit('call', put);
    asm.emit('lea', R.eax, ptr([R.ebx, 0x30]));
    asm.emit('call', put);
    this.print(' ms');
    asm.emit('ret');
    return start;
  }
}

const hex = (value: bigint): string => `0x${value.toString(16)}`;

/** Sets COM1 to 115200 8N1 without interrupts, finds out how fast time-stamps count. 32-bit code. */
export function setUpReport(asm: Assembler, cells: ReportCells): void {
  for (const [register, value] of [
    [1, 0],
    [3, 0x80],
    [0, 1],
    [1, 0],
    [3, 3],
    [2, 1],
    [4, 3],
  ]) {
    asm.emit('mov', R.dx, COM1 + register);
    asm.emit('mov', R.al, value);
    asm.emit('out', R.dx, R.al);
  }
  for (const cell of [cells.hasTsc, cells.failures, cells.checked]) setCell(asm, cell, 0);
  setCell(asm, cells.ticksPerMs, PM_TIMER_KHZ);
  const end = asm.label();
  asm.emit('mov', R.eax, 1);
  asm.emit('cpuid');
  asm.emit('test', R.edx, 1 << 4);
  asm.emit('je', end);
  asm.emit('mov', dword([cells.hasTsc]), 1);
  asm.emit('mov', R.edx, PM_TIMER);
  asm.emit('in', R.eax, R.dx);
  asm.emit('mov', R.esi, R.eax);
  asm.emit('rdtsc');
  asm.emit('mov', R.edi, R.eax);
  asm.emit('mov', R.edx, PM_TIMER);
  const wait = asm.bind();
  asm.emit('in', R.eax, R.dx);
  asm.emit('sub', R.eax, R.esi);
  asm.emit('and', R.eax, 0xff_ffff);
  asm.emit('cmp', R.eax, CALIBRATION);
  asm.emit('jb', wait);
  asm.emit('mov', R.ecx, R.eax);
  asm.emit('rdtsc');
  asm.emit('sub', R.eax, R.edi);
  asm.emit('mov', R.edx, PM_TIMER_KHZ);
  asm.emit('mul', R.edx);
  asm.emit('div', R.ecx);
  // A clock that stands still would divide by zero later.
  asm.emit('or', R.eax, 1);
  asm.emit('mov', dword([cells.ticksPerMs]), R.eax);
  asm.bind(end);
}
