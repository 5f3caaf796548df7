/**
 * Micro-records: records that are not instructions of the guest. Their handler numbers are the first of the handler
 * space. They have length 0, do not count as instructions, and all name in OFFSET the instruction they stand for, so
 * that `CODE_BASE + OFFSET` is the RIP to go on with. See docs/interpreter.md.
 */
export const MICRO = {
  /** Look the record at CODE_BASE + OFFSET up again: code was overwritten or is not decoded yet. */
  RESYNC: 0,
  /** Go on with the record in LINK, which is that of OFFSET in the same page. */
  GOTO: 1,
  /** The next instruction is the first of the next page: OFFSET is 4096 (look it up there). */
  NEXT_PAGE: 2,
  /** The instruction at OFFSET straddles two pages or the limit of CS, or may be a debugger's breakpoint: `decode_straddle()` decodes it each time. */
  STRADDLE: 3,
  /**
   * Computes the linear address of the next record's memory operand with BASE, INDEX, SCALE, DISP, MASK_SLOT, checks it
   * against segment SEG and stores it in EA. IMM2: bytes of the access in bits 6:0 (0: address only; 127: 512), bit 7 when it writes.
   */
  EA_SEG: 4,
  /** Raises #UD. */
  UNDEFINED: 5,
  /** Raises again what fetching the instruction at OFFSET raised: vector in IMM2, error code (or -1) in DISP, CR2 in IMM. */
  FETCH_FAULT: 6,
  /** The record's instruction begins translated code: LINK is the number of its entry in LAYOUT.REGION_SLOTS. */
  REGION: 7,
} as const;

/** The first handler number of instructions. */
export const FIRST_HANDLER = 16;
