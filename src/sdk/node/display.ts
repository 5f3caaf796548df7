/** A machine's screen, keyboard and pointer, as a program has them. */
import { UsageError } from '../../base/errors.js';
import { BUTTON, POINTER_RANGE, type InputEvent } from '../../iface/input.js';
import type { MachineHandle } from '../../runtime/node/machine-handle.js';
import type { PictureFormat } from '../../runtime/node/protocol.js';

const LARGEST = 16_384;

const isWithin = (value: number, most: number): boolean => Number.isInteger(value) && value >= 0 && value <= most;

/** Throws a UsageError for what no user does. */
function check(event: InputEvent): InputEvent {
  switch (event.kind) {
    case 'key':
      if (typeof event.code === 'string' && event.code !== '' && typeof event.down === 'boolean') return event;
      break;
    case 'point': {
      const all = Object.values(BUTTON).reduce((sum, bit) => sum | bit, 0);
      if (isWithin(event.x, POINTER_RANGE) && isWithin(event.y, POINTER_RANGE) && isWithin(event.buttons, all))
        return event;
      break;
    }
    case 'wheel':
      if (Number.isInteger(event.vertical) && Number.isInteger(event.horizontal)) return event;
  }
  throw new UsageError(`there is no such event of a keyboard or a pointer: ${JSON.stringify(event)}`);
}

/** Screen, keyboard and pointer: `vm.display`. */
export class Display {
  constructor(private readonly machine: MachineHandle) {}

  /** The screen as the bytes of a PNG file, or of a portable pixmap. Rejected when the machine has ended. */
  async screenshot(format: PictureFormat = 'png'): Promise<Uint8Array> {
    const known: readonly string[] = ['png', 'ppm'];
    if (!known.includes(format)) throw new UsageError(`there are no pictures of the kind "${format}": png, ppm`);
    return this.machine.screenshot(format);
  }

  /** Its rows in a text mode; none in a mode of pixels. */
  text(): Promise<readonly string[]> {
    return this.machine.screen();
  }

  /** What a user does with keyboard and pointer. Keys have the names of the W3C's UI Events KeyboardEvent code values. */
  input(event: InputEvent): void {
    this.machine.input(check(event));
  }

  /** Presses keys one behind the other, and lets go of them, the last first: `press('ControlLeft', 'KeyC')`. */
  press(...codes: readonly string[]): void {
    for (const code of codes) this.input({ kind: 'key', code, down: true });
    for (const code of codes.toReversed()) this.input({ kind: 'key', code, down: false });
  }

  /** Asks the guest to show a size in pixels. False: this screen cannot tell it (`display: 'virtio'` can). */
  resize(width: number, height: number): boolean {
    if (!(isWithin(width, LARGEST) && isWithin(height, LARGEST) && width > 0 && height > 0))
      throw new UsageError(`a screen of ${width} by ${height} pixels`);
    return this.machine.preferSize(width, height);
  }
}
