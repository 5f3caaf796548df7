/** Several regions as one WebAssembly module: what a module costs, it costs once. */
import type { FunctionRef } from '../../ir/nodes.js';
import { WasmModule } from '../../ir/wasm/module.js';
import type { CpuBases } from '../../cpu/x86/interpreter/handlers.js';
import { emitRegion, type Region } from '../../cpu/x86/translate/region.js';
import type { RegionGraph } from '../../cpu/x86/translate/scan.js';
import type { Compiled, RegionRequest } from './compiler.js';

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
  const emitted = requests.map(({ graph, records, index }) =>
    emitRegion({ graph, view: records, bases, index, functionIndex }),
  );
  if (observe) {
    const functions = [...callees.values()].map(({ callee }) => callee);
    for (const [i, region] of emitted.entries()) observe(requests[i].graph, region, functions);
  }
  const module = new WasmModule();
  module.importMemory({ module: 'env', name: 'memory', ...MEMORY });
  if (bases.anyCpu) module.importGlobal('env', 'cpu_origin', 'i32');
  for (const { callee } of callees.values())
    module.importFunction('h', callee.name, callee.params, callee.result ? [callee.result] : []);
  const regions = emitted.map(({ code, entries }, i) => {
    const { ticket } = requests[i];
    const at = module.declareFunction(['i32', 'i32'], ['i32']);
    module.defineFunction(at, code);
    // An index may have been given up and taken again meanwhile.
    module.exportFunction(String(ticket), at);
    return { ticket, entries };
  });
  return { regions, bytes: new Uint8Array(module.toBytes()) };
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
    const { regions, bytes } = emitModule(requests, bases, observe);
    const emitted = now();
    const module = compile(bytes);
    return {
      kind: 'module',
      module,
      regions,
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
