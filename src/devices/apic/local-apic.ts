import type { Clock } from '../../iface/clock.js';
import type { ApicCpu, ApicMessage, Destination, LocalApic } from '../../iface/local-apic.js';
import type { Snapshotable } from '../../snapshot/snapshotable.js';
import { AcceptedInterrupts } from './accepted-interrupts.js';
import type { ApicBus, ApicBusMember } from './apic-bus.js';
import { isAddressed, x2apicLdr } from './addressing.js';
import type { ApicInbox } from './apic-link.js';
import { apicStateSchema, type ApicState } from './apic-state.js';
import { ApicTimer } from './apic-timer.js';
import { ErrorStatus } from './error-status.js';
import { InterruptCommand } from './interrupt-command.js';
import { LOCAL, LocalVectors } from './local-vectors.js';
import {
  APIC_BASE,
  APIC_DEFAULT_BASE,
  DFR,
  ESR,
  FIRST_LEGAL_VECTOR,
  ICR,
  LVT,
  REG,
  SVR,
  TIMER_MODE,
  VERSION_VALUE,
  x2apicWritable,
} from './registers.js';

export interface LocalApicParts {
  /** APIC id, 0 … 254 in xAPIC mode. */
  readonly apicId: number;
  /** The bootstrap processor: shown in IA32_APIC_BASE. */
  readonly bsp: boolean;
  readonly cpu: ApicCpu;
  readonly bus: ApicBus;
  readonly clock: Clock;
  /** Width of physical addresses (CPUID.80000008H:EAX), for reserved bits of IA32_APIC_BASE. */
  readonly physicalAddressBits: number;
  /** Where other threads leave what they have for this APIC. */
  readonly inbox?: ApicInbox | undefined;
  /** CPUID advertises x2APIC mode. Default: yes. */
  readonly x2apic?: boolean;
  /** CPUID advertises the TSC-deadline timer mode. Default: yes. */
  readonly tscDeadline?: boolean;
}

/**
 * A local APIC in xAPIC or x2APIC mode, Intel SDM vol. 3 ch. 11.
 *
 * Interrupt polarity has no meaning here: lines are asserted or not. SMIs are accepted and do nothing, as there is no
 * system management mode.
 */
export class LocalApicDevice implements LocalApic, ApicBusMember, Snapshotable<ApicState> {
  readonly id: string;
  readonly stateVersion = 1;
  readonly stateSchema = apicStateSchema;

  private base = 0n;
  /** xAPIC mode's logical destination register; x2APIC mode derives it from the id. */
  private ldr = 0;
  private dfr: number = DFR.FLAT;
  private svr: number = SVR.VECTOR;
  private readonly accepted = new AcceptedInterrupts();
  private readonly errors = new ErrorStatus(() => this.local.raise(LOCAL.ERROR));
  private readonly command: InterruptCommand;
  private readonly local: LocalVectors;
  /** An ExtINT message was accepted and not yet taken. */
  private extIntLatched = false;
  private readonly timer: ApicTimer;

  constructor(private readonly parts: LocalApicParts) {
    this.id = `lapic${parts.apicId}`;
    this.local = new LocalVectors(parts.bsp, {
      accept: (vector, trigger) => this.accept(vector, trigger),
      deliver: (message) => this.deliver(message),
    });
    this.command = new InterruptCommand(this, parts.bus, this.errors);
    this.timer = new ApicTimer(parts.clock, parts.cpu, () => this.local.raise(LOCAL.TIMER));
    parts.bus.attach(this);
    this.reset(false);
  }

  // ---- IA32_APIC_BASE and modes, §11.4.4 and §11.12.1 ----

  get apicBase(): bigint {
    return this.base;
  }

