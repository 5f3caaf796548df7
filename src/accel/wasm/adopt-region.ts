/**
 * Regions that were made for another CPU: whether this one has the same code, decoded to the same records, and what the region calls by the
 * addresses that they have there. What was translated depends on nothing else, so a region that passes here is what this CPU would
 * have had made; whatever becomes of the code later is seen as with regions of its own.
 */
import type { Variant } from '../../cpu/x86/variants.js';
import { MICRO } from '../../cpu/x86/micro.js';
import { RECORD, RECORD_SIZE } from '../../cpu/x86/state-layout.js';
import type { CodePage, CodeView } from '../../cpu/x86/translate/code-view.js';
import { LINK } from '../../cpu/x86/translate/region-links.js';
import type { RegionBlock, RegionGraph, RegionPage, Target, Unit } from '../../cpu/x86/translate/scan.js';
import type { SharedRegion } from './compiler.js';
import { fromPortable } from './portable-region.js';

export interface AdoptOptions {
  readonly view: CodeView;
  readonly variants: readonly Variant[];
  readonly variantOf: (handler: number) => Variant | undefined;
  /** The record of the instruction at an address of this memory under a mode key, decoded if need be; 0 when it cannot be. */
  readonly decode: (host: number, key: number) => number;
  /** So often may translated code of a page have been overwritten. */
  readonly patience: number;
  /** Address of the instruction for which the region is wanted: linear, and in this memory. */
  readonly linear: bigint;
  readonly host: number;
}

export interface AdoptedRegion {
  /** With this CPU's records and pages. */
  readonly graph: RegionGraph;
  /** The address that a record of the other CPU has here. */
  readonly recordOf: (other: number) => number;
}

/** What HANDLER and LINK are, the CPU changes. */
const FIXED = [...Array(RECORD_SIZE).keys()].filter(
  (at) => at >= RECORD.LENGTH && (at < RECORD.LINK || at >= RECORD.LINK + 4),
);

/** It does not fit. */
class Misfit extends Error {}

function must(record: number): number {
  if (record === 0) throw new Misfit('an instruction is not decoded here');
  return record;
}

class Adoption {
  private readonly records = new Map<number, number>();
  private readonly places: ReadonlyMap<number, number>;
  private readonly pages: RegionPage[] = [];
  private readonly graph: RegionGraph;

  constructor(
    private readonly region: SharedRegion,
    private readonly options: AdoptOptions,
  ) {
    const { request } = region;
    this.places = new Map(Array.from(request.addresses, (address, i) => [address, i * RECORD_SIZE]));
    this.graph = fromPortable(request, options.variants).graph;
  }

  /** Finds the pages' entries here. When the code in the first is other code, the others are left alone. */
  private findPage(index: number): void {
    if (this.pages.at(index)) return;
    const { view, patience } = this.options;
    const { code, delta } = this.graph.pages[index];
    const first = this.graph.blocks.find((block) => block.page === index);
    // What has an entry has decoded code.
    if (first) this.mapped(code, first.offset);
    const own = view.page(code.host, this.region.request.key);
    if (own === undefined || view.writes(own) > patience) throw new Misfit('a page has no code here');
    this.pages[index] = { code: own, delta, writes: view.writes(own) };
  }

  adopt(): AdoptedRegion {
    const blocks = this.graph.blocks.map((block) => {
      this.findPage(block.page);
      for (const { straddles } of block.units) if (straddles !== undefined) this.findPage(straddles);
      return this.block(block);
    });
    // Those that no block lies in are there for nothing but what straddles into them.
    for (const index of this.graph.pages.keys()) this.findPage(index);
    const recordOf = (other: number): number => must(this.records.get(other) ?? 0);
    // All that will be asked for.
    const { links, entries } = this.region;
    for (let i = 0; i < links.length; i += 2) if (links[i] === LINK.RECORD) recordOf(links[i + 1]);
    for (const { record } of entries) recordOf(record);
    return { graph: { ...this.graph, blocks, pages: this.pages }, recordOf };
  }

