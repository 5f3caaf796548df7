/**
 * Copies and fills within a memory of WebAssembly. V8 has nothing else as fast: arrays in memory that threads share are copied word by word, and
 * filled byte by byte.
 */
import { WasmModule } from '../../ir/wasm/module.js';

export interface BulkMemory {
  /** Copies bytes to one address from another: as if by way of a buffer, if they overlap. */
  copy(to: number, from: number, length: number): void;
  /** Puts the same byte from an address on. */
  fill(at: number, byte: number, length: number): void;
}

/** Core specification 2.0 §5.4.6. */
const ARGUMENTS = [0x20, 0, 0x20, 1, 0x20, 2];
const CODE = { copy: [...ARGUMENTS, 0xfc, 10, 0, 0], fill: [...ARGUMENTS, 0xfc, 11, 0] } as const;

function assemble(): Uint8Array<ArrayBuffer> {
  const module = new WasmModule();
  module.importMemory({ module: 'm', name: 'memory', minimum: 1, maximum: 65536, shared: true });
  for (const [name, code] of Object.entries(CODE)) {
    const index = module.declareFunction(['i32', 'i32', 'i32'], []);
    module.defineFunction(index, { locals: [], code: Uint8Array.from(code) });
    module.exportFunction(name, index);
  }
  return Uint8Array.from(module.toBytes());
}

let compiled: WebAssembly.Module | undefined;

/** For a shared memory. */
export function bulkMemory(memory: WebAssembly.Memory): BulkMemory {
  compiled ??= new WebAssembly.Module(assemble());
  return new WebAssembly.Instance(compiled, { m: { memory } }).exports as unknown as BulkMemory;
}
