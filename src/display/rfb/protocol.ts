/**
 * Numbers of the remote framebuffer protocol: RFC 6143 (3.8), and for what came later "The RFB Protocol" as the community keeps it
 * (rfbproto.rst, 2024).
 */

/** Security types, §7.1.2 and §7.2. */
export const SECURITY = { NONE: 1, VNC: 2 } as const;

/** Messages of the client, §7.5, and later ones. */
export const FROM_CLIENT = {
  SET_PIXEL_FORMAT: 0,
  SET_ENCODINGS: 2,
  UPDATE_REQUEST: 3,
  KEY: 4,
  POINTER: 5,
  CUT_TEXT: 6,
  CONTINUOUS_UPDATES: 150,
  FENCE: 248,
  SET_DESKTOP_SIZE: 251,
  QEMU: 255,
} as const;

/** Of the server, §7.6. */
export const FROM_SERVER = { UPDATE: 0, COLOR_MAP: 1, BELL: 2, CUT_TEXT: 3 } as const;

/** Sub-message of QEMU's: a key with its scan code. */
export const QEMU_KEY = 0;

/** §7.7 and §7.8, and later ones. */
export const ENCODING = {
  RAW: 0,
  COPY_RECT: 1,
  RRE: 2,
  HEXTILE: 5,
  TIGHT: 7,
  ZRLE: 16,
  DESKTOP_SIZE: -223,
  CURSOR: -239,
  QEMU_KEYS: -258,
  EXTENDED_DESKTOP_SIZE: -308,
  EXTENDED_BUTTONS: -316,
} as const;

/** Why a screen has a new size, and what became of a request for one. */
export const SIZE_REASON = { SERVER: 0, THIS_CLIENT: 1 } as const;
export const SIZE_STATUS = { DONE: 0, PROHIBITED: 1, INVALID: 3, FORWARDED: 4 } as const;
