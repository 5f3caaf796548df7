import { cpuid, type CpuidEntry } from '../../arch/x86/cpuid.js';
import type { CpuModel } from '../../arch/x86/cpu-models.js';
import { vcpuStateSchema } from '../../arch/x86/state.js';
import { assert } from '../../base/assert.js';
import { ATTN, EVENTS, GDB, MAX_BREAKPOINTS, SEGMENT, STATE } from '../../cpu/x86/state-layout.js';
import type { CodeLocation, CpuEvent, DebugRequest, Vcpu, VcpuEnvironment, VcpuExit } from '../../iface/vcpu.js';
import { cpuOrigin, LAYOUT } from '../../memory/layout.js';
import type { Plain } from '../../snapshot/schema.js';
import type { HelperExports, InterpreterExports } from './helpers.js';
import type { InterpImage } from './image.js';
import type { MachineMemory } from './memory.js';
import { describeWork } from './statistics.js';
import { EventLog } from './event-log.js';
import { ApicWindow } from '../common/apic-window.js';
import { MsrFile } from '../common/msr-file.js';
import { describeModel } from './model.js';
import { readState, StateView, writeState } from './state.js';
import { WasmCpu, type WasmCpuHost } from './wasm-cpu.js';

export interface InterpVcpuOptions {
  readonly index: number;
  readonly environment: VcpuEnvironment;
  readonly image: InterpImage;
  readonly model: CpuModel;
  readonly cpuid: readonly CpuidEntry[];
  readonly tscHz: number;
  readonly memory: MachineMemory;
  /** For an image whose interpreter enters translated code. */
  readonly createTranslator?: ((memory: MachineMemory, cpu: number, wasm: WasmCpu) => CodeTranslator) | undefined;
  /** Its WebAssembly, over the same memory, when that is there already. */
  readonly wasm?: WasmCpu | undefined;
}

/** Turns hot guest code into functions of a table. */
export interface CodeTranslator {
  /** The record in HOT_RECORD has become hot. */
  translateHot(): void;
  /** What was translated so far, as lines of text. */
  describe(): readonly string[];
  /** Name of the instruction that a handler of the interpreter is for. */
  nameOf(handler: number): string | undefined;
  /** Makes what was translated meanwhile, elsewhere, available. */
  install(): void;
  /** Ends what works for it. */
  close(): void;
}

/** IA32_EFER: long mode is active. */
const EFER_LMA = 1n << 10n;
/** The largest budget that a single call into the interpreter takes. */
const MAX_BUDGET = 0x4000_0000;

export class InterpVcpu implements Vcpu {
  readonly index: number;
  private readonly state: StateView;
  private readonly helpers: HelperExports;
  private readonly interpreter: InterpreterExports;
  private readonly msrs: MsrFile;
  private readonly attention: Int32Array;
  private readonly environment: VcpuEnvironment;
  private readonly model: CpuModel;
  private readonly options: InterpVcpuOptions;
  private readonly events: EventLog;
  private debug: DebugRequest = { singleStep: false, breakpoints: [], watchpoints: [] };
  private readonly window: ApicWindow;

  private readonly translator: CodeTranslator | undefined;
  /** The code cache is for the memory that is about to be restored. */
  private hasCarriedCode = false;

  constructor(options: InterpVcpuOptions) {
    const { index, memory, image, environment, model } = options;
    this.options = options;
    this.index = index;
    this.environment = environment;
    this.model = model;
    const origin = cpuOrigin(index);
    const base = LAYOUT.STATES + origin;
    this.state = new StateView(memory.view, memory.bytes, base);
    this.events = new EventLog(this.state);
    this.attention = new Int32Array(memory.memory.buffer, base + STATE.ATTN, 1);
    this.window = new ApicWindow(environment);
    const moved = (): void => {
      this.window.moved();
    };
    this.msrs = new MsrFile(model, environment.apic, moved, environment.guestClock);
    const wasm = options.wasm ?? new WasmCpu(image, memory.memory, index);
    wasm.attach(this.surroundings(base));
    this.helpers = wasm.helpers;
    this.interpreter = wasm.interpreter;
    this.translator = options.createTranslator?.(memory, index, wasm);
    describeModel(this.state, options);
    this.reset();
  }

