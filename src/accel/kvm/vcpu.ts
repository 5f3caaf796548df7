/** One CPU on KVM. It runs, and its devices are called, on the thread that calls `run`. */
import { CR0 } from '../../arch/x86/control-registers.js';
import { resetVcpuState, SEGMENT_ATTRIBUTES } from '../../arch/x86/boot-state.js';
import { initialMsrs } from '../../arch/x86/msr-policy.js';
import { vcpuStateSchema, type VcpuState } from '../../arch/x86/state.js';
import { HostError } from '../../base/errors.js';
import type { CodeLocation, CpuEvent, DebugRequest, Vcpu, VcpuEnvironment, VcpuExit } from '../../iface/vcpu.js';
import type { Plain } from '../../snapshot/schema.js';
import { MsrFile } from '../common/msr-file.js';
import { EXIT, KVM, MP_STATE, REGS, RUN, SIZE } from './abi.js';
import { debugReason, debugStructure, REGISTERS } from './debug.js';
import { Exits } from './exits.js';
import { NEWS, type CpuWords } from './cpu-words.js';
import type { KernelApic } from './kernel-apic.js';
import type { KernelControllers } from './kernel-controllers.js';
import {
  ERRNO,
  ioctl,
  ioctlRun,
  KICK_SIGNAL,
  runSignalMask,
  signalThread,
  SystemError,
  ThreadTimer,
  viewAt,
} from './libc.js';
import { Registers, Structure } from './registers.js';
import { TimeStampCounter } from './tsc.js';
import type { KvmVm } from './vm.js';

/** Exits in the middle of an instruction, which KVM completes. */
const LEAVES_ACCESS: ReadonlySet<number> = new Set([EXIT.IO, EXIT.MMIO, EXIT.X86_RDMSR, EXIT.X86_WRMSR]);

/** Nanoseconds that a run still has after the guest has been with a device, where it is not left for HLT: what devices have done is passed on behind it. */
const AFTER_DEVICE = 100_000;

/** A run without an exit ends after so many nanoseconds at the latest. */
const LONGEST_RUN = 1e9;

const MP_STATES: Readonly<Record<VcpuState['activity'], number>> = {
  running: MP_STATE.RUNNABLE,
  halted: MP_STATE.HALTED,
  shutdown: MP_STATE.RUNNABLE,
  'wait-for-sipi': MP_STATE.INIT_RECEIVED,
};

export class KvmVcpu implements Vcpu {
  readonly retired = undefined;
  readonly recentEvents: readonly CpuEvent[] = [];
  /** Budgets are nanoseconds. */
  readonly isTimed = true;
  readonly debugPlaces = REGISTERS;
  private readonly fd: number;
  private readonly view: DataView;
  private readonly words: CpuWords;
  private readonly registers: Registers;
  private readonly timer: ThreadTimer;
  private msrs: MsrFile;
  private exits: Exits;
  private debug: DebugRequest = { singleStep: false, breakpoints: [], watchpoints: [] };
  private kicked = false;
  private halted = false;
  private shutDown = false;
  private initPending = false;
  /** Of a CPU that waits for its STARTUP message, and one that came before the INIT that it is for was acted upon. */
  private waitsForStartup = false;
  private startupPage: number | undefined;
  /** What the last exit asked for is complete when KVM_RUN is called again: until then the state is that of before. */
  private isUnfinished = false;
  private readonly tsc: TimeStampCounter;
  /** Absent: it is ours, and so are HLT, INIT and STARTUP. */
  private readonly kernelApic: KernelApic | undefined;
  /** The run that goes on ends soon, because a device was used. */
  private isEnding = false;

  constructor(
    private readonly vm: KvmVm,
    readonly index: number,
    private environment: VcpuEnvironment,
  ) {
    const { fd, run } = vm.share.cpus[index];
    this.fd = fd;
    this.view = viewAt(run, vm.share.runSize);
    this.words = vm.signals;
    this.kernelApic = vm.chips?.localApic(index);
    this.timer = new ThreadTimer();
    try {
      this.registers = new Registers(fd, vm.share.capabilities, vm.options.model);
      ioctl(fd, KVM.SET_SIGNAL_MASK, runSignalMask(), 'KVM_SET_SIGNAL_MASK');
      this.setCpuid();
      const { registers, words } = this;
      // Not always the rate that the machine was made for.
      const hz = ioctl(fd, KVM.GET_TSC_KHZ, 0, 'KVM_GET_TSC_KHZ') * 1000;
      this.tsc = new TimeStampCounter({ fd, index, registers, words, hz });
      const stood = (): number => this.tsc.stood(this.environment.now());
      this.kernelApic?.attach({ stood, settle: () => this.runNothing() });
      if (this.controllers) this.controllers.stood = stood;
      [this.msrs, this.exits] = this.partsFor(environment);
      this.reset();
    } catch (error) {
      this.timer.close();
      throw error;
    }
    this.words.register(index, this.timer.thread, this.timer.id);
  }

