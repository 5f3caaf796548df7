/** The accelerators that tests of processor behaviour run on, as what the build made of them. */
import * as fs from 'node:fs';
import type { InterpImage } from '../accel/interp/image.js';
import type { InterpVmOptions } from '../accel/interp/vm.js';
import { createTranslator, type TranslatorSettings } from '../accel/wasm/translator.js';
import type { Translation } from '../cpu/x86/translate/describe.js';
import type { Variant } from '../cpu/x86/variants.js';
import { readVariants } from '../cpu/x86/handler-variants.js';

export const TESTED_ACCELERATORS = ['interp', 'wasm'] as const;
export type TestedAccelerator = (typeof TESTED_ACCELERATORS)[number];

export const isTestedAccelerator = (name: string): name is TestedAccelerator =>
  TESTED_ACCELERATORS.some((known) => known === name);

const built = new URL('../../dist/cpu/x86/', import.meta.url);
const read = (name: string): Uint8Array<ArrayBuffer> => new Uint8Array(fs.readFileSync(new URL(name, built)));
const images = new Map<string, InterpImage>();

function imageOf(accelerator: TestedAccelerator, anyCpu: boolean): InterpImage {
  const name = `${accelerator === 'wasm' ? 'interpreter-regions' : 'interpreter'}${anyCpu ? '-smp' : ''}.wasm`;
  const known = images.get(name);
  if (known) return known;
  const image = {
    anyCpu,
    helpers: new WebAssembly.Module(read('helpers.wasm')),
    interpreter: new WebAssembly.Module(read(name)),
    decoderTables: read('decoder-tables.bin'),
  };
  images.set(name, image);
  return image;
}

/** The variants of the interpreter's handlers, as the translator knows them. */
export function builtVariants(): readonly Variant[] {
  variants ??= readVariants(read('handlers.json'));
  return variants;
}
let variants: readonly Variant[] | undefined;

/** What a VM on an accelerator is made with. On wasm code is translated after `hotAfter` jumps to it, or as in earnest. */
export function accelerate(
  accelerator: TestedAccelerator,
  hotAfter: number | undefined,
  observe?: (translation: Translation) => void,
  settings: TranslatorSettings = {},
  cpus = 1,
): Pick<InterpVmOptions, 'image' | 'createTranslator'> {
  const image = imageOf(accelerator, cpus > 1);
  if (accelerator === 'interp') return { image };
  return { image, createTranslator: createTranslator(builtVariants(), { ...settings, hotAfter, observe }) };
}
