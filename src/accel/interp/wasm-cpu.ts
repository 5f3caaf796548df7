/** A CPU's WebAssembly: instances of helpers and interpreter over a memory. To make them takes longer than most of a machine, so they may be there before it. */
import { MIB } from '../../base/units.js';
import { cpuOrigin, guestBase, LAYOUT } from '../../memory/layout.js';
import type { HelperExports, InterpreterExports } from './helpers.js';
import type { InterpImage } from './image.js';
import { WASM_PAGE, WASM_PAGES } from './memory.js';

/** What the WebAssembly calls. Numbers are unsigned, but for those of an event. */
export interface WasmCpuHost {
  mmioRead(address: number, size: number): number;
  mmioWrite(address: number, size: number, value: number): void;
  portRead(port: number, size: number): number;
  portWrite(port: number, size: number, value: number): void;
  /** Into SCRATCH. False: there is none such. */
  readMsr(msr: number): boolean;
  writeMsr(msr: number, value: bigint): boolean;
  /** From and to the registers. */
  cpuid(leaf: number, subleaf: number): void;
  /** Nanoseconds on the machine's clock. */
  now(): number;
  /** At an address of the memory. */
  fillRandom(at: number, length: number): void;
  getCr8(): number;
  setCr8(value: number): void;
  /** The vector. */
  acknowledgeInterrupt(): number;
  /** An exception or interrupt is delivered: see `EventLog`. */
  event(vector: number, kind: number, code: number, lo: number, hi: number): void;
  yield(): void;
  lockBus(): void;
  unlockBus(): void;
  ferr(level: boolean): void;
}

/** Bytes that a guest which does little has in the pool of decoded code: records, and what leads to them. */
const MANY_RECORDS = 1.25 * MIB;
const MANY_MAPS = MIB;

export class WasmCpu {
  readonly helpers: HelperExports & WebAssembly.Exports;
  readonly interpreter: InterpreterExports;
  /** Functions of translated code. */
  readonly regions = new WebAssembly.Table({ element: 'anyfunc', initial: 1 });
  private host: WasmCpuHost | undefined;

  constructor(
    image: InterpImage,
    /** The machine's, whose decoder tables are filled by whoever makes it. */
    readonly memory: WebAssembly.Memory,
    index: number,
  ) {
    const origin = cpuOrigin(index);
    const helpers = new WebAssembly.Instance(image.helpers, { env: this.imports(origin) });
    this.helpers = helpers.exports as HelperExports & WebAssembly.Exports;
    const interpreter = new WebAssembly.Instance(image.interpreter, {
      env: { memory, cpu_origin: origin, regions: this.regions },
      helpers: helpers.exports,
    });
    this.interpreter = interpreter.exports as unknown as InterpreterExports;
  }

  /** Of the only CPU of a machine, whose memory has no guest memory yet: `MachineMemory` gives it some. */
  static ahead(image: InterpImage): WasmCpu {
    const memory = new WebAssembly.Memory({ initial: guestBase(1) / WASM_PAGE, maximum: WASM_PAGES, shared: true });
    new Uint8Array(memory.buffer).set(image.decoderTables, LAYOUT.DECODER_TABLES);
    return new WasmCpu(image, memory, 0);
  }

  /** Whole pages that any guest will have written to some ten milliseconds after its beginning. */
  get soonWritten(): readonly Uint8Array[] {
    const { buffer } = this.memory;
    return [
      new Uint8Array(buffer, LAYOUT.TLB, LAYOUT.JUMP_CACHE_END - LAYOUT.TLB),
      new Uint8Array(buffer, LAYOUT.CODE_POOL, MANY_RECORDS),
      new Uint8Array(buffer, LAYOUT.CODE_POOL_END - MANY_MAPS, MANY_MAPS),
    ];
  }

  /** From now on it is this host's. */
  attach(host: WasmCpuHost): void {
    this.host = host;
  }

  private imports(origin: number): WebAssembly.ModuleImports {
    const constant = (value: number): WebAssembly.Global =>
      new WebAssembly.Global({ value: 'i32', mutable: false }, value);
    return {
      memory: this.memory,
      cpu_origin: constant(origin),
      state_base: constant(LAYOUT.STATES + origin),
      mmio_read: (lo: number, hi: number, size: number) => this.host?.mmioRead(wide(lo, hi), size),
      mmio_write: (lo: number, hi: number, size: number, value: number) =>
        this.host?.mmioWrite(wide(lo, hi), size, value >>> 0),
      pio_read: (port: number, size: number) => this.host?.portRead(port & 0xffff, size),
      pio_write: (port: number, size: number, value: number) => this.host?.portWrite(port & 0xffff, size, value >>> 0),
      host_rdmsr: (msr: number) => (this.host?.readMsr(msr >>> 0) ? 1 : 0),
      host_wrmsr: (msr: number, lo: number, hi: number) =>
        this.host?.writeMsr(msr >>> 0, (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0)) ? 2 : 0,
      host_cpuid: (leaf: number, subleaf: number) => this.host?.cpuid(leaf >>> 0, subleaf >>> 0),
      host_now: () => this.host?.now(),
      host_random: (at: number, length: number) => this.host?.fillRandom(at, length),
      host_get_cr8: () => this.host?.getCr8(),
      host_set_cr8: (value: number) => this.host?.setCr8(value),
      host_ack_interrupt: () => this.host?.acknowledgeInterrupt(),
      host_event: (vector: number, kind: number, code: number, lo: number, hi: number) =>
        this.host?.event(vector, kind, code, lo, hi),
      yield_processor: () => this.host?.yield(),
      lock_bus: () => this.host?.lockBus(),
      unlock_bus: () => this.host?.unlockBus(),
      ferr: (level: number) => this.host?.ferr(level !== 0),
    };
  }
}

/** An address of two halves. */
const wide = (lo: number, hi: number): number => (lo >>> 0) + (hi >>> 0) * 4294967296;
