/**
 * Code sizes and segments that cases run with: those of Linux for user code, and a few of our own in the LDT, which give
 * 16-bit code, segments with bases and limits, and segments that may not be used.
 */
import { PLACE } from './case-format.js';
import type { Random } from './random.js';

export interface CaseSegment {
  readonly selector: number;
  readonly base: number;
  /** In bytes, as the descriptor says: where an expand-down segment begins. */
  readonly limit: number;
  readonly isCode: boolean;
  /** D/B: 32-bit. */
  readonly big: boolean;
  readonly expandDown: boolean;
  /** Data: writable; code: readable. */
  readonly open: boolean;
  readonly present: boolean;
}

const data = { isCode: false, big: true, expandDown: false, open: true, present: true } as const;
const flat = { base: 0, limit: 0xffff_ffff } as const;
/** The window begins here in data segments. */
const WINDOW_OFFSET = 0x4000;
const dataBase = PLACE.WINDOW - WINDOW_OFFSET;
const codeBase = PLACE.CODE_PAGE - 0x1000;

/** Selectors of user code under Linux, which the guest has too. */
export const USER_CODE_32: CaseSegment = { ...data, ...flat, selector: 0x23, isCode: true };
export const USER_DATA: CaseSegment = { ...data, ...flat, selector: 0x2b };
export const USER_CODE: CaseSegment = { ...data, ...flat, selector: 0x33, isCode: true, big: false };

const CODE_16: CaseSegment = { ...data, selector: 0x07, base: codeBase, limit: 0xffff, isCode: true, big: false };
const DATA_16: CaseSegment = { ...data, selector: 0x0f, base: dataBase, limit: 0xffff, big: false };
/** Ends inside the window. */
const DATA_32: CaseSegment = { ...data, selector: 0x17, base: dataBase, limit: WINDOW_OFFSET + 640 - 1 };
const DOWN_16: CaseSegment = { ...DATA_16, selector: 0x1f, limit: WINDOW_OFFSET + 63, expandDown: true };
const READ_ONLY: CaseSegment = { ...DATA_16, selector: 0x27, open: false };
const CODE_32: CaseSegment = { ...data, selector: 0x2f, base: codeBase, limit: 0x1fff, isCode: true };
const DOWN_32: CaseSegment = { ...DATA_32, selector: 0x37, limit: WINDOW_OFFSET + 63, expandDown: true };
const ABSENT: CaseSegment = { ...DATA_16, selector: 0x3f, present: false };

/** In the order of their places in the LDT. */
export const LDT: readonly CaseSegment[] = [CODE_16, DATA_16, DATA_32, DOWN_16, READ_ONLY, CODE_32, DOWN_32, ABSENT];

/** What a case starts with. FS and GS are null. */
export interface Environment {
  readonly bits: 16 | 32 | 64;
  readonly cs: CaseSegment;
  readonly ss: CaseSegment;
  readonly ds: CaseSegment;
  readonly es: CaseSegment;
}

const FLAT_64: Environment = { bits: 64, cs: USER_CODE, ss: USER_DATA, ds: USER_DATA, es: USER_DATA };
const FLAT_32: Environment = { ...FLAT_64, bits: 32, cs: USER_CODE_32 };

/** Kinds of environment: 64-bit mode, flat 32-bit code, 32-bit and 16-bit code with segments of the LDT. */
export type EnvironmentKind = '64' | 'flat32' | 'segmented32' | 'segmented16';

export function chooseEnvironment(r: Random, kind: EnvironmentKind): Environment {
  if (kind === '64') return FLAT_64;
  if (kind === 'flat32') return FLAT_32;
  const any = [DATA_16, DATA_16, DATA_32, DATA_32, DOWN_16, DOWN_32, READ_ONLY];
  const is16 = kind === 'segmented16';
  return {
    bits: is16 ? 16 : 32,
    cs: is16 ? CODE_16 : CODE_32,
    ss: r.pick(is16 ? [DATA_16, DATA_16, DATA_32] : [DATA_32, DATA_32, DATA_16]),
    ds: r.pick(any),
    es: r.pick(any),
  };
}
