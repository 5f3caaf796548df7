/**
 * Registers of the Intel 82540EM, "PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual" 317453-006
 * ch. 13, called SDM in what stands beside this file. Offsets in bytes.
 */
export const REG = {
  CTRL: 0x0000,
  STATUS: 0x0008,
  EECD: 0x0010,
  EERD: 0x0014,
  CTRL_EXT: 0x0018,
  MDIC: 0x0020,
  VET: 0x0038,
  ICR: 0x00c0,
  ITR: 0x00c4,
  ICS: 0x00c8,
  IMS: 0x00d0,
  IMC: 0x00d8,
  RCTL: 0x0100,
  TCTL: 0x0400,
  PBA: 0x1000,
  RDBAL: 0x2800,
  RDBAH: 0x2804,
  RDLEN: 0x2808,
  RDH: 0x2810,
  RDT: 0x2818,
  RDTR: 0x2820,
  RADV: 0x282c,
  TDBAL: 0x3800,
  TDBAH: 0x3804,
  TDLEN: 0x3808,
  TDH: 0x3810,
  TDT: 0x3818,
  TIDV: 0x3820,
  TXDCTL: 0x3828,
  TADV: 0x382c,
  STATISTICS: 0x4000,
  STATISTICS_END: 0x4100,
  RXCSUM: 0x5000,
  MTA: 0x5200,
  RAL: 0x5400,
  RAH: 0x5404,
  VFTA: 0x5600,
} as const;

/** Bytes of the memory window, and of that part of it that is registers. */
export const WINDOW = 0x2_0000;
export const REGISTERS = 0xa000;

export const CTRL = {
  FD: 1 << 0,
  SLU: 1 << 6,
  SPEED_1000: 2 << 8,
  RST: 1 << 26,
  VME: 1 << 30,
  PHY_RST: 2 ** 31,
} as const;
export const STATUS = { FD: 1 << 0, LU: 1 << 1, SPEED_1000: 2 << 6, ASDV_1000: 2 << 8 } as const;
/** Loads the EEPROM anew. */
export const CTRL_EXT_EE_RST = 1 << 13;
/** Causes of interrupts: ICR, ICS, IMS, IMC. */
export const CAUSE = {
  TXDW: 1 << 0,
  TXQE: 1 << 1,
  LSC: 1 << 2,
  RXDMT0: 1 << 4,
  RXT0: 1 << 7,
  MDAC: 1 << 9,
  TXD_LOW: 1 << 15,
} as const;
export const CAUSES = 0x1_fffff;
export const RCTL = {
  EN: 1 << 1,
  UPE: 1 << 3,
  MPE: 1 << 4,
  LPE: 1 << 5,
  LBM: 3 << 6,
  RDMTS_SHIFT: 8,
  MO_SHIFT: 12,
  BAM: 1 << 15,
  BSIZE_SHIFT: 16,
  VFE: 1 << 18,
  CFIEN: 1 << 19,
  CFI: 1 << 20,
  BSEX: 1 << 25,
  SECRC: 1 << 26,
} as const;
export const TCTL = { EN: 1 << 1, PSP: 1 << 3 } as const;
/** A partial block of descriptors is told of at once. */
export const RDTR_FPD = 2 ** 31;
/** The address counts; which addresses of a frame it is held against. */
export const RAH = { AV: 2 ** 31, AS_SHIFT: 16 } as const;
export const RXCSUM = { PCSS: 0xff, IPOFL: 1 << 8, TUOFL: 1 << 9 } as const;

const ALL = 0xffff_ffff;

