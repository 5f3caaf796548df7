/** Descriptor tables and exception handlers of protected and long mode. */
import { descriptor } from '../../../arch/x86/boot-state.js';
import { R, dword, qword, type Assembler, type Label } from '../assembler/index.js';
import type { Demo } from './demo.js';
import { AT, SEL, VECTOR } from './plan.js';

const ATTRIBUTES = {
  CODE16: 0x009b,
  CODE32: 0xc09b,
  CODE64: 0xa09b,
  DATA16: 0x0093,
  DATA32: 0xc093,
  RING3: 0x60,
  TSS: 0x0089,
  BYTE_DATA: 0x4093,
  ABSENT: 0x4013,
} as const;
const FLAT = 0xffff_ffff;
/** The I/O permission bitmap of V86 mode lies behind the redirection bitmap (SDM vol. 3 §20.3). */
export const TSS_IO_MAP = 0x88;
const TSS_LIMIT = TSS_IO_MAP + 0x2000;

/** Global descriptor table; the call gate is filled by `callGate`. */
export function emitGdt(
  asm: Assembler,
  callGate: { target: number; words: number },
): {
  readonly table: Label;
  readonly pointer: Label;
} {
  const entry = (base: number, limit: number, attributes: number): void => {
    asm.dq(descriptor({ base: BigInt(base), limit, attributes }));
  };
  const { CODE16, CODE32, CODE64, DATA16, DATA32, RING3, TSS, BYTE_DATA } = ATTRIBUTES;
  asm.align(16);
  const table = asm.bind();
  asm.dq(0);
  entry(0, FLAT, CODE32);
  entry(0, FLAT, DATA32);
  entry(0, FLAT, CODE32 | RING3);
  entry(0, FLAT, DATA32 | RING3);
  entry(0, 0xffff, CODE16);
  entry(0, 0xffff, DATA16);
  entry(0, FLAT, CODE64);
  entry(0, FLAT, DATA32);
  entry(0, FLAT, CODE32 | RING3);
  entry(0, FLAT, DATA32 | RING3);
  entry(0, FLAT, CODE64 | RING3);
  entry(0, FLAT, DATA32 | RING3);
  entry(AT.TSS, TSS_LIMIT, TSS);
  entry(AT.TASK_TSS, 0x67, TSS);
  asm.dd(((SEL.CODE32 << 16) | (callGate.target & 0xffff)) >>> 0);
  asm.dd(((callGate.target & 0xffff_0000) | 0xec00 | callGate.words) >>> 0);
  entry(0, 0xff, BYTE_DATA);
  entry(0, 0xff, ATTRIBUTES.ABSENT);
  entry(AT.TSS64, 0x67, TSS);
  asm.dq(0);
  const pointer = asm.bind();
  asm.dw(Number(asm.here - asm.addressOf(table)) - 1);
  asm.dq(table);
  return { table, pointer };
}

const WITH_ERROR = new Set([8, 10, 11, 12, 13, 14, 17, 21]);
const VECTORS = [...Array.from({ length: 0x50 }, (_, n) => n), VECTOR.CALL, VECTOR.LEAVE];

/** A stub for each vector, which pushes an error code if the CPU did not, and the vector; and the table that names them. */
function emitIdt(asm: Assembler, common: Label): Label {
  const wide = asm.bits === 64;
  const addresses = new Map<number, number>();
  for (const vector of VECTORS) {
    addresses.set(vector, Number(asm.here));
    if (!WITH_ERROR.has(vector)) asm.emit('push', 0);
    asm.emit('push', vector);
    asm.emit('jmp', common);
  }
  asm.align(16);
  const table = asm.bind();
  for (let vector = 0; vector <= VECTOR.LEAVE; vector++) {
    const target = addresses.get(vector) ?? 0;
    // Interrupt gates, not present where there is no handler; ring 3 may use INT3, INTO and the calls.
    const open = vector === 3 || vector === 4 || vector >= VECTOR.CALL;
    const type = target === 0 ? 0 : open ? 0xee00 : 0x8e00;
    asm.dd((((wide ? SEL.CODE64 : SEL.CODE32) << 16) | (target & 0xffff)) >>> 0);
    asm.dd(((target & 0xffff_0000) | type) >>> 0);
    if (wide) asm.dq(0);
  }
  const pointer = asm.bind();
  asm.dw((VECTOR.LEAVE + 1) * (wide ? 16 : 8) - 1);
  asm.dq(table);
  return pointer;
}

/** Where things are on the stack of the 32-bit handler. */
export const FRAME32 = { EAX: 36, VECTOR: 40, ERROR: 44, EIP: 48, CS: 52, EFLAGS: 56, ESP: 60, SS: 64 } as const;

