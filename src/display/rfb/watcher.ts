/**
 * A client that goes on looking, and types and points: of our own server, so of RFB 3.8 without a password (RFC 6143), and of QEMU's key
 * messages (rfbproto.rst, "QEMU Extended Key Event Message").
 */
import type { Rectangle } from '../rectangle.js';
import { Conversation, preferences } from './conversation.js';
import { scanCodeOf } from './keys.js';
import { PIXEL_FORMAT_SIZE } from './pixel-format.js';
import { ENCODING, FROM_CLIENT, FROM_SERVER, QEMU_KEY, SECURITY } from './protocol.js';
import { mostZrle, readZrle } from './zrle-reader.js';

/** Largest screen, in pixels, and longest text or packed picture, in bytes, that a server may name. */
const MOST_PIXELS = 1 << 24;
const MOST_TEXT = 1 << 20;
const MOST_PACKED = 1 << 27;
const NOT_ASKED_FOR = 'the server sends what nobody asked for';

/** A zlib stream that goes on from one piece to the next. */
export interface Inflater {
  /** Throws an error when it is none, or says more than so many bytes. */
  inflate(packed: Uint8Array, most: number): Uint8Array;
}

export interface RfbWatcherOptions {
  write(bytes: Uint8Array): void;
  readonly inflater: Inflater;
  /** The screen has that size from now on, and shows nothing yet. */
  resized(width: number, height: number): void;
  /** Pixels by rows, four bytes each: red, green, blue, 255. */
  picture(area: Rectangle, pixels: Uint8ClampedArray<ArrayBuffer>): void;
  /** What is shown from that place on is to be shown here, too. */
  copied(area: Rectangle, fromX: number, fromY: number): void;
  /** An update is complete; the next one comes after `request`. */
  painted(): void;
  /** It cannot go on: why, in a few words. */
  failed(reason: string): void;
}

export class RfbWatcher {
  private readonly talk = new Conversation(
    () => this.version(),
    (reason) => this.options.failed(reason),
  );
  private width = 0;
  private height = 0;
  /** Rectangles of the update that are still to come. */
  private rectangles = 0;
  private whole = true;
  private readonly held = new Set<string>();

  constructor(private readonly options: RfbWatcherOptions) {}

  /** Bytes of the server. */
  receive(bytes: Uint8Array): void {
    try {
      this.talk.receive(bytes);
    } catch (error) {
      this.talk.fail(error instanceof Error ? error.message : String(error));
    }
  }

  private version(): boolean {
    const bytes = this.talk.take(12);
    if (!bytes) return false;
    if (String.fromCharCode(...bytes) !== 'RFB 003.008\n') return this.talk.fail('this is no screen of a machine');
    this.options.write(bytes);
    return this.talk.next(() => this.security());
  }

  private security(): boolean {
    if (this.talk.input.length < 1) return false;
    const types = this.talk.take(1 + this.talk.input.u8(0))?.subarray(1);
    if (!types) return false;
    if (types.length === 0) return this.talk.fail('the screen lets nobody in now');
    if (!types.includes(SECURITY.NONE)) return this.talk.fail('the screen wants a password');
    this.options.write(Uint8Array.of(SECURITY.NONE));
    return this.talk.next(() => this.result());
  }

  private result(): boolean {
    if (this.talk.input.length < 4) return false;
    if (this.talk.input.u32(0) !== 0) return this.talk.fail('the screen is not to be seen');
    this.talk.input.skip(4);
    // Others may look, too.
    this.options.write(Uint8Array.of(1));
    return this.talk.next(() => this.serverInit());
  }

  private serverInit(): boolean {
    const { options } = this;
    const { input } = this.talk;
    const head = 8 + PIXEL_FORMAT_SIZE;
    if (input.length < head) return false;
    const nameLength = input.u32(head - 4);
    if (nameLength > MOST_TEXT) return this.talk.fail(NOT_ASKED_FOR);
    if (input.length < head + nameLength) return false;
    const [width, height] = [input.u16(0), input.u16(2)];
    input.skip(head + nameLength);
    options.write(preferences([ENCODING.ZRLE, ENCODING.COPY_RECT, ENCODING.DESKTOP_SIZE, ENCODING.QEMU_KEYS]));
    if (!this.resize(width, height)) return false;
    this.request();
    return this.talk.next(() => this.message());
  }

  private resize(width: number, height: number): boolean {
    if (width === 0 || height === 0 || width * height > MOST_PIXELS)
      return this.talk.fail('the server names a screen that cannot be');
    this.width = width;
    this.height = height;
    this.options.resized(width, height);
    return true;
  }

  /** Asks for what changes; the first time for all of it. */
  request(): void {
    if (this.talk.over || this.width === 0) return;
    const view = new DataView(new ArrayBuffer(10));
    view.setUint8(0, FROM_CLIENT.UPDATE_REQUEST);
    view.setUint8(1, this.whole ? 0 : 1);
    view.setUint16(6, this.width);
    view.setUint16(8, this.height);
    this.whole = false;
    this.options.write(new Uint8Array(view.buffer));
  }

