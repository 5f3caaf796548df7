/** A local APIC that the accelerator has, as the board sees it: its state is saved and restored in the form of our own. */
import type { ApicRegisters } from '../../iface/chips.js';
import type { Clock } from '../../iface/clock.js';
import type { ApicCpu, ApicMessage, LocalApic } from '../../iface/local-apic.js';
import type { Snapshotable } from '../../snapshot/snapshotable.js';
import type { ApicInbox } from './apic-link.js';
import { apicStateSchema, type ApicState } from './apic-state.js';
import { powerOnVectors } from './local-vectors.js';
import {
  APIC_BASE,
  APIC_DEFAULT_BASE,
  DELIVERY_MODES,
  DFR,
  LVT,
  LVT_WRITABLE,
  REG,
  SVR,
  TIMER_MODE,
  timerDivisor,
} from './registers.js';

export interface OutsideApicParts {
  readonly apicId: number;
  readonly bsp: boolean;
  readonly registers: ApicRegisters;
  readonly cpu: Pick<ApicCpu, 'notify' | 'nmi' | 'init' | 'startup'>;
  readonly clock: Clock;
  /** Where other threads leave what the 8259 has for it. */
  readonly inbox?: ApicInbox | undefined;
}

const at = (reg: number): number => reg << 4;
const WORDS = Array.from({ length: 8 }, (_, i) => i);

/** As after power-up, in virtual wire mode where our own is. SDM vol. 3 §11.4.7.1. */
function powerOn(bsp: boolean): ApicState {
  const none = WORDS.map(() => 0);
  return {
    base: BigInt(APIC_DEFAULT_BASE) | APIC_BASE.EN | (bsp ? APIC_BASE.BSP : 0n),
    tpr: 0,
    ldr: 0,
    dfr: DFR.FLAT,
    svr: SVR.VECTOR,
    isr: none,
    tmr: none,
    irr: none,
    esr: 0,
    newErrors: 0,
    errorArmed: true,
    icrLow: 0,
    icrHigh: 0,
    lvt: powerOnVectors(bsp),
    lint: [false, false],
    extIntLatched: false,
    timer: { initial: 0, divide: 0, start: null, tscDeadline: 0n },
  };
}

/**
 * The accelerator answers the guest; what is left are the pins, and the state. An interrupt of the 8259 the CPU takes when the accelerator says that the APIC
 * passes it on: so `extIntPending` is the pin alone.
 */
export class OutsideApic implements LocalApic, Snapshotable<ApicState> {
  readonly id: string;
  readonly stateVersion = 1;
  readonly stateSchema = apicStateSchema;

  private readonly lint = [false, false];
  /** Of a state that was restored: nothing can be made of it until the CPU has its time-stamp counter. */
  private deadline: bigint | undefined;

  constructor(private readonly parts: OutsideApicParts) {
    this.id = `lapic${parts.apicId}`;
    this.reset();
    // What others have to know of one that has its messages from elsewhere.
    parts.inbox?.publish({ enabled: true, x2apic: false, accepting: true, ldr: 0, dfr: DFR.FLAT, priority: 0 });
  }

  get apicBase(): bigint {
    return this.parts.registers.base;
  }

  // ---- what its CPU asks an APIC of ours: here nothing of that comes ----

  writeApicBase(): boolean {
    return false;
  }
  mmioRead(): number {
    return 0xffff_ffff;
  }
  mmioWrite(): void {}
  readMsr(): bigint | undefined {
    return undefined;
  }
  writeMsr(): boolean {
    return false;
  }
  readonly tscDeadline = 0n;
  readonly cr8 = 0;
  pendingVector(): number {
    return -1;
  }
  acknowledge(): number {
    return -1;
  }

  /** What does not come from the guest: an operator's NMI. */
  deliver({ mode, vector }: ApicMessage): void {
    const { cpu } = this.parts;
    if (mode === 'nmi') cpu.nmi();
    else if (mode === 'init') cpu.init();
    else if (mode === 'startup') cpu.startup(vector);
  }

  // ---- pins ----

  get extIntPending(): boolean {
    return this.lint[0];
  }

  takeExtInt(): boolean {
    return this.lint[0];
  }

  setLint(pin: 0 | 1, asserted: boolean): void {
    if (this.lint[pin] === asserted) return;
    this.lint[pin] = asserted;
    if (!asserted) return;
    if (pin === 0) this.parts.cpu.notify();
    else if (this.nmiPasses()) this.parts.cpu.nmi();
  }

  private nmiPasses(): boolean {
    const entry = this.parts.registers.load().getUint32(at(REG.LVT_LINT1), true);
    return (entry & LVT.MASKED) === 0 && DELIVERY_MODES[(entry & LVT.MODE) >>> LVT.MODE_SHIFT] === 'nmi';
  }

