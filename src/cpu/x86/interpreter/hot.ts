/**
 * Which handlers stand inline in the interpreter's loop: those that boots of 64- and 32-bit Linux execute most (measured:
 * docs/performance.md). Many more cost more than they gain: V8 compiles one function of all of them. A test bounds their number.
 */
import type { Instruction } from '../../../arch/x86/instructions/row.js';
import type { Variant } from '../variants.js';

const set = (names: string): ReadonlySet<string> => new Set(names.split(' '));

/** By kind of first operand and form: register (or none), memory as the destination, memory as the source. 32 and 64 bits. */
const REGISTER = set(
  'mov add sub and or xor cmp test lea movzx movsxd inc dec neg not adc imul2 sete setb cmove cmovne cmovae cmovb',
);
const MEMORY_DESTINATION = set('mov cmp add');
const MEMORY_SOURCE = set('mov add cmp lea movzx movsxd');
/** With an immediate count, or one. */
const SHIFTS = set('shl shr sar rol');
/** Forms with the accumulator and an immediate. */
const ACCUMULATOR = set('cmp test');
/** Bytes: register and memory. */
const BYTES = set('mov cmp test');
/** Near control transfer and stack, in flat 64- and 32-bit code. */
const FLOW = set('jb jae je jne jbe ja js jns jl jge jle jg jmp call ret jmp_ind call_ind push pop');

const isFlow = (row: Instruction): boolean => row.attributes.has('d64') || row.attributes.has('f64');

export function isHot(variant: Variant): boolean {
  const { row, osz, form } = variant;
  if (row.name === 'nop') return true;
  if (variant.lock || osz === 16) return false;
  if (isFlow(row)) {
    if (!FLOW.has(row.name)) return false;
    if (row.attributes.has('stack') && variant.stack !== (osz === 64 ? 'flat64' : 'flat32')) return false;
    return form !== 'mem';
  }
  const [first, second] = row.operands;
  if (first === undefined) return REGISTER.has(row.name);
  if (first.kind === 'AL' || first.kind === 'rAX') return second?.kind === 'I' && ACCUMULATOR.has(row.name);
  if (second?.kind === 'O' || first.kind === 'O' || second?.kind === 'rAX') return false;
  if (SHIFTS.has(row.name)) return form === 'reg' && first.size === 'v' && second?.kind !== 'CL';
  if (first.size === 'b')
    return BYTES.has(row.name) || (form === 'reg' && row.name.startsWith('set') && REGISTER.has(row.name));
  if (form !== 'mem') return REGISTER.has(row.name);
  return (first.kind === 'E' ? MEMORY_DESTINATION : MEMORY_SOURCE).has(row.name);
}
