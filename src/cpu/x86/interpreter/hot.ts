/**
 * Which handlers stand inline in the interpreter's loop: the ones that a boot of 64-bit Linux executes most. More than
 * about 250 inline handlers make V8's register allocator fall back, so the list is bounded by a test.
 */
import { CONDITIONS } from '../../../arch/x86/instructions/builder.js';
import type { Variant } from '../variants.js';

const suffixes = CONDITIONS.map(([suffix]) => suffix);

/** Names that are inline in their 32- and 64-bit forms, register and memory. */
const WIDE = new Set([
  'mov',
  'add',
  'sub',
  'and',
  'or',
  'xor',
  'cmp',
  'test',
  'lea',
  'movzx',
  'shl',
  'shr',
  'push',
  'pop',
  'call',
  'ret',
  'jmp',
  'jmp_ind',
  'call_ind',
  'movsxd',
  'inc',
  'dec',
  'sar',
]);
/** Byte operand forms that are inline too. */
const BYTE = new Set(['mov', 'cmp', 'test']);
const BRANCHES = new Set(
  suffixes.map((suffix) => `j${suffix}`).filter((name) => !['jo', 'jno', 'jp', 'jnp'].includes(name)),
);

export function isHot(variant: Variant): boolean {
  const { row, osz } = variant;
  if (variant.lock || osz === 16 || variant.stack !== 'flat64') return false;
  if (row.attributes.has('d64') || row.attributes.has('f64')) {
    return osz === 64 && (WIDE.has(row.name) || BRANCHES.has(row.name)) && variant.form !== 'mem';
  }
  if (row.operands.some((o) => o.kind === 'rAX' || o.kind === 'AL' || o.kind === 'O')) return false;
  if (row.mode === 'not64') return false;
  if (row.name === 'shl' || row.name === 'shr' || row.name === 'sar')
    return variant.form === 'reg' && row.operands[0]?.size === 'v' && row.operands[1]?.kind === 'I';
  if (row.operands[0]?.size === 'b') return BYTE.has(row.name);
  return WIDE.has(row.name);
}
