/** Virtual I/O Device (VIRTIO) Version 1.2, OASIS committee specification 01. */

/** Device status, §2.1. */
export const STATUS = {
  ACKNOWLEDGE: 1 << 0,
  DRIVER: 1 << 1,
  DRIVER_OK: 1 << 2,
  FEATURES_OK: 1 << 3,
  NEEDS_RESET: 1 << 6,
  FAILED: 1 << 7,
} as const;

/** Features of all devices, §6. */
export const FEATURE = {
  INDIRECT_DESC: 1n << 28n,
  EVENT_IDX: 1n << 29n,
  VERSION_1: 1n << 32n,
} as const;

/** What every device here offers besides its own features. */
export const COMMON_FEATURES = FEATURE.INDIRECT_DESC | FEATURE.EVENT_IDX | FEATURE.VERSION_1;

/** Device types, §5. */
export const DEVICE_TYPE = {
  NET: 1,
  BLOCK: 2,
  CONSOLE: 3,
  ENTROPY: 4,
  BALLOON: 5,
  P9: 9,
  GPU: 16,
  INPUT: 18,
  SOCKET: 19,
  FILE_SYSTEM: 26,
} as const;

/** Descriptors of a split virtqueue, §2.7.5, in words of 32 bits: the address takes two, flags and the next one's index share one. SIZE is in bytes. */
export const DESCRIPTOR = { ADDRESS: 0, LENGTH: 2, FLAGS: 3, NEXT_SHIFT: 16, WORDS: 4, SIZE: 16 } as const;
export const DESCRIPTOR_FLAG = { NEXT: 1, WRITE: 2, INDIRECT: 4 } as const;

/** Available ring, §2.7.6; used_event follows the ring. */
export const AVAILABLE = { FLAGS: 0, INDEX: 2, RING: 4, NO_INTERRUPT: 1 } as const;

/** Used ring, §2.7.8: elements of 8 bytes; avail_event follows the ring. */
export const USED = { FLAGS: 0, INDEX: 2, RING: 4, ELEMENT: 8 } as const;

/** The largest size of a queue (the specification allows 32768) and of an indirect table, in descriptors. */
export const MAX_QUEUE_SIZE = 1024;

/** §2.7.5.2: no descriptor chain describes more, in bytes. */
export const MAX_CHAIN_BYTES = 2 ** 32;