  /** The machine's board was built anew. */
  connect(environment: VcpuEnvironment): void {
    this.abandon();
    this.environment = environment;
    [this.msrs, this.exits] = this.partsFor(environment);
    this.reset();
  }

  private partsFor(environment: VcpuEnvironment): [MsrFile, Exits] {
    const msrs = new MsrFile(this.vm.options.model, environment.apic, () => this.exits.apicMoved());
    const outside = <T>(call: () => T): T => this.words.outside(this.index, call);
    return [msrs, new Exits(this.view, environment, msrs, outside, this.kernelApic === undefined)];
  }

  private setCpuid(): void {
    const entries = this.vm.cpuid(this.index);
    const list = new Structure(8 + SIZE.CPUID_ENTRY * entries.length);
    list.view.setUint32(0, entries.length, true);
    for (const [i, { leaf, subleaf, indexed, eax, ebx, ecx, edx }] of entries.entries())
      [leaf, subleaf, indexed ? 1 : 0, eax, ebx, ecx, edx].forEach((word, j) =>
        list.view.setUint32(8 + SIZE.CPUID_ENTRY * i + 4 * j, word, true),
      );
    ioctl(this.fd, KVM.SET_CPUID2, list.bytes, 'KVM_SET_CPUID2');
  }

  // ---- running ----

  /** `budget` is in nanoseconds. */
  run(budget: number, least = 0): VcpuExit {
    this.words.enter(this.index);
    try {
      return this.runInside(budget, least);
    } finally {
      this.words.leave(this.index);
    }
  }

  private runInside(budget: number, least: number): VcpuExit {
    const { index, words, timer, environment, view, kernelApic } = this;
    const { apic } = environment;
    const { kicked } = this;
    const stood = this.followClock();
    // A look at the clock finds that something is due by now. The guest has not seen that, and runs: on a slow host it would never.
    this.kicked = kicked;
    if (stood !== 0) apic.tscChanged();
    kernelApic?.thaw();
    this.controllers?.begin();
    this.isEnding = false;
    timer.set(Math.min(budget, LONGEST_RUN));
    for (;;) {
      const end = this.prepare();
      if (end) return end;
      const news = words.takeNews(index);
      if (news !== 0) {
        this.take(news);
        continue;
      }
      if (!kernelApic) view.setBigUint64(RUN.CR8, BigInt(apic.cr8), true);
      const error = -ioctlRun(this.fd, KVM.RUN);
      if (!kernelApic) apic.cr8 = Number(view.getBigUint64(RUN.CR8, true));
      this.isUnfinished = false;
      if (error === ERRNO.EINTR || error === ERRNO.EAGAIN) {
        if (timer.drain() === KICK_SIGNAL) continue;
        // A CPU that waits for STARTUP inside comes back when it has got it.
        if (error === ERRNO.EAGAIN && kernelApic) continue;
        return { kind: 'budget' };
      }
      if (error !== 0) throw new SystemError('KVM_RUN', error);
      const exit = this.handle(view.getUint32(RUN.EXIT_REASON, true));
      if (exit) return exit;
      if (kernelApic && index === 0 && !this.isEnding) {
        this.isEnding = true;
        timer.set(Math.min(budget, Math.max(AFTER_DEVICE, least)));
      }
    }
  }

  /** Nanoseconds for which the machine's clock has stood still. */
  private followClock(): number {
    const now = (): number => this.environment.now();
    return this.tsc.follow(now, () => this.vm.setGuestClock(now()));
  }

  /** Timers in the kernel go by the host's clock. */
  resume(): void {
    this.words.enter(this.index);
    try {
      const stood = this.followClock();
      this.kernelApic?.resume(stood);
      this.controllers?.resume(stood);
      this.environment.apic.tscChanged();
    } finally {
      this.words.leave(this.index);
    }
  }

  /** KVM's, which the first CPU looks after. */
  private get controllers(): KernelControllers | undefined {
    return this.index === 0 ? this.vm.chips?.controllers : undefined;
  }

  get isAsleep(): boolean {
    return this.kernelApic !== undefined && this.mpState !== MP_STATE.RUNNABLE;
  }

