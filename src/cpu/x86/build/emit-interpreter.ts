/**
 * Writes dist/cpu/x86/interpreter.wasm, the same with translated code (interpreter-regions.wasm), both once more for machines with several
 * CPUs (…-smp.wasm), handlers.json (the variant of each handler) and decoder-tables.bin from the instruction table, the semantics and the helpers that
 * helpers.wasm has. Run by tools/build.mjs from the root of the package, after asc.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { isMainThread, Worker } from 'node:worker_threads';
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
/** What is for several CPUs is made on another thread, at the same time. */
const anyCpu = !isMainThread;

function writeWhole(name: string, data: Uint8Array): void {
  const file = new URL(name, folder);
  const temporary = new URL(`${name}.${String(process.pid)}.tmp`, folder);
  writeFileSync(temporary, data);
  renameSync(temporary, file);
}

function emit(regions: boolean): ReturnType<typeof emitInterpreter> {
  const interpreter = emitInterpreter({ ...options, bases: cpuBases(anyCpu), regions });
  writeWhole(`interpreter${regions ? '-regions' : ''}${anyCpu ? '-smp' : ''}.wasm`, interpreter.bytes);
  return interpreter;
}

if (isMainThread) new Worker(new URL(import.meta.url));
const interpreter = emit(false);
emit(true);
if (isMainThread) {
  writeWhole('handlers.json', writeVariants(interpreter.variants));
  writeWhole('decoder-tables.bin', packDecoderTables(interpreter.handlerOf));
  const { hotCount, coldCount, missing } = interpreter;
  console.error(`interpreter: ${String(hotCount)} handlers inline, ${String(coldCount)} others`);
  if (missing.length > 0) console.error(`interpreter: without semantics or helper: ${missing.join(' ')}`);
}
