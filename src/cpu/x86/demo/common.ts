/** Pieces of code that several stages use. */
import { R, dword, qword, word, type Assembler, type Label } from '../assembler/index.js';
import type { Variables } from './plan.js';

/**
 * Runs code that should raise an exception: the handler goes on behind it. Without one, the vector that is left is
 * FFFFFFFFh. Changes no registers.
 */
export function expectFault(asm: Assembler, v: Variables, body: () => void): void {
  const after = asm.label('after the fault');
  const size = asm.bits === 16 ? word : asm.bits === 32 ? dword : qword;
  asm.emit('mov', dword([v.vector]), -1);
  asm.emit('mov', size([v.resume]), after);
  body();
  asm.bind(after);
  asm.emit('mov', dword([v.resume]), 0);
}

/** Copies 32 bits from one cell to another and clears the upper half. Changes EAX. */
export function copyCell(asm: Assembler, from: number, to: number): void {
  asm.emit('mov', R.eax, dword([from]));
  storeCell(asm, to);
}

/** EAX into a cell. */
export function storeCell(asm: Assembler, to: number): void {
  asm.emit('mov', dword([to]), R.eax);
  asm.emit('mov', dword([to + 4]), 0);
}

export function setCell(asm: Assembler, to: number, value: number): void {
  asm.emit('mov', dword([to]), value);
  asm.emit('mov', dword([to + 4]), 0);
}

export function out(asm: Assembler, port: number, value: number): void {
  asm.emit('mov', R.al, value);
  if (port < 0x100) asm.emit('out', port, R.al);
  else {
    asm.emit('mov', R.dx, port);
    asm.emit('out', R.dx, R.al);
  }
}

/** 8259s with their vectors from `first` and `first` + 8 on, all lines masked. Intel 8259A, ICW1 … ICW4. */
export function initPics(asm: Assembler, first: number): void {
  for (const [port, cascade, base] of [
    [0x20, 4, first],
    [0xa0, 2, first + 8],
  ]) {
    out(asm, port, 0x11);
    out(asm, port + 1, base);
    out(asm, port + 1, cascade);
    out(asm, port + 1, 1);
    out(asm, port + 1, 0xff);
  }
}

/** Hertz of the timer interrupts, and the 8254's divisor for it. */
const TIMER_HZ = 2000;
const PIT_DIVISOR = Math.round(1_193_182 / TIMER_HZ);

/** Counts `ticks` interrupts of the 8254 (mode 2) while halted, then masks them again. The handler counts in `v.ticks`. */
export function countTimer(asm: Assembler, v: Variables, ticks: number, cell: number): void {
  asm.emit('mov', dword([v.ticks]), 0);
  out(asm, 0x43, 0x34);
  out(asm, 0x40, PIT_DIVISOR & 0xff);
  out(asm, 0x40, PIT_DIVISOR >> 8);
  out(asm, 0x21, 0xfe);
  const wait = asm.bind();
  asm.emit('sti');
  asm.emit('hlt');
  asm.emit('cli');
  asm.emit('cmp', dword([v.ticks]), ticks);
  asm.emit('jb', wait);
  out(asm, 0x21, 0xff);
  copyCell(asm, v.ticks, cell);
}

/** A loop that runs `count` times, in ECX. */
export function repeat(asm: Assembler, count: number, body: () => void): void {
  asm.emit('mov', R.ecx, count);
  const again: Label = asm.bind();
  body();
  asm.emit('dec', R.ecx);
  asm.emit('jne', again);
}

/** Fills a page table: `count` entries of `size` bytes from `at` on, the first `first`, each `step` more. 32-bit registers only. */
export function fillTable(
  asm: Assembler,
  table: { at: number; count: number; size: 4 | 8; first: number; step: number },
): void {
  asm.emit('mov', R.edi, table.at);
  asm.emit('mov', R.eax, table.first);
  repeat(asm, table.count, () => {
    const index = asm.bits === 64 ? R.rdi : R.edi;
    asm.emit('mov', dword([index]), R.eax);
    if (table.size === 8) asm.emit('mov', dword([index, 4]), 0);
    asm.emit('add', R.eax, table.step);
    asm.emit('add', R.edi, table.size);
  });
}

/** Zeroes memory, with EDI, ECX and EAX. `bytes` is a multiple of 4. */
export function clear(asm: Assembler, at: number, bytes: number): void {
  asm.emit('cld');
  asm.emit('mov', R.edi, at);
  asm.emit('mov', R.ecx, bytes / 4);
  asm.emit('xor', R.eax, R.eax);
  asm.emit('rep stosd');
}
