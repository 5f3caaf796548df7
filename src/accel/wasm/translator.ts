/** Finds out what of hot guest code to translate, has it compiled, and leads the interpreter's loop to the result. */
import { cpuOrigin, HOT_COUNTERS } from '../../memory/layout.js';
import type { CodeTranslator } from '../interp/vcpu.js';
import type { MachineMemory } from '../interp/memory.js';
import type { WasmCpu } from '../interp/wasm-cpu.js';
import { cpuBases, type CpuBases } from '../../cpu/x86/interpreter/handlers.js';
import { BUSY } from '../../cpu/x86/interpreter/chain.js';
import { HOT_THRESHOLD } from '../../cpu/x86/interpreter/loop.js';
import { FIRST_HANDLER } from '../../cpu/x86/micro.js';
import { RECORD_SIZE, STATE } from '../../cpu/x86/state-layout.js';
import { CodeView } from '../../cpu/x86/translate/code-view.js';
import { REGION_LIMIT, Scanner, type RegionGraph, type RegionPage } from '../../cpu/x86/translate/scan.js';
import type { Translation } from '../../cpu/x86/translate/describe.js';
import type { Variant } from '../../cpu/x86/variants.js';
import { adoptRegion } from './adopt-region.js';
import type { Compiled, CompiledModule, CompiledRegion, Compiler } from './compiler.js';
import { InThreadCompiler } from './in-thread-compiler.js';
import { fillLinks, storeModule } from './module-instance.js';
import { chunksOf, placesToReturn, recordsOf } from './region-graph.js';
import { RegionStore, STORE_LIMITS, type StoredModule, type StoreLimits } from './region-store.js';
import { describeStatistics, type TranslatorStatistics } from './translator-statistics.js';

/** Makes what compiles for a CPU whose memory this is. */
export type CreateCompiler = (bases: CpuBases, memory: WebAssembly.Memory, cpu: number) => Compiler;

export interface TranslatorSettings {
  /** For tests: code is hot after so many jumps to it, and however often it was overwritten. */
  readonly hotAfter?: number | undefined;
  /** Compiles on the CPU's thread, if absent. */
  readonly createCompiler?: CreateCompiler;
  readonly limits?: StoreLimits;
  /** Gets each translation, in the form of `describeRegion`, from the compiler on the CPU's thread. */
  readonly observe?: ((translation: Translation) => void) | undefined;
  /** Milliseconds, for the statistics; without it they say nothing of time. */
  readonly now?: () => number;
  /** Is told of a defect of the translator, after which the interpreter goes on with that code. Thrown, if absent. */
  readonly failed?: (error: Error) => void;
}

export interface TranslatorOptions extends TranslatorSettings {
  readonly memory: WebAssembly.Memory;
  readonly view: DataView;
  /** Index of the CPU, and how many the machine has. */
  readonly cpu: number;
  readonly cpus: number;
  /** Exports of helpers.wasm. */
  readonly helpers: WebAssembly.Exports;
  /** Where functions go. */
  readonly regions: WebAssembly.Table;
  /** The variant of each handler, from FIRST_HANDLER on. */
  readonly variants: readonly Variant[];
}

const NO_RECORD = 0;
/** So often may a place in the middle of a region be found hot before it gets a region of its own. */
const PATIENCE = 2;
/** Where it begins when what begins there could not be entered, such as a jump to itself: other code may lie there some time. */
const HOPELESS = -100;
/** So often may translated code of a page be overwritten before it is left to the interpreter. */
const OVERWRITES = 8;
/** Jumps until a place is hot again for which the compiler had no time. */
const LATER = 2000;

/** Instructions in a region that has grown along the jumps out of another, at most, and how often one may begin at a place. */
const GROWN_LIMIT = 256;
const GROWTHS = 2;
/** In tests a region grows after so many jumps out of it, for each of the jumps that make code hot. */
const JUMPS_OUT = 8;

/** A region under way. */
interface Pending {
  readonly index: number;
  readonly graph: RegionGraph;
  readonly takesOver: boolean;
  /** Of the place where it begins: linear address, address in this memory, mode key. */
  readonly linear: bigint;
  readonly host: number;
  readonly key: number;
}

