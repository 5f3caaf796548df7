/** Makes WebAssembly of hot guest code and leads the interpreter's loop to it. */
import type { FunctionRef } from '../../ir/nodes.js';
import { WasmModule } from '../../ir/wasm/module.js';
import { HOT_COUNTERS, LAYOUT, REGION_SLOT, REGION_SLOTS } from '../../memory/layout.js';
import type { MachineMemory } from '../interp/memory.js';
import { grouped } from '../interp/statistics.js';
import { cpuBases } from '../../cpu/x86/interpreter/handlers.js';
import { BUSY } from '../../cpu/x86/interpreter/chain.js';
import { HOT_THRESHOLD } from '../../cpu/x86/interpreter/loop.js';
import { FIRST_HANDLER, MICRO } from '../../cpu/x86/micro.js';
import { RECORD, RECORD_SIZE, STATE } from '../../cpu/x86/state-layout.js';
import { CodeView, type CodePage } from '../../cpu/x86/translate/code-view.js';
import type { Translation } from '../../cpu/x86/translate/describe.js';
import { emitRegion, type Region } from '../../cpu/x86/translate/region.js';
import { REGION_LIMIT, Scanner, type RegionGraph } from '../../cpu/x86/translate/scan.js';
import type { Variant } from '../../cpu/x86/variants.js';

export interface TranslatorOptions {
  readonly memory: WebAssembly.Memory;
  readonly view: DataView;
  /** Exports of helpers.wasm. */
  readonly helpers: WebAssembly.Exports;
  /** The variant of each handler, from FIRST_HANDLER on. */
  readonly variants: readonly Variant[];
  /** For tests: code is hot after so many jumps to it, and however often it was overwritten. */
  readonly hotAfter?: number | undefined;
  /** Gets each translation, in the form of `describeRegion`. */
  readonly observe?: ((translation: Translation) => void) | undefined;
}

const MEMORY = { minimum: 64, maximum: 65536, shared: true } as const;
const TABLE_STEP = 1024;
const NO_RECORD = 0;
/** So often may a place in the middle of a region be found hot before it gets a region of its own. */
const PATIENCE = 2;
/** So often may translated code of a page be overwritten before it is left to the interpreter. */
const OVERWRITES = 8;

export interface TranslatorStatistics {
  regions: number;
  instructions: number;
  bytes: number;
  /** Milliseconds on the CPU's thread. */
  time: number;
}

interface LiveRegion {
  /** Records that may lead to it. */
  readonly entries: readonly number[];
  readonly pages: readonly { readonly code: CodePage; readonly writes: number }[];
}

/** Instructions in a region that has grown along the jumps out of another, at most, and how often one may begin at a place. */
const GROWN_LIMIT = 256;
const GROWTHS = 2;
/** In tests a region grows after so many jumps out of it, for each of the jumps that make code hot. */
const JUMPS_OUT = 8;

export class Translator {
  readonly table = new WebAssembly.Table({ element: 'anyfunc', initial: TABLE_STEP });
  readonly statistics: TranslatorStatistics = { regions: 0, instructions: 0, bytes: 0, time: 0 };
  private readonly code: CodeView;
  private readonly bases = cpuBases(0);
  private readonly hotRecord: number;
  /** Records inside of regions, by how often they have been hot since. */
  private readonly covered = new Map<number, number>();
  private readonly live = new Map<number, LiveRegion>();
  /** How often a record was the beginning of a region that had grown. */
  private readonly grown = new Map<number, number>();
  private readonly request: number;
  private epoch = -1;
  private slots = 0;
  private functions = 0;

  constructor(private readonly options: TranslatorOptions) {
    this.code = new CodeView(options.view, 0);
    this.hotRecord = this.bases.state + STATE.HOT_RECORD;
    this.request = this.bases.state + STATE.REGION_REQUEST;
    for (let i = 0; i < HOT_COUNTERS; i++) this.expect(i * RECORD_SIZE);
  }

