import type { InterpImage } from '../../accel/interp/image.js';
import { readVariants } from '../../cpu/x86/handler-variants.js';
import type { Variant } from '../../cpu/x86/variants.js';
import { readBuilt } from './built-files.js';

/** Loads and compiles what the build made for the interpreter, on a machine with so many CPUs. */
export function loadInterpImage(cpus: number): InterpImage {
  return load('interpreter', cpus > 1);
}

/** The same for the interpreter that enters translated code. */
export function loadTranslatingImage(cpus: number): InterpImage {
  return load('interpreter-regions', cpus > 1);
}

/** What this thread has loaded: one that waits for a machine loads what it will need. */
const loaded = new Map<string, InterpImage>();

function load(name: string, anyCpu: boolean): InterpImage {
  const interpreter = `${name}${anyCpu ? '-smp' : ''}.wasm`;
  const image = loaded.get(interpreter) ?? {
    anyCpu,
    helpers: new WebAssembly.Module(readBuilt('helpers.wasm')),
    interpreter: new WebAssembly.Module(readBuilt(interpreter)),
    decoderTables: readBuilt('decoder-tables.bin'),
  };
  loaded.set(interpreter, image);
  return image;
}

let variants: readonly Variant[] | undefined;

/** The variant of each handler, which the translator needs. */
export function loadVariants(): readonly Variant[] {
  return (variants ??= readVariants(readBuilt('handlers.json')));
}