export class Translator implements CodeTranslator {
  private readonly code: CodeView;
  private readonly store: RegionStore;
  private readonly compiler: Compiler;
  private readonly now: () => number;
  private readonly hotRecord: number;
  private readonly regionRequest: number;
  /** How often a record was the beginning of a region that had grown. */
  private readonly grown = new Map<number, number>();
  private readonly pending = new Map<number, Pending>();
  /** Records at which regions under way are going to be entered. */
  private readonly expected = new Set<number>();
  /** What was scanned last, and who did: V8 forgets what it has learnt of a class with its last object. */
  private lastScan: { scanner?: Scanner; graph?: RegionGraph } = {};
  private nextTicket = 1;
  /** Records inside of regions, by how often they have been hot since. */
  private readonly covered = new Map<number, number>();
  private epoch = -1;
  private readonly made = { regions: 0, instructions: 0, bytes: 0, shared: 0, misfits: 0 };
  private readonly dropped = { nothing: 0, busy: 0, overwritten: 0, failed: 0 };
  private readonly times = { scan: 0, emit: 0, compile: 0, install: 0 };

  constructor(private readonly options: TranslatorOptions) {
    const { view, memory, limits = STORE_LIMITS } = options;
    const bases = cpuBases(options.cpus > 1);
    this.now = options.now ?? (() => 0);
    this.code = new CodeView(view, cpuOrigin(options.cpu));
    this.store = new RegionStore(this.code, options.regions, (records) => this.uncover(records), limits);
    this.compiler =
      options.createCompiler?.(bases, memory, options.cpu) ??
      new InThreadCompiler(bases, this.now, (graph, region, callees) =>
        options.observe?.({ graph, region, view: this.code, bases, callees }),
      );
    const state = this.code.at('STATES');
    this.hotRecord = state + STATE.HOT_RECORD;
    this.regionRequest = state + STATE.REGION_REQUEST;
    if (options.hotAfter !== undefined) for (let i = 0; i < HOT_COUNTERS; i++) this.expect(i * RECORD_SIZE);
  }

  get statistics(): TranslatorStatistics {
    const { store, made, dropped, times } = this;
    return {
      live: store.live,
      modules: store.moduleCount,
      liveBytes: store.bytes,
      ...made,
      evicted: store.evicted,
      dropped: { ...dropped },
      times: { ...times },
    };
  }

  /** The loop has found a hot record, or a region wants another look: sees to it that it is translated. */
  translateHot(): void {
    const { view, hotAfter } = this.options;
    const record = view.getUint32(this.hotRecord, true);
    view.setUint32(this.hotRecord, NO_RECORD, true);
    this.forgetIfFlushed();
    this.lookAgain();
    this.expect(record);
    if (record !== NO_RECORD && !this.code.isTranslated(record) && !this.isPending(record)) {
      const times = this.covered.get(record);
      const waits = times !== undefined && times < PATIENCE && (hotAfter === undefined || times < 0);
      if (waits) this.covered.set(record, times + 1);
      else this.request(record, () => this.scanner().scan(record));
    }
    this.install();
  }

  /** A region has asked for it: what it was made of is no longer there, or many jumps lead out of it. */
  private lookAgain(): void {
    const { code, store } = this;
    const { view } = this.options;
    const index = view.getUint32(this.regionRequest, true) - 1;
    view.setUint32(this.regionRequest, 0, true);
    const pages = store.pagesOf(index);
    if (pages === undefined) return;
    const targets = code.takeLog(index);
    if (!this.areUntouched(pages)) {
      store.drop(index);
      return;
    }
    // Where execution stands now is where the region was left for.
    const rip = code.state64('RIP');
    const offset = rip - code.state64('CODE_BASE');
    if (offset < 0n || offset > 4095n || targets.length === 0) return;
    const record = this.scanner().recordAt(Number(offset));
    const times = this.grown.get(record) ?? 0;
    if (record === NO_RECORD || times >= GROWTHS || !this.compiler.isReady) return;
    this.grown.set(record, times + 1);
    const others = targets.filter((target) => target !== rip);
    this.request(record, () => this.scanner(GROWN_LIMIT, true).scan(record, others), true);
  }

  /** Whether a region that begins at the record is under way. */
  private isPending(record: number): boolean {
    for (const { graph } of this.pending.values()) if (graph.blocks[0].start === record) return true;
    return false;
  }

  private areUntouched(pages: readonly RegionPage[]): boolean {
    return pages.every(({ code, writes }) => this.code.writes(code) === writes);
  }

  private get patience(): number {
    return this.options.hotAfter === undefined ? OVERWRITES : Infinity;
  }

