/** One client of the server: its handshake, what it asks for, and what it has not seen yet. */
import type { InputEvent } from '../../iface/input.js';
import { around, intersect, outside, Region, type Rectangle } from '../rectangle.js';
import { ByteQueue } from './byte-queue.js';
import { ClientKeys } from './client-keys.js';
import { Handshake, type Password, type RfbCrypto } from './handshake.js';
import { MessageReader, type ClientMessage } from './messages.js';
import { NATIVE, TABLE, writePixelFormat, type PixelFormat } from './pixel-format.js';
import { ENCODING, FROM_SERVER, SIZE_REASON, SIZE_STATUS } from './protocol.js';
import type { Screen } from './screen.js';
import type { Scroll } from './scroll.js';
import { UpdateWriter, type Deflater } from './update-writer.js';

/** The connection to a client. */
export interface RfbTransport {
  /** False: no more until `Viewer.drained` is called. */
  write(bytes: Uint8Array): boolean;
  close(): void;
}

/** What a viewer needs of its server. */
export interface ViewerHost {
  readonly screen: Screen;
  readonly name: string;
  readonly password: Password;
  /** Why this one is not let in, if so. */
  readonly refusal?: string;
  readonly crypto: RfbCrypto;
  createDeflater(): Deflater;
  input(event: InputEvent): void;
  /** Asks the guest to show another size; false: it cannot be asked. */
  resize(width: number, height: number): boolean;
  /** A client has asked for something that is not there yet. */
  wanted(): void;
  wrongPassword(): void;
  rightPassword(): void;
  left(viewer: Viewer): void;
}

const NOWHERE: Rectangle = { x: 0, y: 0, width: 0, height: 0 };
/** Sizes that a client may ask for. */
const LEAST_SIZE = 64;
const MOST_SIZE = 4096;

export class Viewer {
  private readonly queue = new ByteQueue();
  private readonly handshake: Handshake;
  private readonly messages = new MessageReader(this.queue);
  private readonly keys: ClientKeys;
  private readonly updates: UpdateWriter;
  /** Changes that it has not got. */
  private readonly region = new Region();
  /** Changes that it can make itself, by copying; as the region it is of the last frame. */
  private move: Scroll | undefined;
  private stage: 'handshake' | 'waiting' | 'open' | 'closed' = 'handshake';
  private format: PixelFormat = NATIVE;
  private encodings: ReadonlySet<number> = new Set();
  /** What it asked to be told of; undefined: nothing. */
  private request: Rectangle | undefined;
  /** The size that it takes the screen to have. */
  private size = { width: 0, height: 0 };
  /** Pseudo-rectangles that it is to get. */
  private readonly announce = new Set<number>();
  private sizeStatus: { reason: number; status: number } | undefined;
  private shape: number | undefined;
  private busy = false;
  private full = false;

  constructor(
    private readonly transport: RfbTransport,
    private readonly host: ViewerHost,
  ) {
    this.handshake = new Handshake(host.password, host.crypto, (bytes) => this.write(bytes), host.refusal);
    this.keys = new ClientKeys((event) => host.input(event));
    this.updates = new UpdateWriter(() => host.createDeflater());
  }

  /** It is past the handshake. */
  get entered(): boolean {
    return this.stage === 'waiting' || this.stage === 'open';
  }

  /** It waits for something to be shown, or to change. */
  get waits(): boolean {
    return this.stage === 'waiting' || (this.stage === 'open' && this.request !== undefined);
  }

  private write(bytes: Uint8Array): void {
    if (bytes.length > 0 && this.stage !== 'closed' && !this.transport.write(bytes)) this.full = true;
  }

  /** The transport takes more again. */
  drained(): void {
    this.full = false;
    this.serve();
  }

  /** Bytes of the client. */
  receive(bytes: Uint8Array): void {
    if (this.stage === 'closed') return;
    this.queue.push(bytes);
    if (this.stage === 'handshake') {
      const progress = this.handshake.advance(this.queue);
      if (progress === 'more') return;
      if (progress === 'wrong-password') this.host.wrongPassword();
      if (progress !== 'done') {
        this.close();
        return;
      }
      this.stage = 'waiting';
      this.host.rightPassword();
      this.host.wanted();
      this.begin();
    }
    // Before it is told the size it has nothing to say.
    if (this.stage === 'waiting' && this.queue.length > MOST_SIZE) this.close();
    this.read();
  }

