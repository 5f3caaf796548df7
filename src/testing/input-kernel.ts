/** A multiboot kernel that says on COM1 what keyboard and mouse send: `k` or `m` and a byte in hexadecimal for each. */
import { Assembler, R } from '../cpu/x86/assembler/index.js';

const LOAD = 0x10_0000;
const STACK = 0x9_0000;
const COM1 = 0x3f8;
/** Ports of an 8042, a bit of its status, and commands: the mouse's port is on, and the next byte is for it. */
const [DATA, STATUS] = [0x60, 0x64];
const FULL = 1;
const FROM_MOUSE = 0x20;
const ENABLE_MOUSE = 0xa8;
const TO_MOUSE = 0xd4;
/** PS/2 mouse: report what happens. */
const REPORT = 0xf4;

export function inputKernel(): Uint8Array {
  const asm = new Assembler({ bits: 32, origin: LOAD });
  const entry = asm.label('entry');
  const digit = asm.label('digit');
  // Multiboot specification 0.6.96 §3.1.1, with addresses in the header.
  asm.dd(0x1bad_b002, 0x1_0000, -(0x1bad_b002 + 0x1_0000) >>> 0, LOAD, LOAD, 0, 0, entry);
  asm.bind(entry);
  asm.emit('mov', R.esp, STACK);
  for (const [port, value] of [
    [STATUS, ENABLE_MOUSE],
    [STATUS, TO_MOUSE],
    [DATA, REPORT],
  ]) {
    asm.emit('mov', R.al, value);
    asm.emit('out', port, R.al);
  }
  asm.emit('mov', R.edx, COM1);
  const look = asm.bind();
  const key = asm.label('key');
  const print = asm.label('print');
  asm.emit('pause');
  asm.emit('in', R.al, STATUS);
  asm.emit('test', R.al, FULL);
  asm.emit('je', look);
  asm.emit('mov', R.ah, R.al);
  asm.emit('in', R.al, DATA);
  asm.emit('mov', R.bl, R.al);
  asm.emit('test', R.ah, FROM_MOUSE);
  asm.emit('je', key);
  asm.emit('mov', R.al, 'm'.charCodeAt(0));
  asm.emit('jmp', print);
  asm.bind(key);
  asm.emit('mov', R.al, 'k'.charCodeAt(0));
  asm.bind(print);
  asm.emit('out', R.dx, R.al);
  asm.emit('mov', R.al, R.bl);
  asm.emit('shr', R.al, 4);
  asm.emit('call', digit);
  asm.emit('mov', R.al, R.bl);
  asm.emit('and', R.al, 15);
  asm.emit('call', digit);
  asm.emit('mov', R.al, ' '.charCodeAt(0));
  asm.emit('out', R.dx, R.al);
  asm.emit('jmp', look);
  asm.bind(digit);
  const small = asm.label('small');
  asm.emit('cmp', R.al, 10);
  asm.emit('jb', small);
  asm.emit('add', R.al, 'a'.charCodeAt(0) - 10 - '0'.charCodeAt(0));
  asm.bind(small);
  asm.emit('add', R.al, '0'.charCodeAt(0));
  asm.emit('out', R.dx, R.al);
  asm.emit('ret');
  asm.align(4);
  return asm.finish();
}
