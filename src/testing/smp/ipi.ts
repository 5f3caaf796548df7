/** A kernel of two CPUs, of which one halts and the other one interrupts it, again and again; it ends by isa-debug-exit. What KVMs without VT-x can run, too. */
import { Assembler, dword, ptr, R } from '../../cpu/x86/assembler/index.js';

const LOAD = 0x10_0000;
const START_PAGE = 8;
const START = START_PAGE << 12;
/** Of the second CPU: GDTR and GDT, and words that tell that it is there and how often it was interrupted. */
const [GDTR, GDT, READY, COUNT, STACK] = [START + 0x200, START + 0x210, 0x9000, 0x9004, 0x7000];
const APIC = { EOI: 0xfee0_00b0, SPURIOUS: 0xfee0_00f0, ICR: 0xfee0_0300 } as const;
const ENABLED = 0x1ff;
const VECTOR = 0x40;
/** To all but this CPU. */
const OTHERS = { INIT: 0x000c_4500, STARTUP: 0x000c_4600, FIXED: 0x000c_4000 } as const;
const DEBUG_EXIT = 0xf4;

/** In real mode, with a data segment that reaches the APIC: what was loaded in protected mode stays. */
function halting(): Uint8Array {
  const asm = new Assembler({ bits: 16, origin: START });
  const handler = asm.label('handler');
  asm.emit('cli');
  asm.emit('xor', R.ax, R.ax);
  asm.emit('mov', R.ds, R.ax);
  asm.emit('mov', R.ss, R.ax);
  asm.emit('mov', R.sp, STACK);
  asm.emit('mov', ptr([VECTOR * 4 + 2]), R.ax);
  asm.emit('mov', R.ax, handler);
  asm.emit('mov', ptr([VECTOR * 4]), R.ax);
  asm.emit('lgdt o32', ptr([GDTR]));
  asm.emit('mov', R.eax, R.cr0);
  asm.emit('or', R.eax, 1);
  asm.emit('mov', R.cr0, R.eax);
  asm.emit('mov', R.bx, 8);
  asm.emit('mov', R.ds, R.bx);
  asm.emit('and', R.eax, ~1);
  asm.emit('mov', R.cr0, R.eax);
  asm.emit('mov', R.edi, APIC.SPURIOUS);
  asm.emit('mov', dword([R.edi]), ENABLED);
  asm.emit('mov', dword([READY]), 1);
  asm.emit('sti');
  const idle = asm.bind();
  asm.emit('hlt');
  asm.emit('jmp', idle);
  asm.bind(handler);
  asm.emit('inc', dword([COUNT]));
  asm.emit('mov', R.edi, APIC.EOI);
  asm.emit('mov', dword([R.edi]), 0);
  asm.emit('iret');
  asm.align(4);
  return asm.finish();
}

/** A multiboot kernel without a file format around it: so many interrupts. */
export function ipiKernel(count: number): Uint8Array {
  const asm = new Assembler({ bits: 32, origin: LOAD });
  const entry = asm.label('entry');
  // Multiboot specification 0.6.96 §3.1.1, with addresses in the header.
  asm.dd(0x1bad_b002, 0x1_0000, -(0x1bad_b002 + 0x1_0000) >>> 0, LOAD, LOAD, 0, 0, entry);
  asm.bind(entry);
  const code = new DataView(halting().slice().buffer);
  for (let i = 0; i < code.byteLength; i += 4) asm.emit('mov', dword([START + i]), code.getUint32(i, true));
  const words = [15 | (GDT << 16), GDT >>> 16];
  words.forEach((word, i) => asm.emit('mov', dword([GDTR + 4 * i]), word >>> 0));
  [0, 0, 0xffff, 0x00cf_9300].forEach((word, i) => asm.emit('mov', dword([GDT + 4 * i]), word));
  for (const at of [READY, COUNT]) asm.emit('mov', dword([at]), 0);
  asm.emit('mov', R.edi, APIC.ICR);
  asm.emit('mov', dword([R.edi]), OTHERS.INIT);
  asm.emit('mov', dword([R.edi]), OTHERS.STARTUP | START_PAGE);
  const wait = (at: number, before: typeof R.ebx): void => {
    const look = asm.bind();
    asm.emit('pause');
    asm.emit('cmp', dword([at]), before);
    asm.emit('je', look);
  };
  asm.emit('xor', R.ebx, R.ebx);
  wait(READY, R.ebx);
  asm.emit('mov', R.esi, count);
  const next = asm.bind();
  asm.emit('mov', R.ebx, dword([COUNT]));
  asm.emit('mov', dword([R.edi]), OTHERS.FIXED | VECTOR);
  wait(COUNT, R.ebx);
  asm.emit('dec', R.esi);
  asm.emit('jne', next);
  asm.emit('xor', R.eax, R.eax);
  asm.emit('mov', R.edx, DEBUG_EXIT);
  asm.emit('out', R.dx, R.eax);
  return asm.finish();
}