  takeIn(): void {
    this.parts.inbox?.take(this);
  }

  // ---- time ----

  tscChanged(): void {
    const { registers } = this.parts;
    // The same deadline is at another time now.
    const deadline = this.deadline ?? registers.tscDeadline;
    this.deadline = undefined;
    if (deadline !== 0n) registers.tscDeadline = deadline;
  }

  // ---- state ----

  reset(): void {
    this.restore(powerOn(this.parts.bsp));
  }

  save(): ApicState {
    const { registers, clock } = this.parts;
    // Before the rest: one that comes due now is there twice rather than not at all.
    const tscDeadline = this.deadline ?? registers.tscDeadline;
    const base = registers.base;
    const page = registers.load();
    const read = (reg: number): number => page.getUint32(at(reg), true);
    const words = (reg: number): number[] => WORDS.map((i) => read(reg + i));
    const lvt = LVT_WRITABLE.map((_, i) => read(REG.LVT_TIMER + i));
    const initial = read(REG.TIMER_INITIAL);
    const current = read(REG.TIMER_CURRENT);
    const divide = read(REG.TIMER_DIVIDE) & 0xb;
    const mode = (lvt[0] >>> LVT.TIMER_MODE_SHIFT) & 3;
    const counts = mode !== TIMER_MODE.TSC_DEADLINE && initial !== 0 && (current !== 0 || mode === TIMER_MODE.PERIODIC);
    return {
      base,
      tpr: read(REG.TPR) & 0xff,
      // In x2APIC mode it follows from the id.
      ldr: base & APIC_BASE.EXTD ? 0 : read(REG.LDR),
      dfr: base & APIC_BASE.EXTD ? DFR.FLAT : read(REG.DFR),
      svr: read(REG.SVR) & SVR.WRITABLE,
      isr: words(REG.ISR),
      tmr: words(REG.TMR),
      irr: words(REG.IRR),
      esr: read(REG.ESR),
      newErrors: 0,
      errorArmed: true,
      icrLow: read(REG.ICR_LOW),
      icrHigh: read(REG.ICR_HIGH),
      lvt,
      lint: [...this.lint],
      extIntLatched: false,
      timer: {
        initial,
        divide,
        start: counts ? clock.now() - (initial - current) * timerDivisor(divide) : null,
        tscDeadline: mode === TIMER_MODE.TSC_DEADLINE ? tscDeadline : 0n,
      },
    };
  }

  restore(state: ApicState): void {
    const { registers } = this.parts;
    registers.base = state.base;
    const page = registers.load();
    const write = (reg: number, value: number): void => {
      page.setUint32(at(reg), value, true);
    };
    const words = (reg: number, values: readonly number[]): void => {
      values.forEach((value, i) => write(reg + i, value));
    };
    write(REG.ID, (this.parts.apicId << 24) >>> 0);
    write(REG.TPR, state.tpr);
    if (!(state.base & APIC_BASE.EXTD)) {
      write(REG.LDR, state.ldr);
      write(REG.DFR, state.dfr);
    }
    write(REG.SVR, state.svr);
    words(REG.ISR, state.isr);
    words(REG.TMR, state.tmr);
    words(REG.IRR, state.irr);
    write(REG.ESR, state.esr);
    write(REG.ICR_LOW, state.icrLow);
    write(REG.ICR_HIGH, state.icrHigh);
    state.lvt.forEach((entry, i) => write(REG.LVT_TIMER + i, entry));
    write(REG.TIMER_DIVIDE, state.timer.divide);
    write(REG.TIMER_INITIAL, state.timer.initial);
    write(REG.TIMER_CURRENT, this.currentCount(state));
    // One that is armed by this page's mode must not see the old counter.
    registers.tscDeadline = 0n;
    registers.store(page);
    this.deadline = state.timer.tscDeadline === 0n ? undefined : state.timer.tscDeadline;
    state.lint.forEach((level, pin) => (this.lint[pin] = level));
  }

  /** Of the timer, when the machine's clock says what it says now. */
  private currentCount({ timer, lvt }: ApicState): number {
    const { initial, divide, start } = timer;
    const mode = (lvt[0] >>> LVT.TIMER_MODE_SHIFT) & 3;
    if (start === null || initial === 0 || mode === TIMER_MODE.TSC_DEADLINE) return 0;
    const elapsed = Math.floor((this.parts.clock.now() - start) / timerDivisor(divide));
    if (mode === TIMER_MODE.PERIODIC) return initial - (elapsed % initial);
    // One that is due is not lost: it has a tick to go.
    return Math.max(1, initial - elapsed);
  }
}
