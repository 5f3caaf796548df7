import { createCipheriv } from 'node:crypto';
import { constants, createDeflate, inflateSync } from 'node:zlib';
import { beforeEach, describe, expect, it } from 'vitest';
import type { InputEvent } from '../../iface/input.js';
import { fuzz } from '../../testing/fuzz/target.js';
import { rfbClientTarget } from '../../testing/fuzz/targets/rfb-client.js';
import { rfbTarget } from '../../testing/fuzz/targets/rfb.js';
import { noise } from '../../testing/noise.js';
import type { Rectangle } from '../rectangle.js';
import type { Frame } from '../scan-out.js';
import { RfbClient } from './client.js';
import { ENCODING } from './protocol.js';
import type { Deflater } from './update-writer.js';
import { RfbServer, type RfbServerOptions } from './server.js';
import type { Viewer } from './viewer.js';

const [WIDTH, HEIGHT] = [150, 90];

const rfbCrypto = {
  random: (count: number) => Uint8Array.from({ length: count }, (_, i) => i * 7 + 1),
  /** Three times the same key: single DES. */
  des(key: Uint8Array, data: Uint8Array): Uint8Array {
    const cipher = createCipheriv('des-ede3-ecb', Buffer.concat([key, key, key]), null);
    return new Uint8Array(cipher.setAutoPadding(false).update(data));
  },
};

/** Compressions that Node's threads are at. */
let deflating = 0;

function createDeflater(): Deflater {
  const stream = createDeflate();
  const pieces: Buffer[] = [];
  let pending = 0;
  const done = (count: number): void => {
    pending -= count;
    deflating -= count;
  };
  stream.on('data', (piece: Buffer) => pieces.push(piece));
  return {
    deflate: (data) =>
      new Promise((resolve) => {
        done(-1);
        stream.write(data);
        stream.flush(constants.Z_SYNC_FLUSH, () => {
          done(Math.min(1, pending));
          resolve(new Uint8Array(Buffer.concat(pieces.splice(0))));
        });
      }),
    close() {
      done(pending);
      stream.destroy();
    },
  };
}

/** A server with a screen of its own, of which it is asked for frames by hand. */
class Host {
  readonly events: InputEvent[] = [];
  readonly timers: { at: number; work: () => void }[] = [];
  time = 0;
  requests = 0;
  resized: [number, number] | undefined;
  readonly server: RfbServer;
  shared = new SharedArrayBuffer(WIDTH * HEIGHT * 4);
  width = WIDTH;
  height = HEIGHT;
  private told = false;

  constructor(password?: string, resizable = true) {
    const options: RfbServerOptions = {
      name: 'test',
      password,
      crypto: rfbCrypto,
      createDeflater,
      requestFrame: () => this.requests++,
      input: (event) => this.events.push(event),
      resize: (width, height) => {
        this.resized = [width, height];
        return resizable;
      },
      now: () => this.time,
      schedule: (milliseconds, work) => this.timers.push({ at: this.time + milliseconds, work }),
    };
    this.server = new RfbServer(options);
  }

  get pixels(): Uint32Array {
    return new Uint32Array(this.shared);
  }

  /** Lets time pass, and answers what is asked for. */
  frame(changed: readonly Rectangle[] = [], pointer?: { x: number; y: number; shape: number }): void {
    this.time += 300;
    for (const timer of this.timers.splice(0)) timer.work();
    const image = pointer && {
      ...pointer,
      width: 8,
      height: 8,
      hotX: 2,
      hotY: 3,
      pixels: new Uint8Array(256).fill(255),
    };
    const news = { width: this.width, height: this.height, changed, ...(image && { pointer: image }) };
    this.server.frame(this.told ? news : { ...news, pixels: this.shared });
    this.told = true;
  }

  resizeTo(width: number, height: number): void {
    [this.width, this.height] = [width, height];
    this.shared = new SharedArrayBuffer(width * height * 4);
    this.told = false;
    this.frame([{ x: 0, y: 0, width, height }]);
  }
}

