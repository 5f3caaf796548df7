/** A compiler that gives CPUs what others have had made, as the threads of a machine do. */
import type { Compiled, Compiler, RegionRequest } from '../../accel/wasm/compiler.js';
import { fromPortable, toPortable } from '../../accel/wasm/portable-region.js';
import { compileRegions } from '../../accel/wasm/region-module.js';
import { TranslationCache } from '../../accel/wasm/translation-cache.js';
import type { CpuBases } from '../../cpu/x86/interpreter/handlers.js';
import type { Variant } from '../../cpu/x86/variants.js';

/** What is shared. */
export class SharedTranslations {
  readonly cache = new TranslationCache();
  readonly numbers: ReadonlyMap<Variant, number>;
  modules = 0;
  /** How often something that was there already was given. */
  given = 0;

  constructor(readonly variants: readonly Variant[]) {
    this.numbers = new Map(variants.map((variant, i) => [variant, i]));
  }
}

export class SharingCompiler implements Compiler {
  readonly isReady = true;
  private readonly done: Compiled[] = [];

  constructor(
    private readonly shared: SharedTranslations,
    private readonly cpu: number,
    private readonly bases: CpuBases,
    private readonly memory: WebAssembly.Memory,
  ) {}

  request(region: RegionRequest): void {
    const { shared, cpu, bases, memory } = this;
    const number = (variant: Variant): number => shared.numbers.get(variant) ?? -1;
    const request = toPortable(region, new Uint8Array(memory.buffer), number);
    const found = shared.cache.find(request, cpu);
    if (found) {
      shared.given++;
      this.done.push({ kind: 'shared', ticket: region.ticket, ...found });
      return;
    }
    const copy = fromPortable(request, shared.variants);
    const compiled = compileRegions([copy], bases, { now: () => 0 });
    if (compiled.kind !== 'module') {
      this.done.push(compiled);
      return;
    }
    const made = { module: compiled.module, bytes: compiled.bytes, links: compiled.links, id: ++shared.modules };
    this.done.push({ ...compiled, id: made.id });
    shared.cache.add(
      made,
      compiled.regions.map((one) => [one, request, copy.graph, cpu]),
    );
  }

  take(): Compiled | undefined {
    return this.done.shift();
  }

  close(): void {
    this.done.length = 0;
  }
}
