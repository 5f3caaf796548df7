/**
 * A multiboot kernel that several CPUs run at once: they come into 64-bit code, meet, and do what a test wants of them, in ring 3 if it is to be; CPU 0 writes to COM1 what
 * came of it. `@` on COM1 says that all CPUs have begun.
 */
import { Assembler, dword, ptr, R, type Label } from '../../cpu/x86/assembler/index.js';

export interface SeveralCpusOptions {
  /** 2 … 8. */
  readonly cpus: number;
  /** The tests run in ring 3: where the kernel's own ring is emulated, they would say nothing of the processor. */
  readonly ring3?: boolean;
}

const LOAD = 0x10_0000;
/** Behind the multiboot header: where the other CPUs come from real mode. */
const PROTECTED = LOAD + 32;
/** Where they start. */
const START_PAGE = 8;
const START = START_PAGE << 12;
const START_GDTR = START + 0x100;
const TABLES = 0x1_0000;
const STACKS = 0x2_0000;
const STACK_SHIFT = 12;
/** Words of the tests, each in a cache line of its own. */
export const line = (n: number): number => 0x40_0000 + n * 128;
/** How many CPUs have come to where all meet. */
const ARRIVED = line(2);

const COM1 = { DATA: 0x3f8, LINE: 0x3fb, EIGHT_BITS: 3, STATUS: 0x3fd, EMPTY: 0x20 } as const;
const ICR = 0xfee0_0300;
/** All but this CPU. */
const OTHERS = { INIT: 0x000c_4500, STARTUP: 0x000c_4600 } as const;
const SELECTOR = { CODE64: 8, DATA: 16, CODE32: 24, DATA3: 35, CODE64_3: 43, TSS: 48 } as const;
/** For the way back from ring 3: an IDT, what it is loaded from, a TSS, and the exception. */
const [IDT, IDTR, TSS, GP] = [0x3_0000, 0x3_1000, 0x3_2000, 13];
const EFER = 0xc000_0080;
const [CR0_PE, CR0_PG, CR4_PAE, EFER_LME] = [1, 0x8000_0000, 0x20, 0x100];

export type Body = () => void;

/** In 64-bit code R13D is the index of the CPU, R14D counts rounds, and R15D what ARRIVED was when all met last. */
export abstract class SeveralCpus<Options extends SeveralCpusOptions> {
  protected readonly asm = new Assembler({ bits: 32, origin: LOAD });
  private readonly meet = this.asm.label('meet');
  private readonly send = this.asm.label('send');

  constructor(protected readonly options: Options) {}

  /** What each CPU does before they meet. */
  protected abstract prepare(): void;
  protected abstract tests(): void;
  /** What CPU 0 does behind the tests. */
  protected abstract report(): void;