/** A client of the test's: bytes both ways. */
class Peer {
  received = Buffer.alloc(0);
  closed = false;
  readonly viewer: Viewer | undefined;

  constructor(host: Host) {
    this.viewer = host.server.accept({
      write: (bytes) => {
        this.received = Buffer.concat([this.received, bytes]);
        return true;
      },
      close: () => (this.closed = true),
    });
  }

  send(...bytes: readonly number[]): this {
    this.viewer?.receive(Uint8Array.from(bytes));
    return this;
  }

  text(text: string): this {
    return this.send(...Buffer.from(text, 'latin1'));
  }

  take(count: number): Buffer {
    expect(this.received.length).toBeGreaterThanOrEqual(count);
    const bytes = this.received.subarray(0, count);
    this.received = this.received.subarray(count);
    return bytes;
  }

  /** Everything that came, once it does not grow any more. */
  async settled(): Promise<void> {
    for (let before = -1; before !== this.received.length || deflating > 0;) {
      before = this.received.length;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }

  encodings(...list: readonly number[]): this {
    const bytes = Buffer.alloc(4 + 4 * list.length);
    bytes[0] = 2;
    bytes.writeUInt16BE(list.length, 2);
    list.forEach((one, i) => bytes.writeInt32BE(one, 4 + 4 * i));
    return this.send(...bytes);
  }

  request(incremental: boolean, width = WIDTH, height = HEIGHT): this {
    return this.send(3, incremental ? 1 : 0, 0, 0, 0, 0, width >> 8, width & 255, height >> 8, height & 255);
  }
}

/** A connection that is past its handshake. */
function opened(host: Host): Peer {
  const peer = new Peer(host).text('RFB 003.008\n').send(1).send(1);
  host.frame([{ x: 0, y: 0, width: WIDTH, height: HEIGHT }]);
  expect(peer.take(12).toString()).toBe('RFB 003.008\n');
  expect([...peer.take(6)]).toEqual([1, 1, 0, 0, 0, 0]);
  const init = peer.take(24);
  expect([init.readUInt16BE(0), init.readUInt16BE(2)]).toEqual([WIDTH, HEIGHT]);
  expect(peer.take(init.readUInt32BE(20)).toString()).toBe('test');
  return peer;
}

/** What a client has on its screen: written after RFC 6143, not after the encoders. */
class Canvas {
  readonly pixels = new Uint32Array(WIDTH * HEIGHT);
  private readonly zrle: Buffer[] = [];
  private readonly tight = [0, 1, 2, 3].map((): Buffer[] => []);
  private zrleLength = 0;
  private readonly tightLength = [0, 0, 0, 0];

  constructor(private readonly peer: Peer) {}

  private u8(): number {
    return this.peer.take(1)[0];
  }
  /** Little-endian 32 bits. */
  private pixel(): number {
    return this.peer.take(4).readUInt32LE(0);
  }

  private fill(r: Rectangle, color: number): void {
    for (let y = r.y; y < r.y + r.height; y++) this.pixels.fill(color, y * WIDTH + r.x, y * WIDTH + r.x + r.width);
  }

  /** Reads one update; returns the encodings in it. */
  update(): number[] {
    const { peer } = this;
    expect(this.u8()).toBe(0);
    this.u8();
    const count = peer.take(2).readUInt16BE(0);
    return Array.from({ length: count }, () => {
      const head = peer.take(12);
      const [x, y, width, height] = [0, 2, 4, 6].map((at) => head.readUInt16BE(at));
      const encoding = head.readInt32BE(8);
      this.rectangle({ x, y, width, height }, encoding);
      return encoding;
    });
  }

