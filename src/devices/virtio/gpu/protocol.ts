/** Numbers of the GPU device, VIRTIO 1.2 §5.7; all fields are little-endian. */
import type { PixelFormat } from '../../../iface/display.js';

export const FEATURE = { EDID: 1n << 1n } as const;

/** Device configuration, §5.7.4: four 32-bit words. */
export const CONFIG = { EVENTS_READ: 0, EVENTS_CLEAR: 4, SCANOUTS: 8, CAPSETS: 12, SIZE: 16 } as const;
export const EVENT_DISPLAY = 1;

/** §5.7.6.7: requests and answers. */
export const COMMAND = {
  GET_DISPLAY_INFO: 0x0100,
  RESOURCE_CREATE_2D: 0x0101,
  RESOURCE_UNREF: 0x0102,
  SET_SCANOUT: 0x0103,
  RESOURCE_FLUSH: 0x0104,
  TRANSFER_TO_HOST_2D: 0x0105,
  ATTACH_BACKING: 0x0106,
  DETACH_BACKING: 0x0107,
  GET_EDID: 0x010a,
  UPDATE_CURSOR: 0x0300,
  MOVE_CURSOR: 0x0301,
} as const;
export const RESPONSE = {
  OK: 0x1100,
  DISPLAY_INFO: 0x1101,
  EDID: 0x1104,
  UNSPECIFIED: 0x1200,
  OUT_OF_MEMORY: 0x1201,
  INVALID_SCANOUT: 0x1202,
  INVALID_RESOURCE: 0x1203,
  INVALID_PARAMETER: 0x1205,
} as const;

/** struct virtio_gpu_ctrl_hdr: type, flags, fence_id (64 bits), ctx_id, ring_idx. */
export const HEADER = { TYPE: 0, FLAGS: 4, FENCE: 8, CONTEXT: 16, RING: 20, SIZE: 24 } as const;
export const FLAG_FENCE = 1;

/** Scanouts that a display info has room for, and the size of one there. */
export const INFO = { ENTRIES: 16, ENTRY_SIZE: 24, ENABLED: 16 } as const;
/** struct virtio_gpu_resp_edid behind its header. */
export const EDID = { SIZE: 0, DATA: 8, LENGTH: 8 + 1024 } as const;
/** struct virtio_gpu_mem_entry: address (64 bits), length, padding. */
export const ENTRY_SIZE = 16;
/** The side of a pointer, pixels. */
export const CURSOR_SIZE = 64;

/** enum virtio_gpu_formats: bytes in the order of their names. */
export const FORMATS: ReadonlyMap<number, PixelFormat> = new Map([
  [1, 'bgrx'],
  [2, 'bgrx'],
  [3, 'xrgb'],
  [4, 'xrgb'],
  [67, 'rgbx'],
  [68, 'xbgr'],
  [121, 'xbgr'],
  [134, 'rgbx'],
]);
