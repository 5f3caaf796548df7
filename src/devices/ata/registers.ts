/** Registers and commands of ATA devices: "ATA/ATAPI Command Set - 3" (ACS-3), T13/2161-D revision 5. */

/** Status field, §6.2. */
export const STATUS = {
  /** Something went wrong: see the error field. */
  ERR: 1 << 0,
  /** There are data to be moved by programmed I/O. */
  DRQ: 1 << 3,
  /** Device seek complete in old standards; set whenever the device is ready. */
  DSC: 1 << 4,
  /** Device fault. */
  DF: 1 << 5,
  DRDY: 1 << 6,
  BSY: 1 << 7,
} as const;

/** What a device at rest shows. */
export const READY = STATUS.DRDY | STATUS.DSC;

/** Error field, §6.3. */
export const ERROR = {
  /** Command aborted. */
  ABRT: 1 << 2,
  /** An address that the device does not have. */
  IDNF: 1 << 4,
  /** Data that cannot be read. */
  UNC: 1 << 6,
  /** Data that were damaged on the way between host and device. */
  ICRC: 1 << 7,
} as const;

/** Device field. */
export const DEVICE = { LBA: 1 << 6, FUA: 1 << 7, SECOND: 1 << 4 } as const;

/** Command codes, §7 and annex A; those that are only in ATA/ATAPI-7 (T13/1532D) are obsolete there. */
export const COMMAND = {
  DATA_SET_MANAGEMENT: 0x06,
  DEVICE_RESET: 0x08,
  READ_SECTORS: 0x20,
  READ_SECTORS_ONCE: 0x21,
  READ_SECTORS_EXT: 0x24,
  READ_DMA_EXT: 0x25,
  READ_MULTIPLE_EXT: 0x29,
  READ_LOG_EXT: 0x2f,
  WRITE_SECTORS: 0x30,
  WRITE_SECTORS_ONCE: 0x31,
  WRITE_SECTORS_EXT: 0x34,
  WRITE_DMA_EXT: 0x35,
  WRITE_MULTIPLE_EXT: 0x39,
  WRITE_DMA_FUA_EXT: 0x3d,
  READ_VERIFY: 0x40,
  READ_VERIFY_ONCE: 0x41,
  READ_VERIFY_EXT: 0x42,
  READ_LOG_DMA_EXT: 0x47,
  READ_FPDMA_QUEUED: 0x60,
  WRITE_FPDMA_QUEUED: 0x61,
  EXECUTE_DIAGNOSTIC: 0x90,
  INITIALIZE_PARAMETERS: 0x91,
  STANDBY_IMMEDIATE_OLD: 0x94,
  IDLE_IMMEDIATE_OLD: 0x95,
  STANDBY_OLD: 0x96,
  IDLE_OLD: 0x97,
  CHECK_POWER_OLD: 0x98,
  SLEEP_OLD: 0x99,
  PACKET: 0xa0,
  IDENTIFY_PACKET_DEVICE: 0xa1,
  SMART: 0xb0,
  READ_MULTIPLE: 0xc4,
  WRITE_MULTIPLE: 0xc5,
  SET_MULTIPLE: 0xc6,
  READ_DMA: 0xc8,
  READ_DMA_ONCE: 0xc9,
  WRITE_DMA: 0xca,
  WRITE_DMA_ONCE: 0xcb,
  WRITE_MULTIPLE_FUA_EXT: 0xce,
  STANDBY_IMMEDIATE: 0xe0,
  IDLE_IMMEDIATE: 0xe1,
  STANDBY: 0xe2,
  IDLE: 0xe3,
  CHECK_POWER: 0xe5,
  SLEEP: 0xe6,
  FLUSH_CACHE: 0xe7,
  FLUSH_CACHE_EXT: 0xea,
  IDENTIFY_DEVICE: 0xec,
  SET_FEATURES: 0xef,
} as const;

/** Subcommands of SET FEATURES, §7.45. */
export const SET_FEATURES = {
  ENABLE_WRITE_CACHE: 0x02,
  TRANSFER_MODE: 0x03,
  ENABLE_APM: 0x05,
  ENABLE_SATA_FEATURE: 0x10,
  DISABLE_LOOK_AHEAD: 0x55,
  DISABLE_REVERTING: 0x66,
  DISABLE_WRITE_CACHE: 0x82,
  DISABLE_APM: 0x85,
  DISABLE_SATA_FEATURE: 0x90,
  ENABLE_LOOK_AHEAD: 0xaa,
  ENABLE_REVERTING: 0xcc,
} as const;

export const SECTOR = 512;
/** Sectors that commands with 28-bit addresses reach. */
export const LBA28_END = 2 ** 28;
/** Most sectors that READ and WRITE MULTIPLE move at a time. */
export const MAX_MULTIPLE = 16;

/**
 * What a device shows in its registers after a reset, ACS-3 §6.4 and ATA/ATAPI-7 volume 2 §5.15 (the signature): tells disks
 * and packet devices apart.
 */
export const SIGNATURE = { DISK: 0x00_0001, PACKET: 0xeb_1401 } as const;
