/**
 * Writes dist/cpu/x86/interpreter.wasm, the same with translated code (interpreter-regions.wasm), both once more for machines with several
 * CPUs (…-smp.wasm), handlers.json (the variant of each handler) and decoder-tables.bin from the instruction table, the semantics and the helpers that
 * helpers.wasm has. Run by tools/build.mjs from the root of the package, after asc.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { packDecoderTables } from '../decoder-tables.js';
import { writeVariants } from '../handler-variants.js';
import { cpuBases } from '../interpreter/handlers.js';
import { emitInterpreter } from '../interpreter/module.js';

const folder = new URL('../', import.meta.url);
const helpers = new WebAssembly.Module(readFileSync(new URL('helpers.wasm', folder)));
const options = {
  shared: true,
  helpers: new Set(WebAssembly.Module.exports(helpers).map((e) => e.name)),
};
const emit = (anyCpu: boolean, regions: boolean) => emitInterpreter({ ...options, bases: cpuBases(anyCpu), regions });
const interpreter = emit(false, false);

function writeWhole(name: string, data: Uint8Array): void {
  const file = new URL(name, folder);
  const temporary = new URL(`${name}.${String(process.pid)}.tmp`, folder);
  writeFileSync(temporary, data);
  renameSync(temporary, file);
}

writeWhole('interpreter.wasm', interpreter.bytes);
writeWhole('interpreter-regions.wasm', emit(false, true).bytes);
writeWhole('interpreter-smp.wasm', emit(true, false).bytes);
writeWhole('interpreter-regions-smp.wasm', emit(true, true).bytes);
writeWhole('handlers.json', writeVariants(interpreter.variants));
writeWhole('decoder-tables.bin', packDecoderTables(interpreter.handlerOf));
const { hotCount, coldCount, missing } = interpreter;
console.error(`interpreter: ${String(hotCount)} handlers inline, ${String(coldCount)} others`);
if (missing.length > 0) console.error(`interpreter: without semantics or helper: ${missing.join(' ')}`);