  /** The loop has found a hot record: translates what begins there. */
  translateHot(): void {
    const { view, hotAfter } = this.options;
    const isEager = hotAfter !== undefined;
    const record = view.getUint32(this.hotRecord, true);
    view.setUint32(this.hotRecord, NO_RECORD, true);
    if (this.code.epoch !== this.epoch) this.forgetAll();
    this.lookAgain();
    this.expect(record);
    if (record === NO_RECORD || this.code.isTranslated(record)) return;
    const times = this.covered.get(record);
    if (times !== undefined && times < PATIENCE && !isEager) {
      this.covered.set(record, times + 1);
      return;
    }
    const began = performance.now();
    const graph = this.scanner().scan(record);
    if (graph) this.translate(graph, false);
    this.statistics.time += performance.now() - began;
  }

  /** A region has asked for it: what it was made of is no longer there, or many jumps lead out of it. */
  private lookAgain(): void {
    const { view } = this.options;
    const index = view.getUint32(this.request, true) - 1;
    view.setUint32(this.request, 0, true);
    const region = this.live.get(index);
    if (region === undefined) return;
    const targets = this.code.takeLog(index);
    if (region.pages.some(({ code, writes }) => this.code.writes(code) !== writes)) {
      this.drop(index, region);
      return;
    }
    // Where execution stands now is where the region was left for.
    const rip = this.code.state64('RIP');
    const page = rip - this.code.state64('CODE_BASE');
    if (page < 0n || page > 4095n || targets.length === 0) return;
    const began = performance.now();
    const record = this.scanner().recordAt(Number(page));
    const times = this.grown.get(record) ?? 0;
    if (record !== NO_RECORD && times < GROWTHS) {
      this.grown.set(record, times + 1);
      const graph = this.scanner(GROWN_LIMIT).scan(
        record,
        targets.filter((target) => target !== rip),
      );
      if (graph) this.translate(graph, true);
    }
    this.statistics.time += performance.now() - began;
  }

  /** Gives the records that lead to a region their own handlers back. */
  private drop(index: number, { entries }: LiveRegion): void {
    const { view } = this.options;
    for (const record of entries) {
      const slot = this.code.link(record);
      const at = LAYOUT.REGION_SLOTS + slot * 8;
      if (!this.code.isTranslated(record) || view.getUint32(at + REGION_SLOT.FUNCTION, true) !== index) continue;
      view.setUint16(record + RECORD.HANDLER, this.code.handler(record), true);
      view.setUint32(record + RECORD.LINK, 0, true);
      this.covered.delete(record);
      this.code.setJumps(record, 0);
    }
    this.live.delete(index);
    this.table.set(index, null);
  }

  private scanner(limit = REGION_LIMIT): Scanner {
    return new Scanner({
      view: this.code,
      variantOf: (handler) => this.variantOf(handler),
      patience: this.options.hotAfter === undefined ? OVERWRITES : Infinity,
      limit,
    });
  }

  /** Makes a record hot after as many jumps as a test wants. */
  private expect(record: number): void {
    const { hotAfter } = this.options;
    if (hotAfter !== undefined) this.code.setJumps(record, HOT_THRESHOLD - hotAfter);
  }

  /** Makes a region busy after as few jumps out of it as a test wants. */
  private expectGrowth(index: number): void {
    const { hotAfter } = this.options;
    if (hotAfter !== undefined) this.code.setLog(index, BUSY - JUMPS_OUT * hotAfter);
  }

  describe(): readonly string[] {
    const { regions, instructions, bytes, time } = this.statistics;
    const what = `${grouped(regions)} regions of ${grouped(instructions)} instructions, ${grouped(bytes)} bytes`;
    return [`translated              ${what}, in ${(time / 1000).toFixed(2)} s`];
  }

  nameOf(handler: number): string | undefined {
    return this.variantOf(handler)?.row.mnemonic;
  }

  private variantOf(handler: number): Variant | undefined {
    return handler < FIRST_HANDLER ? undefined : this.options.variants[handler - FIRST_HANDLER];
  }

  /** The records are gone, and with them all that led to translated code. */
  private forgetAll(): void {
    this.epoch = this.code.epoch;
    this.slots = 0;
    this.covered.clear();
    this.live.clear();
    this.grown.clear();
    for (let i = 0; i < this.functions; i++) this.table.set(i, null);
    this.functions = 0;
  }

