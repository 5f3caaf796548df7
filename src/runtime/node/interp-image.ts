import * as fs from 'node:fs';
import type { InterpImage } from '../../accel/interp/image.js';
import { HostError } from '../../base/errors.js';

const folder = new URL('../../cpu/x86/', import.meta.url);

function readBuilt(name: string): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(fs.readFileSync(new URL(name, folder)));
  } catch (cause) {
    throw new HostError(`${name} is missing: run \`npm run build\``, { cause });
  }
}

/** Loads and compiles what the build made for the interpreter. */
export function loadInterpImage(): InterpImage {
  return {
    helpers: new WebAssembly.Module(readBuilt('helpers.wasm')),
    interpreter: new WebAssembly.Module(readBuilt('interpreter.wasm')),
    decoderTables: readBuilt('decoder-tables.bin'),
  };
}
