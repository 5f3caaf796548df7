/**
 * A test case of the CPU oracle as it stands in memory: what goes in and, in the same place afterwards, what came out.
 * The native side and the guest's side read and write the same bytes, so that results are compared byte by byte.
 *
 * General registers have the order of Linux' `struct sigcontext` (x86-64), the floating-point state is FXSAVE's image.
 */

/** Byte offsets within a case. */
export const CASE = {
  /** 16 × u64 in the order of GPR_ORDER, then RIP and RFLAGS. */
  GPR: 0,
  RIP: 128,
  RFLAGS: 136,
  /** u16 each; GS and FS are 0 before. */
  CS: 144,
  GS: 146,
  FS: 148,
  SS: 150,
  /** Out: u64 error code, trap number (vector) and CR2. */
  ERROR: 152,
  TRAP: 160,
  CR2: 176,
  /** u16 each. */
  DS: 184,
  ES: 186,
  /** In: the instruction's length. */
  LENGTH: 188,
  /** In: what comes before the instruction, see block.ts, or INT3. */
  LEAD: 192,
  /** In: the instruction, padded with INT3. */
  CODE: 216,
  /** FXSAVE image, 512 bytes; the last 96 have no meaning. */
  FX: 256,
  /** The window of data memory. */
  WINDOW: 768,
} as const;

export const CASE_SIZE = 1536;
/** Bytes of state at the beginning that the native side takes from and to the signal frame. */
export const CASE_IN_GPR = 152;
export const CASE_OUT_GPR = 184;
/** Bytes of LEAD and of CODE. */
export const LEAD_SIZE = 24;
export const CODE_SIZE = 40;
export const FX_USED = 416;
export const WINDOW_SIZE = 768;

/** Place of each register (by its number in encodings) among the first 16 quadwords. */
export const GPR_PLACE: readonly number[] = (() => {
  // r8 … r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp
  const order = [8, 9, 10, 11, 12, 13, 14, 15, 7, 6, 5, 3, 2, 0, 1, 4];
  return Array.from({ length: 16 }, (_, register) => order.indexOf(register));
})();

/** Offsets within an FXSAVE image (SDM vol. 1 table 10-2). */
export const FX = {
  FCW: 0,
  FSW: 2,
  FTW: 4,
  FOP: 6,
  FIP: 8,
  FDP: 16,
  MXCSR: 24,
  MXCSR_MASK: 28,
  ST: 32,
  XMM: 160,
} as const;

/** Linear addresses, the same on both sides. */
export const PLACE = {
  /** A page of INT3; the instruction is copied to CODE. */
  CODE_PAGE: 0x1000_0000,
  CODE: 0x1000_0800,
  LEAD: 0x1000_0800 - LEAD_SIZE,
  /** Two pages of data with nothing around them; the window lies across their border. */
  DATA: 0x2001_0000,
  DATA_SIZE: 0x2000,
  WINDOW: 0x2001_1000 - WINDOW_SIZE / 2,
} as const;

/** Exceptions that end a case. */
export const TRAP = {
  DE: 0,
  DB: 1,
  BP: 3,
  BR: 5,
  UD: 6,
  NM: 7,
  SS: 12,
  GP: 13,
  PF: 14,
  MF: 16,
  AC: 17,
  XM: 19,
} as const;