  private read(): void {
    while (this.stage === 'open') {
      const message = this.messages.next();
      if (message === 'more') break;
      if (message === undefined) {
        this.close();
        return;
      }
      this.handle(message);
    }
  }

  /** ServerInit, RFC 6143 §7.3.2, once there is a screen. */
  private begin(): void {
    const { screen, name } = this.host;
    if (this.stage !== 'waiting' || !screen.known) return;
    const title = new TextEncoder().encode(name);
    const bytes = new Uint8Array(24 + title.length);
    const view = new DataView(bytes.buffer);
    this.size = { width: screen.width, height: screen.height };
    view.setUint16(0, screen.width);
    view.setUint16(2, screen.height);
    bytes.set(writePixelFormat(NATIVE), 4);
    view.setUint32(20, title.length);
    bytes.set(title, 24);
    this.stage = 'open';
    this.region.add(screen.bounds);
    this.write(bytes);
    this.read();
  }

  private handle(message: ClientMessage): void {
    switch (message.kind) {
      case 'pixel-format':
        this.setFormat(message.format);
        break;
      case 'encodings':
        this.setEncodings(message.encodings);
        break;
      case 'update-request':
        if (!message.incremental) this.region.add(message.area);
        // Of several requests one is answered, for all that any of them asked for.
        this.request = this.request ? around(this.request, message.area) : message.area;
        this.serve();
        if (this.request !== undefined) this.host.wanted();
        break;
      case 'key': {
        const { keysym, scanCode, down } = message;
        if (scanCode === undefined || !this.keys.scanCode(scanCode, down)) this.keys.keysym(keysym, down);
        break;
      }
      case 'pointer':
        this.keys.pointer(message.mask, message.x, message.y, this.size);
        break;
      case 'desktop-size':
        this.resize(message.width, message.height);
        break;
      case 'text':
        break;
    }
  }

  private setFormat(format: PixelFormat): void {
    if (format.trueColor) this.format = format;
    else {
      this.format = TABLE;
      this.write(colorMap());
    }
  }

  private setEncodings(encodings: readonly number[]): void {
    const before = this.encodings;
    this.encodings = new Set(encodings);
    this.updates.choose(encodings);
    this.messages.extendedButtons = this.encodings.has(ENCODING.EXTENDED_BUTTONS);
    if (!this.copies) this.giveUpMove();
    for (const one of [ENCODING.QEMU_KEYS, ENCODING.EXTENDED_BUTTONS, ENCODING.EXTENDED_DESKTOP_SIZE])
      if (this.encodings.has(one) && !before.has(one)) this.announce.add(one);
    // The pointer is drawn by who was not told of it.
    if (this.encodings.has(ENCODING.CURSOR) !== before.has(ENCODING.CURSOR)) {
      this.shape = undefined;
      this.region.add(this.host.screen.bounds);
    }
    this.serve();
  }

  private resize(width: number, height: number): void {
    const valid = [width, height].every((size) => size >= LEAST_SIZE && size <= MOST_SIZE);
    const status = !valid
      ? SIZE_STATUS.INVALID
      : this.host.resize(width, height)
        ? SIZE_STATUS.FORWARDED
        : SIZE_STATUS.PROHIBITED;
    this.sizeStatus = { reason: SIZE_REASON.THIS_CLIENT, status };
    this.serve();
  }

  /** It knows how to copy what it shows. */
  get copies(): boolean {
    return this.stage === 'open' && this.encodings.has(ENCODING.COPY_RECT);
  }

  /** The screen has changed there, some of it by moving; `pointer` where a drawn pointer comes and goes. */
  changed(areas: readonly Rectangle[], pointer: readonly Rectangle[], scroll: Scroll | undefined): void {
    this.begin();
    this.giveUpMove();
    if (scroll && this.canMove(scroll, pointer.length > 0)) this.move = scroll;
    for (const area of areas) {
      const moved = this.move && intersect(area, this.move.area);
      for (const part of moved ? outside(area, moved) : [area]) this.region.add(part);
    }
    if (!this.encodings.has(ENCODING.CURSOR)) for (const area of pointer) this.region.add(area);
    this.serve();
  }

  /** What was not told of as a move is told of as a picture. */
  private giveUpMove(): void {
    if (this.move) this.region.add(this.move.area);
    this.move = undefined;
  }

  /** Whether the client has all of what moved, as it was, without a pointer in it. */
  private canMove({ area, from }: Scroll, pointerMoved: boolean): boolean {
    const { screen } = this.host;
    const same = this.size.width === screen.width && this.size.height === screen.height;
    const bare = this.encodings.has(ENCODING.CURSOR) || (!screen.pointer && !pointerMoved);
    return this.copies && same && bare && !this.region.touches({ ...area, y: from }) && !this.region.touches(area);
  }

