import type { InterpImage } from '../../accel/interp/image.js';
import { readBuilt } from './built-files.js';

/** Loads and compiles what the build made for the interpreter. */
export function loadInterpImage(): InterpImage {
  return {
    helpers: new WebAssembly.Module(readBuilt('helpers.wasm')),
    interpreter: new WebAssembly.Module(readBuilt('interpreter.wasm')),
    decoderTables: readBuilt('decoder-tables.bin'),
  };
}
