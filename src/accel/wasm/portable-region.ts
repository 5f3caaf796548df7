/** Requests on their way to another thread: plain data, with copies of the records as they are now. */
import { RecordBytes, type RecordReader } from '../../cpu/x86/translate/code-view.js';
import type { RegionBlock, RegionGraph, Unit } from '../../cpu/x86/translate/scan.js';
import type { Variant } from '../../cpu/x86/variants.js';
import { RECORD_SIZE } from '../../cpu/x86/state-layout.js';
import type { RegionRequest } from './compiler.js';

type PortableUnit = Omit<Unit, 'variant'> & { readonly variant: number };
type PortableBlock = Omit<RegionBlock, 'units'> & { readonly units: readonly PortableUnit[] };

export interface PortableRequest {
  readonly ticket: number;
  readonly index: number;
  readonly graph: Omit<RegionGraph, 'blocks'> & { readonly blocks: readonly PortableBlock[] };
  /** Addresses of records, and their contents in the same order. */
  readonly addresses: readonly number[];
  readonly contents: Uint8Array;
}

/** `memory` holds the records; `numberOf` is the variant's index in a list that the other side has too. */
export function toPortable(
  { ticket, index, graph }: RegionRequest,
  memory: Uint8Array,
  numberOf: (variant: Variant) => number,
): PortableRequest {
  const addresses: number[] = [];
  for (const { units } of graph.blocks)
    for (const { start, record } of units) {
      addresses.push(record);
      if (start !== record) addresses.push(start);
    }
  const contents = new Uint8Array(addresses.length * RECORD_SIZE);
  for (const [i, address] of addresses.entries())
    contents.set(memory.subarray(address, address + RECORD_SIZE), i * RECORD_SIZE);
  const blocks = graph.blocks.map((block) => ({
    ...block,
    units: block.units.map((unit) => ({ ...unit, variant: numberOf(unit.variant) })),
  }));
  return { ticket, index, graph: { ...graph, blocks }, addresses, contents };
}

export function fromPortable(portable: PortableRequest, variants: readonly Variant[]): RegionRequest {
  const { ticket, index, graph, addresses, contents } = portable;
  const places = new Map(addresses.map((address, i) => [address, i * RECORD_SIZE]));
  const copies = new RecordBytes(new DataView(contents.buffer, contents.byteOffset, contents.byteLength));
  const placeOf = (record: number): number => {
    const place = places.get(record);
    if (place === undefined) throw new Error('a record of the region was copied');
    return place;
  };
  const records: RecordReader = {
    byte: (record, field) => copies.byte(placeOf(record), field),
    offset: (record) => copies.offset(placeOf(record)),
    displacement: (record) => copies.displacement(placeOf(record)),
    immediate: (record) => copies.immediate(placeOf(record)),
  };
  const blocks = graph.blocks.map((block) => ({
    ...block,
    units: block.units.map((unit) => ({ ...unit, variant: variants[unit.variant] })),
  }));
  return { ticket, index, graph: { ...graph, blocks }, records };
}