  private rectangle(r: Rectangle, encoding: number): void {
    const { peer } = this;
    switch (encoding) {
      case 0: {
        const bytes = peer.take(4 * r.width * r.height);
        let at = 0;
        this.put(r, () => bytes.readUInt32LE((at += 4) - 4));
        break;
      }
      case 1: {
        const from = peer.take(4);
        const [x, y, shown] = [from.readUInt16BE(0), from.readUInt16BE(2), this.pixels.slice()];
        for (let row = 0; row < r.height; row++)
          this.pixels.set(
            shown.subarray((y + row) * WIDTH + x, (y + row) * WIDTH + x + r.width),
            (r.y + row) * WIDTH + r.x,
          );
        break;
      }
      case 2: {
        const patches = peer.take(4).readUInt32BE(0);
        this.fill(r, this.pixel());
        for (let i = 0; i < patches; i++) {
          const color = this.pixel();
          const p = peer.take(8);
          this.fill(
            {
              x: r.x + p.readUInt16BE(0),
              y: r.y + p.readUInt16BE(2),
              width: p.readUInt16BE(4),
              height: p.readUInt16BE(6),
            },
            color,
          );
        }
        break;
      }
      case 5:
        this.hextile(r);
        break;
      case 7:
        this.tightRectangle(r);
        break;
      case 16:
        this.zrleRectangle(r);
        break;
      default:
        break;
    }
  }

  private put(r: Rectangle, pixel: () => number): void {
    for (let y = r.y; y < r.y + r.height; y++)
      for (let x = r.x; x < r.x + r.width; x++) this.pixels[y * WIDTH + x] = pixel();
  }

  private tiles(r: Rectangle, size: number, each: (tile: Rectangle) => void): void {
    for (let y = 0; y < r.height; y += size)
      for (let x = 0; x < r.width; x += size)
        each({ x: r.x + x, y: r.y + y, width: Math.min(size, r.width - x), height: Math.min(size, r.height - y) });
  }

  private hextile(r: Rectangle): void {
    let [back, front] = [0, 0];
    this.tiles(r, 16, (tile) => {
      const mask = this.u8();
      if (mask & 1) {
        this.put(tile, () => this.pixel());
        return;
      }
      if (mask & 2) back = this.pixel();
      if (mask & 4) front = this.pixel();
      this.fill(tile, back);
      const patches = mask & 8 ? this.u8() : 0;
      for (let i = 0; i < patches; i++) {
        const color = mask & 16 ? this.pixel() : front;
        const [at, size] = [this.u8(), this.u8()];
        this.fill(
          { x: tile.x + (at >> 4), y: tile.y + (at & 15), width: (size >> 4) + 1, height: (size & 15) + 1 },
          color,
        );
      }
    });
  }

  /** What a stream says in its newest piece. */
  private static newest(pieces: Buffer[], before: number): Buffer {
    const all = inflateSync(Buffer.concat(pieces), { finishFlush: constants.Z_SYNC_FLUSH });
    return all.subarray(before);
  }

  private zrleRectangle(r: Rectangle): void {
    this.zrle.push(this.peer.take(this.peer.take(4).readUInt32BE(0)));
    const data = Canvas.newest(this.zrle, this.zrleLength);
    this.zrleLength += data.length;
    let at = 0;
    const pixel = (): number => data.readUIntLE((at += 3) - 3, 3);
    this.tiles(r, 64, (tile) => {
      const kind = data[at++];
      if (kind === 0) this.put(tile, pixel);
      else if (kind === 1) this.fill(tile, pixel());
      else if (kind <= 16) {
        const table = Array.from({ length: kind }, pixel);
        const bits = kind === 2 ? 1 : kind <= 4 ? 2 : 4;
        for (let y = 0; y < tile.height; y++) {
          for (let x = 0; x < tile.width; x++) {
            const byte = data[at + Math.floor((x * bits) / 8)];
            const index = (byte >> (8 - bits - ((x * bits) % 8))) & ((1 << bits) - 1);
            this.pixels[(tile.y + y) * WIDTH + tile.x + x] = table[index];
          }
          at += Math.ceil((tile.width * bits) / 8);
        }
      } else {
        const table = Array.from({ length: kind - 128 }, pixel);
        let [left, color] = [0, 0];
        this.put(tile, () => {
          if (left === 0) {
            const index = data[at++];
            color = table[index & 127];
            left = 1;
            if (index & 128) {
              while (data[at] === 255) {
                left += 255;
                at++;
              }
              left += data[at++];
            }
          }
          left--;
          return color;
        });
      }
    });
    expect(at).toBe(data.length);
  }

