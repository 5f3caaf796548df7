/** Registers and structures of an AHCI HBA: "Serial ATA Advanced Host Controller Interface" revision 1.3.1. */

/** Generic host control, §3.1: offsets. */
export const HOST = { CAP: 0x00, GHC: 0x04, IS: 0x08, PI: 0x0c, VS: 0x10, CAP2: 0x24, BOHC: 0x28 } as const;

export const CAP = {
  SLOTS_SHIFT: 8,
  /** PIO commands may move several blocks. */
  PMD: 1 << 15,
  /** There is no other interface to the ports. */
  SAM: 1 << 18,
  SPEED_SHIFT: 20,
  SCLO: 1 << 24,
  SNCQ: 1 << 30,
  S64A: 0x8000_0000,
} as const;

export const GHC = { RESET: 1 << 0, INTERRUPTS: 1 << 1, AHCI: 0x8000_0000 } as const;
export const VERSION_1_3_1 = 0x0001_0301;

/** Port registers, §3.3: from PORTS on, 80h bytes for each port. */
export const PORTS = 0x100;
export const PORT_SIZE = 0x80;
export const PORT = {
  CLB: 0x00,
  CLBU: 0x04,
  FB: 0x08,
  FBU: 0x0c,
  IS: 0x10,
  IE: 0x14,
  CMD: 0x18,
  TFD: 0x20,
  SIG: 0x24,
  SSTS: 0x28,
  SCTL: 0x2c,
  SERR: 0x30,
  SACT: 0x34,
  CI: 0x38,
  SNTF: 0x3c,
} as const;

/** PxIS and PxIE, §3.3.5. */
export const INTERRUPT = {
  /** D2H register frame. */
  DHRS: 1 << 0,
  PSS: 1 << 1,
  /** DMA setup frame. */
  DSS: 1 << 2,
  /** Set device bits frame. */
  SDBS: 1 << 3,
  /** A piece of memory that wanted an interrupt has been used. */
  DPS: 1 << 5,
  /** Connect change: PxSERR.DIAG.X. */
  PCS: 1 << 6,
  /** PhyRdy change: PxSERR.DIAG.N. */
  PRCS: 1 << 22,
  /** More data than room for them. */
  OFS: 1 << 24,
  /** Fatal error of the interface. */
  IFS: 1 << 27,
  /** Bad memory address. */
  HBFS: 1 << 29,
  TFES: 1 << 30,
} as const;
export const INTERRUPT_CLEARABLE = 0xfd80_00af >>> 0;
export const INTERRUPT_ENABLES = 0xfdc0_00ff >>> 0;

/** PxCMD, §3.3.7. */
export const CMD = {
  ST: 1 << 0,
  /** Spun up, powered: always. */
  SUD: 1 << 1,
  POD: 1 << 2,
  CLO: 1 << 3,
  FRE: 1 << 4,
  SLOT_SHIFT: 8,
  SLOT_MASK: 0x1f << 8,
  FR: 1 << 14,
  CR: 1 << 15,
  ATAPI: 1 << 24,
  WRITABLE: (1 << 0) | (1 << 4) | (1 << 24) | (1 << 25) | (1 << 26) | (1 << 27),
} as const;

/** PxSSTS of a link that is up: active, generation 2, device present (§3.3.10). */
export const LINK_UP = 0x123;
/** PxSCTL.DET, §3.3.11. */
export const DET = { MASK: 0xf, NONE: 0, COMRESET: 1, OFFLINE: 4 } as const;
/** PxSERR, §3.3.12. */
export const SERR = { PROTOCOL: 1 << 10, PHY_CHANGE: 1 << 16, EXCHANGED: 1 << 26 } as const;

/** Command header, §4.2.2. */
export const HEADER = { SIZE: 32, LENGTH_MASK: 0x1f, ATAPI: 1 << 5, CLEAR_BUSY: 1 << 10, PRDBC: 4, TABLE: 8 } as const;
/** Command table, §4.2.3. */
export const TABLE = { PACKET: 0x40, PRDT: 0x80, PRD_SIZE: 16 } as const;
/** Received frames, §4.2.1. */
export const RECEIVED = { DMA_SETUP: 0x00, PIO_SETUP: 0x20, D2H: 0x40, SET_BITS: 0x58 } as const;

/** Types of frames (Serial ATA 3.0 §10.3.1). */
export const FIS = { H2D: 0x27, D2H: 0x34, DMA_SETUP: 0x41, PIO_SETUP: 0x5f, SET_BITS: 0xa1 } as const;