  /** Where KVM has the local APIC. */
  private get mpState(): number {
    const state = new Structure(4);
    ioctl(this.fd, KVM.GET_MP_STATE, state.bytes, 'KVM_GET_MP_STATE');
    return state.view.getUint32(0, true);
  }

  private set mpState(value: number) {
    const state = new Structure(4);
    state.view.setUint32(0, value, true);
    ioctl(this.fd, KVM.SET_MP_STATE, state.bytes, 'KVM_SET_MP_STATE');
  }

  /** Has KVM do all that it does when the guest runs, but for that. */
  private runNothing(): void {
    signalThread(this.timer.thread, KICK_SIGNAL);
    for (;;) {
      const error = -ioctlRun(this.fd, KVM.RUN);
      this.isUnfinished = false;
      if (error === ERRNO.EINTR || error === ERRNO.EAGAIN) break;
      if (error !== 0) throw new SystemError('KVM_RUN', error);
      // What was on its way out already.
      this.handle(this.view.getUint32(RUN.EXIT_REASON, true));
    }
    while (this.timer.drain() >= 0);
  }

  /** What is to be done before the guest runs; why it does not. */
  private prepare(): VcpuExit | undefined {
    if (this.shutDown) return { kind: 'shutdown' };
    if (this.initPending) this.takeInit();
    if (this.kicked) {
      this.kicked = false;
      return { kind: 'kicked' };
    }
    if (this.kernelApic) this.offerExtInt();
    else if (this.waitsForStartup || !this.offerInterrupt()) return { kind: 'halt' };
    return undefined;
  }

  /** What other threads want. */
  private take(news: number): void {
    if (news & NEWS.KICK) this.kicked = true;
    if (news & NEWS.INTERRUPT) this.environment.apic.takeIn?.();
  }

  /** Has KVM complete what the last exit asked for, without an instruction of the guest behind that; `answer`: what else that asks for. */
  private finish(answer: () => void): void {
    while (this.isUnfinished) {
      this.view.setUint8(RUN.IMMEDIATE_EXIT, 1);
      const error = -ioctlRun(this.fd, KVM.RUN);
      this.view.setUint8(RUN.IMMEDIATE_EXIT, 0);
      this.isUnfinished = false;
      if (error === 0) answer();
      else if (error !== ERRNO.EINTR && error !== ERRNO.EAGAIN) throw new SystemError('KVM_RUN', error);
    }
  }

  /** Completes an access, of which there may be more. */
  private settle(): void {
    this.finish(() => {
      this.handle(this.view.getUint32(RUN.EXIT_REASON, true));
    });
  }

  /** Takes the CPU out of the middle of an access, for a state that it is going to get. */
  private abandon(): void {
    this.finish(() => {
      this.isUnfinished = LEAVES_ACCESS.has(this.view.getUint32(RUN.EXIT_REASON, true));
    });
  }

  private handle(reason: number): VcpuExit | undefined {
    switch (reason) {
      case EXIT.IO:
        this.isUnfinished = true;
        this.exits.io();
        return undefined;
      case EXIT.MMIO:
        this.isUnfinished = true;
        this.exits.mmio();
        return undefined;
      case EXIT.X86_RDMSR:
        this.isUnfinished = true;
        this.exits.readMsr();
        return undefined;
      case EXIT.X86_WRMSR:
        this.isUnfinished = true;
        this.exits.writeMsr();
        return undefined;
      case EXIT.IOAPIC_EOI: {
        const vector = this.view.getUint8(RUN.EOI_VECTOR);
        this.words.outside(this.index, () => this.environment.endOfInterrupt?.(vector));
        return undefined;
      }
      case EXIT.HLT:
        this.halted = true;
        return undefined;
      case EXIT.SHUTDOWN:
        this.shutDown = true;
        return undefined;
      case EXIT.DEBUG:
        return { kind: 'debug', reason: debugReason(this.view, this.debug) };
      case EXIT.IRQ_WINDOW_OPEN:
      case EXIT.INTR:
      case EXIT.SET_TPR:
        return undefined;
      case EXIT.INTERNAL_ERROR:
        throw new HostError(this.describeInternalError());
      case EXIT.FAIL_ENTRY: {
        const why = this.view.getBigUint64(RUN.ENTRY_FAILURE, true);
        throw new HostError(`the host's processor refuses to enter the guest: reason 0x${why.toString(16)}`);
      }
      default:
        throw new HostError(`KVM left the guest for a reason that Vitrine does not know: ${reason}`);
    }
  }