  /** What it wants done of its surroundings. */
  private surroundings(base: number): WasmCpuHost {
    const { memory, environment } = this.options;
    const { io, apic } = environment;
    const scratch = base + STATE.SCRATCH;
    return {
      mmioRead: (address, size) => this.window.read(address, size),
      mmioWrite: (address, size, value) => this.window.write(address, size, value),
      portRead: (port, size) => io.portRead(port, size),
      portWrite: (port, size, value) => io.portWrite(port, size, value),
      readMsr: (msr) => {
        const value = this.msrs.read(msr);
        if (value === undefined) return false;
        memory.view.setBigUint64(scratch, value, true);
        return true;
      },
      writeMsr: (msr, value) => this.msrs.write(msr, value),
      cpuid: (leaf, subleaf) => this.answerCpuid(leaf, subleaf),
      now: () => environment.now(),
      fillRandom: (at, length) => {
        // Entropy sources refuse views of shared memory.
        const bytes = new Uint8Array(length);
        environment.fillRandom(bytes);
        memory.bytes.set(bytes, at);
      },
      getCr8: () => apic.cr8,
      setCr8: (value) => {
        apic.cr8 = value;
      },
      acknowledgeInterrupt: () => (apic.takeExtInt() ? environment.acknowledgeExtInt() : apic.acknowledge()),
      event: (vector, kind, code, lo, hi) => {
        this.events.add(vector, kind, code, lo, hi);
        environment.onEvent?.(this.events.last);
      },
      yield: () => environment.yield?.(),
      lockBus: () => environment.lockBus?.(),
      unlockBus: () => environment.unlockBus?.(),
      ferr: (level) => environment.setFerr?.(level),
    };
  }

  private answerCpuid(leaf: number, subleaf: number): void {
    const { state } = this;
    const { eax, ebx, ecx, edx } = cpuid(this.options.cpuid, leaf, subleaf, {
      cr4: Number(state.u64('CR4') & 0xffff_ffffn),
      xcr0: Number(state.u64('XCR0') & 0xffff_ffffn),
      apicBase: Number(this.environment.apic.apicBase & 0xffff_ffffn),
    });
    for (const [register, value] of [
      [0, eax],
      [3, ebx],
      [1, ecx],
      [2, edx],
    ] as const)
      state.setU64('GPR', BigInt(value >>> 0), register);
  }

  notifyInterrupt(): void {
    Atomics.or(this.attention, 0, ATTN.INTR);
  }

  nmi(): void {
    Atomics.or(this.attention, 0, ATTN.NMI);
  }

  init(): void {
    Atomics.or(this.attention, 0, ATTN.INIT);
  }

  startup(page: number): void {
    this.state.setU32('SIPI_PAGE', page);
    Atomics.or(this.attention, 0, ATTN.SIPI);
  }

  setA20(enabled: boolean): void {
    this.state.setU64('A20_MASK', enabled ? ~0n : ~0x10_0000n);
    this.helpers.memory_map_changed();
  }

  run(budget: number): VcpuExit {
    const event = this.runTranslating(Math.min(budget, MAX_BUDGET));
    switch (event) {
      case EVENTS.HALT:
        return { kind: 'halt' };
      case EVENTS.SHUTDOWN:
        return { kind: 'shutdown' };
      case EVENTS.KICKED:
        return { kind: 'kicked' };
      case EVENTS.DEBUG:
        return { kind: 'debug', reason: this.debugReason() };
      default:
        return { kind: 'budget' };
    }
  }

  /** Runs; what has become hot meanwhile is translated, and does not end the run. */
  private runTranslating(budget: number): number {
    const { translator } = this;
    if (translator === undefined) return this.interpreter.run(budget);
    const end = this.state.u64('RETIRED') + BigInt(budget);
    for (let left = budget; ; left = Number(end - this.state.u64('RETIRED'))) {
      translator.install();
      const event = this.interpreter.run(left);
      if (event !== EVENTS.HOT) return event;
      translator.translateHot();
    }
  }

  get location(): CodeLocation {
    const { state } = this;
    const offset = state.u64('RIP');
    return {
      selector: state.u32('SEG_SELECTOR', SEGMENT.CS),
      offset,
      linear: this.linearRip(),
      bits: ([16, 32, 64] as const)[state.u32('MODE_KEY') & 3],
    };
  }

  describeWork(): readonly string[] {
    return describeWork(this.options.memory.view, this.index, this.state, this.translator);
  }

  get recentEvents(): readonly CpuEvent[] {
    return this.events.recent;
  }

  private debugReason(): Extract<VcpuExit, { kind: 'debug' }>['reason'] {
    const hit = this.state.u32('WATCH_HIT');
    if (hit !== 0) {
      this.state.setU32('WATCH_HIT', 0);
      const watch = this.debug.watchpoints[(hit & 0xff) - 1];
      return { kind: 'watchpoint', address: watch.address, access: hit & 0x100 ? 'write' : 'access' };
    }
    const address = this.linearRip();
    if (this.debug.breakpoints.includes(address)) return { kind: 'breakpoint', address };
    return { kind: 'step' };
  }