  writeApicBase(value: bigint): boolean {
    const { parts } = this;
    if (value & APIC_BASE.RESERVED || value >> BigInt(parts.physicalAddressBits)) return false;
    const [enabled, extended] = [(value & APIC_BASE.EN) !== 0n, (value & APIC_BASE.EXTD) !== 0n];
    if (extended) {
      // x2APIC mode is entered from xAPIC mode only, and left only by disabling.
      if (!enabled || parts.x2apic === false || !this.enabled) return false;
    } else if (enabled && this.x2apicMode) return false;
    const wasEnabled = this.enabled;
    this.base = value;
    // §11.4.3: a disabled APIC comes back as after power-up.
    if (wasEnabled && !enabled) this.resetRegisters();
    this.publish();
    this.notifyIfPending();
    return true;
  }

  private get enabled(): boolean {
    return (this.base & APIC_BASE.EN) !== 0n;
  }

  private get x2apicMode(): boolean {
    return (this.base & APIC_BASE.EXTD) !== 0n;
  }

  // ---- registers ----

  mmioRead(offset: number): number {
    this.takeIn();
    if (!this.enabled || this.x2apicMode) return 0xffff_ffff;
    if (offset & 0xf) return 0;
    const reg = offset >>> 4;
    if (reg === REG.ID) return (this.parts.apicId << 24) >>> 0;
    if (reg === REG.LDR) return this.ldr;
    if (reg === REG.DFR) return this.dfr;
    if (reg === REG.APR) return this.priority;
    if (reg === REG.ICR_HIGH) return this.command.high;
    // Write-only and remote-read registers read 0 without an error.
    if (reg === REG.EOI || reg === REG.RRD) return 0;
    const value = this.readRegister(reg);
    if (value === undefined) this.errors.note(ESR.ILLEGAL_REGISTER);
    return value ?? 0;
  }

  mmioWrite(offset: number, value: number): void {
    if (!this.enabled || this.x2apicMode || offset & 0xf) return;
    const reg = offset >>> 4;
    if (reg === REG.LDR) this.ldr = (value & 0xff00_0000) >>> 0;
    else if (reg === REG.DFR) this.dfr = (value | DFR.FIXED_ONES) >>> 0;
    else if (reg === REG.ICR_HIGH) this.command.writeHigh(value);
    else if (reg === REG.ICR_LOW) this.command.writeLow(value);
    else if (!this.writeRegister(reg, value) && this.readRegister(reg) === undefined)
      this.errors.note(ESR.ILLEGAL_REGISTER);
    // Writes to read-only registers, the id among them, are dropped.
    this.publish();
  }

  readMsr(msr: number): bigint | undefined {
    this.takeIn();
    if (!this.x2apicMode) return undefined;
    const reg = msr - 0x800;
    if (reg === REG.ID) return BigInt(this.parts.apicId);
    if (reg === REG.LDR) return BigInt(x2apicLdr(this.parts.apicId));
    if (reg === REG.ICR_LOW) return (BigInt(this.command.high) << 32n) | BigInt(this.command.low);
    const value = this.readRegister(reg);
    return value === undefined ? undefined : BigInt(value);
  }

  writeMsr(msr: number, value: bigint): boolean {
    if (!this.x2apicMode) return false;
    const reg = msr - 0x800;
    const [low, high] = [Number(value & 0xffff_ffffn), Number(value >> 32n)];
    if (reg === REG.ICR_LOW) return this.command.write(low, high);
    if (high !== 0 || low & ~x2apicWritable(reg)) return false;
    if (reg === REG.SELF_IPI) {
      this.command.sendSelf(low & ICR.VECTOR);
      return true;
    }
    const isKnown = this.writeRegister(reg, low);
    this.publish();
    return isKnown;
  }

