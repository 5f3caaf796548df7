/** Where a user's keys and pointer go: to the devices whose drivers the guest has started, and to the PS/2 ones otherwise. */
import type { I8042 } from '../../devices/legacy/i8042/i8042.js';
import type { DisplayAdapter } from '../../iface/display.js';
import { POINTER_RANGE, type InputEvent } from '../../iface/input.js';

/** A keyboard that the guest may or may not have a driver for. */
export interface OptionalKeyboard {
  readonly live: boolean;
  key(code: string, down: boolean): void;
}

/** A pointer that knows where on the screen it is. */
export interface OptionalTablet {
  readonly live: boolean;
  /** 0 … POINTER_RANGE each way. */
  point(x: number, y: number, buttons: number): void;
  wheel(vertical: number, horizontal: number): void;
}

export interface InputHubParts {
  /** Absent: what no driver takes is lost. */
  readonly ps2?: I8042;
  readonly keyboard?: OptionalKeyboard | undefined;
  readonly tablet?: OptionalTablet | undefined;
  readonly adapter: DisplayAdapter | undefined;
}

/** A pointer as whoever manages the machine sees it. */
export interface PointerInfo {
  readonly name: string;
  /** It knows where on the screen it is. */
  readonly absolute: boolean;
  /** What a user's pointer moves now. */
  readonly current: boolean;
}

/** The size of a screen that is in a mode of its own. */
const USUAL = { width: 640, height: 480 } as const;

export class InputHub {
  /** Where the pointer was, in parts of the screen, so that a mouse can be moved there. */
  private last: { x: number; y: number } | undefined;
  private buttons = 0;
  /** Keys that went down, and by whom they were heard: a release goes to the same. */
  private readonly held = new Map<string, (down: boolean) => void>();

  constructor(private readonly parts: InputHubParts) {}

  /** The pointers that there are. */
  get pointers(): PointerInfo[] {
    const { ps2, tablet } = this.parts;
    return [
      ...(ps2?.mouse ? [{ name: 'PS/2 mouse', absolute: false, current: tablet?.live !== true }] : []),
      ...(tablet ? [{ name: 'virtio tablet', absolute: true, current: tablet.live }] : []),
    ];
  }

  take(event: InputEvent): void {
    switch (event.kind) {
      case 'key':
        this.key(event.code, event.down);
        break;
      case 'point':
        this.point(event.x, event.y, event.buttons);
        break;
      case 'wheel': {
        const { tablet, ps2 } = this.parts;
        if (tablet?.live) tablet.wheel(event.vertical, event.horizontal);
        else ps2?.mouse?.move(0, 0, event.vertical, this.buttons);
        break;
      }
    }
  }

  private key(code: string, down: boolean): void {
    const { keyboard, ps2 } = this.parts;
    const known = this.held.get(code);
    const tell =
      known ??
      (keyboard?.live
        ? (pressed: boolean): void => keyboard.key(code, pressed)
        : (pressed: boolean): void => void ps2?.keyboard.key(code, pressed));
    if (down) this.held.set(code, tell);
    else this.held.delete(code);
    tell(down);
  }

  private point(x: number, y: number, buttons: number): void {
    const { tablet, ps2 } = this.parts;
    this.buttons = buttons;
    const before = this.last;
    this.last = { x, y };
    if (tablet?.live) {
      tablet.point(x, y, buttons);
      return;
    }
    const { width, height } = this.size();
    const pixels = (at: number, size: number): number => Math.round((at * (size - 1)) / POINTER_RANGE);
    const dx = before ? pixels(x, width) - pixels(before.x, width) : 0;
    // A mouse counts upwards.
    const dy = before ? pixels(before.y, height) - pixels(y, height) : 0;
    ps2?.mouse?.move(dx, dy, 0, buttons);
  }

  private size(): { readonly width: number; readonly height: number } {
    const picture = this.parts.adapter?.picture();
    return picture && picture.kind !== 'vga' ? picture : USUAL;
  }
}
