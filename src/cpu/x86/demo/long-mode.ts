/** Long mode, ring 0: integer instructions only, so that accelerators which emulate ring 0 can run it. */
import { R, dword, ptr, qword, word, type Label } from '../assembler/index.js';
import { clear, copyCell, expectFault, fillTable, repeat, setCell, storeCell } from './common.js';
import type { Demo, EmittedStage } from './demo.js';
import { AT, SEL, StagePlan, VECTOR } from './plan.js';

const PML4 = AT.TABLES + 0x1_0000;
const POINTERS = PML4 + 0x1000;
/** Four page directories: 4 GiB in pages of 2 MiB. */
const DIRECTORIES = PML4 + 0x2000;
const HIGH_POINTERS = PML4 + 0x6000;
const HIGH_DIRECTORY = PML4 + 0x7000;
const HIGH_TABLE = PML4 + 0x8000;
/** Lower end of the upper half: pages that exist only when they are touched. */
const HIGH = 0xffff_8000_0000_0000n;
/** 2 MiB of ring 0, above those that are ring 3's. */
const SUPERVISOR_DIRECTORY = PML4 + 0x9000;
export const SUPERVISOR_PAGE = 0x1_0000_0000n;
const DEMAND_PAGES = 64;
const PAGE = { P: 1, W: 2, U: 4, PS: 0x80 } as const;
const EFER = 0xc000_0080;
const EFER_BITS = { SCE: 1, LME: 0x100 } as const;
const CR0_BITS = { PG: 0x8000_0000, NE: 0x20, TS: 8, EM: 4, MP: 2 } as const;
const CR4_BITS = { PAE: 0x20, OSFXSR: 0x200, OSXMMEXCPT: 0x400 } as const;

const APIC = { SVR: 0xfee0_00f0, LVT_TIMER: 0xfee0_0320, INITIAL: 0xfee0_0380, DIVIDE: 0xfee0_03e0 } as const;

/** From 32-bit code without paging into 64-bit code, in line. Nothing returns from there. */
export function enterLongMode({ main }: Demo, parts: { gdt: Label; idt: Label }): void {
  const all = PAGE.P | PAGE.W | PAGE.U;
  clear(main, PML4, 0xa000);
  main.emit('mov', dword([PML4]), POINTERS | all);
  main.emit('mov', dword([PML4 + 0x800]), HIGH_POINTERS | all);
  fillTable(main, { at: POINTERS, count: 4, size: 8, first: DIRECTORIES | all, step: 0x1000 });
  fillTable(main, { at: DIRECTORIES, count: 2048, size: 8, first: all | PAGE.PS, step: 0x20_0000 });
  main.emit('mov', dword([HIGH_POINTERS]), HIGH_DIRECTORY | all);
  main.emit('mov', dword([HIGH_DIRECTORY]), HIGH_TABLE | all);
  main.emit('mov', dword([POINTERS + 4 * 8]), SUPERVISOR_DIRECTORY | all);
  main.emit('mov', dword([SUPERVISOR_DIRECTORY]), AT.TABLES | PAGE.P | PAGE.W | PAGE.PS);

  clear(main, AT.TSS64, 0x68);
  main.emit('mov', dword([AT.TSS64 + 4]), AT.RING0_STACK);
  main.emit('mov', word([AT.TSS64 + 102]), 0x68);

  main.emit('mov', R.eax, R.cr4);
  main.emit('or', R.eax, CR4_BITS.PAE | CR4_BITS.OSFXSR | CR4_BITS.OSXMMEXCPT);
  main.emit('mov', R.cr4, R.eax);
  main.emit('mov', R.eax, PML4);
  main.emit('mov', R.cr3, R.eax);
  main.emit('mov', R.ecx, EFER);
  main.emit('rdmsr');
  main.emit('or', R.eax, EFER_BITS.LME | EFER_BITS.SCE);
  main.emit('wrmsr');
  main.emit('mov', R.eax, R.cr0);
  // Task switches set TS.
  main.emit('and', R.eax, ~(CR0_BITS.TS | CR0_BITS.EM));
  main.emit('or', R.eax, CR0_BITS.PG | CR0_BITS.NE | CR0_BITS.MP);
  main.emit('mov', R.cr0, R.eax);
  const start = main.label('64-bit code');
  main.emit('jmpf', { kind: 'far', selector: SEL.CODE64, offset: start });
  main.bind(start);
  main.bits = 64;
  main.emit('mov', R.eax, SEL.DATA64);
  for (const segment of [R.ds, R.es, R.ss]) main.emit('mov', segment, R.ax);
  main.emit('mov', R.esp, AT.STACK);
  main.emit('lidt', ptr([parts.idt]));
  main.emit('mov', R.eax, parts.gdt);
  main.emit('and', dword([R.rax, SEL.TSS64 + 4]), ~0x200);
  main.emit('mov', R.eax, SEL.TSS64);
  main.emit('ltr', R.ax);
}

