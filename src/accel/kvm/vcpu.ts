/** One CPU on KVM. It runs, and its devices are called, on the thread that calls `run`. */
import { CR0 } from '../../arch/x86/control-registers.js';
import { resetVcpuState } from '../../arch/x86/boot-state.js';
import { initialMsrs } from '../../arch/x86/msr-policy.js';
import { MSR } from '../../arch/x86/msrs.js';
import { vcpuStateSchema, type VcpuState } from '../../arch/x86/state.js';
import { HostError } from '../../base/errors.js';
import type { CodeLocation, CpuEvent, DebugRequest, Vcpu, VcpuEnvironment, VcpuExit } from '../../iface/vcpu.js';
import type { Plain } from '../../snapshot/schema.js';
import { MsrFile } from '../common/msr-file.js';
import { EXIT, KVM, REGS, RUN, SIZE } from './abi.js';
import { debugReason, debugStructure, REGISTERS } from './debug.js';
import { Exits } from './exits.js';
import { close, ERRNO, ioctl, ioctlRun, map, runSignalMask, SystemError, ThreadTimer, type Mapping } from './libc.js';
import { KVM_MSRS, Registers, Structure } from './registers.js';
import { TimeStampCounter } from './tsc.js';
import type { KvmVm } from './vm.js';

/** A run without an exit ends after so many nanoseconds at the latest. */
const LONGEST_RUN = 1e9;

export class KvmVcpu implements Vcpu {
  readonly retired = undefined;
  readonly recentEvents: readonly CpuEvent[] = [];
  /** Budgets are nanoseconds. */
  readonly isTimed = true;
  readonly debugPlaces = REGISTERS;
  private readonly fd: number;
  private readonly run_: Mapping;
  private readonly view: DataView;
  private readonly registers: Registers;
  private readonly timer: ThreadTimer;
  private msrs: MsrFile;
  private exits: Exits;
  private debug: DebugRequest = { singleStep: false, breakpoints: [], watchpoints: [] };
  private kicked = false;
  private halted = false;
  private shutDown = false;
  private initPending = false;
  private readonly tsc: TimeStampCounter;

  constructor(
    private readonly vm: KvmVm,
    readonly index: number,
    private environment: VcpuEnvironment,
  ) {
    // What was had before something failed is given back, the last first.
    const had: (() => void)[] = [];
    try {
      this.timer = new ThreadTimer();
      had.push(() => this.timer.close());
      this.fd = ioctl(vm.fd, KVM.CREATE_VCPU, index, 'KVM_CREATE_VCPU');
      had.push(() => close(this.fd));
      this.run_ = map(this.fd, vm.system.runSize);
      had.push(() => this.run_.unmap());
      this.view = this.run_.view;
      this.registers = new Registers(this.fd, vm.capabilities);
      ioctl(this.fd, KVM.SET_SIGNAL_MASK, runSignalMask(), 'KVM_SET_SIGNAL_MASK');
      this.setCpuid();
      this.tsc = new TimeStampCounter(this.fd, this.registers, vm.options.tscHz);
      [this.msrs, this.exits] = this.partsFor(environment);
      this.reset();
    } catch (error) {
      for (const giveBack of had.toReversed()) giveBack();
      throw error;
    }
  }

  /** The machine's board was built anew. */
  connect(environment: VcpuEnvironment): void {
    this.environment = environment;
    [this.msrs, this.exits] = this.partsFor(environment);
    this.reset();
  }

  private partsFor(environment: VcpuEnvironment): [MsrFile, Exits] {
    const msrs = new MsrFile(this.vm.options.model, environment.apic, () => this.exits.window.moved());
    return [msrs, new Exits(this.view, environment, msrs)];
  }