  build(): Uint8Array {
    const { asm } = this;
    const [entry, gdt, gdtr, main] = ['entry', 'gdt', 'gdtr', 'main'].map((name) => asm.label(name));
    // Multiboot specification 0.6.96 §3.1.1, with addresses in the header.
    asm.dd(0x1bad_b002, 0x1_0000, -(0x1bad_b002 + 0x1_0000) >>> 0, LOAD, LOAD, 0, 0, entry);
    this.segments();
    this.longMode(main);
    asm.bind(entry);
    this.tables();
    this.copyStart(gdt);
    asm.emit('lgdt', ptr([gdtr]));
    this.longMode(main);
    asm.align(8);
    asm.bind(gdt);
    asm.dq(0, 0x00af_9b00_0000_ffffn, 0x00cf_9300_0000_ffffn, 0x00cf_9b00_0000_ffffn);
    asm.dq(0x00cf_f300_0000_ffffn, 0x00af_fb00_0000_ffffn, 0x0000_8900_0000_0067n | (BigInt(TSS) << 16n), 0n);
    asm.bind(gdtr);
    asm.dw(63);
    asm.dd(gdt);
    asm.bits = 64;
    asm.bind(main);
    this.segments();
    asm.emit('mov', R.eax, 1);
    asm.emit('cpuid');
    asm.emit('shr', R.ebx, 24);
    asm.emit('mov', R.r13d, R.ebx);
    asm.emit('lea', R.esp, ptr([R.rbx, 1]));
    asm.emit('shl', R.esp, STACK_SHIFT);
    asm.emit('add', R.esp, STACKS);
    asm.emit('xor', R.r15d, R.r15d);
    this.only(0, () => this.startOthers());
    this.prepare();
    this.together();
    this.only(0, () => {
      asm.emit('mov', R.eax, COM1.EIGHT_BITS);
      asm.emit('mov', R.edx, COM1.LINE);
      asm.emit('out', R.dx, R.al);
      this.write('@');
    });
    if (this.options.ring3) this.inRing3(() => this.tests());
    else this.tests();
    this.only(0, () => this.report());
    const end = asm.bind();
    if (!this.options.ring3) asm.emit('hlt');
    asm.emit('pause');
    asm.emit('jmp', end);
    asm.bind(this.meet);
    this.meeting();
    asm.bind(this.send);
    this.sending();
    return asm.finish();
  }
  /** The tests in ring 3, where IRET leads; HLT, which must not be there, leads CPU 0 back to report. */
  private inRing3(body: Body): void {
    const { asm } = this;
    const [user, kernel] = [asm.label('user'), asm.label('kernel')];
    this.only(0, () => {
      asm.emit('mov', R.eax, kernel);
      asm.emit('mov', ptr([IDT + 16 * GP]), R.ax);
      asm.emit('mov', dword([IDT + 16 * GP + 2]), 0x8e00_0000 | SELECTOR.CODE64);
      asm.emit('shr', R.eax, 16);
      asm.emit('mov', ptr([IDT + 16 * GP + 6]), R.ax);
      asm.emit('mov', dword([TSS + 4]), STACKS);
      asm.emit('mov', dword([IDTR]), ((16 * GP + 15) | (IDT << 16)) >>> 0);
      asm.emit('mov', dword([IDTR + 4]), IDT >>> 16);
      asm.emit('lidt', ptr([IDTR]));
      asm.emit('mov', R.eax, SELECTOR.TSS);
      asm.emit('ltr', R.ax);
    });
    asm.emit('mov', R.rdx, R.rsp);
    asm.emit('push', SELECTOR.DATA3);
    asm.emit('push', R.rdx);
    asm.emit('push', 2);
    asm.emit('push', SELECTOR.CODE64_3);
    asm.emit('mov', R.eax, user);
    asm.emit('push', R.rax);
    asm.emit('iretq');
    asm.bind(user);
    body();
    this.only(0, () => {
      asm.emit('hlt');
      asm.bind(kernel);
    });
  }

  private segments(): void {
    this.asm.emit('mov', R.eax, SELECTOR.DATA);
    for (const segment of [R.ds, R.es, R.ss]) this.asm.emit('mov', segment, R.ax);
  }

  /** Puts the real-mode code of the other CPUs in its place, and what it loads GDTR from. */
  private copyStart(gdt: Label): void {
    const start = new Assembler({ bits: 16, origin: START });
    start.emit('xor', R.ax, R.ax);
    start.emit('mov', R.ds, R.ax);
    start.emit('lgdt o32', ptr([START_GDTR]));
    start.emit('mov', R.eax, R.cr0);
    start.emit('or', R.eax, CR0_PE);
    start.emit('mov', R.cr0, R.eax);
    start.emit('jmpf o32', { kind: 'far', selector: SELECTOR.CODE32, offset: PROTECTED });
    start.align(4);
    const words = new DataView(start.finish().slice().buffer);
    const { asm } = this;
    for (let i = 0; i < words.byteLength; i += 4) asm.emit('mov', dword([START + i]), words.getUint32(i, true));
    asm.emit('mov', dword([START_GDTR]), 63);
    asm.emit('mov', R.eax, gdt);
    asm.emit('mov', dword([START_GDTR + 2]), R.eax);
  }