  /** Outside of 64-bit code, linear addresses wrap at 4 GiB. */
  private linearRip(): bigint {
    const { state } = this;
    const is64 = (state.u32('MODE_KEY') & 3) === 2;
    return BigInt.asUintN(is64 ? 64 : 32, state.u64('RIP') + state.u64('SEG_BASE', SEGMENT.CS));
  }

  kick(): void {
    Atomics.or(this.attention, 0, ATTN.KICK);
  }

  get retired(): bigint {
    return this.state.u64('RETIRED');
  }

  saveState(): Plain {
    return readState(this.state, this.msrs.values, this.readTsc());
  }

  restoreState(state: Plain): void {
    const checked = vcpuStateSchema.check(state, 'cpu');
    writeState(this.state, this.msrs.values, this.model, checked);
    this.state.setU64('TSC_OFFSET', 0n);
    this.state.setU64('TSC_OFFSET', checked.tsc - this.readTsc());
    this.environment.apic.tscChanged();
    this.window.moved();
    this.environment.guestClock?.restored(this.msrs.values);
    this.helpers.state_restored();
    // Memory was restored with it.
    if (!this.hasCarriedCode) this.helpers.flush_code_cache();
    this.hasCarriedCode = false;
  }

  private ticksAt(time: number): bigint {
    return BigInt(Math.floor((time * this.options.tscHz) / 1e9));
  }

  /** The guest's time-stamp counter at a time of the machine's clock. */
  readTsc(at = this.environment.now()): bigint {
    return BigInt.asUintN(64, this.ticksAt(at) + this.state.u64('TSC_OFFSET'));
  }

  reset(): void {
    this.msrs.reset();
    this.helpers.reset_cpu(this.index === 0 ? 1 : 0);
    const { poweredAt } = this.environment;
    if (poweredAt !== undefined) this.state.setU64('TSC_OFFSET', BigInt.asUintN(64, -this.ticksAt(poweredAt)));
    this.window.moved();
  }

  setDebug(request: DebugRequest): void {
    assert(request.watchpoints.length <= 8, 'at most 8 watchpoints');
    const watching = this.debug.watchpoints.length + request.watchpoints.length > 0;
    this.debug = request;
    const { state } = this;
    if (request.breakpoints.length > MAX_BREAKPOINTS)
      throw new RangeError(`at most ${String(MAX_BREAKPOINTS)} breakpoints`);
    request.breakpoints.forEach((address, i) => {
      state.setU64('BREAK_ADDR', address, i);
    });
    state.setU32('BREAK_COUNT', request.breakpoints.length);
    state.setU32(
      'GDB_FLAGS',
      (request.breakpoints.length > 0 ? GDB.BREAKPOINTS : 0) | (request.singleStep ? GDB.STEP : 0),
    );
    for (let i = 0; i < 8; i++) {
      const watch = request.watchpoints[i] as DebugRequest['watchpoints'][number] | undefined;
      state.setU64('WATCH_ADDR', watch?.address ?? 0n, i);
      state.setU32('WATCH_KIND', watch ? watch.length | (watch.access === 'access' ? 0x100 : 0) : 0, i);
    }
    this.helpers.breakpoints_changed();
    this.helpers.updateBreakpoints();
    // Pages with watchpoints stay out of the TLB: let it be filled anew.
    if (watching) this.helpers.memory_map_changed();
  }

  translate(linear: bigint): number | undefined {
    // Outside long mode there is nothing above 4 GiB.
    if (linear > 0xffff_ffffn && !(this.state.u64('EFER') & EFER_LMA)) return undefined;
    this.state.setU64('SCRATCH', linear);
    if (!this.helpers.debug_translate()) return undefined;
    return Number(this.state.u64('SCRATCH'));
  }

  memoryMapChanged(): void {
    this.helpers.memory_map_changed();
  }

  /** The code cache was filled for the state that is restored next. */
  carryCode(): void {
    this.hasCarriedCode = true;
  }

  /** Forgets decoded and translated code. */
  forget(): void {
    this.helpers.flush_code_cache();
    this.translator?.install();
  }

  dispose(): void {
    this.translator?.close();
  }

  memoryWritten(host: number, length: number): void {
    this.helpers.invalidate_range(host, length);
  }
}