  /** `takesOver`: places that lead to other regions lead to this one from now on. */
  private translate(graph: RegionGraph, takesOver: boolean): void {
    const index = this.functions++;
    if (index >= this.table.length) this.table.grow(TABLE_STEP);
    const { region, bytes } = this.emit(graph, index);
    const module = new WebAssembly.Module(bytes);
    const { memory, helpers } = this.options;
    const instance = new WebAssembly.Instance(module, { env: { memory }, h: helpers });
    this.table.set(index, instance.exports['region'] as () => number);
    for (const page of graph.pages) this.code.markTranslated(page.code, chunksOf(graph, page, this.code));
    for (const { number, record } of region.entries) this.enter(record, number, index, takesOver);
    this.live.set(index, {
      entries: region.entries.map((entry) => entry.record),
      pages: graph.pages.map(({ code }) => ({ code, writes: this.code.writes(code) })),
    });
    this.expectGrowth(index);
    for (const block of graph.blocks)
      if (block.context === 0)
        for (const { start } of block.units) if (!this.covered.has(start)) this.covered.set(start, 0);
    this.covered.set(graph.blocks[0].start, PATIENCE);
    const { statistics } = this;
    statistics.regions++;
    statistics.instructions += graph.units;
    statistics.bytes += bytes.length;
  }

  private emit(graph: RegionGraph, index: number): { region: Region; bytes: Uint8Array<ArrayBuffer> } {
    const callees: FunctionRef[] = [];
    const functionIndex = (callee: FunctionRef): number => {
      const known = callees.findIndex((c) => c.name === callee.name);
      if (known >= 0) return known;
      callees.push(callee);
      return callees.length - 1;
    };
    const region = emitRegion({ graph, view: this.code, bases: this.bases, index, functionIndex });
    this.options.observe?.({ graph, region, view: this.code, bases: this.bases, callees });
    const module = new WasmModule();
    module.importMemory({ module: 'env', name: 'memory', ...MEMORY });
    for (const { name, params, result } of callees) module.importFunction('h', name, params, result ? [result] : []);
    const at = module.declareFunction(['i32', 'i32'], ['i32']);
    module.defineFunction(at, region.code);
    module.exportFunction('region', at);
    return { region, bytes: new Uint8Array(module.toBytes()) };
  }

  /** Makes a record lead to an entry of a region, unless it leads to one already. */
  private enter(record: number, entry: number, index: number, takesOver: boolean): void {
    const { view } = this.options;
    if (this.code.isTranslated(record)) {
      if (!takesOver) return;
      const known = LAYOUT.REGION_SLOTS + this.code.link(record) * 8;
      view.setUint16(known + REGION_SLOT.ENTRY, entry, true);
      view.setUint32(known + REGION_SLOT.FUNCTION, index, true);
      return;
    }
    if (this.slots >= REGION_SLOTS) return;
    const slot = this.slots++;
    const at = LAYOUT.REGION_SLOTS + slot * 8;
    view.setUint16(at + REGION_SLOT.HANDLER, this.code.handler(record), true);
    view.setUint16(at + REGION_SLOT.ENTRY, entry, true);
    view.setUint32(at + REGION_SLOT.FUNCTION, index, true);
    view.setUint32(record + RECORD.LINK, slot, true);
    view.setUint16(record + RECORD.HANDLER, MICRO.REGION, true);
  }
}

/** For a VM whose CPUs translate; `variants` is what the handlers of its interpreter stand for. */
export function createTranslator(
  variants: readonly Variant[],
  options: Pick<TranslatorOptions, 'hotAfter' | 'observe'> = {},
) {
  return ({ memory, view }: MachineMemory, helpers: WebAssembly.Exports): Translator =>
    new Translator({ memory, view, helpers, variants, ...options });
}

/** The 64-byte chunks of a page that a region has instructions in. */
function chunksOf(graph: RegionGraph, page: RegionGraph['pages'][number], code: CodeView): bigint {
  let chunks = 0n;
  for (const block of graph.blocks) {
    for (const { record, straddles } of block.units) {
      if (straddles !== undefined && graph.pages[straddles] === page) chunks |= 1n;
      if (graph.pages[block.page] !== page) continue;
      const first = code.offset(record);
      const last = Math.min(first + code.byte(record, 'LENGTH') - 1, 4095);
      chunks |= (1n << BigInt(first >> 6)) | (1n << BigInt(last >> 6));
    }
  }
  return chunks;
}
