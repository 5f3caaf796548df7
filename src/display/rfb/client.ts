/** A client that looks once: it asks a server of RFB 3.3, 3.7 or 3.8 for the whole screen, RFC 6143. */
import type { Frame } from '../scan-out.js';
import { Conversation, preferences } from './conversation.js';
import { passwordKey, type Password, type RfbCrypto } from './handshake.js';
import { PIXEL_FORMAT_SIZE } from './pixel-format.js';
import { ENCODING, FROM_CLIENT, FROM_SERVER, SECURITY } from './protocol.js';

const CHALLENGE_LENGTH = 16;
/** Largest screen, in pixels, and longest text, in bytes, that a server may name. */
const MOST_PIXELS = 1 << 26;
const MOST_TEXT = 1 << 16;
/** SetPixelFormat and SetEncodings come before it. */
const UPDATE_REQUEST_SIZE = 10;

export interface RfbClientOptions {
  readonly password: Password;
  readonly crypto: Pick<RfbCrypto, 'des'>;
  write(bytes: Uint8Array): void;
  /** The whole screen is there. */
  finished(frame: Frame): void;
  /** It will not be: why, in a few words. */
  failed(reason: string): void;
}

export class RfbClient {
  private readonly talk = new Conversation(
    () => this.version(),
    (reason) => this.options.failed(reason),
  );
  private minor = 8;
  private frame: Frame = { width: 0, height: 0, pixels: new Uint32Array(0) };
  /** Rectangles of the update that are still to come. */
  private rectangles = 0;

  constructor(private readonly options: RfbClientOptions) {}

  /** Bytes of the server. */
  receive(bytes: Uint8Array): void {
    this.talk.receive(bytes);
  }

  /** The server has hung up. */
  ended(): void {
    this.talk.fail('the server hung up');
  }

  private version(): boolean {
    const bytes = this.talk.take(12);
    if (!bytes) return false;
    const match = /^RFB 003\.(\d{3})\n$/.exec(String.fromCharCode(...bytes));
    if (!match) return this.talk.fail('this is no VNC server');
    const minor = Number(match[1]);
    this.minor = minor >= 8 ? 8 : minor === 7 ? 7 : 3;
    this.options.write(new TextEncoder().encode(`RFB 003.00${this.minor}\n`));
    return this.talk.next(() => (this.minor === 3 ? this.oneSecurity() : this.someSecurity()));
  }

  private oneSecurity(): boolean {
    if (this.talk.input.length < 4) return false;
    const type = this.talk.input.u32(0);
    this.talk.input.skip(4);
    return type === 0 ? this.talk.next(() => this.refusal()) : this.useSecurity(type);
  }

  private someSecurity(): boolean {
    if (this.talk.input.length < 1) return false;
    const count = this.talk.input.u8(0);
    if (count === 0) {
      this.talk.input.skip(1);
      return this.talk.next(() => this.refusal());
    }
    const types = this.talk.take(1 + count)?.subarray(1);
    if (!types) return false;
    const wanted = this.options.password === undefined ? SECURITY.NONE : SECURITY.VNC;
    const type = [wanted, SECURITY.NONE, SECURITY.VNC].find((one) => types.includes(one));
    if (type === undefined) return this.talk.fail('the server wants a kind of login that is not known here');
    this.options.write(Uint8Array.of(type));
    return this.useSecurity(type);
  }

  private useSecurity(type: number): boolean {
    if (type === SECURITY.NONE) return this.minor === 8 ? this.talk.next(() => this.result()) : this.initialise();
    if (type !== SECURITY.VNC) return this.talk.fail('the server wants a kind of login that is not known here');
    if (this.options.password === undefined) return this.talk.fail('the server wants a password');
    return this.talk.next(() => this.answer());
  }

  private answer(): boolean {
    const challenge = this.talk.take(CHALLENGE_LENGTH);
    if (!challenge) return false;
    const { options } = this;
    const { crypto, password } = options;
    options.write(crypto.des(passwordKey(password ?? ''), challenge));
    return this.talk.next(() => this.result());
  }

  private result(): boolean {
    if (this.talk.input.length < 4) return false;
    const result = this.talk.input.u32(0);
    this.talk.input.skip(4);
    if (result === 0) return this.initialise();
    return this.minor === 8 ? this.talk.next(() => this.refusal()) : this.talk.fail('the server refuses the password');
  }

