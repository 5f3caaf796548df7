/**
 * What stands around a random program: descriptors, page tables, and handlers that make it go on elsewhere after a fault. System
 * calls (INT 80h) change pages' rights, flush TLBs, switch CR0.WP, and go through compatibility mode, in turn.
 */
import { descriptor } from '../../arch/x86/boot-state.js';
import {
  Assembler,
  dword,
  far,
  ptr,
  qword,
  R,
  times,
  type Label,
  type Register,
} from '../../cpu/x86/assembler/index.js';
import { ATTR } from '../x86-guest.js';
import { PLACE, SELECTORS, VARIABLE, type Setting } from './place.js';

/** Registers that point to data, by mode; a program does not write them but by string instructions. */
export const POINTERS = { 32: [3, 6, 7], 64: [3, 6, 7, 12, 13, 14, 15] } as const;
/** Counts loops. */
export const COUNTER = 5;
export const SYSTEM_CALL = 0x80;

const NAMES_64 = [
  R.rax,
  R.rcx,
  R.rdx,
  R.rbx,
  R.rsp,
  R.rbp,
  R.rsi,
  R.rdi,
  R.r8,
  R.r9,
  R.r10,
  R.r11,
  R.r12,
  R.r13,
  R.r14,
  R.r15,
];
const NAMES_32 = [R.eax, R.ecx, R.edx, R.ebx, R.esp, R.ebp, R.esi, R.edi];
const WITH_ERROR = new Set([8, 10, 11, 12, 13, 14, 17]);
const VECTORS = 256;
const TF_NT = 0x4100;
const EXTERNAL = 32;
/** System calls do so many different things. */
const ACTIONS = 8;

const variable = (offset: number): number => PLACE.VARIABLES + offset;
/** The page of data whose rights system calls change, and its entry in a table. */
const FLICKERING = PLACE.DATA + 0x2000;

interface Words {
  readonly names: readonly Register[];
  readonly size: 4 | 8;
  readonly memory: typeof qword;
}

class Kernel {
  private readonly words: Words;
  readonly entries: Label[] = [];

  constructor(
    readonly asm: Assembler,
    private readonly setting: Setting,
  ) {
    this.words =
      setting.bits === 64 ? { names: NAMES_64, size: 8, memory: qword } : { names: NAMES_32, size: 4, memory: dword };
  }

  build(): void {
    const { asm } = this;
    const common = asm.label('common');
    for (let vector = 0; vector < VECTORS; vector++) {
      const entry = asm.label(`vector ${String(vector)}`);
      this.entries.push(entry);
      if (vector >= EXTERNAL || vector === 2) continue;
      asm.bind(entry);
      if (!WITH_ERROR.has(vector)) asm.emit('push', 0);
      asm.emit('push', vector);
      asm.emit('jmp', common);
    }
    const interrupt = asm.bind();
    const { names, memory } = this.words;
    asm.emit('push', names[0]);
    asm.emit('add', memory([variable(VARIABLE.INTERRUPTS)]), 1);
    asm.emit('pop', names[0]);
    this.iret();
    this.entries.fill(interrupt, EXTERNAL);
    this.entries[2] = interrupt;
    asm.bind(common);
    this.recover();
    this.entries[SYSTEM_CALL] = asm.bind();
    this.systemCall();
  }

  private iret(): void {
    this.asm.emit(this.setting.bits === 64 ? 'iretq' : 'iretd');
  }

