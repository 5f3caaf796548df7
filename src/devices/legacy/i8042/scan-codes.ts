/**
 * Scan codes of the IBM enhanced keyboard. After "Keyboard Scan Code Specification", Microsoft, revision 1.3a, and the
 * "PS/2 Hardware Interface Technical Reference", IBM, for the controller's translation.
 */

const EXTENDED = 0xe0;
const BREAK = 0xf0;

/** Scan set 2 by the names of W3C UI Events KeyboardEvent code values; 0xe0xx is the code xx behind the prefix 0xe0. */
const SET_2: Readonly<Record<string, number>> = {
  ...{ Escape: 0x76, F1: 0x05, F2: 0x06, F3: 0x04, F4: 0x0c, F5: 0x03, F6: 0x0b, F7: 0x83, F8: 0x0a, F9: 0x01 },
  ...{ F10: 0x09, F11: 0x78, F12: 0x07, ScrollLock: 0x7e },
  ...{ Backquote: 0x0e, Digit1: 0x16, Digit2: 0x1e, Digit3: 0x26, Digit4: 0x25, Digit5: 0x2e, Digit6: 0x36 },
  ...{ Digit7: 0x3d, Digit8: 0x3e, Digit9: 0x46, Digit0: 0x45, Minus: 0x4e, Equal: 0x55, Backspace: 0x66 },
  ...{ Tab: 0x0d, KeyQ: 0x15, KeyW: 0x1d, KeyE: 0x24, KeyR: 0x2d, KeyT: 0x2c, KeyY: 0x35, KeyU: 0x3c, KeyI: 0x43 },
  ...{ KeyO: 0x44, KeyP: 0x4d, BracketLeft: 0x54, BracketRight: 0x5b, Backslash: 0x5d },
  ...{ CapsLock: 0x58, KeyA: 0x1c, KeyS: 0x1b, KeyD: 0x23, KeyF: 0x2b, KeyG: 0x34, KeyH: 0x33, KeyJ: 0x3b },
  ...{ KeyK: 0x42, KeyL: 0x4b, Semicolon: 0x4c, Quote: 0x52, Enter: 0x5a },
  ...{ ShiftLeft: 0x12, IntlBackslash: 0x61, KeyZ: 0x1a, KeyX: 0x22, KeyC: 0x21, KeyV: 0x2a, KeyB: 0x32, KeyN: 0x31 },
  ...{ KeyM: 0x3a, Comma: 0x41, Period: 0x49, Slash: 0x4a, ShiftRight: 0x59, IntlRo: 0x51, IntlYen: 0x6a },
  ...{ ControlLeft: 0x14, MetaLeft: 0xe01f, AltLeft: 0x11, Space: 0x29, AltRight: 0xe011, MetaRight: 0xe027 },
  ...{ ContextMenu: 0xe02f, ControlRight: 0xe014, KanaMode: 0x13, Convert: 0x64, NonConvert: 0x67 },
  ...{ Insert: 0xe070, Home: 0xe06c, PageUp: 0xe07d, Delete: 0xe071, End: 0xe069, PageDown: 0xe07a },
  ...{ ArrowUp: 0xe075, ArrowLeft: 0xe06b, ArrowDown: 0xe072, ArrowRight: 0xe074 },
  ...{ NumLock: 0x77, NumpadDivide: 0xe04a, NumpadMultiply: 0x7c, NumpadSubtract: 0x7b, NumpadAdd: 0x79 },
  ...{ NumpadEnter: 0xe05a, NumpadDecimal: 0x71, Numpad0: 0x70, Numpad1: 0x69, Numpad2: 0x72, Numpad3: 0x7a },
  ...{ Numpad4: 0x6b, Numpad5: 0x73, Numpad6: 0x74, Numpad7: 0x6c, Numpad8: 0x75, Numpad9: 0x7d },
};

/** Keys whose sequences follow no rule. Pause sends all when pressed and nothing when released. */
const ODD: Readonly<Record<string, { make: readonly number[]; break: readonly number[] }>> = {
  PrintScreen: {
    make: [EXTENDED, 0x12, EXTENDED, 0x7c],
    break: [EXTENDED, BREAK, 0x7c, EXTENDED, BREAK, 0x12],
  },
  Pause: { make: [0xe1, 0x14, 0x77, 0xe1, BREAK, 0x14, BREAK, 0x77], break: [] },
};

/** What scan set 2 sends for a key, by its KeyboardEvent code; undefined for a key that the keyboard has not. */
export function scanSet2(code: string, down: boolean): readonly number[] | undefined {
  if (Object.hasOwn(ODD, code)) return down ? ODD[code].make : ODD[code].break;
  if (!Object.hasOwn(SET_2, code)) return undefined;
  const key = SET_2[code];
  const prefix = key > 0xff ? [EXTENDED] : [];
  return down ? [...prefix, key & 0xff] : [...prefix, BREAK, key & 0xff];
}

