/**
 * The regions that can be entered: the table of their functions, the slots by which records lead to them, and how much of it
 * there may be. Modules are what is given back to the host, so they go as a whole, those first that were not entered lately.
 */
import { MICRO } from '../../cpu/x86/micro.js';
import { RECORD } from '../../cpu/x86/state-layout.js';
import type { CodeView } from '../../cpu/x86/translate/code-view.js';
import type { RegionEntry } from '../../cpu/x86/translate/region.js';
import type { RegionPage } from '../../cpu/x86/translate/scan.js';
import { LAYOUT, MAX_REGIONS, REGION_SLOT, REGION_SLOTS } from '../../memory/layout.js';
import { Spans } from './spans.js';

export interface StoreLimits {
  /** Bytes of WebAssembly in all modules; V8's own code and tables for them take about ten times as much. */
  readonly bytes: number;
  readonly slots: number;
  readonly regions: number;
  /** Words. */
  readonly links: number;
}

export const STORE_LIMITS: StoreLimits = {
  bytes: 20 << 20,
  slots: REGION_SLOTS,
  regions: MAX_REGIONS,
  links: (LAYOUT.LINKS_END - LAYOUT.LINKS) / 4,
};

/** A region as it is handed over. */
export interface NewRegion {
  readonly index: number;
  readonly code: () => number;
  readonly entries: readonly RegionEntry[];
  readonly pages: readonly RegionPage[];
  /** Records of its instructions, for whoever keeps account of them. */
  readonly records: readonly number[];
  /** Places that lead to other regions lead to this one from now on. */
  readonly takesOver: boolean;
}

/** A region that can be entered. */
interface StoredRegion extends Pick<NewRegion, 'index' | 'pages' | 'records'> {
  readonly slots: readonly number[];
  readonly module: StoredModule;
}

/** What a module is stored as. */
export interface NewModule {
  readonly bytes: number;
  /** The first of its links, and how many it has. */
  readonly firstLink: number;
  readonly links: number;
  readonly exports: WebAssembly.Exports;
  /** By which it is found again. */
  readonly id: number | undefined;
}

export interface StoredModule extends NewModule {
  readonly regions: Set<StoredRegion>;
}

const TABLE_STEP = 1024;

/** Numbers from 0 up to a limit; those given back are used again first. */
class Numbers {
  private free: number[] = [];
  private next = 0;

  constructor(private readonly limit: number) {}

  get left(): number {
    return this.limit - this.next + this.free.length;
  }

  take(): number | undefined {
    return this.free.pop() ?? (this.next < this.limit ? this.next++ : undefined);
  }

  giveBack(number: number): void {
    this.free.push(number);
  }

  giveBackAll(): void {
    this.free = [];
    this.next = 0;
  }
}

export class RegionStore {
  private readonly slots: Numbers;
  private readonly indices: Numbers;
  /** Oldest first, but for the hand of the clock going round. */
  private modules: StoredModule[] = [];
  private readonly modulesById = new Map<number, StoredModule>();
  private readonly regions = new Map<number, StoredRegion>();
  private readonly links: Spans;
  private hand = 0;
  /** Bytes of all modules. */
  bytes = 0;
  /** Regions that had to go, so far. */
  evicted = 0;

  /** `removed` is told the records of each region that is evicted. */
  constructor(
    private readonly code: CodeView,
    private readonly table: WebAssembly.Table,
    private readonly removed: (records: readonly number[]) => void,
    private readonly limits: StoreLimits = STORE_LIMITS,
  ) {
    this.slots = new Numbers(limits.slots);
    this.indices = new Numbers(limits.regions);
    this.links = new Spans(limits.links);
  }

  get live(): number {
    return this.regions.size;
  }

  get moduleCount(): number {
    return this.modules.length;
  }

  /** An index in the table for a region that is going to be made. */
  reserve(): number | undefined {
    const index = this.indices.take();
    if (index !== undefined && index >= this.table.length) this.table.grow(TABLE_STEP);
    return index;
  }

  /** The region was not made. */
  release(index: number): void {
    this.indices.giveBack(index);
  }

  /** Room for so many links: the number of the first; undefined when there is none. */
  reserveLinks(count: number): number | undefined {
    return this.links.take(count);
  }

  /** A module whose regions come next. */
  addModule(made: NewModule): StoredModule {
    const module = { ...made, regions: new Set<StoredRegion>() };
    this.bytes += module.bytes;
    this.modules.push(module);
    if (module.id !== undefined) this.modulesById.set(module.id, module);
    return module;
  }

  /** A module that is here already. */
  module(id: number | undefined): StoredModule | undefined {
    return id === undefined ? undefined : this.modulesById.get(id);
  }