  /** On the stack: vector, error code, RIP, CS, RFLAGS, and RSP and SS unless it is 32-bit code in ring 0. */
  private recover(): void {
    const { asm, setting } = this;
    const { names, size, memory } = this.words;
    const [ax, cx] = names;
    const at = (n: number): ReturnType<typeof qword> => memory([names[4], n * size]);
    asm.emit('push', ax);
    asm.emit('push', cx);
    for (const [n, where] of [
      [2, VARIABLE.VECTORS],
      [3, VARIABLE.ERRORS],
      [4, VARIABLE.PLACES],
    ] as const) {
      asm.emit('mov', cx, at(n));
      asm.emit('rol', memory([variable(where)]), 1);
      asm.emit('add', memory([variable(where)]), cx);
    }
    asm.emit('and', at(6), -1 - TF_NT);
    const step = asm.label('single step');
    asm.emit('cmp', at(2), 1);
    asm.emit('jz', step);
    asm.emit('mov', ax, memory([variable(VARIABLE.FAULTS)]));
    asm.emit('inc', memory([variable(VARIABLE.FAULTS)]));
    asm.emit('and', ax, 31);
    asm.emit('mov', ax, memory([variable(VARIABLE.RECOVERY), times(ax, 8)]));
    asm.emit('mov', at(4), ax);
    const { CODE64, DATA, CODE32, USER32, USER_DATA, USER64 } = SELECTORS;
    const code = setting.ring === 0 ? (setting.bits === 64 ? CODE64 : CODE32) : setting.bits === 64 ? USER64 : USER32;
    asm.emit('mov', at(5), code);
    if (setting.bits === 64 || setting.ring === 3) {
      asm.emit('mov', at(7), PLACE.STACK_TOP);
      asm.emit('mov', at(8), setting.ring === 0 ? DATA : USER_DATA);
    }
    for (const n of POINTERS[setting.bits]) asm.emit('mov', names[n], memory([variable(VARIABLE.POINTERS) + n * 8]));
    asm.emit('mov', names[COUNTER], 40);
    if (setting.bits === 32 && setting.ring === 0) {
      // IRET to the same ring keeps ESP.
      asm.emit('mov', cx, names[4]);
      asm.emit('mov', names[4], PLACE.STACK_TOP);
      for (const n of [6, 5, 4]) asm.emit('push', memory([cx, n * size]));
      this.iret();
    }
    asm.bind(step);
    asm.emit('pop', cx);
    asm.emit('pop', ax);
    asm.emit('add', names[4], 2 * size);
    this.iret();
  }

  private systemCall(): void {
    const { asm, setting } = this;
    const { names, memory } = this.words;
    const [ax, cx] = names;
    const done = asm.label('done');
    asm.emit('push', ax);
    asm.emit('push', cx);
    asm.emit('mov', ax, memory([variable(VARIABLE.CALLS)]));
    asm.emit('inc', memory([variable(VARIABLE.CALLS)]));
    asm.emit('and', ax, ACTIONS - 1);
    const entrySize = setting.bits / 8;
    const table = setting.bits === 64 ? PLACE.TABLE : PLACE.TABLE_32;
    const entry = (page: number): number => table + (page >> 12) * entrySize;
    const flip = (page: number, bit: number): void => {
      asm.emit('btc', memory([entry(page)]), bit);
      asm.emit('invlpg', ptr([page]));
    };
    const actions: (() => void)[] = [
      () => flip(FLICKERING, 1),
      () => flip(FLICKERING, 0),
      () => {
        asm.emit('mov', cx, R.cr3);
        asm.emit('mov', R.cr3, cx);
      },
      () => {
        asm.emit('mov', cx, R.cr0);
        asm.emit('btc', cx, 16);
        asm.emit('mov', R.cr0, cx);
      },
      () => flip(PLACE.CODE + 0x1000, 1),
      () => this.throughOtherMode(cx),
      // Everybody else's code, in the page after.
      () => flip(PLACE.CODE + 0x3000, 0),
      () => flip(PLACE.CODE + 0x3000, 0),
    ];
    // CS of the interrupted code says whether it is the handler's own that goes on.
    for (const [n, action] of actions.entries()) {
      const next = asm.label('next');
      asm.emit('cmp', ax, n);
      asm.emit('jnz', next);
      action();
      asm.emit('jmp', done);
      asm.bind(next);
    }
    asm.bind(done);
    asm.emit('pop', cx);
    asm.emit('pop', ax);
    this.iret();
  }

  /** Into 32-bit code and back. */
  private throughOtherMode(scratch: Register): void {
    const { asm } = this;
    if (this.setting.bits === 32) return;
    const compatibility = asm.label('compatibility');
    const back = asm.label('back');
    asm.emit('push', SELECTORS.CODE32);
    asm.emit('lea', scratch, ptr([R.rip, compatibility]));
    asm.emit('push', scratch);
    asm.emit('o64 retf');
    asm.bits = 32;
    asm.bind(compatibility);
    asm.emit('add', dword([variable(VARIABLE.PLACES)]), R.ecx);
    asm.emit('jmpf', far(SELECTORS.CODE64, back));
    asm.bits = 64;
    asm.bind(back);
  }
}