/** What software can write and read back: first and last register, mask. Everything else reads as 0 or is dealt with by itself. */
const STORAGE: readonly (readonly [first: number, last: number, mask: number])[] = [
  [REG.CTRL, REG.CTRL, 0x7bff_fbe9],
  [REG.CTRL_EXT, REG.CTRL_EXT, 0x00c3_8ff0],
  // Flow control: addresses, type, VLAN ether type, timer.
  [0x0028, 0x0028, ALL],
  [0x002c, 0x0030, 0xffff],
  [REG.VET, REG.VET, 0xffff],
  [0x0170, 0x0170, 0xffff],
  [REG.ITR, REG.ITR, 0xffff],
  [REG.RCTL, REG.RCTL, 0x06df_b3fe],
  // TXCW.
  [0x0178, 0x0178, 0xc000_ffff],
  [REG.TCTL, REG.TCTL, 0x01ff_fffa],
  [0x0410, 0x0410, 0x3fff_ffff],
  [0x0458, 0x0458, 0xffff],
  [0x0e00, 0x0e00, ALL],
  [REG.PBA, REG.PBA, 0xffff],
  // FCRTL, FCRTH.
  [0x2160, 0x2160, 0x8000_fff8],
  [0x2168, 0x2168, 0x8000_fff8],
  [REG.RDBAL, REG.RDBAL, 0xffff_fff0],
  [REG.RDBAH, REG.RDBAH, ALL],
  [REG.RDLEN, REG.RDLEN, 0xf_ff80],
  [REG.RDH, REG.RDH, 0xffff],
  [REG.RDT, REG.RDT, 0xffff],
  [REG.RDTR, REG.RDTR, 0xffff],
  [0x2828, 0x2828, 0x013f_3f3f],
  [REG.RADV, REG.RADV, 0xffff],
  [0x2c00, 0x2c00, 0xfff],
  [REG.TDBAL, REG.TDBAL, 0xffff_fff0],
  [REG.TDBAH, REG.TDBAH, ALL],
  [REG.TDLEN, REG.TDLEN, 0xf_ff80],
  [REG.TDH, REG.TDH, 0xffff],
  [REG.TDT, REG.TDT, 0xffff],
  [REG.TIDV, REG.TIDV, 0xffff],
  [REG.TXDCTL, REG.TXDCTL, 0xff3f_3f3f],
  [REG.TADV, REG.TADV, 0xffff],
  // TSPMT.
  [0x3830, 0x3830, ALL],
  [REG.RXCSUM, REG.RXCSUM, 0x7ff],
  [REG.MTA, 0x53fc, ALL],
  [REG.VFTA, 0x57fc, ALL],
  // Waking up: nothing sleeps, but drivers keep their settings here.
  [0x5800, 0x5800, 0xf],
  [0x5808, 0x5808, 0xf_00ff],
  [0x5820, 0x5820, ALL],
  [0x5838, 0x5838, 0x1_000f],
  [0x5840, 0x5858, ALL],
  [0x5880, 0x588c, ALL],
  [0x5a00, 0x5a7c, ALL],
  [0x5f00, 0x5f18, 0xff],
  [0x9000, 0x93f8, 0xf],
  [0x9800, 0x9bf8, ALL],
];

const writable = new Uint32Array(REGISTERS / 4);
for (const [first, last, mask] of STORAGE) for (let at = first; at <= last; at += 4) writable[at / 4] = mask;
// Address bits, then which address it is, and whether it counts.
for (let i = 0; i < 16; i++) {
  writable[(REG.RAL + 8 * i) / 4] = ALL;
  writable[(REG.RAH + 8 * i) / 4] = 0x8003_ffff;
}

/** The registers that hold what was written to them. */
export class RegisterFile {
  readonly values = new Uint32Array(REGISTERS / 4);

  /** `at` is a multiple of 4 below REGISTERS, as everywhere here. */
  get(at: number): number {
    return this.values[at >> 2];
  }

  /** Keeps the bits that software may set. */
  write(at: number, value: number): void {
    this.values[at >> 2] = value & writable[at >> 2];
  }

  set(at: number, value: number): void {
    this.values[at >> 2] = value;
  }

  has(at: number, bits: number): boolean {
    return (this.values[at >> 2] & bits) !== 0;
  }

  /** As after power-on; addresses are loaded from the EEPROM besides. */
  reset(): void {
    this.values.fill(0);
    this.set(REG.CTRL, CTRL.FD | CTRL.SLU | CTRL.SPEED_1000);
    // 48 KiB of packet memory for receiving.
    this.set(REG.PBA, 0x30);
    this.set(REG.VET, 0x8100);
    // As the EEPROM of Intel's adapters has LEDs: link, activity.
    this.set(0x0e00, 0x0706_8302);
  }
}
