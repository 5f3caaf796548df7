/** What proves that the pages of a region are what they were when it was made. */
import type { FunctionRef, Node } from '../../../ir/nodes.js';
import { PAGE } from '../../../memory/layout.js';
import { STATE } from '../state-layout.js';
import type { RegionBuilder } from './region-builder.js';
import { LINK } from './region-links.js';
import type { RegionBlock, RegionGraph } from './scan.js';

const FETCH_ADDRESS: FunctionRef = { name: 'fetch_address', params: ['i64'], result: 'i32' };

export class RegionPages {
  constructor(
    private readonly b: RegionBuilder,
    private readonly graph: RegionGraph,
    /** The region's, in the table of regions. */
    private readonly index: number,
  ) {}

  /** The address `offset` bytes behind CODE_BASE, as the mode cuts it. */
  ripAt(offset: number): Node {
    const { b } = this;
    const sum = b.add(b.get(b.codeBase.variable), b.i64(offset));
    return this.graph.is64 ? sum : b.and(sum, b.i64(0xffff_ffffn));
  }

  /** Builds what does `otherwise` unless another page is where it was, as the CPU fetches it, and untouched. */
  prove(from: RegionBlock, page: number, otherwise: () => void): void {
    const { b, graph, index: region } = this;
    const { bases } = b;
    const { code, delta } = graph.pages[page];
    const bit = 1 << page;
    b.if(b.eqz(b.and(b.get(b.proved), b.i32(bit))), () => {
      const address = this.ripAt(delta - graph.pages[from.page].delta);
      const index = b.and(b.wrap(b.shru(address, b.i64(8))), b.i32((bases.mmu.entryCount - 1) * 16));
      const tag = b.load('i64.load', index, bases.fetchEntries);
      const wanted = b.or(address, b.load('i64.load', b.i32(0), bases.state + STATE.TLB_CTX));
      const host = b.wrap(b.add(address, b.load('i64.load', index, bases.fetchEntries + 8)));
      const inTlb = b.and(b.op('i64.eq', tag, wanted), b.op('i32.eq', host, b.i32(code.host)));
      const { links } = b;
      const entry = links?.load(b, LINK.PAGE, page) ?? b.i32(code.entry);
      const before = links?.load(b, LINK.WRITES, page) ?? b.i32(graph.pages[page].writes);
      const isTouched = b.op('i32.ne', b.load('i32.load', entry, PAGE.WRITES), before);
      b.if(isTouched, () => {
        const request = links ? b.add(links.load(b, LINK.INDEX, 0), b.i32(1)) : b.i32(region + 1);
        b.store('i32.store', b.i32(0), request, bases.state + STATE.REGION_REQUEST);
        otherwise();
      });
      b.if(b.eqz(inTlb), () => {
        b.if(b.op('i32.ne', b.call(FETCH_ADDRESS, address), b.i32(code.host)), otherwise);
      });
      b.set(b.proved, b.or(b.get(b.proved), b.i32(bit)));
    });
  }
}