  /** Registers that both modes have. Undefined: there is none, or it cannot be read. */
  private readRegister(reg: number): number | undefined {
    if (reg >= REG.ISR && reg < REG.ISR + 8) return this.accepted.isr.word(reg - REG.ISR);
    if (reg >= REG.TMR && reg < REG.TMR + 8) return this.accepted.tmr.word(reg - REG.TMR);
    if (reg >= REG.IRR && reg < REG.IRR + 8) return this.accepted.irr.word(reg - REG.IRR);
    if (reg >= REG.LVT_TIMER && reg <= REG.LVT_ERROR) return this.local.entry(reg - REG.LVT_TIMER);
    switch (reg) {
      case REG.VERSION:
        return VERSION_VALUE;
      case REG.TPR:
        return this.accepted.tpr;
      case REG.PPR:
        return this.priority;
      case REG.SVR:
        return this.svr;
      case REG.ESR:
        return this.errors.value;
      case REG.ICR_LOW:
        return this.command.low;
      case REG.TIMER_INITIAL:
        return this.timer.initialCount;
      case REG.TIMER_CURRENT:
        return this.timer.currentCount;
      case REG.TIMER_DIVIDE:
        return this.timer.divideConfiguration;
      default:
        return undefined;
    }
  }

  /** Registers that both modes have. False: there is none, or it cannot be written. */
  private writeRegister(reg: number, value: number): boolean {
    if (reg >= REG.LVT_TIMER && reg <= REG.LVT_ERROR) {
      this.writeLvt(reg - REG.LVT_TIMER, value);
      return true;
    }
    switch (reg) {
      case REG.TPR:
        this.accepted.tpr = value & 0xff;
        this.notifyIfPending();
        return true;
      case REG.EOI:
        this.endOfInterrupt();
        return true;
      case REG.SVR:
        this.svr = value & SVR.WRITABLE;
        if (!this.accepting) this.local.mask();
        return true;
      case REG.ESR:
        this.errors.write();
        return true;
      case REG.TIMER_INITIAL:
        this.timer.initialCount = value;
        return true;
      case REG.TIMER_DIVIDE:
        this.timer.divideConfiguration = value & 0xb;
        return true;
      default:
        return false;
    }
  }

  private writeLvt(i: number, value: number): void {
    const { parts } = this;
    let entry = this.local.writable(i, value);
    if (i === LOCAL.TIMER) {
      let mode = entry >>> LVT.TIMER_MODE_SHIFT;
      // Mode 3 is reserved, and so is TSC-deadline mode where it is not advertised: taken as one-shot.
      if (mode > TIMER_MODE.TSC_DEADLINE || (mode === TIMER_MODE.TSC_DEADLINE && parts.tscDeadline === false)) {
        mode = TIMER_MODE.ONE_SHOT;
        entry &= ~(3 << LVT.TIMER_MODE_SHIFT);
      }
      this.timer.setMode(mode);
    }
    this.local.write(i, this.accepting ? entry : entry | LVT.MASKED);
    this.notifyIfPending();
  }

  get tscDeadline(): bigint {
    return this.timer.tscDeadline;
  }

  set tscDeadline(value: bigint) {
    this.timer.tscDeadline = value;
  }

  tscChanged(): void {
    this.timer.tscChanged();
  }

  get cr8(): number {
    return this.accepted.tpr >>> 4;
  }

  set cr8(value: number) {
    this.accepted.tpr = (value & 0xf) << 4;
    this.publish();
    this.notifyIfPending();
  }

  // ---- interrupts for this CPU ----

  get priority(): number {
    return this.accepted.priority;
  }

  get accepting(): boolean {
    return (this.svr & SVR.ENABLE) !== 0;
  }

  pendingVector(): number {
    const vector = this.accepted.pendingVector();
    return vector >= 0 && this.enabled ? vector : -1;
  }

  acknowledge(): number {
    this.takeIn();
    const vector = this.pendingVector();
    if (vector >= 0) {
      this.accepted.serve(vector);
      this.publish();
    }
    return vector;
  }

  get extIntPending(): boolean {
    if (this.extIntLatched) return true;
    return this.enabled ? this.local.extInt : this.local.pin(0);
  }

  takeExtInt(): boolean {
    this.takeIn();
    const pending = this.extIntPending;
    this.extIntLatched = false;
    return pending;
  }

  /** Takes what other threads have left for this APIC. */
  takeIn(): void {
    this.parts.inbox?.take(this);
  }