/** Scan set 3: a code for each key, without prefixes. */
const SET_3: Readonly<Record<string, number>> = {
  ...{ Escape: 0x08, F1: 0x07, F2: 0x0f, F3: 0x17, F4: 0x1f, F5: 0x27, F6: 0x2f, F7: 0x37, F8: 0x3f, F9: 0x47 },
  ...{ F10: 0x4f, F11: 0x56, F12: 0x5e, PrintScreen: 0x57, ScrollLock: 0x5f, Pause: 0x62 },
  ...{ Backquote: 0x0e, Digit1: 0x16, Digit2: 0x1e, Digit3: 0x26, Digit4: 0x25, Digit5: 0x2e, Digit6: 0x36 },
  ...{ Digit7: 0x3d, Digit8: 0x3e, Digit9: 0x46, Digit0: 0x45, Minus: 0x4e, Equal: 0x55, Backspace: 0x66 },
  ...{ Tab: 0x0d, KeyQ: 0x15, KeyW: 0x1d, KeyE: 0x24, KeyR: 0x2d, KeyT: 0x2c, KeyY: 0x35, KeyU: 0x3c, KeyI: 0x43 },
  ...{ KeyO: 0x44, KeyP: 0x4d, BracketLeft: 0x54, BracketRight: 0x5b, Backslash: 0x5c },
  ...{ CapsLock: 0x14, KeyA: 0x1c, KeyS: 0x1b, KeyD: 0x23, KeyF: 0x2b, KeyG: 0x34, KeyH: 0x33, KeyJ: 0x3b },
  ...{ KeyK: 0x42, KeyL: 0x4b, Semicolon: 0x4c, Quote: 0x52, Enter: 0x5a },
  ...{ ShiftLeft: 0x12, IntlBackslash: 0x13, KeyZ: 0x1a, KeyX: 0x22, KeyC: 0x21, KeyV: 0x2a, KeyB: 0x32, KeyN: 0x31 },
  ...{ KeyM: 0x3a, Comma: 0x41, Period: 0x49, Slash: 0x4a, ShiftRight: 0x59, IntlRo: 0x51, IntlYen: 0x5d },
  ...{ ControlLeft: 0x11, MetaLeft: 0x8b, AltLeft: 0x19, Space: 0x29, AltRight: 0x39, MetaRight: 0x8c },
  ...{ ContextMenu: 0x8d, ControlRight: 0x58, KanaMode: 0x87, Convert: 0x86, NonConvert: 0x85 },
  ...{ Insert: 0x67, Home: 0x6e, PageUp: 0x6f, Delete: 0x64, End: 0x65, PageDown: 0x6d },
  ...{ ArrowUp: 0x63, ArrowLeft: 0x61, ArrowDown: 0x60, ArrowRight: 0x6a },
  ...{ NumLock: 0x76, NumpadDivide: 0x77, NumpadMultiply: 0x7e, NumpadSubtract: 0x84, NumpadAdd: 0x7c },
  ...{ NumpadEnter: 0x79, NumpadDecimal: 0x71, Numpad0: 0x70, Numpad1: 0x69, Numpad2: 0x72, Numpad3: 0x7a },
  ...{ Numpad4: 0x6b, Numpad5: 0x73, Numpad6: 0x74, Numpad7: 0x6c, Numpad8: 0x75, Numpad9: 0x7d },
};

/** What set 3 has for a key, by its KeyboardEvent code; undefined for a key that the keyboard has not. */
export const scanSet3 = (code: string): number | undefined => (Object.hasOwn(SET_3, code) ? SET_3[code] : undefined);

/** What a key does in set 3: bits. Without either it sends its code once, when it goes down. */
export const KEY_TYPE = { REPEATS: 1 << 0, BREAKS: 1 << 1 } as const;

/** Keys that after reset send a code when they are released, and keys that do not repeat; the others repeat. */
const BREAKING = ['CapsLock', 'ShiftLeft', 'ShiftRight', 'ControlLeft', 'AltLeft'];
const ONCE =
  'Escape F1 F2 F3 F4 F5 F6 F7 F8 F9 F10 F11 F12 PrintScreen ScrollLock Pause Insert Home PageUp End PageDown NumLock ' +
  'ControlRight AltRight MetaLeft MetaRight ContextMenu NumpadDivide NumpadMultiply NumpadSubtract NumpadEnter NumpadDecimal ' +
  'Numpad0 Numpad1 Numpad2 Numpad3 Numpad4 Numpad5 Numpad6 Numpad7 Numpad8 Numpad9';

/** By code of set 3. */
export function defaultKeyTypes(): Uint8Array {
  const types = new Uint8Array(256).fill(KEY_TYPE.REPEATS);
  for (const name of BREAKING) types[SET_3[name]] = KEY_TYPE.BREAKS;
  for (const name of ONCE.split(' ')) types[SET_3[name]] = 0;
  return types;
}

/** The controller's translation of set 2 to set 1 for codes 0x00 … 0x7f, in hexadecimal. */
const TRANSLATION = [
  'ff43413f3d3b3c58644442403e0f2959',
  '65382a701d10025a66712c1f1e11035b',
  '672e2d201205045c68392f211413065d',
  '693130232215075e6a7232241608095f',
  '6b332517180b0a606c34352627190c61',
  '6d7328741a0d626e3a361c1b752b6376',
  '55567778797a0e7b7c4f7d4b477e7f6f',
  '5253504c4d480145574e514a37494654',
].join('');
const TABLE = Uint8Array.from({ length: 0x80 }, (_, code) =>
  Number.parseInt(TRANSLATION.slice(2 * code, 2 * code + 2), 16),
);

/** Turns a stream of scan set 2 into set 1. A byte at a time, because that is how the controller gets it. */
export class ScanTranslator {
  /** 0xf0 came: the next code is of a key that was released. */
  released = false;

  /** The translated byte, or undefined after the prefix that set 1 has not. */
  translate(byte: number): number | undefined {
    if (byte === BREAK) {
      this.released = true;
      return undefined;
    }
    const code = byte < 0x80 ? TABLE[byte] : byte === 0x83 ? 0x41 : byte === 0x84 ? 0x54 : byte;
    const translated = this.released ? code | 0x80 : code;
    this.released = false;
    return translated;
  }
}
