/**
 * Keys by the two kinds of numbers that clients send: X11's keysyms (X Window System Protocol, appendix A), and PC/XT scan codes
 * (QEMU's extended key event, in which 0x80 stands for the prefix 0xe0).
 */

/** KeyboardEvent codes of the scan codes from 1 on. */
const XT =
  'Escape Digit1 Digit2 Digit3 Digit4 Digit5 Digit6 Digit7 Digit8 Digit9 Digit0 Minus Equal Backspace Tab KeyQ KeyW KeyE ' +
  'KeyR KeyT KeyY KeyU KeyI KeyO KeyP BracketLeft BracketRight Enter ControlLeft KeyA KeyS KeyD KeyF KeyG KeyH KeyJ KeyK ' +
  'KeyL Semicolon Quote Backquote ShiftLeft Backslash KeyZ KeyX KeyC KeyV KeyB KeyN KeyM Comma Period Slash ShiftRight ' +
  'NumpadMultiply AltLeft Space CapsLock F1 F2 F3 F4 F5 F6 F7 F8 F9 F10 NumLock ScrollLock Numpad7 Numpad8 Numpad9 ' +
  'NumpadSubtract Numpad4 Numpad5 Numpad6 NumpadAdd Numpad1 Numpad2 Numpad3 Numpad0 NumpadDecimal';
const FIRST = XT.split(' ');
const FURTHER: Readonly<Record<number, string>> = {
  ...{ 0x54: 'PrintScreen', 0x56: 'IntlBackslash', 0x57: 'F11', 0x58: 'F12', 0x70: 'KanaMode', 0x73: 'IntlRo' },
  ...{ 0x79: 'Convert', 0x7b: 'NonConvert', 0x7d: 'IntlYen' },
  ...{ 0x9c: 'NumpadEnter', 0x9d: 'ControlRight', 0xb5: 'NumpadDivide', 0xb7: 'PrintScreen', 0xb8: 'AltRight' },
  ...{ 0xc6: 'Pause', 0xc7: 'Home', 0xc8: 'ArrowUp', 0xc9: 'PageUp', 0xcb: 'ArrowLeft', 0xcd: 'ArrowRight' },
  ...{ 0xcf: 'End', 0xd0: 'ArrowDown', 0xd1: 'PageDown', 0xd2: 'Insert', 0xd3: 'Delete', 0xdb: 'MetaLeft' },
  ...{ 0xdc: 'MetaRight', 0xdd: 'ContextMenu' },
};

/** Undefined: a key that no keyboard of ours has. */
export const codeOfScanCode = (scanCode: number): string | undefined => FIRST[scanCode - 1] ?? FURTHER[scanCode];

const BY_CODE = new Map<string, number>(Object.entries(FURTHER).map(([scanCode, code]) => [code, Number(scanCode)]));
for (const [i, code] of FIRST.entries()) BY_CODE.set(code, i + 1);

/** The other way round. Undefined: a key that no keyboard of ours has. */
export const scanCodeOf = (code: string): number | undefined => BY_CODE.get(code);

/** A key, and whether it takes Shift to get this symbol from it, on a keyboard of the United States. */
export interface KeyPress {
  readonly code: string;
  /** Undefined: the key means the same with Shift and without. */
  readonly shift: boolean | undefined;
}

/** Symbols without and with Shift. */
const SYMBOLS: Readonly<Record<string, string>> = {
  ...{
    Backquote: '`~',
    Digit1: '1!',
    Digit2: '2@',
    Digit3: '3#',
    Digit4: '4$',
    Digit5: '5%',
    Digit6: '6^',
    Digit7: '7&',
  },
  ...{ Digit8: '8*', Digit9: '9(', Digit0: '0)', Minus: '-_', Equal: '=+', BracketLeft: '[{', BracketRight: ']}' },
  ...{ Backslash: '\\|', Semicolon: ';:', Quote: '\'"', Comma: ',<', Period: '.>', Slash: '/?' },
};

const NAMED: Readonly<Record<number, string>> = {
  ...{ 0x20: 'Space', 0xff08: 'Backspace', 0xff09: 'Tab', 0xfe20: 'Tab', 0xff0d: 'Enter', 0xff13: 'Pause' },
  ...{ 0xff14: 'ScrollLock', 0xff15: 'PrintScreen', 0xff1b: 'Escape', 0xff50: 'Home', 0xff51: 'ArrowLeft' },
  ...{ 0xff52: 'ArrowUp', 0xff53: 'ArrowRight', 0xff54: 'ArrowDown', 0xff55: 'PageUp', 0xff56: 'PageDown' },
  ...{ 0xff57: 'End', 0xff61: 'PrintScreen', 0xff63: 'Insert', 0xff67: 'ContextMenu', 0xff6b: 'Pause' },
  ...{ 0xff7e: 'AltRight', 0xff7f: 'NumLock', 0xfe03: 'AltRight', 0xff8d: 'NumpadEnter', 0xffff: 'Delete' },
  ...{ 0xff95: 'Numpad7', 0xff96: 'Numpad4', 0xff97: 'Numpad8', 0xff98: 'Numpad6', 0xff99: 'Numpad2' },
  ...{ 0xff9a: 'Numpad9', 0xff9b: 'Numpad3', 0xff9c: 'Numpad1', 0xff9d: 'Numpad5', 0xff9e: 'Numpad0' },
  ...{ 0xff9f: 'NumpadDecimal', 0xffaa: 'NumpadMultiply', 0xffab: 'NumpadAdd', 0xffad: 'NumpadSubtract' },
  ...{ 0xffae: 'NumpadDecimal', 0xffaf: 'NumpadDivide', 0xffe1: 'ShiftLeft', 0xffe2: 'ShiftRight' },
  ...{ 0xffe3: 'ControlLeft', 0xffe4: 'ControlRight', 0xffe5: 'CapsLock', 0xffe7: 'MetaLeft', 0xffe8: 'MetaRight' },
  ...{ 0xffe9: 'AltLeft', 0xffea: 'AltRight', 0xffeb: 'MetaLeft', 0xffec: 'MetaRight' },
};

const BY_KEYSYM = new Map<number, KeyPress>();
for (const [code, pair] of Object.entries(SYMBOLS)) {
  BY_KEYSYM.set(pair.charCodeAt(0), { code, shift: false });
  BY_KEYSYM.set(pair.charCodeAt(1), { code, shift: true });
}
for (let letter = 0; letter < 26; letter++) {
  const code = `Key${String.fromCharCode(0x41 + letter)}`;
  BY_KEYSYM.set(0x41 + letter, { code, shift: true });
  BY_KEYSYM.set(0x61 + letter, { code, shift: false });
}
for (const [keysym, code] of Object.entries(NAMED)) BY_KEYSYM.set(Number(keysym), { code, shift: undefined });
for (let n = 0; n < 10; n++) BY_KEYSYM.set(0xffb0 + n, { code: `Numpad${n}`, shift: undefined });
for (let n = 1; n <= 12; n++) BY_KEYSYM.set(0xffbd + n, { code: `F${n}`, shift: undefined });

/** Undefined: a symbol that a keyboard of the United States has not. */
export const keyOfKeysym = (keysym: number): KeyPress | undefined => BY_KEYSYM.get(keysym);
