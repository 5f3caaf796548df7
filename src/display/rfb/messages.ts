/** Messages of a client as they come, RFC 6143 §7.5, told apart and bounded. */
import type { ByteQueue } from './byte-queue.js';
import { PIXEL_FORMAT_SIZE, readPixelFormat, type PixelFormat } from './pixel-format.js';
import type { Rectangle } from '../rectangle.js';
import { FROM_CLIENT, QEMU_KEY } from './protocol.js';

export type ClientMessage =
  | { readonly kind: 'pixel-format'; readonly format: PixelFormat }
  | { readonly kind: 'encodings'; readonly encodings: readonly number[] }
  | { readonly kind: 'update-request'; readonly incremental: boolean; readonly area: Rectangle }
  | { readonly kind: 'key'; readonly keysym: number; readonly down: boolean; readonly scanCode?: number }
  | { readonly kind: 'pointer'; readonly mask: number; readonly x: number; readonly y: number }
  | { readonly kind: 'desktop-size'; readonly width: number; readonly height: number }
  /** A text that was copied, which has nowhere to go. */
  | { readonly kind: 'text' };

/** Encodings that a client may name, and bytes of a text that it may send. */
const MOST_ENCODINGS = 1024;
const MOST_TEXT = 1 << 20;
/** Screens of a desktop. */
const SCREEN_SIZE = 16;
/** A pointer message whose mask goes on, as the server allowed: §"ExtendedMouseButtons". */
const MORE_BUTTONS = 0x80;

/** Undefined: what comes is no message, and nothing behind it can be understood. */
type Found = ClientMessage | 'more' | undefined;

export class MessageReader {
  /** Bytes of a long text that are still to come. */
  private skipping = 0;
  /** The client knows of buttons beyond the seventh. */
  extendedButtons = false;

  constructor(private readonly input: ByteQueue) {}

  next(): Found {
    const { input } = this;
    if (this.skipping > 0) {
      const count = Math.min(this.skipping, input.length);
      input.skip(count);
      this.skipping -= count;
      if (this.skipping > 0) return 'more';
    }
    if (input.length === 0) return 'more';
    switch (input.u8(0)) {
      case FROM_CLIENT.SET_PIXEL_FORMAT:
        return this.pixelFormat();
      case FROM_CLIENT.SET_ENCODINGS:
        return this.encodings();
      case FROM_CLIENT.UPDATE_REQUEST:
        return this.whole(10, () => ({
          kind: 'update-request',
          incremental: input.u8(1) !== 0,
          area: { x: input.u16(2), y: input.u16(4), width: input.u16(6), height: input.u16(8) },
        }));
      case FROM_CLIENT.KEY:
        return this.whole(8, () => ({ kind: 'key', down: input.u8(1) !== 0, keysym: input.u32(4) }));
      case FROM_CLIENT.POINTER:
        return this.pointer();
      case FROM_CLIENT.CUT_TEXT:
        return this.cutText();
      case FROM_CLIENT.SET_DESKTOP_SIZE:
        return this.desktopSize();
      case FROM_CLIENT.QEMU:
        return this.qemu();
      default:
        return undefined;
    }
  }

  private whole(length: number, read: () => ClientMessage): Found {
    if (this.input.length < length) return 'more';
    const message = read();
    this.input.skip(length);
    return message;
  }

  private pixelFormat(): Found {
    const { input } = this;
    const length = 4 + PIXEL_FORMAT_SIZE;
    if (input.length < length) return 'more';
    const format = readPixelFormat(input.take(length).subarray(4));
    return format && { kind: 'pixel-format', format };
  }

  private encodings(): Found {
    const { input } = this;
    if (input.length < 4) return 'more';
    const count = input.u16(2);
    if (count > MOST_ENCODINGS) return undefined;
    return this.whole(4 + 4 * count, () => ({
      kind: 'encodings',
      encodings: Array.from({ length: count }, (_, i) => input.i32(4 + 4 * i)),
    }));
  }

  private pointer(): Found {
    const { input } = this;
    if (input.length < 6) return 'more';
    const more = this.extendedButtons && (input.u8(1) & MORE_BUTTONS) !== 0;
    return this.whole(more ? 7 : 6, () => ({
      kind: 'pointer',
      mask: more ? (input.u8(1) & ~MORE_BUTTONS) | (input.u8(6) << 7) : input.u8(1),
      x: input.u16(2),
      y: input.u16(4),
    }));
  }

  private cutText(): Found {
    const { input } = this;
    if (input.length < 8) return 'more';
    // Negative in an extended clipboard message, which we did not offer.
    const length = Math.abs(input.i32(4));
    if (length > MOST_TEXT) return undefined;
    input.skip(8);
    this.skipping = length;
    return { kind: 'text' };
  }

  private desktopSize(): Found {
    const { input } = this;
    if (input.length < 8) return 'more';
    return this.whole(8 + SCREEN_SIZE * input.u8(6), () => ({
      kind: 'desktop-size',
      width: input.u16(2),
      height: input.u16(4),
    }));
  }

  private qemu(): Found {
    const { input } = this;
    if (input.length < 2) return 'more';
    if (input.u8(1) !== QEMU_KEY) return undefined;
    return this.whole(12, () => ({
      kind: 'key',
      down: input.u16(2) !== 0,
      keysym: input.u32(4),
      scanCode: input.u32(8),
    }));
  }
}
