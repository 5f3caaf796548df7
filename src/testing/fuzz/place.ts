/** Where things lie in the memory of a random program. Linear addresses are physical but for ALIAS. */
export const PLACE = {
  IDT: 0x1000,
  GDT: 0x2000,
  TSS: 0x3000,
  /** 64-bit: PML4, PDPT, PD, page table; 32-bit: page directory, page table. */
  PAGE_TABLES: 0x4000,
  TABLE: 0x7000,
  DIRECTORY_32: 0x8000,
  TABLE_32: 0x9000,
  EXCEPTION_STACK: 0xc000,
  KERNEL_STACK: 0xe000,
  HANDLERS: 0x1_0000,
  VARIABLES: 0x1_2000,
  CODE: 0x2_0000,
  CODE_SIZE: 0x4000,
  /** The stack follows right behind the code. */
  STACK_TOP: 0x2_5800,
  DATA: 0x3_0000,
  DATA_SIZE: 0x8000,
  /** The pages of CODE once more. */
  ALIAS: 0x4_0000,
  END: 0x5_0000,
} as const;

/** Offsets from VARIABLES. */
export const VARIABLE = {
  /** u64 each: exceptions and system calls so far, sums of what exceptions brought. */
  FAULTS: 0,
  CALLS: 8,
  VECTORS: 16,
  ERRORS: 24,
  PLACES: 32,
  INTERRUPTS: 40,
  /** 32 addresses at which the program goes on after faults. */
  RECOVERY: 0x100,
  /** 16 addresses that jumps through a table lead to. */
  JUMPS: 0x300,
  /** Values that pointer registers have at first and after each fault: 8 bytes by register number. */
  POINTERS: 0x500,
} as const;

export const SELECTORS = {
  CODE64: 0x08,
  DATA: 0x10,
  CODE32: 0x18,
  USER32: 0x23,
  USER_DATA: 0x2b,
  USER64: 0x33,
  TSS: 0x38,
};

export interface Setting {
  readonly bits: 32 | 64;
  readonly ring: 0 | 3;
}