  private tightData(stream: number, length: number): Buffer {
    if (length < 12) return this.peer.take(length);
    let compact = 0;
    for (let i = 0; i < 3; i++) {
      const byte = this.u8();
      compact |= (i === 2 ? byte : byte & 127) << (7 * i);
      if (!(byte & 128)) break;
    }
    this.tight[stream].push(this.peer.take(compact));
    const data = Canvas.newest(this.tight[stream], this.tightLength[stream]);
    this.tightLength[stream] += data.length;
    expect(data.length).toBe(length);
    return data;
  }

  private tightRectangle(r: Rectangle): void {
    const control = this.u8();
    const color = (from: Buffer, at: number): number => from.readUIntBE(at, 3);
    if (control >> 4 === 8) {
      this.fill(r, color(this.peer.take(3), 0));
      return;
    }
    const stream = (control >> 4) & 3;
    if (!(control & 0x40)) {
      const data = this.tightData(stream, r.width * r.height * 3);
      let at = 0;
      this.put(r, () => color(data, (at += 3) - 3));
      return;
    }
    expect(this.u8()).toBe(1);
    const table = Array.from({ length: this.u8() + 1 }, () => color(this.peer.take(3), 0));
    if (table.length === 2) {
      const pitch = Math.ceil(r.width / 8);
      const data = this.tightData(stream, pitch * r.height);
      let i = 0;
      this.put(r, () => {
        const [x, y] = [i % r.width, Math.floor(i / r.width)];
        i++;
        return table[(data[y * pitch + (x >> 3)] >> (7 - (x & 7))) & 1];
      });
      return;
    }
    const data = this.tightData(stream, r.width * r.height);
    let at = 0;
    this.put(r, () => table[data[at++]]);
  }
}

/** Pictures that take different ways through the encoders. */
function paint(pixels: Uint32Array, kind: number): void {
  const random = noise(kind + 1);
  pixels.fill(0x204060);
  if (kind === 0) return;
  for (let i = 0; i < pixels.length; i++) {
    const [x, y] = [i % WIDTH, Math.floor(i / WIDTH)];
    if (kind === 1 && (x * y) % 7 === 0) pixels[i] = 0xffffff;
    if (kind === 2) pixels[i] = random() & 0xffffff;
    if (kind === 3 && (random() & 3) === 0) pixels[i] = [1, 2, 0xff00, 0xff0000, 0x123456][random() % 5];
    if (kind === 4) pixels[i] = ((x >> 3) * 0x010203 + (y >> 4) * 0x30) & 0xffffff;
    if (kind === 5 && x > 20 && x < 60) pixels[i] = (y * 5) & 0xff;
  }
}

describe('the RFB server', () => {
  let host: Host;
  beforeEach(() => {
    host = new Host();
  });

  it.each([
    ['raw', ENCODING.RAW],
    ['RRE', ENCODING.RRE],
    ['hextile', ENCODING.HEXTILE],
    ['ZRLE', ENCODING.ZRLE],
    ['Tight', ENCODING.TIGHT],
  ])('brings a screen and what changes of it: %s', async (_name, encoding) => {
    const peer = opened(host);
    const canvas = new Canvas(peer);
    peer.encodings(encoding);
    for (let kind = 0; kind < 6; kind++) {
      paint(host.pixels, kind);
      if (kind === 0) peer.request(false);
      else {
        peer.request(true);
        host.frame([
          { x: 0, y: 0, width: WIDTH, height: 50 },
          { x: 0, y: 50, width: WIDTH, height: 40 },
        ]);
      }
      await peer.settled();
      const used = canvas.update();
      expect(used.every((one) => one === encoding || (encoding === ENCODING.RRE && one === 0))).toBe(true);
      expect(Buffer.from(canvas.pixels.buffer).equals(Buffer.from(host.pixels.slice().buffer))).toBe(true);
      expect(peer.received.length).toBe(0);
    }
  });

  it('tells of lines that move as moves, and is right whatever moves and changes meanwhile', async () => {
    const random = noise(17);
    // Nothing is compressed: an update is there as soon as everybody had a turn.
    const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
    const peer = opened(host);
    const canvas = new Canvas(peer);
    peer.encodings(ENCODING.RAW, ENCODING.COPY_RECT);
    paint(host.pixels, 2);
    peer.request(false);
    await turn();
    canvas.update();
    let moves = 0;
    // The client is up to date, or behind by some frames.
    let asking = false;
    for (let round = 0; round < 400; round++) {
      if (!asking && (random() & 3) > 0) {
        peer.request(true, random() & 7 ? WIDTH : 40, HEIGHT);
        asking = true;
      }
      const { pixels } = host;
      const shift = (1 + (random() % 40)) * WIDTH;
      const top = random() & 1 ? 0 : (random() % 20) * WIDTH;
      if (random() & 1) {
        pixels.copyWithin(top, top + shift);
        for (let i = pixels.length - shift; i < pixels.length; i++) pixels[i] = random() & 0xffffff;
      } else pixels.copyWithin(top + shift, top, pixels.length - shift);
      for (let n = random() % 4; n > 0; n--) {
        const at = random() % pixels.length;
        pixels.fill(random() & 0xffffff, at, at + 200);
      }
      const changed = [{ x: 0, y: 0, width: WIDTH, height: HEIGHT }];
      host.frame(
        random() % 10
          ? changed
          : [
              { ...changed[0], height: 50 },
              { ...changed[0], y: 50, height: 40 },
            ],
      );
      await turn();
      while (peer.received.length > 0) {
        moves += canvas.update().filter((one) => one === ENCODING.COPY_RECT).length;
        asking = false;
      }
    }
    // All that it has not been told yet.
    for (let n = 0; n < 3; n++) {
      peer.request(true);
      await turn();
      if (peer.received.length > 0) canvas.update();
    }
    expect(Buffer.from(canvas.pixels.buffer).equals(Buffer.from(host.pixels.slice().buffer))).toBe(true);
    expect(moves).toBeGreaterThan(15);
  });

  it('writes pixels as the client wants them', async () => {
    host.pixels.fill(0xff8040);
    const peer = opened(host);
    // 16 bits, big-endian, 5-6-5.
    peer.send(0, 0, 0, 0, 16, 16, 1, 1, 0, 31, 0, 63, 0, 31, 11, 5, 0, 0, 0, 0).request(false, 1, 1);
    await peer.settled();
    expect([...peer.take(18).subarray(16)]).toEqual([0xfc, 0x08]);
    // Numbers of a table: 3, 3 and 2 bits.
    peer.send(0, 0, 0, 0, 8, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    const map = peer.take(6 + 256 * 6);
    expect([...map.subarray(0, 6)]).toEqual([1, 0, 0, 0, 1, 0]);
    peer.request(false, 1, 1);
    await peer.settled();
    const number = peer.take(17)[16];
    expect([map[6 + number * 6], map[8 + number * 6], map[10 + number * 6]]).toEqual([0xff, 0x92, 0x55]);
  });

  it('asks for frames only while a client waits, and seldom while nothing changes', async () => {
    expect(host.requests).toBe(0);
    const peer = opened(host);
    expect(host.requests).toBe(1);
    peer.request(true);
    await peer.settled();
    const before = host.requests;
    host.frame();
    host.frame();
    expect(host.requests).toBe(before);
    peer.request(true);
    host.frame();
    expect(host.requests).toBeGreaterThan(before);
    expect(host.timers.length).toBeLessThanOrEqual(1);
  });

  it('tells of a new size: with ExtendedDesktopSize, DesktopSize, or not at all', async () => {
    for (const [list, expected] of [
      [[ENCODING.EXTENDED_DESKTOP_SIZE], ENCODING.EXTENDED_DESKTOP_SIZE],
      [[ENCODING.DESKTOP_SIZE], ENCODING.DESKTOP_SIZE],
      [[], ENCODING.RAW],
    ] as const) {
      host = new Host();
      const peer = opened(host);
      peer.encodings(...list).request(false);
      await peer.settled();
      peer.received = Buffer.alloc(0);
      peer.request(true);
      host.resizeTo(40, 30);
      await peer.settled();
      const update = peer.take(16);
      expect(update.readInt32BE(12)).toBe(expected);
      if (expected !== ENCODING.RAW) expect([update.readUInt16BE(8), update.readUInt16BE(10)]).toEqual([40, 30]);
    }
  });

  it('passes a wish for another size on', async () => {
    const peer = opened(host).encodings(ENCODING.EXTENDED_DESKTOP_SIZE).request(false);
    await peer.settled();
    peer.received = Buffer.alloc(0);
    const wish = [251, 0, 4, 0, 3, 0, 1, 0, ...new Array<number>(16).fill(0)];
    peer.request(true).send(...wish);
    await peer.settled();
    expect(host.resized).toEqual([1024, 768]);
    const head = peer.take(16);
    // By this client; forwarded.
    expect([head.readUInt16BE(4), head.readUInt16BE(6), head.readInt32BE(12)]).toEqual([1, 4, -308]);
  });

  it('draws the pointer for who cannot, and tells the others its shape', async () => {
    const plain = opened(host).request(false);
    await plain.settled();
    plain.received = Buffer.alloc(0);
    plain.request(true);
    host.frame([], { x: 20, y: 20, shape: 1 });
    await plain.settled();
    const canvas = new Canvas(plain);
    canvas.update();
    expect([canvas.pixels[18 * WIDTH + 19], canvas.pixels[16 * WIDTH + 19]]).toEqual([0xffffff, 0]);

    const able = opened(host).encodings(ENCODING.CURSOR);
    host.frame([], { x: 20, y: 20, shape: 1 });
    able.request(false);
    await able.settled();
    const update = able.take(16 + 8 * 8 * 4 + 8);
    expect([update.readUInt16BE(4), update.readUInt16BE(6), update.readInt32BE(12)]).toEqual([2, 3, ENCODING.CURSOR]);
  });

  it('hands keys and pointer on, and releases what a client leaves pressed', () => {
    const peer = opened(host);
    const key = (keysym: number, down: number): Peer => peer.send(4, down, 0, 0, 0, 0, keysym >> 8, keysym & 255);
    key(0x61, 1);
    key(0x61, 0);
    // A capital without Shift: Shift is pressed for it.
    key(0x41, 1);
    key(0x41, 0);
    expect(host.events.splice(0)).toEqual([
      { kind: 'key', code: 'KeyA', down: true },
      { kind: 'key', code: 'KeyA', down: false },
      { kind: 'key', code: 'ShiftLeft', down: true },
      { kind: 'key', code: 'KeyA', down: true },
      { kind: 'key', code: 'KeyA', down: false },
      { kind: 'key', code: 'ShiftLeft', down: false },
    ]);
    // By scan code, which wins: right Control.
    peer.send(255, 0, 0, 1, 0, 0, 0, 0x61, 0, 0, 0, 0x9d);
    peer.send(5, 0b1001, 0, WIDTH - 1, 0, 0);
    expect(host.events.splice(0)).toEqual([
      { kind: 'key', code: 'ControlRight', down: true },
      { kind: 'point', x: 0x7fff, y: 0, buttons: 1 },
      { kind: 'wheel', vertical: -1, horizontal: 0 },
    ]);
    peer.viewer?.close();
    expect(host.events).toEqual([{ kind: 'key', code: 'ControlRight', down: false }]);
  });

  it('takes a text that was copied, in parts, and goes on', () => {
    const peer = opened(host);
    peer.send(6, 0, 0, 0, 0, 0, 1, 0).send(...new Array<number>(200).fill(65));
    peer.send(...new Array<number>(56).fill(65), 4, 1, 0, 0, 0, 0, 0, 0x62);
    expect(host.events).toEqual([{ kind: 'key', code: 'KeyB', down: true }]);
  });

  it.each([
    ['no version', Buffer.from('GET / HTTP/1.1\r\n')],
    ['a security type that was not offered', Buffer.from('RFB 003.008\n\x10')],
  ])('drops a client with %s', (_name, bytes) => {
    const peer = new Peer(host).send(...bytes);
    expect(peer.closed).toBe(true);
  });

  it.each([
    ['an unknown message', [99]],
    ['a format that cannot be', [0, 0, 0, 0, 24, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0]],
    ['colours beyond their pixel', [0, 0, 0, 0, 8, 8, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0]],
    ['too many encodings', [2, 0, 0xff, 0xff]],
    ['too long a text', [6, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff]],
    ['a message of QEMU’s that is unknown', [255, 9]],
  ])('drops a client with %s', (_name, bytes) => {
    const peer = opened(host).send(...bytes);
    expect(peer.closed).toBe(true);
  });

  it('lets so many in and no more', () => {
    const peers = Array.from({ length: 20 }, () => new Peer(host));
    expect(peers.filter(({ closed }) => closed).length).toBe(4);
    peers[0].viewer?.close();
    expect(new Peer(host).closed).toBe(false);
  });
});

describe('with a password', () => {
  /** Our own client against our own server: a look at the screen. */
  function look(host: Host, password: string | undefined): { frame?: Frame; failed?: string } {
    const result: { frame?: Frame; failed?: string } = {};
    const toServer: Uint8Array[] = [];
    const client = new RfbClient({
      password,
      crypto: rfbCrypto,
      write: (bytes) => void toServer.push(bytes),
      finished: (frame) => (result.frame = frame),
      failed: (reason) => (result.failed = reason),
    });
    const toClient: Uint8Array[] = [];
    const viewer = host.server.accept({
      write: (bytes) => {
        toClient.push(bytes);
        return true;
      },
      close: () => void toClient.push(new Uint8Array(0)),
    });
    if (!viewer) return { failed: 'not let in' };
    for (let turn = 0; turn < 50; turn++) {
      for (const bytes of toClient.splice(0)) {
        if (bytes.length === 0) client.ended();
        else client.receive(bytes);
      }
      for (const bytes of toServer.splice(0)) viewer.receive(bytes);
      if (turn === 10) host.frame([{ x: 0, y: 0, width: WIDTH, height: HEIGHT }]);
    }
    if (!result.failed) viewer.close();
    return result;
  }

  it('lets who knows it in', () => {
    const host = new Host('secret');
    // What is sent goes out in a later turn; until then the handshake alone counts.
    expect(look(host, 'secret').failed).toBeUndefined();
    expect(look(host, 'Secret').failed).toBe('the server refuses: wrong password');
    expect(look(host, undefined).failed).toBe('the server wants a password');
    // The eight characters that count.
    expect(look(new Host('12345678'), '123456789').failed).toBeUndefined();
  });

  it('makes who guesses wait', () => {
    const host = new Host('secret');
    for (let i = 0; i < 5; i++) look(host, 'guess');
    expect(look(host, 'secret').failed).toBe('not let in');
    host.time += 20_000;
    expect(look(host, 'secret').failed).toBeUndefined();
  });
});

describe('fuzzed', () => {
  it('a client’s bytes throw nothing and keep nothing', () => fuzz(rfbTarget, 8000));

  it('a server’s bytes make the client fail, or finish, and no more', () => fuzz(rfbClientTarget, 1000));
});