  private scanner(limit = REGION_LIMIT, merges = false): Scanner {
    const scanner = new Scanner({
      view: this.code,
      variantOf: (handler) => this.variantOf(handler),
      patience: this.patience,
      limit,
      isExpected: (record) => this.expected.has(record),
      merges,
    });
    this.lastScan.scanner = scanner;
    return scanner;
  }

  /** Makes a record hot after as many jumps as a test wants. */
  private expect(record: number): void {
    const { hotAfter } = this.options;
    if (hotAfter !== undefined) this.code.setJumps(record, HOT_THRESHOLD - hotAfter);
  }

  /** `takesOver`: places that lead to other regions are to lead to this one. */
  private request(record: number, scan: () => RegionGraph | undefined, takesOver = false): void {
    const index = this.compiler.isReady ? this.store.reserve() : undefined;
    if (index === undefined) {
      this.dropped.busy++;
      if (!takesOver) this.code.setJumps(record, HOT_THRESHOLD - LATER);
      return;
    }
    const began = this.now();
    const graph = scan();
    // From now on writes to it are counted.
    if (graph) for (const page of graph.pages) this.code.markTranslated(page.code, chunksOf(graph, page, this.code));
    this.times.scan += this.now() - began;
    if (graph === undefined) {
      this.dropped.nothing++;
      this.store.release(index);
      return;
    }
    this.lastScan.graph = graph;
    this.cover(graph);
    const { offset } = graph.blocks[0];
    const linear = this.code.state64('CODE_BASE') + BigInt(offset);
    const host = graph.pages[0].code.host + offset;
    this.ask({ index, graph, takesOver, linear, host, key: this.code.state32('MODE_KEY') & 15 });
  }

  /** Asks for a region. `isFresh`: what others have does not fit. */
  private ask(pending: Pending, isFresh = false): void {
    const { index, graph, takesOver, host, key } = pending;
    const ticket = this.nextTicket++;
    this.pending.set(ticket, pending);
    for (const record of placesToReturn(graph)) this.expected.add(record);
    this.compiler.request({ ticket, index, graph, records: this.code, host, key, hasGrown: takesOver, isFresh });
  }

  private cover({ blocks }: RegionGraph): void {
    for (const record of recordsOf(blocks)) if (!this.covered.has(record)) this.covered.set(record, 0);
    this.covered.set(blocks[0].start, PATIENCE);
  }

  /** The records are in no region any more, or the region was not made: they can become hot again. */
  private uncover(records: readonly number[]): void {
    for (const record of records) {
      this.covered.delete(record);
      this.code.setJumps(record, 0);
      this.expect(record);
    }
  }

  /** Makes a region busy after as few jumps out of it as a test wants. */
  private expectGrowth(index: number): void {
    const { hotAfter } = this.options;
    if (hotAfter !== undefined) this.code.setLog(index, BUSY - JUMPS_OUT * hotAfter);
  }

  private variantOf(handler: number): Variant | undefined {
    return handler < FIRST_HANDLER ? undefined : this.options.variants[handler - FIRST_HANDLER];
  }

  /** When the records are gone, everything that led to translated code is. */
  private forgetIfFlushed(): void {
    const { epoch } = this.code;
    if (epoch === this.epoch) return;
    this.epoch = epoch;
    this.store.clear();
    this.dropped.overwritten += this.pending.size;
    this.pending.clear();
    this.expected.clear();
    this.covered.clear();
    this.grown.clear();
  }

  /** Makes what has been compiled since the last time available, as far as its code still is what it was. */
  install(): void {
    this.forgetIfFlushed();
    for (let compiled = this.compiler.take(); compiled; compiled = this.compiler.take()) {
      const began = this.now();
      this.installOne(compiled);
      this.store.keepWithinLimits();
      this.times.install += this.now() - began;
    }
  }