  private removeModule(at: number): StoredModule {
    const [module] = this.modules.splice(at, 1);
    this.bytes -= module.bytes;
    this.links.giveBack(module.firstLink, module.links);
    if (module.id !== undefined) this.modulesById.delete(module.id);
    return module;
  }

  /** Makes records lead to a region, unless they lead to one already that stays. */
  add(module: StoredModule, region: NewRegion): void {
    const { index, code, entries, pages, records, takesOver } = region;
    this.table.set(index, code);
    // The index may have been another's before.
    this.code.takeLog(index);
    const slots: number[] = [];
    for (const { number, record } of entries) {
      const isTaken = this.code.isTranslated(record);
      if (isTaken && !takesOver) continue;
      const slot = isTaken ? this.code.link(record) : this.slots.take();
      if (slot === undefined) continue;
      slots.push(slot);
      this.enter(record, slot, number, index);
    }
    this.setUsed(index, 1);
    const stored = { index, pages, records, slots, module };
    module.regions.add(stored);
    this.regions.set(index, stored);
  }

  /** Pages of a region. */
  pagesOf(index: number): readonly RegionPage[] | undefined {
    return this.regions.get(index)?.pages;
  }

  /** Gives up one region. Its module stays for as long as it has others. */
  drop(index: number): void {
    const region = this.regions.get(index);
    if (region === undefined) return;
    const { module } = region;
    this.remove(region);
    if (module.regions.size > 0) return;
    const at = this.modules.indexOf(module);
    this.removeModule(at);
    if (at < this.hand) this.hand--;
  }

  private enter(record: number, slot: number, entry: number, index: number): void {
    const { memory } = this.code;
    const at = this.code.at('REGION_SLOTS') + slot * REGION_SLOT.SIZE;
    memory.setUint16(at + REGION_SLOT.HANDLER, this.code.handler(record), true);
    memory.setUint16(at + REGION_SLOT.ENTRY, entry, true);
    memory.setUint32(at + REGION_SLOT.FUNCTION, index, true);
    memory.setUint32(record + RECORD.LINK, slot, true);
    memory.setUint16(record + RECORD.HANDLER, MICRO.REGION, true);
    this.recordOf[slot] = record;
  }

  /** The record that leads to each slot. */
  private readonly recordOf: number[] = [];

  private isUsed(index: number): boolean {
    return this.code.memory.getUint8(this.code.at('REGION_USED') + index) !== 0;
  }

  private setUsed(index: number, used: 0 | 1): void {
    this.code.memory.setUint8(this.code.at('REGION_USED') + index, used);
  }

  /** Evicts until everything is within its limits. Not while translated code runs. */
  keepWithinLimits(): void {
    const { limits } = this;
    // A sixteenth is kept free of what cannot be exceeded for a moment.
    const spare = (limit: number): number => Math.ceil(limit / 16);
    while (
      this.modules.length > 1 &&
      (this.bytes > limits.bytes ||
        this.slots.left < spare(limits.slots) ||
        this.indices.left < spare(limits.regions) ||
        this.links.left < spare(limits.links))
    )
      this.evictOne();
  }

  /** Goes round the modules until one comes that was not entered since the last time. */
  private evictOne(): void {
    for (;;) {
      if (this.hand >= this.modules.length) this.hand = 0;
      const { regions } = this.modules[this.hand];
      if (![...regions].some(({ index }) => this.isUsed(index))) break;
      for (const { index } of regions) this.setUsed(index, 0);
      this.hand++;
    }
    for (const region of this.removeModule(this.hand).regions) this.remove(region);
  }

  private remove(region: StoredRegion): void {
    const { index, slots, records, module } = region;
    for (const slot of slots) {
      const at = this.code.at('REGION_SLOTS') + slot * REGION_SLOT.SIZE;
      // Another region has taken it over.
      if (this.code.u32(at + REGION_SLOT.FUNCTION) !== index) continue;
      const record = this.recordOf[slot];
      // Overwritten instructions have lost their handlers.
      if (this.code.isTranslated(record) && this.code.link(record) === slot) {
        this.code.memory.setUint16(record + RECORD.HANDLER, this.code.handler(record), true);
        this.code.memory.setUint32(record + RECORD.LINK, 0, true);
      }
      this.slots.giveBack(slot);
    }
    this.table.set(index, null);
    this.indices.giveBack(index);
    module.regions.delete(region);
    this.regions.delete(index);
    this.evicted++;
    this.removed(records);
  }

  /** All decoded code is gone, and with it everything that led here. Indices that were reserved are not any more. */
  clear(): void {
    for (const index of this.regions.keys()) this.table.set(index, null);
    this.evicted += this.regions.size;
    this.regions.clear();
    this.modules = [];
    this.modulesById.clear();
    this.links.giveBackAll();
    this.bytes = 0;
    this.slots.giveBackAll();
    this.indices.giveBackAll();
  }
}
