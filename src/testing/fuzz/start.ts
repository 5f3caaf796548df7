/** The state that a program between the handlers of kernel.ts starts from. */
import { GPR_NAMES } from '../../arch/x86/state.js';
import type { Random } from '../oracle/random.js';
import { ATTR, segment, type Changes } from '../x86-guest.js';
import { COUNTER, POINTERS } from './kernel.js';
import { PLACE, SELECTORS, VARIABLE, type Setting } from './place.js';

const FLAT = 0xffff_ffff;

/** What a program starts with, whose pointers stand in `view`. */
export function startState({ bits, ring }: Setting, entry: number, view: DataView, r: Random): Changes {
  const { CODE64, DATA, CODE32, USER32, USER_DATA, USER64, TSS } = SELECTORS;
  const isUser = ring === 3;
  const code = bits === 64 ? (isUser ? USER64 : CODE64) : isUser ? USER32 : CODE32;
  const dpl = isUser ? ATTR.RING3 : 0;
  const data = segment(isUser ? USER_DATA : DATA, 0n, FLAT, ATTR.DATA32 | dpl);
  const gpr = Object.fromEntries(GPR_NAMES.map((name) => [name, bits === 64 ? r.u64() : BigInt(r.u32())]));
  for (const n of POINTERS[bits])
    gpr[GPR_NAMES[n]] = view.getBigUint64(PLACE.VARIABLES + VARIABLE.POINTERS + n * 8, true);
  gpr[GPR_NAMES[COUNTER]] = 30n;
  gpr['rsp'] = BigInt(PLACE.STACK_TOP);
  return {
    cr0: 0x8000_0033n | (r.oneIn(2) ? 0x1_0000n : 0n) | (r.oneIn(4) ? 0x4_0000n : 0n),
    cr3: BigInt(bits === 64 ? PLACE.PAGE_TABLES : PLACE.DIRECTORY_32),
    cr4: bits === 64 ? 0x620n : 0x600n,
    efer: bits === 64 ? 0xd00n : 0n,
    // I/O is allowed.
    rflags: 0x3202n | (BigInt(r.u32()) & 0x8d5n) | (r.oneIn(8) ? 0x4_0000n : 0n),
    rip: BigInt(entry),
    gdtr: { base: BigInt(PLACE.GDT), limit: 0x47 },
    idtr: { base: BigInt(PLACE.IDT), limit: 0xfff },
    gpr,
    segments: {
      cs: segment(code, 0n, FLAT, (bits === 64 ? ATTR.CODE64 : ATTR.CODE32) | dpl),
      ss: data,
      ds: data,
      es: data,
      fs: { ...data, base: 0x40n },
      // In 32-bit code some accesses meet the limit.
      gs: { ...data, base: 0x100n, limit: bits === 64 ? FLAT : PLACE.DATA + 0x3000 },
      tr: segment(TSS, BigInt(PLACE.TSS), 0x67, 0x8b),
    },
  };
}