/** Answers a page fault in the upper half: a fresh frame for the page at CR2. The 64-bit exception frame is on the stack. */
export function emitDemand64({ main, v }: Demo, label: Label, done: Label): void {
  main.bind(label);
  main.emit('mov', R.rax, R.cr2);
  main.emit('shr', R.rax, 12);
  main.emit('and', R.eax, 0x1ff);
  main.emit('mov', R.ebx, R.eax);
  main.emit('shl', R.ebx, 12);
  main.emit('add', R.ebx, AT.FRAMES + (PAGE.P | PAGE.W | PAGE.U));
  main.emit('mov', dword([HIGH_TABLE, { kind: 'scaled', register: R.rax, scale: 8 }]), R.ebx);
  main.emit('inc', dword([v.demanded]));
  main.emit('jmp', done);
}

function integers({ main }: Demo, stage: StagePlan): void {
  main.emit('mov', R.rax, 0x0123_4567_89ab_cdefn);
  main.emit('mov', R.r9, 0xfedc_ba98_7654_3210n);
  main.emit('mul', R.r9);
  main.emit('mov', qword([stage.equal('64 x 64 bits: upper half', 0x0121_fa00_ad77_d742n, 'hex')]), R.rdx);
  main.emit('mov', qword([stage.equal('64 x 64 bits: lower half', 0x2236_d88f_e561_8cf0n, 'hex')]), R.rax);
}

function paging({ main, v }: Demo, stage: StagePlan): void {
  setCell(main, v.demanded, 0);
  main.emit('mov', dword([v.demand]), 1);
  main.emit('mov', R.rdi, HIGH);
  repeat(main, DEMAND_PAGES, () => {
    main.emit('mov', qword([R.rdi, 0xff0]), R.rcx);
    main.emit('add', R.rdi, 0x1000);
  });
  main.emit('mov', dword([v.demand]), 0);
  copyCell(main, v.demanded, stage.equal('pages mapped by #PF in the upper half', DEMAND_PAGES));
  main.emit('xor', R.eax, R.eax);
  main.emit('mov', R.edi, AT.FRAMES);
  repeat(main, DEMAND_PAGES, () => {
    main.emit('add', R.rax, qword([R.rdi, 0xff0]));
    main.emit('add', R.edi, 0x1000);
  });
  storeCell(main, stage.equal('sum of what their frames hold', (DEMAND_PAGES * (DEMAND_PAGES + 1)) / 2));

  // The first page gets the second one's frame; what the TLB knew must be forgotten.
  main.emit('mov', R.rdi, HIGH);
  main.emit('mov', R.rax, qword([HIGH_TABLE + 8]));
  main.emit('mov', qword([HIGH_TABLE]), R.rax);
  main.emit('invlpg', ptr([R.rdi]));
  main.emit('mov', R.rax, qword([R.rdi, 0xff0]));
  storeCell(main, stage.equal('remapped page, after INVLPG', DEMAND_PAGES - 1));

  expectFault(main, v, () => {
    main.emit('mov', R.rdi, 0x8000_0000_0000_0000n);
    main.emit('mov', R.rax, qword([R.rdi]));
  });
  copyCell(main, v.vector, stage.equal('address that is not canonical: #GP, vector', 13));
  expectFault(main, v, () => {
    main.emit('mov', R.rdi, HIGH + 0x20_0000n);
    main.emit('mov', R.rax, qword([R.rdi]));
  });
  main.emit('mov', R.rax, qword([v.address]));
  main.emit('mov', qword([stage.equal('page not there: CR2', HIGH + 0x20_0000n, 'hex')]), R.rax);
}

/** Periodic interrupts of the local APIC's timer. SDM vol. 3 §11.5.4. */
function timer({ main, v }: Demo, stage: StagePlan): void {
  const write = (register: number, value: number): void => {
    main.emit('mov', R.ebx, register);
    main.emit('mov', dword([R.rbx]), value);
  };
  write(APIC.SVR, 0x100 | VECTOR.SPURIOUS);
  write(APIC.DIVIDE, 0b1011);
  main.emit('mov', dword([v.ticks]), 0);
  write(APIC.LVT_TIMER, 0x2_0000 | VECTOR.APIC_TIMER);
  write(APIC.INITIAL, 200_000);
  const wait = main.bind();
  main.emit('sti');
  main.emit('hlt');
  main.emit('cli');
  main.emit('cmp', dword([v.ticks]), 3);
  main.emit('jb', wait);
  write(APIC.INITIAL, 0);
  copyCell(main, v.ticks, stage.atLeast("interrupts of the local APIC's timer", 3));
}

export function longMode(demo: Demo): EmittedStage {
  const { main } = demo;
  const stage = new StagePlan('long', 'long mode, 64 bits, ring 0', demo.cells);
  const entry = main.bind();
  integers(demo, stage);
  paging(demo, stage);
  timer(demo, stage);
  main.emit('ret');
  return { stage, entry };
}