  /** Lets other threads know by what this APIC is addressed. */
  private publish(): void {
    const { enabled, x2apicMode: x2apic, accepting, ldr, dfr } = this;
    this.parts.inbox?.publish({ enabled, x2apic, accepting, ldr, dfr, priority: this.priority });
  }

  private notifyIfPending(): void {
    if (this.extIntPending || this.pendingVector() >= 0) this.parts.cpu.notify();
  }

  private accept(vector: number, trigger: 'edge' | 'level'): void {
    if (vector < FIRST_LEGAL_VECTOR) {
      this.errors.note(ESR.RECEIVE_ILLEGAL_VECTOR);
      return;
    }
    if (!this.accepting) return;
    this.accepted.add(vector, trigger);
    this.notifyIfPending();
  }

  /** §11.8.5. */
  private endOfInterrupt(): void {
    const vector = this.accepted.end();
    if (vector < 0) return;
    if (this.accepted.tmr.has(vector)) {
      this.local.end(vector);
      if (!(this.svr & SVR.NO_EOI_BROADCAST)) this.parts.bus.broadcastEoi(vector);
    } else this.parts.bus.edgeEnded(vector);
    this.notifyIfPending();
  }

  setLint(pin: 0 | 1, asserted: boolean): void {
    if (!this.local.setPin(pin, asserted) || !asserted) return;
    // §11.4.3: without an APIC the pins are INTR and NMI.
    if (this.enabled) this.local.raisePin(pin);
    else if (pin === 1) this.parts.cpu.nmi();
    this.notifyIfPending();
  }

  // ---- messages ----

  matches(destination: Destination): boolean {
    if (!this.enabled) return false;
    const { x2apicMode: x2apic, ldr, dfr } = this;
    return isAddressed(destination, { apicId: this.parts.apicId, x2apic, ldr, dfr });
  }

  deliver(message: ApicMessage): void {
    const { cpu } = this.parts;
    switch (message.mode) {
      case 'fixed':
      case 'lowest':
        this.accept(message.vector, message.trigger);
        break;
      case 'nmi':
        cpu.nmi();
        break;
      case 'init':
        this.reset(true);
        cpu.init();
        break;
      case 'startup':
        cpu.startup(message.vector);
        break;
      case 'extint':
        this.extIntLatched = true;
        this.notifyIfPending();
        break;
      case 'smi':
        break;
    }
  }

  // ---- reset and saved state ----

  reset(init: boolean): void {
    // INIT keeps base, mode and id (§11.4.7.3, §11.12.5.1).
    if (!init) this.base = BigInt(APIC_DEFAULT_BASE) | APIC_BASE.EN | (this.parts.bsp ? APIC_BASE.BSP : 0n);
    this.resetRegisters();
    this.publish();
    this.notifyIfPending();
  }

  /** §11.4.7.1. */
  private resetRegisters(): void {
    this.ldr = 0;
    this.dfr = DFR.FLAT;
    this.svr = SVR.VECTOR;
    this.accepted.reset();
    this.errors.reset();
    this.command.reset();
    this.local.reset();
    this.extIntLatched = false;
    this.timer.reset();
  }

  save(): ApicState {
    return {
      base: this.base,
      ldr: this.ldr,
      dfr: this.dfr,
      svr: this.svr,
      ...this.accepted.save(),
      ...this.errors.save(),
      ...this.command.save(),
      ...this.local.save(),
      extIntLatched: this.extIntLatched,
      timer: this.timer.save(),
    };
  }

  restore(state: ApicState): void {
    this.base = state.base;
    this.ldr = state.ldr;
    this.dfr = state.dfr;
    this.svr = state.svr;
    this.accepted.restore(state);
    this.errors.restore(state);
    this.command.restore(state);
    this.local.restore(state);
    this.extIntLatched = state.extIntLatched;
    this.timer.restore(state.timer, (state.lvt[LOCAL.TIMER] >>> LVT.TIMER_MODE_SHIFT) & 3);
    this.publish();
    this.notifyIfPending();
  }
}
