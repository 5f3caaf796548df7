/** Prefixes that an instruction does not need: repeated, ignored, in odd orders, too many. */
import type { Draft } from './addresses.js';

const SEGMENTS = [0x26, 0x2e, 0x36, 0x3e];
/** The longest instruction, SDM vol. 2 §2.3.11. */
const LONGEST = 15;

/** Whether a prefix makes an instruction of a row that means the same on both sides. */
function mayChange({ row, environment }: Draft, code: readonly number[], prefix: number): boolean {
  const { name, map, opcode, attributes, operands } = row;
  // With a 66 the immediate would be shorter, and what remains of it an instruction.
  if (prefix === 0x66 && operands.some(({ kind, size }) => 'IJA'.includes(kind) && size !== 'b')) return false;
  // Near branches with 66: see vendor.ts. SHLD and SHRD of 16 bits: see fixed-inputs.ts.
  if (prefix === 0x66 && ((attributes.has('f64') && environment.bits === 64) || /^sh[lr]d$/.test(name))) return false;
  // TZCNT, LZCNT; MOVNTSS, MOVNTSD of SSE4a. For the others see vendor.ts.
  if (/^(bs[fr]|movntps|movbe|loop)/.test(name)) return prefix === 0x66;
  // PAUSE or not: see vendor.ts.
  if (prefix === 0xf3 && code.at(-1) === 0x90 && ((code.at(-2) ?? 0) & 0xf1) === 0x41) return false;
  // CLWB, RDPID, shadow stacks …
  return !(map === 1 && (opcode === 0xae || opcode === 0xc7 || opcode === 0x01 || opcode === 0x1e));
}

/** What to put before an instruction; nothing as a rule. */
export function extraPrefixes(draft: Draft, code: readonly number[]): number[] {
  const { r, row, environment } = draft;
  const isString = row.operands.some(({ kind }) => kind === 'X' || kind === 'Y');
  if (isString || !r.oneIn(12)) return [];
  // Segment prefixes mean nothing in 64-bit mode, and REX nothing before other prefixes.
  const ignored = environment.bits === 64 ? [...SEGMENTS, ...SEGMENTS, 0x40 + r.below(16)] : [];
  if (environment.bits === 64 && r.oneIn(20)) {
    const room = LONGEST - code.length + r.below(3) - 1;
    return Array.from({ length: Math.max(0, room) }, () => r.pick(SEGMENTS));
  }
  const changing = [0x66, 0xf2, 0xf3].filter((prefix) => mayChange(draft, code, prefix));
  const all = [...ignored, ...changing];
  if (all.length === 0) return [];
  const prefixes = Array.from({ length: 1 + r.below(3) }, () => r.pick(all));
  // A REX that comes last would count: it would be the instruction's own.
  return (prefixes[prefixes.length - 1] & 0xf0) === 0x40 ? [...prefixes, 0x3e] : prefixes;
}
