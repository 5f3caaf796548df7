/** Requests on their way to another thread: plain data, with copies of the records as they are now. */
import { RecordBytes, type RecordReader } from '../../cpu/x86/translate/code-view.js';
import type { RegionBlock, RegionGraph, Unit } from '../../cpu/x86/translate/scan.js';
import type { Variant } from '../../cpu/x86/variants.js';
import { RECORD_SIZE } from '../../cpu/x86/state-layout.js';
import type { RegionRequest } from './compiler.js';

/** With the number of its units instead of them. */
type PortableBlock = Omit<RegionBlock, 'units'> & { readonly units: number };

type PortableGraph = Omit<RegionGraph, 'blocks'> & { readonly blocks: readonly PortableBlock[] };

const UNIT_WORDS = 4;

export interface PortableRequest extends Pick<
  RegionRequest,
  'ticket' | 'index' | 'host' | 'key' | 'hasGrown' | 'isFresh'
> {
  /** A PortableGraph as JSON: a string is cloned at once, an object field by field, on the CPU's thread. */
  readonly graph: string;
  /** Of each unit of each block in order: start, record, variant, the page it ends in or -1. */
  readonly units: Int32Array;
  /** Addresses of records, and their contents in the same order. */
  readonly addresses: Int32Array;
  readonly contents: Uint8Array;
}

/** `memory` holds the records; `numberOf` is the variant's index in a list that the other side has too. */
export function toPortable(
  { graph, records: _, ...rest }: RegionRequest,
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
  const units = graph.blocks.flatMap((block) =>
    block.units.flatMap(({ start, record, variant, straddles }) => [start, record, numberOf(variant), straddles ?? -1]),
  );
  const blocks = graph.blocks.map((block) => ({ ...block, units: block.units.length }));
  const portable: PortableGraph = { ...graph, blocks };
  return {
    ...rest,
    graph: JSON.stringify(portable),
    units: Int32Array.from(units),
    addresses: Int32Array.from(addresses),
    contents,
  };
}

export function fromPortable(portable: PortableRequest, variants: readonly Variant[]): RegionRequest {
  const { units, addresses, contents, ...rest } = portable;
  const graph = JSON.parse(portable.graph) as PortableGraph;
  const places = new Map(Array.from(addresses, (address, i) => [address, i * RECORD_SIZE]));
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
  let at = 0;
  const unit = (): Unit => {
    const [start, record, variant, straddles] = units.subarray(at, (at += UNIT_WORDS));
    return { start, record, variant: variants[variant], ...(straddles >= 0 && { straddles }) };
  };
  const blocks = graph.blocks.map((block) => ({ ...block, units: Array.from({ length: block.units }, unit) }));
  return { ...rest, graph: { ...graph, blocks }, records };
}