  /** Interrupts of the 8259, where KVM has the local APIC: it says whether that passes them on. */
  private offerExtInt(): void {
    const { view } = this;
    const { apic } = this.environment;
    const isReady = view.getUint8(RUN.READY_FOR_INTERRUPT) !== 0 && view.getUint8(RUN.IF_FLAG) !== 0;
    if (isReady && apic.takeExtInt())
      this.inject(this.words.outside(this.index, () => this.environment.acknowledgeExtInt()));
    view.setUint8(RUN.REQUEST_INTERRUPT_WINDOW, apic.extIntPending ? 1 : 0);
  }

  /** Injects what is pending, or asks to be told when that is possible. False: the CPU is halted and stays so. */
  private offerInterrupt(): boolean {
    const { view } = this;
    const { apic } = this.environment;
    const isPending = apic.extIntPending || apic.pendingVector() >= 0;
    if (this.halted) {
      if (!isPending || view.getUint8(RUN.IF_FLAG) === 0) return false;
      this.halted = false;
    }
    const isReady = view.getUint8(RUN.READY_FOR_INTERRUPT) !== 0 && view.getUint8(RUN.IF_FLAG) !== 0;
    if (isPending && isReady) {
      const vector = apic.takeExtInt()
        ? this.words.outside(this.index, () => this.environment.acknowledgeExtInt())
        : apic.acknowledge();
      if (vector >= 0) this.inject(vector);
    }
    const isMore = apic.extIntPending || apic.pendingVector() >= 0;
    view.setUint8(RUN.REQUEST_INTERRUPT_WINDOW, isMore ? 1 : 0);
    return true;
  }

  private inject(vector: number): void {
    const interrupt = new Structure(4);
    interrupt.view.setUint32(0, vector, true);
    ioctl(this.fd, KVM.INTERRUPT, interrupt.bytes, 'KVM_INTERRUPT');
    // Nothing else goes in before the guest has run.
    this.view.setUint8(RUN.READY_FOR_INTERRUPT, 0);
  }

  private describeInternalError(): string {
    const { view, registers } = this;
    registers.loadRegs();
    registers.loadSregs();
    const { linear } = this.findLocation();
    const physical = this.translate(linear);
    const bytes = new Uint8Array(15);
    const isThere = physical !== undefined && this.vm.dma.read(physical as never, bytes);
    const code = isThere ? `, at ${Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(' ')}` : '';
    const suberror = view.getUint32(RUN.INTERNAL_SUBERROR, true);
    const what = suberror === 1 ? 'cannot emulate an instruction' : `has failed (${suberror})`;
    return `the host's KVM ${what} at ${linear.toString(16)}${code}; --accel wasm has no such limits`;
  }

  // ---- what others want ----

  kick(): void {
    this.kicked = true;
  }

  /** `run` looks by itself: what other threads have for the APIC they tell by `CpuWords`. */
  notifyInterrupt(): void {}

  nmi(): void {
    ioctl(this.fd, KVM.NMI, 0, 'KVM_NMI');
    this.halted = false;
  }

  init(): void {
    this.initPending = true;
    this.startupPage = undefined;
  }

  /** Where it is not waited for, the message is lost (SDM vol. 3 §9.4.3). */
  startup(page: number): void {
    if (this.initPending) this.startupPage = page;
    else if (this.takeStartup()) this.begin(page);
  }

  /** False: it does not wait for a STARTUP message. */
  private takeStartup(): boolean {
    if (!this.kernelApic) return this.waitsForStartup;
    if (this.mpState !== MP_STATE.INIT_RECEIVED) return false;
    this.mpState = MP_STATE.RUNNABLE;
    return true;
  }

  /** At the first instruction of a page, in real mode. */
  private begin(page: number): void {
    const { registers } = this;
    this.waitsForStartup = false;
    registers.loadSregs();
    registers.setSegment('cs', {
      selector: page << 8,
      base: BigInt(page << 12),
      limit: 0xffff,
      attributes: SEGMENT_ATTRIBUTES.CODE16,
    });
    registers.storeSregs();
    registers.loadRegs();
    registers.setRip(0n);
  }

  /** What INIT leaves as it was: SDM vol. 3 table 10-1. */
  private takeInit(): void {
    this.abandon();
    const { model } = this.vm.options;
    const { fpu, msrs, xcr0, cr0, events } = vcpuStateSchema.check(this.saveState(), 'cpu');
    const fresh = resetVcpuState({ signature: model.signature, msrs }, this.index === 0);
    const CACHE = BigInt(CR0.CD | CR0.NW) & 0xffff_ffffn;
    const kept = { fpu, xcr0, cr0: (fresh.cr0 & ~CACHE) | (cr0 & CACHE) };
    const page = this.startupPage;
    this.write({ ...fresh, ...kept, events: { ...fresh.events, nmiPending: events.nmiPending } });
    if (page !== undefined && this.takeStartup()) this.begin(page);
  }

