/** Registers and commands of the 82077AA: "82077AA CHMOS Single-Chip Floppy Disk Controller", Intel 290166-007, §2.1, §5, §6. */

/** Ports from 3f2h: digital output, tape drive, main status or data rate, data. The last one, at 3f7h, lies apart. */
export const REG = { DOR: 0, TDR: 1, MSR: 2, FIFO: 3 } as const;

export const DOR = { DRIVE: 3, NOT_RESET: 1 << 2, GATE: 1 << 3, MOTOR: 1 << 4 } as const;
export const MSR = { BUSY: 1 << 4, NON_DMA: 1 << 5, TO_HOST: 1 << 6, READY: 1 << 7 } as const;
export const DSR = { RATE: 3, RESET: 1 << 7 } as const;
/** Digital input register: the disk was changed. */
export const DISK_CHANGE = 1 << 7;

export const ST0 = {
  SIDE: 1 << 2,
  CHECK: 1 << 4,
  SEEK_END: 1 << 5,
  ABNORMAL: 1 << 6,
  INVALID: 1 << 7,
  POLLED: 0xc0,
} as const;
export const ST1 = {
  NO_MARK: 1 << 0,
  WRITE_PROTECTED: 1 << 1,
  NO_DATA: 1 << 2,
  OVERRUN: 1 << 4,
  DATA_ERROR: 1 << 5,
  END: 1 << 7,
} as const;
export const ST2 = {
  SCAN_FAILED: 1 << 2,
  SCAN_EQUAL: 1 << 3,
  WRONG_CYLINDER: 1 << 4,
  DATA_ERROR: 1 << 5,
  CONTROL_MARK: 1 << 6,
} as const;
export const ST3 = { SIDE: 1 << 2, TWO_SIDES: 1 << 3, TRACK_0: 1 << 4, READY: 1 << 5, PROTECTED: 1 << 6 } as const;

/** Command codes without the options in their high bits. */
export const COMMAND = {
  READ_TRACK: 0x02,
  SPECIFY: 0x03,
  SENSE_DRIVE: 0x04,
  WRITE_DATA: 0x05,
  READ_DATA: 0x06,
  RECALIBRATE: 0x07,
  SENSE_INTERRUPT: 0x08,
  WRITE_DELETED: 0x09,
  READ_ID: 0x0a,
  READ_DELETED: 0x0c,
  FORMAT: 0x0d,
  DUMP_REGISTERS: 0x0e,
  SEEK: 0x0f,
  VERSION: 0x10,
  SCAN_EQUAL: 0x11,
  PERPENDICULAR: 0x12,
  CONFIGURE: 0x13,
  LOCK: 0x14,
  VERIFY: 0x16,
  SCAN_LOW: 0x19,
  SCAN_HIGH: 0x1d,
} as const;

/** Which high bits of a command byte are options, and how many bytes the command has. */
export const COMMANDS: ReadonlyMap<number, { readonly options: number; readonly length: number }> = new Map([
  [COMMAND.READ_TRACK, { options: 0x60, length: 9 }],
  [COMMAND.SPECIFY, { options: 0, length: 3 }],
  [COMMAND.SENSE_DRIVE, { options: 0, length: 2 }],
  [COMMAND.WRITE_DATA, { options: 0xc0, length: 9 }],
  [COMMAND.READ_DATA, { options: 0xe0, length: 9 }],
  [COMMAND.RECALIBRATE, { options: 0, length: 2 }],
  [COMMAND.SENSE_INTERRUPT, { options: 0, length: 1 }],
  [COMMAND.WRITE_DELETED, { options: 0xc0, length: 9 }],
  [COMMAND.READ_ID, { options: 0x40, length: 2 }],
  [COMMAND.READ_DELETED, { options: 0xe0, length: 9 }],
  [COMMAND.FORMAT, { options: 0x40, length: 6 }],
  [COMMAND.DUMP_REGISTERS, { options: 0, length: 1 }],
  // Bit 7: a relative seek, outwards or (bit 6) inwards.
  [COMMAND.SEEK, { options: 0xc0, length: 3 }],
  [COMMAND.VERSION, { options: 0, length: 1 }],
  [COMMAND.SCAN_EQUAL, { options: 0xe0, length: 9 }],
  [COMMAND.PERPENDICULAR, { options: 0, length: 2 }],
  [COMMAND.CONFIGURE, { options: 0, length: 4 }],
  [COMMAND.LOCK, { options: 0x80, length: 1 }],
  [COMMAND.VERIFY, { options: 0xe0, length: 9 }],
  [COMMAND.SCAN_LOW, { options: 0xe0, length: 9 }],
  [COMMAND.SCAN_HIGH, { options: 0xe0, length: 9 }],
]);

export const OPTION = { MULTI_TRACK: 0x80, SKIP: 0x20, RELATIVE: 0x80, INWARDS: 0x40 } as const;
/** What VERSION answers: an enhanced controller. */
export const ENHANCED = 0x90;
