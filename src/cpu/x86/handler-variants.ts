/** Which variant each handler of the built interpreter stands for, as the build writes it down for the translator. */
import { INSTRUCTIONS } from '../../arch/x86/instructions/index.js';
import type { Variant } from './variants.js';

/** Row number, operand size, form, LOCK, stack. */
type Entry = readonly [number, Variant['osz'], Variant['form'], boolean, Variant['stack']];

/** In the order of handler numbers from FIRST_HANDLER on. */
export function writeVariants(variants: readonly Variant[]): Uint8Array {
  const rows = new Map(INSTRUCTIONS.map((row, i) => [row, i]));
  const entries = variants.map(({ row, osz, form, lock, stack }) => [rows.get(row), osz, form, lock, stack]);
  return new TextEncoder().encode(JSON.stringify(entries));
}

export function readVariants(file: Uint8Array): Variant[] {
  const entries = JSON.parse(new TextDecoder().decode(file)) as Entry[];
  return entries.map(([row, osz, form, lock, stack]) => ({ row: INSTRUCTIONS[row], osz, form, lock, stack }));
}