  private message(): boolean {
    const { input } = this.talk;
    if (input.length < 1) return false;
    switch (input.u8(0)) {
      case FROM_SERVER.UPDATE:
        if (input.length < 4) return false;
        this.rectangles = input.u16(2);
        input.skip(4);
        return this.talk.next(() => this.rectangle());
      case FROM_SERVER.BELL:
        input.skip(1);
        return true;
      case FROM_SERVER.CUT_TEXT: {
        if (input.length < 8) return false;
        const length = input.u32(4);
        return length > MOST_TEXT ? this.talk.fail(NOT_ASKED_FOR) : this.talk.take(8 + length) !== undefined;
      }
      default:
        return this.talk.fail(NOT_ASKED_FOR);
    }
  }

  private rectangle(): boolean {
    if (this.rectangles === 0) {
      this.talk.step = () => this.message();
      this.options.painted();
      return true;
    }
    const { input } = this.talk;
    if (input.length < 12) return false;
    const area = { x: input.u16(0), y: input.u16(2), width: input.u16(4), height: input.u16(6) };
    const done = this.content(area, input.i32(8));
    if (done) this.rectangles--;
    return done;
  }

  private content(area: Rectangle, encoding: number): boolean {
    const { input } = this.talk;
    switch (encoding) {
      case ENCODING.DESKTOP_SIZE:
        input.skip(12);
        return this.resize(area.width, area.height);
      case ENCODING.QEMU_KEYS:
        input.skip(12);
        return true;
      case ENCODING.COPY_RECT: {
        if (input.length < 16) return false;
        const from = { ...area, x: input.u16(12), y: input.u16(14) };
        if (!this.fits(area) || !this.fits(from)) return this.talk.fail(NOT_ASKED_FOR);
        input.skip(16);
        this.options.copied(area, from.x, from.y);
        return true;
      }
      case ENCODING.RAW: {
        if (!this.fits(area)) return this.talk.fail(NOT_ASKED_FOR);
        const bytes = this.talk.take(12 + area.width * area.height * 4);
        if (bytes) this.picture(area, rgba(bytes.subarray(12)));
        return bytes !== undefined;
      }
      case ENCODING.ZRLE: {
        if (!this.fits(area)) return this.talk.fail(NOT_ASKED_FOR);
        if (input.length < 16) return false;
        const length = input.u32(12);
        if (length > MOST_PACKED) return this.talk.fail(NOT_ASKED_FOR);
        const packed = this.talk.take(16 + length)?.subarray(16);
        if (!packed) return false;
        const { width, height } = area;
        const bytes = this.options.inflater.inflate(packed, mostZrle(width, height));
        this.picture(area, readZrle(bytes, width, height));
        return true;
      }
      default:
        return this.talk.fail(NOT_ASKED_FOR);
    }
  }

  private fits({ x, y, width, height }: Rectangle): boolean {
    return x + width <= this.width && y + height <= this.height;
  }

  private picture(area: Rectangle, pixels: Uint8ClampedArray<ArrayBuffer>): void {
    if (area.width > 0 && area.height > 0) this.options.picture(area, pixels);
  }

  // ---- input ----

  /** A key by its KeyboardEvent code; those that no keyboard of ours has are left out. */
  key(code: string, down: boolean): void {
    const scanCode = scanCodeOf(code);
    if (this.talk.over || this.width === 0 || scanCode === undefined) return;
    if (down) this.held.add(code);
    else this.held.delete(code);
    const view = new DataView(new ArrayBuffer(12));
    view.setUint8(0, FROM_CLIENT.QEMU);
    view.setUint8(1, QEMU_KEY);
    view.setUint16(2, down ? 1 : 0);
    view.setUint32(8, scanCode);
    this.options.write(new Uint8Array(view.buffer));
  }

  /** Whoever types has gone elsewhere: nothing stays pressed. */
  releaseKeys(): void {
    for (const code of [...this.held]) this.key(code, false);
  }

  /** `mask`: buttons as bits, RFC 6143 §7.5.5. Pixels of the screen. */
  pointer(mask: number, x: number, y: number): void {
    if (this.talk.over || this.width === 0) return;
    const view = new DataView(new ArrayBuffer(6));
    view.setUint8(0, FROM_CLIENT.POINTER);
    view.setUint8(1, mask);
    view.setUint16(2, x);
    view.setUint16(4, y);
    this.options.write(new Uint8Array(view.buffer));
  }
}

/** Of pixels in our own format: blue, green, red, nothing. */
function rgba(bytes: Uint8Array): Uint8ClampedArray<ArrayBuffer> {
  const pixels = new Uint8ClampedArray(bytes.length);
  for (let at = 0; at < bytes.length; at += 4) {
    pixels[at] = bytes[at + 2];
    pixels[at + 1] = bytes[at + 1];
    pixels[at + 2] = bytes[at];
    pixels[at + 3] = 255;
  }
  return pixels;
}