  /** DEVIATION: address line 20 cannot be switched off under KVM, as in QEMU. */
  setA20(): void {}

  readTsc(): bigint {
    return this.tsc.read();
  }

  get location(): CodeLocation {
    this.settle();
    return this.findLocation();
  }

  private findLocation(): CodeLocation {
    const { registers } = this;
    registers.loadRegs();
    registers.loadSregs();
    const cs = registers.segment('cs');
    const isLong = (cs.attributes & (1 << 13)) !== 0;
    const bits = isLong ? 64 : cs.attributes & (1 << 14) ? 32 : 16;
    const offset = registers.regs.u64(REGS.RIP);
    return { selector: cs.selector, offset, linear: BigInt.asUintN(isLong ? 64 : 32, offset + cs.base), bits };
  }

  translate(linear: bigint): number | undefined {
    const answer = new Structure(24);
    answer.setU64(0, linear);
    ioctl(this.fd, KVM.TRANSLATE, answer.bytes, 'KVM_TRANSLATE');
    return answer.bytes[16] ? Number(answer.u64(8)) : undefined;
  }

  setDebug(request: DebugRequest): void {
    this.debug = request;
    ioctl(this.fd, KVM.SET_GUEST_DEBUG, debugStructure(request), 'KVM_SET_GUEST_DEBUG');
  }

  // ---- state ----

  reset(): void {
    const { model } = this.vm.options;
    const now = this.environment.now();
    this.write(resetVcpuState({ signature: model.signature, msrs: initialMsrs(model) }, this.index === 0));
    this.tsc.reset(this.environment.poweredAt ?? now, now);
    if (this.index === 0) this.vm.setGuestClock(now);
  }

  saveState(): Plain {
    this.settle();
    this.kernelApic?.freeze();
    const { registers } = this;
    const values = new Map(this.msrs.values);
    for (const [index, value] of registers.msrs(registers.held)) values.set(index, value);
    const saved = registers.save();
    return {
      ...saved,
      tsc: this.tsc.at(this.environment.now()),
      msrs: [...values].sort(([a], [b]) => a - b).map(([index, value]) => ({ index, value })),
      events: { ...saved.events, initPending: this.initPending, sipiPage: this.startupPage ?? null },
      activity: this.activity,
      a20: true,
      monitor: null,
    } satisfies VcpuState;
  }

  private get activity(): VcpuState['activity'] {
    if (this.shutDown) return 'shutdown';
    if (this.kernelApic) {
      const state = this.mpState;
      if (state === MP_STATE.HALTED) return 'halted';
      return state === MP_STATE.RUNNABLE ? 'running' : 'wait-for-sipi';
    }
    if (this.waitsForStartup) return 'wait-for-sipi';
    return this.halted ? 'halted' : 'running';
  }

  restoreState(state: Plain): void {
    const checked = vcpuStateSchema.check(state, 'cpu');
    this.write(checked);
    const now = this.environment.now();
    this.tsc.set(checked.tsc, now, now);
    if (this.index === 0) this.vm.setGuestClock(now);
    this.environment.apic.tscChanged();
  }

  /** All but the time-stamp counter. */
  private write(state: VcpuState): void {
    this.abandon();
    const { kernelApic } = this;
    // The task priority, which CR8 has a part of.
    const registers = kernelApic?.load();
    this.registers.restore(state, this.environment.apic.apicBase);
    if (registers) kernelApic?.store(registers);
    this.msrs.reset();
    const own: [number, bigint][] = [];
    for (const { index, value } of state.msrs) {
      if (this.registers.held.includes(index)) own.push([index, value]);
      else this.msrs.values.set(index, value);
    }
    this.registers.setMsrs(own);
    if (kernelApic) this.mpState = MP_STATES[state.activity];
    this.halted = kernelApic === undefined && state.activity === 'halted';
    this.shutDown = state.activity === 'shutdown';
    this.initPending = state.events.initPending;
    this.waitsForStartup = kernelApic === undefined && state.activity === 'wait-for-sipi';
    this.startupPage = state.events.sipiPage ?? undefined;
    this.view.setUint8(RUN.READY_FOR_INTERRUPT, 0);
    this.view.setUint8(RUN.IF_FLAG, Number((state.rflags >> 9n) & 1n));
    this.exits.apicMoved();
  }

  /** Its descriptor and struct kvm_run are the Vm's. */
  close(): void {
    this.timer.close();
  }
}