/** The handler of protected mode. `fromV86` gets what V86 code raises, with the frame above on the stack, and ends with a jump to `done`. */
export function emitProtectedHandlers(
  { main, v }: Demo,
  parts: { die: Label; done: Label; fromV86: Label; demand: Label },
): Label {
  const common = main.label('exception in protected mode');
  const idt = emitIdt(main, common);
  const [timer, call, leave, generic] = ['timer', 'call', 'leave', 'generic'].map((name) => main.label(name));
  main.bind(common);
  main.emit('pushad');
  main.emit('push', R.ds);
  main.emit('push', R.es);
  main.emit('mov', R.eax, SEL.DATA);
  main.emit('mov', R.ds, R.ax);
  main.emit('mov', R.es, R.ax);
  main.emit('cld');
  main.emit('mov', R.eax, dword([R.esp, FRAME32.VECTOR]));
  for (const [vector, target] of [
    [VECTOR.TIMER, timer],
    [VECTOR.CALL, call],
    [VECTOR.LEAVE, leave],
  ] as const) {
    main.emit('cmp', R.eax, vector);
    main.emit('je', target);
  }
  main.emit('test', dword([R.esp, FRAME32.EFLAGS]), 1 << 17);
  main.emit('jne', parts.fromV86);
  main.emit('cmp', R.eax, 14);
  main.emit('jne', generic);
  main.emit('cmp', dword([v.demand]), 0);
  main.emit('jne', parts.demand);

  main.bind(generic);
  main.emit('mov', dword([v.vector]), R.eax);
  for (const [from, to] of [
    [FRAME32.ERROR, v.error],
    [FRAME32.EIP, v.pointer],
  ]) {
    main.emit('mov', R.ebx, dword([R.esp, from]));
    main.emit('mov', dword([to]), R.ebx);
  }
  main.emit('mov', R.ebx, R.cr2);
  main.emit('mov', dword([v.address]), R.ebx);
  main.emit('mov', R.ebx, dword([v.resume]));
  main.emit('test', R.ebx, R.ebx);
  main.emit('je', parts.die);
  main.emit('mov', dword([R.esp, FRAME32.EIP]), R.ebx);
  // Single step ends with the exception that it raises.
  main.emit('and', dword([R.esp, FRAME32.EFLAGS]), ~0x100);

  main.bind(parts.done);
  main.emit('pop', R.es);
  main.emit('pop', R.ds);
  main.emit('popad');
  main.emit('add', R.esp, 8);
  main.emit('iretd');

  main.bind(timer);
  main.emit('inc', dword([v.ticks]));
  main.emit('mov', R.al, 0x20);
  main.emit('out', 0x20, R.al);
  main.emit('jmp', parts.done);

  main.bind(call);
  main.emit('inc', dword([v.calls]));
  main.emit('not', dword([R.esp, FRAME32.EAX]));
  main.emit('jmp', parts.done);

  main.bind(leave);
  main.emit('mov', R.esp, dword([v.ring0Stack]));
  main.emit('ret');
  return idt;
}

const SAVED64 = [R.rax, R.rbx, R.rcx, R.rdx, R.rsi, R.rdi, R.rbp];
/** Where things are on the stack of the 64-bit handler. */
export const FRAME64 = { RAX: 48, VECTOR: 56, ERROR: 64, RIP: 72, CS: 80, RFLAGS: 88 } as const;
const APIC_EOI = 0xfee0_00b0;

/** The handler of long mode. */
export function emitLongHandlers({ main, v }: Demo, parts: { die: Label; demand: Label; done: Label }): Label {
  const common = main.label('exception in long mode');
  const idt = emitIdt(main, common);
  const [timer, call, leave, generic] = ['timer', 'call', 'leave', 'generic'].map((name) => main.label(name));
  main.bind(common);
  for (const register of SAVED64) main.emit('push', register);
  main.emit('mov', R.rax, qword([R.rsp, FRAME64.VECTOR]));
  main.emit('cmp', dword([v.leaving]), 0);
  main.emit('jne', leave);
  for (const [vector, target] of [
    [VECTOR.APIC_TIMER, timer],
    [VECTOR.CALL, call],
  ] as const) {
    main.emit('cmp', R.eax, vector);
    main.emit('je', target);
  }
  main.emit('cmp', R.eax, 14);
  main.emit('jne', generic);
  main.emit('cmp', dword([v.demand]), 0);
  main.emit('jne', parts.demand);

  main.bind(generic);
  main.emit('mov', dword([v.vector]), R.eax);
  for (const [from, to] of [
    [FRAME64.ERROR, v.error],
    [FRAME64.RIP, v.pointer],
  ]) {
    main.emit('mov', R.rbx, qword([R.rsp, from]));
    main.emit('mov', qword([to]), R.rbx);
  }
  main.emit('mov', R.rbx, R.cr2);
  main.emit('mov', qword([v.address]), R.rbx);
  main.emit('mov', R.rbx, qword([v.resume]));
  main.emit('test', R.rbx, R.rbx);
  main.emit('je', parts.die);
  main.emit('mov', qword([R.rsp, FRAME64.RIP]), R.rbx);
  main.emit('and', qword([R.rsp, FRAME64.RFLAGS]), ~0x100);

  main.bind(parts.done);
  for (const register of [...SAVED64].reverse()) main.emit('pop', register);
  main.emit('add', R.rsp, 16);
  main.emit('iretq');

  main.bind(timer);
  main.emit('inc', dword([v.ticks]));
  main.emit('mov', R.ebx, APIC_EOI);
  main.emit('mov', dword([R.rbx]), 0);
  main.emit('jmp', parts.done);

  main.bind(call);
  main.emit('inc', dword([v.calls]));
  main.emit('not', qword([R.rsp, FRAME64.RAX]));
  main.emit('jmp', parts.done);

  main.bind(leave);
  main.emit('mov', dword([v.leaving]), 0);
  main.emit('mov', R.rsp, qword([v.ring0Stack]));
  main.emit('ret');
  return idt;
}
