/** Several regions as one WebAssembly module: what a module costs, it costs once. */
import type { FunctionRef } from '../../ir/nodes.js';
import { WasmModule } from '../../ir/wasm/module.js';
import type { CpuBases } from '../../cpu/x86/interpreter/handlers.js';
import { emitRegion, type Region } from '../../cpu/x86/translate/region.js';
import type { RegionGraph } from '../../cpu/x86/translate/scan.js';
import type { Compiled, CompiledRegion, RegionRequest } from './compiler.js';

const MEMORY = { minimum: 64, maximum: 65536, shared: true } as const;

/** Gets each region as it was emitted, with the functions that it calls by their indices. */
export type Observe = (graph: RegionGraph, region: Region, callees: readonly FunctionRef[]) => void;

function emitModule(requests: readonly RegionRequest[], bases: CpuBases, observe: Observe | undefined) {
  const callees = new Map<string, { readonly callee: FunctionRef; readonly index: number }>();
  const functionIndex = (callee: FunctionRef): number => {
    const known = callees.get(callee.name);
    if (known) return known.index;
    callees.set(callee.name, { callee, index: callees.size });
    return callees.size - 1;
  };
  let links = 0;
  const emitted = requests.map(({ graph, records, index }) => {
    const firstLink = links;
    const region = emitRegion({ graph, view: records, bases, index, functionIndex, firstLink });
    links += region.links.length;
    return { ...region, firstLink };
  });
  if (observe) {
    const functions = [...callees.values()].map(({ callee }) => callee);
    for (const [i, region] of emitted.entries()) observe(requests[i].graph, region, functions);
  }
  const module = new WasmModule();
  module.importMemory({ module: 'env', name: 'memory', ...MEMORY });
  if (bases.anyCpu) {
    module.importGlobal('env', 'cpu_origin', 'i32');
    module.importGlobal('env', 'links', 'i32');
  }
  for (const { callee } of callees.values())
    module.importFunction('h', callee.name, callee.params, callee.result ? [callee.result] : []);
  const regions = emitted.map((region, i): CompiledRegion => {
    const { code, entries, firstLink } = region;
    const { ticket } = requests[i];
    const at = module.declareFunction(['i32', 'i32'], ['i32']);
    module.defineFunction(at, code);
    // Neither index nor ticket: one may have been given up and taken again meanwhile, the other is of one CPU.
    const name = String(i);
    module.exportFunction(name, at);
    return { ticket, name, entries, firstLink, links: Int32Array.from(region.links.flat()) };
  });
  return { regions, links, bytes: new Uint8Array(module.toBytes()) };
}

export interface CompileOptions {
  /** Milliseconds. */
  readonly now: () => number;
  readonly observe?: Observe | undefined;
  /** Instead of the host's own way. */
  readonly compile?: (bytes: Uint8Array<ArrayBuffer>) => WebAssembly.Module;
}

/** Emits and compiles. */
export function compileRegions(
  requests: readonly RegionRequest[],
  bases: CpuBases,
  { now, observe, compile = (bytes) => new WebAssembly.Module(bytes) }: CompileOptions,
): Compiled {
  try {
    const began = now();
    const { regions, links, bytes } = emitModule(requests, bases, observe);
    const emitted = now();
    const module = compile(bytes);
    return {
      kind: 'module',
      module,
      regions,
      links,
      bytes: bytes.length,
      emitTime: emitted - began,
      compileTime: now() - emitted,
    };
  } catch (error) {
    return {
      kind: 'failed',
      tickets: requests.map(({ ticket }) => ticket),
      error: error instanceof Error ? error : new Error(String(error)),
    };
  }
}