/** Page-table entries. */
const PTE = { P: 1, RW: 2, US: 4 } as const;
const ALL = PTE.P | PTE.RW | PTE.US;

/** Behind all memory. */
const DEVICE = 0x80_0000;

/** Rights of a page, and where it leads. */
function pageEntry(page: number, setting: Setting): number {
  if (page >= PLACE.ALIAS && page < PLACE.ALIAS + PLACE.CODE_SIZE) return (page - PLACE.ALIAS + PLACE.CODE) | ALL;
  const isProgram = page >= PLACE.CODE && page < PLACE.CODE + 0x6000;
  const isData = page >= PLACE.DATA && page < PLACE.DATA + PLACE.DATA_SIZE;
  if (isData && page === PLACE.DATA + 0x4000) return page | PTE.P | PTE.US;
  if (isData && page === PLACE.DATA + 0x6000) return 0;
  if (isData && page === PLACE.DATA + 0x7000) return DEVICE | ALL;
  if (isProgram || isData) return page | ALL;
  if (page === PLACE.VARIABLES) return page | ALL;
  return page < PLACE.CODE && page > 0 ? page | PTE.P | PTE.RW | (setting.ring === 0 ? PTE.US : 0) : 0;
}

/** Fills in everything but the program. */
export function writeKernel(memory: Uint8Array, setting: Setting): void {
  const view = new DataView(memory.buffer, memory.byteOffset, memory.byteLength);
  const { bits } = setting;
  const asm = new Assembler({ bits, origin: PLACE.HANDLERS });
  const kernel = new Kernel(asm, setting);
  kernel.build();
  memory.set(asm.finish(), PLACE.HANDLERS);
  const flat = (selector: number, attributes: number): void =>
    view.setBigUint64(PLACE.GDT + (selector & ~7), descriptor({ base: 0n, limit: 0xffff_ffff, attributes }), true);
  const { CODE64, DATA, CODE32, USER32, USER_DATA, USER64, TSS } = SELECTORS;
  flat(CODE64, ATTR.CODE64);
  flat(DATA, ATTR.DATA32);
  flat(CODE32, ATTR.CODE32);
  flat(USER32, ATTR.CODE32 | ATTR.RING3);
  flat(USER_DATA, ATTR.DATA32 | ATTR.RING3);
  flat(USER64, ATTR.CODE64 | ATTR.RING3);
  view.setBigUint64(PLACE.GDT + TSS, descriptor({ base: BigInt(PLACE.TSS), limit: 0x67, attributes: 0x8b }), true);
  for (let vector = 0; vector < VECTORS; vector++) {
    const target = Number(asm.addressOf(kernel.entries[vector]));
    const type = vector === SYSTEM_CALL ? 0xee : 0x8e;
    // Exceptions have a stack of their own where there is one.
    const ist = bits === 64 && vector < EXTERNAL ? 1 : 0;
    const at = PLACE.IDT + vector * (bits === 64 ? 16 : 8);
    view.setUint32(at, ((bits === 64 ? CODE64 : CODE32) << 16) | (target & 0xffff), true);
    view.setUint32(at + 4, ((target & 0xffff_0000) | (type << 8) | ist) >>> 0, true);
  }
  if (bits === 64) {
    view.setBigUint64(PLACE.TSS + 4, BigInt(PLACE.KERNEL_STACK), true);
    view.setBigUint64(PLACE.TSS + 0x24, BigInt(PLACE.EXCEPTION_STACK), true);
    [1, 2, 3].forEach((n) => {
      view.setBigUint64(PLACE.PAGE_TABLES + (n - 1) * 0x1000, BigInt(PLACE.PAGE_TABLES + n * 0x1000) | 7n, true);
    });
  } else {
    view.setUint32(PLACE.TSS + 4, PLACE.KERNEL_STACK, true);
    view.setUint32(PLACE.TSS + 8, DATA, true);
    view.setUint32(PLACE.DIRECTORY_32, PLACE.TABLE_32 | 7, true);
  }
  for (let page = 0; page < PLACE.END; page += 0x1000) {
    const entry = pageEntry(page, setting);
    if (bits === 64) view.setBigUint64(PLACE.TABLE + (page >> 12) * 8, BigInt(entry), true);
    else view.setUint32(PLACE.TABLE_32 + (page >> 12) * 4, entry, true);
  }
}