  /** A reason, in words of the server's. */
  private refusal(): boolean {
    if (this.talk.input.length < 4) return false;
    const length = this.talk.input.u32(0);
    if (length > MOST_TEXT) return this.talk.fail('the server refuses');
    const text = this.talk.take(4 + length);
    // One line, whatever the server says.
    return text ? this.talk.fail(`the server refuses: ${printable(text.subarray(4))}`) : false;
  }

  private initialise(): true {
    this.options.write(Uint8Array.of(1));
    return this.talk.next(() => this.serverInit());
  }

  private serverInit(): boolean {
    const { input } = this.talk;
    if (input.length < 8 + PIXEL_FORMAT_SIZE) return false;
    const nameLength = input.u32(4 + PIXEL_FORMAT_SIZE);
    if (nameLength > MOST_TEXT) return this.talk.fail('the server names a screen that cannot be');
    if (input.length < 8 + PIXEL_FORMAT_SIZE + nameLength) return false;
    const [width, height] = [input.u16(0), input.u16(2)];
    input.skip(8 + PIXEL_FORMAT_SIZE + nameLength);
    if (!this.resize(width, height)) return false;
    this.options.write(preferences([ENCODING.RAW, ENCODING.DESKTOP_SIZE]));
    this.request();
    return this.talk.next(() => this.message());
  }

  private resize(width: number, height: number): boolean {
    if (width === 0 || height === 0 || width * height > MOST_PIXELS)
      return this.talk.fail('the server names a screen that cannot be');
    this.frame = { width, height, pixels: new Uint32Array(width * height) };
    return true;
  }

  private request(): void {
    const view = new DataView(new ArrayBuffer(UPDATE_REQUEST_SIZE));
    view.setUint8(0, FROM_CLIENT.UPDATE_REQUEST);
    view.setUint16(6, this.frame.width);
    view.setUint16(8, this.frame.height);
    this.options.write(new Uint8Array(view.buffer));
  }

  private message(): boolean {
    const { input } = this.talk;
    if (input.length < 1) return false;
    switch (input.u8(0)) {
      case FROM_SERVER.UPDATE:
        if (input.length < 4) return false;
        this.rectangles = input.u16(2);
        this.wholePart = 0;
        input.skip(4);
        return this.talk.next(() => this.rectangle());
      case FROM_SERVER.BELL:
        input.skip(1);
        return true;
      case FROM_SERVER.COLOR_MAP: {
        if (input.length < 6) return false;
        return this.talk.take(6 + 6 * input.u16(4)) !== undefined;
      }
      case FROM_SERVER.CUT_TEXT: {
        if (input.length < 8) return false;
        const length = input.u32(4);
        return length > MOST_TEXT
          ? this.talk.fail('the server sends too long a text')
          : this.talk.take(8 + length) !== undefined;
      }
      default:
        return this.talk.fail('the server sends what nobody asked for');
    }
  }

  /** Pixels that the update has brought. */
  private wholePart = 0;

  private rectangle(): boolean {
    if (this.rectangles === 0) return this.updated();
    const { frame } = this;
    const { input } = this.talk;
    if (input.length < 12) return false;
    const [x, y, width, height] = [input.u16(0), input.u16(2), input.u16(4), input.u16(6)];
    const encoding = input.i32(8);
    if (encoding === ENCODING.DESKTOP_SIZE) {
      input.skip(12);
      this.rectangles--;
      this.wholePart = 0;
      return this.resize(width, height);
    }
    if (encoding !== ENCODING.RAW || x + width > frame.width || y + height > frame.height)
      return this.talk.fail('the server sends what nobody asked for');
    const bytes = this.talk.take(12 + width * height * 4);
    if (!bytes) return false;
    for (let row = 0, at = 12; row < height; row++)
      for (let column = 0; column < width; column++, at += 4)
        frame.pixels[(y + row) * frame.width + x + column] = bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16);
    this.wholePart += width * height;
    this.rectangles--;
    return true;
  }

  private updated(): boolean {
    // A server may begin with less than all: what is missing is asked for again.
    if (this.wholePart < this.frame.width * this.frame.height) {
      this.request();
      return this.talk.next(() => this.message());
    }
    this.talk.over = true;
    this.options.finished(this.frame);
    return false;
  }
}

const printable = (bytes: Uint8Array): string =>
  [...bytes].map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ' ')).join('');
