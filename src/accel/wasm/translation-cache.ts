/**
 * Regions that were made for any CPU of a machine, by the instructions at which they can be entered: what one CPU has had made, others need
 * not. Whether it still is what is there, and the same for another CPU, that one finds out (adopt-region.ts).
 */
import type { RegionGraph } from '../../cpu/x86/translate/scan.js';
import type { CompiledModule, CompiledRegion, SharedRegion } from './compiler.js';
import type { PortableRequest } from './portable-region.js';

/** Bytes of WebAssembly in all modules that are kept. */
const LIMIT = 20 << 20;

interface Kept {
  readonly region: SharedRegion;
  readonly module: KeptModule;
  /** CPUs that have had it. */
  readonly served: Set<number>;
}

interface KeptModule {
  readonly made: CompiledModule;
  readonly regions: Map<number, Kept>;
}

/** A number for an instruction: its address in the machine's memory, and its mode. */
const placeOf = (host: number, key: number): number => key * 2 ** 32 + host;

export class TranslationCache {
  private readonly places = new Map<number, Kept>();
  /** Oldest first. */
  private readonly modules: KeptModule[] = [];
  private bytes = 0;

  constructor(private readonly limit = LIMIT) {}

  /** What was made last for the instruction that a CPU asks for. */
  find(
    { host, key, hasGrown, isFresh }: PortableRequest,
    cpu: number,
  ): (Pick<Kept, 'region'> & { readonly module: CompiledModule }) | undefined {
    const kept = isFresh ? undefined : this.places.get(placeOf(host, key));
    if (kept === undefined) return undefined;
    // It wants more than it has.
    if (hasGrown && (!kept.region.request.hasGrown || kept.served.has(cpu))) return undefined;
    kept.served.add(cpu);
    return { region: kept.region, module: kept.module.made };
  }

  /** Keeps regions of a module, each with its request and the CPU that has asked for it. */
  add(
    made: CompiledModule,
    regions: readonly (readonly [CompiledRegion, PortableRequest, RegionGraph, number])[],
  ): void {
    const module: KeptModule = { made, regions: new Map() };
    for (const [region, request, graph, cpu] of regions) {
      const kept: Kept = { region: { ...region, request }, module, served: new Set([cpu]) };
      for (const block of graph.blocks) {
        if (!region.entries.some(({ record }) => record === block.start) || block.context !== 0) continue;
        const place = placeOf(graph.pages[block.page].code.host + block.offset, request.key);
        this.places.get(place)?.module.regions.delete(place);
        this.places.set(place, kept);
        module.regions.set(place, kept);
      }
    }
    this.modules.push(module);
    this.bytes += made.bytes;
    while (this.bytes > this.limit && this.modules.length > 1) this.removeOldest();
  }

  private removeOldest(): void {
    const module = this.modules.shift();
    if (module === undefined) return;
    this.bytes -= module.made.bytes;
    for (const place of module.regions.keys()) this.places.delete(place);
  }
}