  /** The record that the map has for an offset in a page. */
  private mapped({ host }: CodePage, offset: number): number {
    return must(offset >= 4096 ? 0 : this.options.decode(host + offset, this.region.request.key));
  }

  private recordAt(page: CodePage, offset: number): number {
    const { view } = this.options;
    let record = this.mapped(page, offset);
    while (view.handler(record) === MICRO.GOTO) record = view.link(record);
    return record;
  }

  private note(other: number, own: number): number {
    this.records.set(other, own);
    return own;
  }

  private block(block: RegionBlock): RegionBlock {
    const { code } = this.pages[block.page];
    const { view } = this.options;
    let { offset } = block;
    const units = block.units.map((unit): Unit => {
      const found = this.unit(unit, block.page, offset);
      offset += view.byte(found.record, 'LENGTH');
      return found;
    });
    const { stop, taken, next, expected } = block;
    const start = units.at(0)?.start ?? this.note(block.start, this.recordAt(code, offset));
    for (const target of [taken, next, expected]) this.target(target, code);
    if (stop !== undefined && !this.records.has(stop)) this.note(stop, this.recordAt(code, offset));
    return { ...block, start, units, ...(stop !== undefined && { stop: must(this.records.get(stop) ?? 0) }) };
  }

  private target(target: Target | undefined, code: CodePage): void {
    if (target?.kind === 'record') this.note(target.record, this.mapped(code, target.offset));
  }

  private unit(other: Unit, page: number, offset: number): Unit {
    const { view, variantOf } = this.options;
    const { variant, straddles } = other;
    const start = this.recordAt(this.pages[page].code, offset);
    const record = straddles === undefined ? this.instruction(start) : this.straddling(page, offset, straddles);
    const isAddressed = start !== record;
    if (variantOf(view.handler(record)) !== variant || isAddressed !== (other.start !== other.record))
      throw new Misfit('another instruction');
    this.compare(other.record, record);
    if (straddles !== undefined && view.handler(start) !== MICRO.STRADDLE) throw new Misfit('it does not straddle');
    if (straddles === undefined && isAddressed) this.compare(other.start, start);
    // What comes behind: the next instruction, or what leads to it.
    if (!this.records.has(other.record + RECORD_SIZE)) this.note(other.record + RECORD_SIZE, record + RECORD_SIZE);
    this.note(other.start, start);
    this.note(other.record, record);
    return { ...other, start, record };
  }

  private instruction(start: number): number {
    return this.options.view.handler(start) === MICRO.EA_SEG ? start + RECORD_SIZE : start;
  }

  private straddling(page: number, offset: number, second: number): number {
    const { view, linear, host } = this.options;
    // It may be a debugger's breakpoint.
    if (view.state32('GDB_FLAGS') !== 0) throw new Misfit('somebody debugs');
    const { code, delta } = this.pages[page];
    const here = this.graph.pages.find((p) => p.code.host === (host & ~0xfff) >>> 0);
    if (here === undefined) throw new Misfit('the instruction is in none of its pages');
    let rip = linear - BigInt(host & 0xfff) + BigInt(delta - here.delta + offset);
    rip = BigInt.asUintN(this.graph.is64 ? 64 : 32, rip);
    return must(view.straddle(rip, code.host + offset, this.pages[second].code.host, this.region.request.key));
  }

  /** As decoded, both must be the same. */
  private compare(other: number, own: number): void {
    const place = this.places.get(other);
    const { contents } = this.region.request;
    const { memory } = this.options.view;
    if (place === undefined || FIXED.some((at) => contents[place + at] !== memory.getUint8(own + at)))
      throw new Misfit('other code');
  }
}

/** Undefined: this CPU has other code there, or has not come across some of it. */
export function adoptRegion(region: SharedRegion, options: AdoptOptions): AdoptedRegion | undefined {
  try {
    return new Adoption(region, options).adopt();
  } catch (error) {
    if (error instanceof Misfit) return undefined;
    throw error;
  }
}
