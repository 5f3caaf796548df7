/** Copies within a memory of WebAssembly, for which V8 has no other way as fast: where threads share a memory, arrays are copied word by word. */
import { WasmModule } from '../../ir/wasm/module.js';

/** local.get 0, 1, 2; memory.copy 0 0 (core specification 2.0 §5.4.6). */
const COPY = Uint8Array.of(0x20, 0, 0x20, 1, 0x20, 2, 0xfc, 10, 0, 0);

function assemble(): Uint8Array<ArrayBuffer> {
  const module = new WasmModule();
  module.importMemory({ module: 'm', name: 'memory', minimum: 1, maximum: 65536, shared: true });
  const copy = module.declareFunction(['i32', 'i32', 'i32'], []);
  module.defineFunction(copy, { locals: [], code: COPY });
  module.exportFunction('copy', copy);
  return Uint8Array.from(module.toBytes());
}

let compiled: WebAssembly.Module | undefined;

/** Copies bytes from an address to another of a shared memory: as if by way of a buffer, if they overlap. */
export function memoryCopy(memory: WebAssembly.Memory): (to: number, from: number, length: number) => void {
  compiled ??= new WebAssembly.Module(assemble());
  const { exports } = new WebAssembly.Instance(compiled, { m: { memory } });
  return exports['copy'] as (to: number, from: number, length: number) => void;
}