  /** The first 4 GiB as they are, in pages of 2 MiB. */
  private tables(): void {
    const { asm } = this;
    asm.emit('mov', dword([TABLES]), (TABLES + 0x1000) | 7);
    for (let i = 0; i < 4; i++) asm.emit('mov', dword([TABLES + 0x1000 + i * 8]), (TABLES + 0x2000 + i * 0x1000) | 7);
    asm.emit('mov', R.ecx, 2048);
    asm.emit('mov', R.edi, TABLES + 0x2000);
    asm.emit('mov', R.eax, 0x87);
    const next = asm.bind();
    asm.emit('mov', dword([R.edi]), R.eax);
    asm.emit('add', R.eax, 0x20_0000);
    asm.emit('add', R.edi, 8);
    asm.emit('loop', next);
  }

  /** From 32-bit code without paging to 64-bit code. */
  private longMode(main: Label): void {
    const { asm } = this;
    asm.emit('mov', R.eax, R.cr4);
    asm.emit('or', R.eax, CR4_PAE);
    asm.emit('mov', R.cr4, R.eax);
    asm.emit('mov', R.eax, TABLES);
    asm.emit('mov', R.cr3, R.eax);
    asm.emit('mov', R.ecx, EFER);
    asm.emit('rdmsr');
    asm.emit('or', R.eax, EFER_LME);
    asm.emit('wrmsr');
    asm.emit('mov', R.eax, R.cr0);
    asm.emit('or', R.eax, CR0_PG | CR0_PE);
    asm.emit('mov', R.cr0, R.eax);
    asm.emit('jmpf', { kind: 'far', selector: SELECTOR.CODE64, offset: main });
  }

  /** INIT, STARTUP, and a second one that nobody needs (MultiProcessor Specification 1.4 §B.4). */
  private startOthers(): void {
    const { asm } = this;
    asm.emit('mov', R.edi, ICR);
    asm.emit('mov', dword([R.rdi]), OTHERS.INIT);
    for (let i = 0; i < 2; i++) asm.emit('mov', dword([R.rdi]), OTHERS.STARTUP | START_PAGE);
  }

  protected only(cpu: number, body: Body): void {
    const { asm } = this;
    const over = asm.label();
    asm.emit('cmp', R.r13d, cpu);
    asm.emit('jne', over);
    body();
    asm.bind(over);
  }

  protected repeat(count: number, body: Body): void {
    const { asm } = this;
    asm.emit('mov', R.r14d, count);
    const next = asm.bind();
    body();
    asm.emit('dec', R.r14d);
    asm.emit('jne', next);
  }

  /** Waits until all CPUs are here. */
  protected together(): void {
    this.asm.emit('call', this.meet);
  }

  private meeting(): void {
    const { asm } = this;
    const [look, all] = [asm.label(), asm.label()];
    asm.emit('add', R.r15d, this.options.cpus);
    asm.emit('lock inc', dword([ARRIVED]));
    asm.bind(look);
    asm.emit('mov', R.eax, dword([ARRIVED]));
    asm.emit('sub', R.eax, R.r15d);
    asm.emit('jns', all);
    asm.emit('pause');
    asm.emit('jmp', look);
    asm.bind(all);
    asm.emit('ret');
  }

  protected write(text: string): void {
    for (const letter of text) {
      this.asm.emit('mov', R.ecx, letter.charCodeAt(0));
      this.sendCl();
    }
  }

  /** Writes CL to COM1; EAX and EDX are lost. */
  protected sendCl(): void {
    this.asm.emit('call', this.send);
  }

  /** The function that writes CL to COM1; EAX and EDX are lost. */
  private sending(): void {
    const { asm } = this;
    const busy = asm.bind();
    asm.emit('mov', R.edx, COM1.STATUS);
    asm.emit('in', R.al, R.dx);
    asm.emit('and', R.al, COM1.EMPTY);
    asm.emit('je', busy);
    asm.emit('mov', R.edx, COM1.DATA);
    asm.emit('mov', R.eax, R.ecx);
    asm.emit('out', R.dx, R.al);
    asm.emit('ret');
  }
}
