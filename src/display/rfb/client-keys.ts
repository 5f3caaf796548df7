/** What one client's keys and pointer do, told as events. */
import { BUTTON, POINTER_RANGE, type InputEvent } from '../../iface/input.js';
import { codeOfScanCode, keyOfKeysym } from './keys.js';

/** Buttons of RFB's pointer events, as bits. */
const RFB_BUTTON = {
  LEFT: 1,
  MIDDLE: 2,
  RIGHT: 4,
  UP: 8,
  DOWN: 16,
  WHEEL_LEFT: 32,
  WHEEL_RIGHT: 64,
  BACK: 128,
  FORWARD: 256,
};

const SHIFTS = ['ShiftLeft', 'ShiftRight'] as const;

export class ClientKeys {
  /** Keys that are held down. */
  private readonly held = new Set<string>();
  /** Keys for which Shift was pressed besides. */
  private readonly shifted = new Set<string>();
  private buttons = 0;

  constructor(private readonly send: (event: InputEvent) => void) {}

  private key(code: string, down: boolean): void {
    if (down) this.held.add(code);
    else if (!this.held.delete(code)) return;
    this.send({ kind: 'key', code, down });
  }

  /** A key by its scan code; false: there is none of this code. */
  scanCode(scanCode: number, down: boolean): boolean {
    const code = codeOfScanCode(scanCode);
    if (code !== undefined) this.key(code, down);
    return code !== undefined;
  }

  /** A key by what it writes. Clients that type whole texts press no Shift for capitals: it is pressed for them. */
  keysym(keysym: number, down: boolean): void {
    const press = keyOfKeysym(keysym);
    if (!press) return;
    const { code, shift } = press;
    if (down && shift === true && !SHIFTS.some((held) => this.held.has(held))) {
      this.shifted.add(code);
      this.send({ kind: 'key', code: 'ShiftLeft', down: true });
    }
    this.key(code, down);
    if (!down && this.shifted.delete(code)) this.send({ kind: 'key', code: 'ShiftLeft', down: false });
  }

  pointer(mask: number, x: number, y: number, screen: { readonly width: number; readonly height: number }): void {
    const pressed = mask & ~this.buttons;
    this.buttons = mask;
    const scale = (at: number, size: number): number =>
      size > 1 ? Math.min(POINTER_RANGE, Math.round((at * POINTER_RANGE) / (size - 1))) : 0;
    const bit = (from: number, to: number): number => (mask & from ? to : 0);
    const buttons =
      bit(RFB_BUTTON.LEFT, BUTTON.LEFT) |
      bit(RFB_BUTTON.RIGHT, BUTTON.RIGHT) |
      bit(RFB_BUTTON.MIDDLE, BUTTON.MIDDLE) |
      bit(RFB_BUTTON.BACK, BUTTON.SIDE) |
      bit(RFB_BUTTON.FORWARD, BUTTON.EXTRA);
    this.send({ kind: 'point', x: scale(x, screen.width), y: scale(y, screen.height), buttons });
    const step = (less: number, more: number): number => (pressed & more ? 1 : 0) - (pressed & less ? 1 : 0);
    const vertical = step(RFB_BUTTON.UP, RFB_BUTTON.DOWN);
    const horizontal = step(RFB_BUTTON.WHEEL_LEFT, RFB_BUTTON.WHEEL_RIGHT);
    if (vertical !== 0 || horizontal !== 0) this.send({ kind: 'wheel', vertical, horizontal });
  }

  /** The client has gone: nothing stays pressed. */
  release(): void {
    for (const code of this.held) this.send({ kind: 'key', code, down: false });
    if (this.shifted.size > 0) this.send({ kind: 'key', code: 'ShiftLeft', down: false });
    this.held.clear();
    this.shifted.clear();
  }
}
