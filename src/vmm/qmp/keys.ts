/** QKeyCode, QEMU's names of keys (qapi/ui.json of QEMU 7.2), by the names of W3C UI Events that input devices know. */

import type { Json } from './json-text.js';
import { check, isObject, object, QmpError, STR, text } from './types.js';

type Pair = [string, string];

const LETTERS = Array.from('abcdefghijklmnopqrstuvwxyz', (letter): Pair => [letter, `Key${letter.toUpperCase()}`]);
const DIGITS = Array.from('0123456789', (digit): Pair => [digit, `Digit${digit}`]);
const KEYPAD = Array.from('0123456789', (digit): Pair => [`kp_${digit}`, `Numpad${digit}`]);
const FUNCTIONS = Array.from({ length: 12 }, (_, i): Pair => [`f${i + 1}`, `F${i + 1}`]);

export const KEYS: ReadonlyMap<string, string> = new Map<string, string>(
  Object.entries<string>({
    ...Object.fromEntries([...LETTERS, ...DIGITS, ...KEYPAD, ...FUNCTIONS]),
    shift: 'ShiftLeft',
    shift_r: 'ShiftRight',
    alt: 'AltLeft',
    alt_r: 'AltRight',
    ctrl: 'ControlLeft',
    ctrl_r: 'ControlRight',
    meta_l: 'MetaLeft',
    meta_r: 'MetaRight',
    menu: 'ContextMenu',
    esc: 'Escape',
    minus: 'Minus',
    equal: 'Equal',
    backspace: 'Backspace',
    tab: 'Tab',
    bracket_left: 'BracketLeft',
    bracket_right: 'BracketRight',
    ret: 'Enter',
    semicolon: 'Semicolon',
    apostrophe: 'Quote',
    grave_accent: 'Backquote',
    backslash: 'Backslash',
    comma: 'Comma',
    dot: 'Period',
    slash: 'Slash',
    spc: 'Space',
    caps_lock: 'CapsLock',
    num_lock: 'NumLock',
    scroll_lock: 'ScrollLock',
    kp_divide: 'NumpadDivide',
    kp_multiply: 'NumpadMultiply',
    kp_subtract: 'NumpadSubtract',
    kp_add: 'NumpadAdd',
    kp_enter: 'NumpadEnter',
    kp_decimal: 'NumpadDecimal',
    less: 'IntlBackslash',
    home: 'Home',
    pgup: 'PageUp',
    pgdn: 'PageDown',
    end: 'End',
    left: 'ArrowLeft',
    up: 'ArrowUp',
    down: 'ArrowDown',
    right: 'ArrowRight',
    insert: 'Insert',
    delete: 'Delete',
    print: 'PrintScreen',
    pause: 'Pause',
    sysrq: 'PrintScreen',
    asterisk: 'NumpadMultiply',
    compose: 'ContextMenu',
    ro: 'IntlRo',
    yen: 'IntlYen',
    henkan: 'Convert',
    muhenkan: 'NonConvert',
    katakanahiragana: 'KanaMode',
  }),
);

const KEY = object({ type: STR, data: STR });

/** The name of a KeyValue as input devices know it; `at` is where it is among the arguments. Throws a QmpError when there is none. */
export function keyName(key: Json, at: string): string {
  const value = isObject(key) ? key : {};
  if (value['type'] !== 'qcode') throw new QmpError('keys are told by their names here, with type qcode');
  check(value, KEY, at);
  const data = text(value, 'data') ?? '';
  const name = KEYS.get(data);
  if (name === undefined) throw new QmpError(`Parameter 'data' does not accept value '${data}'`);
  return name;
}