  private setCpuid(): void {
    const entries = this.vm.options.cpuid(this.index);
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
  run(budget: number): VcpuExit {
    if (this.tsc.follow(this.environment.now())) this.environment.apic.tscChanged();
    this.timer.set(Math.min(budget, LONGEST_RUN));
    for (;;) {
      if (this.shutDown) return { kind: 'shutdown' };
      if (this.initPending) this.takeInit();
      if (this.kicked) {
        this.kicked = false;
        return { kind: 'kicked' };
      }
      if (!this.offerInterrupt()) return { kind: 'halt' };
      const { apic } = this.environment;
      this.view.setBigUint64(RUN.CR8, BigInt(apic.cr8), true);
      const error = -ioctlRun(this.fd, KVM.RUN);
      apic.cr8 = Number(this.view.getBigUint64(RUN.CR8, true));
      if (error === ERRNO.EINTR || error === ERRNO.EAGAIN) {
        this.timer.drain();
        return { kind: 'budget' };
      }
      if (error !== 0) throw new SystemError('KVM_RUN', error);
      const exit = this.handle(this.view.getUint32(RUN.EXIT_REASON, true));
      if (exit) return exit;
    }
  }

  private handle(reason: number): VcpuExit | undefined {
    switch (reason) {
      case EXIT.IO:
        this.exits.io();
        return undefined;
      case EXIT.MMIO:
        this.exits.mmio();
        return undefined;
      case EXIT.X86_RDMSR:
        this.exits.readMsr();
        return undefined;
      case EXIT.X86_WRMSR:
        this.exits.writeMsr();
        return undefined;
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
      const vector = apic.takeExtInt() ? this.environment.acknowledgeExtInt() : apic.acknowledge();
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
    const { linear } = this.location;
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

  /** `run` looks by itself: nothing can happen while the guest runs, since devices are on this thread. */
  notifyInterrupt(): void {}

  nmi(): void {
    ioctl(this.fd, KVM.NMI, 0, 'KVM_NMI');
    this.halted = false;
  }

  init(): void {
    this.initPending = true;
  }

  /** The bootstrap processor starts without one. */
  startup(): void {}

  /** What INIT leaves as it was: SDM vol. 3 table 10-1. */
  private takeInit(): void {
    const { model } = this.vm.options;
    const { fpu, msrs, xcr0, cr0, tsc, events } = vcpuStateSchema.check(this.saveState(), 'cpu');
    const fresh = resetVcpuState({ signature: model.signature, msrs }, this.index === 0);
    const CACHE = BigInt(CR0.CD | CR0.NW) & 0xffff_ffffn;
    const kept = { fpu, xcr0, cr0: (fresh.cr0 & ~CACHE) | (cr0 & CACHE) };
    this.write({ ...fresh, ...kept, events: { ...fresh.events, nmiPending: events.nmiPending } }, tsc);
  }

  /** DEVIATION: address line 20 cannot be switched off under KVM, as in QEMU. */
  setA20(): void {}

  readTsc(): bigint {
    return this.tsc.read();
  }

  get location(): CodeLocation {
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
    const identity = { signature: model.signature, msrs: initialMsrs(model) };
    this.write(resetVcpuState(identity, this.index === 0), this.readTsc());
  }

  saveState(): Plain {
    const { registers } = this;
    const values = new Map(this.msrs.values);
    for (const [index, value] of registers.msrs(KVM_MSRS)) values.set(index, value);
    const saved = registers.save();
    return {
      ...saved,
      tsc: this.readTsc(),
      msrs: [...values].sort(([a], [b]) => a - b).map(([index, value]) => ({ index, value })),
      events: { ...saved.events, initPending: this.initPending },
      activity: this.shutDown ? 'shutdown' : this.halted ? 'halted' : 'running',
      a20: true,
      monitor: null,
    } satisfies VcpuState;
  }

  restoreState(state: Plain): void {
    const checked = vcpuStateSchema.check(state, 'cpu');
    this.write(checked, checked.tsc);
    this.environment.apic.tscChanged();
  }

  private write(state: VcpuState, tsc: bigint): void {
    this.registers.restore(state, this.environment.apic.apicBase);
    this.msrs.reset();
    const own: [number, bigint][] = [[MSR.TSC, tsc]];
    for (const { index, value } of state.msrs) {
      if (KVM_MSRS.includes(index)) own.push([index, value]);
      else this.msrs.values.set(index, value);
    }
    this.registers.setMsrs(own);
    this.tsc.wasSet(this.environment.now());
    this.halted = state.activity === 'halted';
    this.shutDown = state.activity === 'shutdown';
    this.initPending = state.events.initPending;
    this.view.setUint8(RUN.READY_FOR_INTERRUPT, 0);
    this.view.setUint8(RUN.IF_FLAG, Number((state.rflags >> 9n) & 1n));
    this.exits.window.moved();
  }

  close(): void {
    this.timer.close();
    this.run_.unmap();
    close(this.fd);
  }
}
