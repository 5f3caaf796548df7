import type { InterpImage } from '../../accel/interp/image.js';
import { readVariants } from '../../cpu/x86/handler-variants.js';
import type { Variant } from '../../cpu/x86/variants.js';
import { readBuilt } from './built-files.js';

/** Loads and compiles what the build made for the interpreter. */
export function loadInterpImage(): InterpImage {
  return load('interpreter.wasm');
}

/** The same for the interpreter that enters translated code. */
export function loadTranslatingImage(): InterpImage {
  return load('interpreter-regions.wasm');
}

function load(interpreter: string): InterpImage {
  return {
    helpers: new WebAssembly.Module(readBuilt('helpers.wasm')),
    interpreter: new WebAssembly.Module(readBuilt(interpreter)),
    decoderTables: readBuilt('decoder-tables.bin'),
  };
}

/** The variant of each handler, which the translator needs. */
export function loadVariants(): readonly Variant[] {
  return readVariants(readBuilt('handlers.json'));
}
