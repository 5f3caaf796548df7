/** Compiled modules on a CPU: an instance of its own, and the links of its regions. */
import type { CodeView } from '../../cpu/x86/translate/code-view.js';
import { LINK } from '../../cpu/x86/translate/region-links.js';
import type { RegionGraph } from '../../cpu/x86/translate/scan.js';
import type { CompiledModule, CompiledRegion } from './compiler.js';
import type { RegionStore, StoredModule } from './region-store.js';

interface Imports {
  readonly memory: WebAssembly.Memory;
  /** Exports of helpers.wasm. */
  readonly helpers: WebAssembly.Exports;
}

/** The module in the store, as an instance, if it is not there yet; undefined when there is no room for its links. */
export function storeModule(
  store: RegionStore,
  code: CodeView,
  { module, id, links, bytes }: CompiledModule,
  { memory, helpers }: Imports,
): StoredModule | undefined {
  const known = store.module(id);
  if (known) return known;
  const firstLink = store.reserveLinks(links);
  if (firstLink === undefined) return undefined;
  const { exports } = new WebAssembly.Instance(module, {
    env: { memory, cpu_origin: code.origin, links: code.linkAddress(firstLink) },
    h: helpers,
  });
  return store.addModule({ bytes, firstLink, links, exports, id });
}

interface LinkTargets {
  /** With this CPU's pages. */
  readonly graph: RegionGraph;
  readonly index: number;
  /** This CPU's record for one that the region was made of. */
  readonly recordOf: (record: number) => number;
}

/** Writes what a region's code is to know of this CPU. */
export function fillLinks(code: CodeView, module: StoredModule, region: CompiledRegion, targets: LinkTargets): void {
  const first = module.firstLink + region.firstLink;
  for (let i = 0; i < region.links.length; i += 2)
    code.setLink(first + i / 2, valueOf(region.links[i], region.links[i + 1], targets));
}

function valueOf(kind: number, value: number, { graph, index, recordOf }: LinkTargets): number {
  switch (kind) {
    case LINK.RECORD:
      return recordOf(value);
    case LINK.PAGE:
      return graph.pages[value].code.entry;
    case LINK.WRITES:
      return graph.pages[value].writes;
    case LINK.INDEX:
      return index;
    default:
      return 0;
  }
}