  private installOne(compiled: Compiled): void {
    if (compiled.kind === 'shared') {
      this.adopt(compiled);
      return;
    }
    if (compiled.kind === 'failed') {
      // What was made of code that was changed meanwhile says nothing.
      const current = compiled.tickets.flatMap((ticket) => this.takeCurrent(ticket) ?? []);
      if (current.length === 0) return;
      const error = new Error('code could not be translated', { cause: compiled.error });
      if (this.options.failed === undefined) throw error;
      for (const { index } of current) this.store.release(index);
      this.dropped.failed += current.length;
      this.options.failed(error);
      return;
    }
    this.times.emit += compiled.emitTime;
    this.times.compile += compiled.compileTime;
    const regions: { readonly region: CompiledRegion; readonly pending: Pending }[] = [];
    for (const region of compiled.regions) {
      const pending = this.takeCurrent(region.ticket);
      if (pending === undefined) continue;
      if (region.entries.length > 0) regions.push({ region, pending });
      else this.giveUp(pending);
    }
    if (regions.length === 0) return;
    const module = this.moduleFor(compiled);
    this.made.bytes += compiled.bytes;
    for (const { region, pending } of regions) {
      this.made.regions++;
      this.made.instructions += pending.graph.units;
      this.enter(module, region, pending, (record) => record);
    }
  }

  /** Takes a region over that was made for another CPU, or has this CPU's own made when that does not fit. */
  private adopt({ ticket, module, region }: Extract<Compiled, { kind: 'shared' }>): void {
    const pending = this.takeCurrent(ticket);
    if (pending === undefined) return;
    const { record_at: decode } = this.options.helpers;
    const adopted = adoptRegion(region, {
      view: this.code,
      variants: this.options.variants,
      variantOf: (handler) => this.variantOf(handler),
      decode: (host, key) => (decode as (host: number, key: number) => number)(host, key),
      patience: this.patience,
      linear: pending.linear,
      host: pending.host,
    });
    if (adopted === undefined) {
      this.made.misfits++;
      this.ask(pending, true);
      return;
    }
    const { graph, recordOf } = adopted;
    this.uncover(recordsOf(pending.graph.blocks));
    for (const page of graph.pages) this.code.markTranslated(page.code, chunksOf(graph, page, this.code));
    this.cover(graph);
    this.made.shared++;
    this.enter(this.moduleFor(module), region, { ...pending, graph }, recordOf);
  }

  /** The module as an instance for this CPU; undefined when there is no room for it. */
  private moduleFor(made: CompiledModule): StoredModule | undefined {
    return storeModule(this.store, this.code, made, this.options);
  }

  /** Makes a region one that can be entered. `recordOf` leads from the records that it was made of to this CPU's. */
  private enter(
    module: StoredModule | undefined,
    region: CompiledRegion,
    { graph, index, takesOver }: Pending,
    recordOf: (record: number) => number,
  ): void {
    const records = recordsOf(graph.blocks);
    if (module === undefined) {
      this.dropped.busy++;
      this.store.release(index);
      this.uncover(records);
      return;
    }
    fillLinks(this.code, module, region, { graph, index, recordOf });
    this.store.add(module, {
      index,
      code: module.exports[region.name] as () => number,
      entries: region.entries.map(({ number, record }) => ({ number, record: recordOf(record) })),
      pages: graph.pages,
      records,
      takesOver,
    });
    this.expectGrowth(index);
  }

  /** There is no way into the region, so making it once more is no use either. */
  private giveUp({ graph, index }: Pending): void {
    this.dropped.nothing++;
    this.store.release(index);
    this.uncover(recordsOf(graph.blocks));
    this.covered.set(graph.blocks[0].start, HOPELESS);
  }

  /** Takes a region off the list; undefined when its code has been overwritten since it was asked for. */
  private takeCurrent(ticket: number): Pending | undefined {
    const pending = this.pending.get(ticket);
    if (pending === undefined) return undefined;
    this.pending.delete(ticket);
    const { graph, index } = pending;
    for (const record of placesToReturn(graph)) this.expected.delete(record);
    if (this.areUntouched(graph.pages)) return pending;
    this.dropped.overwritten++;
    this.store.release(index);
    this.uncover(recordsOf(graph.blocks));
    return undefined;
  }

  describe(): readonly string[] {
    return describeStatistics(this.statistics);
  }

  nameOf(handler: number): string | undefined {
    return this.variantOf(handler)?.row.mnemonic;
  }

  close(): void {
    this.compiler.close();
  }
}

/** For a VM whose CPUs translate; `variants` is what the handlers of its interpreter stand for. */
export function createTranslator(variants: readonly Variant[], settings: TranslatorSettings = {}) {
  return ({ memory, view, cpus }: MachineMemory, cpu: number, { helpers, regions }: WasmCpu): Translator =>
    new Translator({ memory, view, cpu, cpus, helpers, regions, variants, ...settings });
}
