/** Real mode: vectors, exceptions, interrupts of the 8254, the wrap at 1 MiB, segments beyond their limit. */
import { R, dword, far, ptr, word, type Label } from '../assembler/index.js';
import { copyCell, countTimer, expectFault, initPics, storeCell } from './common.js';
import type { Demo, EmittedStage } from './demo.js';
import { AT, SEL, StagePlan } from './plan.js';

/** First doubleword of the image. */
export const MULTIBOOT_MAGIC = 0x1bad_b002;
const IRQ0_VECTOR = 8;
const SERVICE = 0x60;
const SEGMENTS = [R.ds, R.es, R.fs, R.gs, R.ss];

/** Handlers that the vector table names. They run with CS = 0 and use no other segment but SS. */
function emitHandlers({ low, v, vectors }: Demo, die: Label): void {
  const common = low.label('real mode exception');
  for (let n = 0; n < 0x20; n++) {
    vectors.set(n, Number(low.here));
    low.emit('push', n);
    low.emit('jmp', common);
  }
  low.bind(common);
  low.emit('push', R.ax);
  low.emit('push', R.bp);
  low.emit('mov', R.bp, R.sp);
  low.emit('mov', R.ax, word([R.bp, 4]));
  low.emit('mov', word([v.vector], R.cs), R.ax);
  low.emit('mov', word([v.vector + 2], R.cs), 0);
  low.emit('mov', R.ax, word([R.bp, 6]));
  low.emit('mov', word([v.pointer], R.cs), R.ax);
  low.emit('mov', R.ax, word([v.resume], R.cs));
  low.emit('test', R.ax, R.ax);
  low.emit('je', die);
  low.emit('mov', word([R.bp, 6]), R.ax);
  low.emit('pop', R.bp);
  low.emit('pop', R.ax);
  low.emit('add', R.sp, 2);
  low.emit('iret');

  vectors.set(IRQ0_VECTOR, Number(low.here));
  low.emit('push', R.ax);
  low.emit('inc', dword([v.ticks], R.cs));
  low.emit('mov', R.al, 0x20);
  low.emit('out', 0x20, R.al);
  low.emit('pop', R.ax);
  low.emit('iret');

  // A service with an answer in AX and in the caller's carry flag.
  vectors.set(SERVICE, Number(low.here));
  low.emit('push', R.bp);
  low.emit('mov', R.bp, R.sp);
  low.emit('or', word([R.bp, 6]), 1);
  low.emit('pop', R.bp);
  low.emit('xchg', R.al, R.ah);
  low.emit('iret');
}

export function realMode(demo: Demo, parts: { die: Label }): EmittedStage {
  const { low, main, v } = demo;
  const stage = new StagePlan('real', 'real mode, 16 bits', demo.cells);

  // ---- out of real mode: an unexpected exception, or the end ----
  const die = low.bind();
  low.emit('xor', R.ax, R.ax);
  low.emit('mov', R.ds, R.ax);
  low.emit('mov', R.eax, dword([v.died]));
  low.emit('mov', dword([v.wayBack]), R.eax);
  const leave = low.bind();
  low.emit('mov', R.eax, R.cr0);
  low.emit('or', R.al, 1);
  low.emit('mov', R.cr0, R.eax);
  low.emit('o32 jmpf', ptr([v.wayBack]));
  emitHandlers(demo, die);

  // ---- into real mode ----
  const idt = low.bind();
  low.dw(0x3ff);
  low.dd(0);
  const enter = low.bind();
  low.emit('mov', R.ax, SEL.DATA16);
  for (const segment of SEGMENTS) low.emit('mov', segment, R.ax);
  low.emit('lidt', ptr([idt]));
  low.emit('mov', R.eax, R.cr0);
  low.emit('and', R.al, 0xfe);
  low.emit('mov', R.cr0, R.eax);
  const real = low.label('real mode');
  low.emit('jmpf', far(0, real));
  low.bind(real);
  low.emit('xor', R.ax, R.ax);
  for (const segment of SEGMENTS) low.emit('mov', segment, R.ax);
  low.emit('mov', R.esp, AT.REAL_STACK);

  // ---- what it does ----
  low.emit('mov', R.ax, 0x3412);
  low.emit('clc');
  low.emit('int', SERVICE);
  low.emit('movzx', R.eax, R.ax);
  low.emit('jnc', leave);
  storeCell(low, stage.equal('INT 60h by the vector table, AX', 0x1234, 'hex'));

  const faults: readonly (readonly [text: string, vector: number, body: () => void])[] = [
    [
      'DIV by zero raises #DE, vector',
      0,
      () => {
        low.emit('xor', R.bl, R.bl);
        low.emit('div', R.bl);
      },
    ],
    ['UD2 raises #UD, vector', 6, () => low.emit('ud2')],
    [
      'DS:00100000h is beyond the limit: #GP, vector',
      13,
      () => {
        low.emit('mov', R.ebx, AT.IMAGE);
        low.emit('mov', R.eax, dword([R.ebx]));
      },
    ],
  ];
  for (const [text, vector, body] of faults) {
    expectFault(low, v, body);
    copyCell(low, v.vector, stage.equal(text, vector));
  }

  low.emit('mov', R.al, 0x83);
  low.emit('sub', R.al, 0x48);
  low.emit('das');
  low.emit('movzx', R.eax, R.al);
  storeCell(low, stage.equal('decimal 83 - 48, SUB and DAS', 0x35, 'hex'));

  low.emit('mov', R.ax, 0xffff);
  low.emit('mov', R.es, R.ax);
  low.emit('mov', R.eax, dword([0x10], R.es));
  storeCell(low, stage.equal('FFFF:0010 reaches 1 MiB with A20 open', MULTIBOOT_MAGIC, 'hex'));

  // A segment keeps the limit that it got in protected mode.
  low.emit('mov', R.eax, R.cr0);
  low.emit('or', R.al, 1);
  low.emit('mov', R.cr0, R.eax);
  low.emit('mov', R.bx, SEL.DATA);
  low.emit('mov', R.fs, R.bx);
  low.emit('and', R.al, 0xfe);
  low.emit('mov', R.cr0, R.eax);
  low.emit('mov', R.ebx, AT.IMAGE);
  low.emit('mov', R.eax, dword([R.ebx], R.fs));
  storeCell(low, stage.equal('"unreal" FS:00100000h', MULTIBOOT_MAGIC, 'hex'));

  initPics(low, IRQ0_VECTOR);
  countTimer(low, v, 3, stage.atLeast('8254 interrupts through the 8259', 3));
  low.emit('jmp', leave);

  // ---- the subroutine in 32-bit code ----
  const entry = main.bind();
  const back = main.label('back from real mode');
  main.emit('mov', dword([v.ring0Stack]), R.esp);
  main.emit('mov', dword([v.died]), parts.die);
  main.emit('mov', dword([v.wayBack]), back);
  main.emit('mov', word([v.wayBack + 4]), SEL.CODE32);
  main.emit('jmpf', far(SEL.CODE16, Number(low.addressOf(enter))));
  main.bind(back);
  main.emit('mov', R.ax, SEL.DATA);
  for (const segment of SEGMENTS) main.emit('mov', segment, R.ax);
  main.emit('mov', R.esp, dword([v.ring0Stack]));
  main.emit('ret');
  return { stage, entry };
}
