/** Numbers of Linux's input events (input-event-codes.h, 6.1), in which virtio's input device speaks. */

export const EVENT = { SYN: 0x00, KEY: 0x01, REL: 0x02, ABS: 0x03, LED: 0x11, REP: 0x14 } as const;
export const ABS = { X: 0, Y: 1 } as const;
export const REL = { HWHEEL: 6, WHEEL: 8 } as const;
/** Left, right, middle, side, extra. */
export const POINTER_BUTTONS = [0x110, 0x111, 0x112, 0x113, 0x114] as const;
/** Num lock, caps lock, scroll lock. */
export const LEDS = [0, 1, 2] as const;

/** Keys 1 … 83 by the names of KeyboardEvent codes. */
const FIRST =
  'Escape Digit1 Digit2 Digit3 Digit4 Digit5 Digit6 Digit7 Digit8 Digit9 Digit0 Minus Equal Backspace Tab KeyQ KeyW KeyE ' +
  'KeyR KeyT KeyY KeyU KeyI KeyO KeyP BracketLeft BracketRight Enter ControlLeft KeyA KeyS KeyD KeyF KeyG KeyH KeyJ KeyK ' +
  'KeyL Semicolon Quote Backquote ShiftLeft Backslash KeyZ KeyX KeyC KeyV KeyB KeyN KeyM Comma Period Slash ShiftRight ' +
  'NumpadMultiply AltLeft Space CapsLock F1 F2 F3 F4 F5 F6 F7 F8 F9 F10 NumLock ScrollLock Numpad7 Numpad8 Numpad9 ' +
  'NumpadSubtract Numpad4 Numpad5 Numpad6 NumpadAdd Numpad1 Numpad2 Numpad3 Numpad0 NumpadDecimal';

export const KEY_CODES: ReadonlyMap<string, number> = new Map<string, number>([
  ...FIRST.split(' ').map((name, i): [string, number] => [name, i + 1]),
  ...Object.entries({
    ...{ IntlBackslash: 86, F11: 87, F12: 88, IntlRo: 89, Convert: 92, KanaMode: 93, NonConvert: 94, NumpadEnter: 96 },
    ...{ ControlRight: 97, NumpadDivide: 98, PrintScreen: 99, AltRight: 100, Home: 102, ArrowUp: 103, PageUp: 104 },
    ...{
      ArrowLeft: 105,
      ArrowRight: 106,
      End: 107,
      ArrowDown: 108,
      PageDown: 109,
      Insert: 110,
      Delete: 111,
      Pause: 119,
    },
    ...{ IntlYen: 124, MetaLeft: 125, MetaRight: 126, ContextMenu: 127 },
  }),
]);