  private get resizable(): boolean {
    return this.encodings.has(ENCODING.EXTENDED_DESKTOP_SIZE) || this.encodings.has(ENCODING.DESKTOP_SIZE);
  }

  /** Sends an update if the client waits for one and there is something to tell. */
  private serve(): void {
    if (this.stage !== 'open' || this.busy || this.full || this.request === undefined) return;
    this.collect(this.request);
    if (this.updates.isEmpty) return;
    this.request = undefined;
    this.busy = true;
    this.updates.finish().then(
      (message) => {
        for (const part of message) this.write(part);
        this.busy = false;
        this.serve();
      },
      // Only while it is being closed.
      () => this.close(),
    );
  }

  private collect(asked: Rectangle): void {
    const { screen } = this.host;
    const { updates } = this;
    this.collectSize();
    for (const one of [ENCODING.QEMU_KEYS, ENCODING.EXTENDED_BUTTONS])
      if (this.announce.delete(one)) updates.pseudo(one, NOWHERE);
    const ownPointer = this.encodings.has(ENCODING.CURSOR);
    const shape = screen.pointer?.shape;
    if (ownPointer && shape !== this.shape) {
      updates.pointer(this.format, screen.pointer);
      this.shape = shape;
    }
    const { width, height } = this.size;
    const area = intersect(asked, { x: 0, y: 0, width, height });
    this.collectMove(area);
    for (const part of area ? this.region.take(area) : [])
      updates.picture(part, screen.read(part, !ownPointer), this.format);
  }

  /** Before the pictures: it is of what the client shows now. */
  private collectMove(asked: Rectangle | undefined): void {
    if (!this.move) return;
    const { area, from } = this.move;
    const whole = around(area, { ...area, y: from });
    if (!asked || around(asked, whole).width > asked.width || around(asked, whole).height > asked.height) {
      this.giveUpMove();
      return;
    }
    this.move = undefined;
    this.updates.copy(area, area.x, from);
  }

  private collectSize(): void {
    const { screen } = this.host;
    const { width, height } = screen;
    const other = width !== this.size.width || height !== this.size.height;
    const extended = this.encodings.has(ENCODING.EXTENDED_DESKTOP_SIZE);
    if (other && this.resizable) {
      this.size = { width, height };
      this.move = undefined;
      this.region.clear();
      this.region.add(screen.bounds);
      if (extended) this.announce.add(ENCODING.EXTENDED_DESKTOP_SIZE);
      else this.updates.pseudo(ENCODING.DESKTOP_SIZE, { x: 0, y: 0, width, height });
    }
    const status = this.sizeStatus;
    this.sizeStatus = undefined;
    if (!this.announce.delete(ENCODING.EXTENDED_DESKTOP_SIZE) && !(status && extended)) return;
    const { reason, status: code } = status ?? { reason: SIZE_REASON.SERVER, status: SIZE_STATUS.DONE };
    // One screen, that fills the desktop.
    const content = new Uint8Array(20);
    const view = new DataView(content.buffer);
    content[0] = 1;
    view.setUint16(12, width);
    view.setUint16(14, height);
    this.updates.pseudo(ENCODING.EXTENDED_DESKTOP_SIZE, { x: reason, y: code, width, height }, content);
  }

  /** Ends it; also when the connection has gone. */
  close(): void {
    if (this.stage === 'closed') return;
    this.stage = 'closed';
    this.keys.release();
    this.updates.close();
    this.transport.close();
    this.host.left(this);
  }
}

/** SetColourMapEntries, RFC 6143 §7.6.2: what the numbers of `TABLE` mean. */
function colorMap(): Uint8Array {
  const { redMax, greenMax, blueMax, greenShift, blueShift } = TABLE;
  const bytes = new Uint8Array(6 + 256 * 6);
  const view = new DataView(bytes.buffer);
  bytes[0] = FROM_SERVER.COLOR_MAP;
  view.setUint16(4, 256);
  for (let i = 0; i < 256; i++) {
    const parts = [
      (i & redMax) / redMax,
      ((i >> greenShift) & greenMax) / greenMax,
      ((i >> blueShift) & blueMax) / blueMax,
    ];
    parts.forEach((part, n) => view.setUint16(6 + i * 6 + 2 * n, Math.round(part * 0xffff)));
  }
  return bytes;
}
