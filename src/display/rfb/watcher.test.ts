import { constants, createDeflate, inflateSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import type { InputEvent } from '../../iface/input.js';
import { fuzz } from '../../testing/fuzz/target.js';
import { rfbWatcherTarget } from '../../testing/fuzz/targets/rfb-watcher.js';
import { RandomSource } from '../../testing/random-source.js';
import type { Rectangle } from '../rectangle.js';
import { codeOfScanCode, scanCodeOf } from './keys.js';
import { RfbServer } from './server.js';
import type { Deflater } from './update-writer.js';
import type { Viewer } from './viewer.js';
import { RfbWatcher } from './watcher.js';
import { readZrle } from './zrle-reader.js';

function createDeflater(): Deflater {
  const stream = createDeflate();
  const pieces: Buffer[] = [];
  stream.on('data', (piece: Buffer) => pieces.push(piece));
  return {
    deflate: (data) =>
      new Promise((resolve) => {
        stream.write(data);
        stream.flush(constants.Z_SYNC_FLUSH, () => resolve(new Uint8Array(Buffer.concat(pieces.splice(0)))));
      }),
    close: () => stream.destroy(),
  };
}

/** All of a stream from its beginning on, each time: slow and plain. */
function createInflater(): { inflate(packed: Uint8Array): Uint8Array } {
  let all = Buffer.alloc(0);
  let given = 0;
  return {
    inflate(packed) {
      all = Buffer.concat([all, packed]);
      const said = inflateSync(all, { finishFlush: constants.Z_SYNC_FLUSH });
      const news = new Uint8Array(said.subarray(given));
      given = said.length;
      return news;
    },
  };
}

/** Milliseconds until what was not shown never will be. */
const PATIENCE = 10_000;
const bytesOf = ({ buffer }: Uint32Array): Uint8Array => new Uint8Array(buffer);

/** A server and a watcher of it, and what both show. */
class Pair {
  readonly events: InputEvent[] = [];
  readonly failures: string[] = [];
  pixels: Uint32Array = new Uint32Array(0);
  /** What the watcher shows, 0xffBBGGRR. */
  shown = new Uint32Array(0);
  size = [0, 0];
  copies = 0;
  private width = 0;
  private told = false;
  private time = 0;
  private readonly timers: (() => void)[] = [];
  private readonly server: RfbServer;
  readonly watcher: RfbWatcher;
  private shared = new SharedArrayBuffer(0);

  constructor() {
    this.server = new RfbServer({
      name: 'test',
      password: undefined,
      crypto: { random: (count) => new Uint8Array(count), des: (_key, data) => data },
      createDeflater,
      requestFrame: () => {},
      input: (event) => this.events.push(event),
      resize: () => false,
      now: () => this.time,
      schedule: (_milliseconds, work) => this.timers.push(work),
    });
    let viewer: Viewer | undefined = undefined as Viewer | undefined;
    this.watcher = new RfbWatcher({
      write: (bytes) => viewer?.receive(bytes),
      inflater: createInflater(),
      resized: (width, height) => {
        this.size = [width, height];
        this.shown = new Uint32Array(width * height);
      },
      picture: ({ x, y, width, height }, rgba) => {
        const from = new Uint32Array(rgba.buffer);
        for (let row = 0; row < height; row++)
          this.shown.set(from.subarray(row * width, (row + 1) * width), (y + row) * this.size[0] + x);
      },
      copied: ({ x, y, width, height }, fromX, fromY) => {
        this.copies++;
        const before = this.shown.slice();
        for (let row = 0; row < height; row++) {
          const from = (fromY + row) * this.size[0] + fromX;
          this.shown.set(before.subarray(from, from + width), (y + row) * this.size[0] + x);
        }
      },
      painted: () => this.watcher.request(),
      failed: (reason) => this.failures.push(reason),
    });
    viewer = this.server.accept({
      // As a network would: later.
      write: (bytes) => {
        const sent = bytes.slice();
        setImmediate(() => this.watcher.receive(sent));
        return true;
      },
      close: () => {},
    });
  }

  resize(width: number, height: number): void {
    this.width = width;
    this.shared = new SharedArrayBuffer(width * height * 4);
    this.pixels = new Uint32Array(this.shared);
    this.told = false;
  }

  /** Tells what has changed, and waits until it is shown, or should have been. */
  async frame(changed: readonly Rectangle[]): Promise<void> {
    this.time += 300;
    for (const work of this.timers.splice(0)) work();
    const news = { width: this.width, height: this.pixels.length / this.width, changed };
    this.server.frame(this.told ? news : { ...news, pixels: this.shared });
    this.told = true;
    const isShown = (): boolean => Buffer.compare(bytesOf(this.shown), bytesOf(this.expected)) === 0;
    for (const end = performance.now() + PATIENCE; !isShown() && performance.now() < end;)
      await new Promise((resolve) => setTimeout(resolve, 5));
  }

  get expected(): Uint32Array {
    return this.pixels.map((color) => 0xff00_0000 | ((color & 0xff) << 16) | (color & 0xff00) | (color >> 16));
  }
}

/** Something like a picture: areas of few and of many colours. */
function paint(pixels: Uint32Array, width: number, { x, y, ...size }: Rectangle, random: RandomSource): void {
  const colors = Array.from({ length: random.pick([1, 2, 5, 16, 100]) }, () => random.below(2 ** 24));
  const run = random.pick([1, 3, 300]);
  const wild = random.once(3);
  for (let row = y; row < y + size.height; row++)
    for (let column = x; column < x + size.width; column++)
      pixels[row * width + column] = wild
        ? random.below(2 ** 24)
        : colors[Math.floor((row * size.width + column) / run) % colors.length];
}

describe('a client that goes on looking', () => {
  it('shows what the server shows, pixel for pixel', async () => {
    const random = new RandomSource(7);
    const pair = new Pair();
    for (const [width, height] of [
      [150, 90],
      [64, 130],
    ]) {
      pair.resize(width, height);
      paint(pair.pixels, width, { x: 0, y: 0, width, height }, random);
      await pair.frame([{ x: 0, y: 0, width, height }]);
      expect(pair.size).toEqual([width, height]);
      for (let turn = 0; turn < 6; turn++) {
        const [x, y] = [random.below(width), random.below(height)];
        const area = { x, y, width: 1 + random.below(width - x), height: 1 + random.below(height - y) };
        paint(pair.pixels, width, area, random);
        await pair.frame([area]);
        expect(pair.shown).toEqual(pair.expected);
      }
    }
    expect(pair.failures).toEqual([]);
  });

  it('makes itself what only moved', async () => {
    const [width, height, line] = [320, 200, 16];
    const random = new RandomSource(3);
    const pair = new Pair();
    pair.resize(width, height);
    for (let y = 0; y < height; y += line)
      for (let x = 0; x < width; x++) pair.pixels.fill(random.below(2 ** 24), y * width + x, y * width + x + 1);
    const whole = { x: 0, y: 0, width, height };
    await pair.frame([whole]);
    await pair.frame([]);
    for (let turn = 0; turn < 3; turn++) {
      pair.pixels.copyWithin(0, line * width);
      pair.pixels.fill(turn, (height - line) * width);
      await pair.frame([whole]);
      expect(pair.shown).toEqual(pair.expected);
    }
    expect(pair.copies).toBeGreaterThan(0);
  });

  it('types by scan codes, lets go of what is held, and points', async () => {
    const pair = new Pair();
    pair.resize(101, 51);
    await pair.frame([{ x: 0, y: 0, width: 101, height: 51 }]);
    pair.watcher.key('KeyA', true);
    pair.watcher.key('ArrowLeft', true);
    pair.watcher.key('KeyA', false);
    pair.watcher.key('LaunchMail', true);
    pair.watcher.releaseKeys();
    pair.watcher.pointer(1, 100, 25);
    expect(pair.events).toEqual([
      { kind: 'key', code: 'KeyA', down: true },
      { kind: 'key', code: 'ArrowLeft', down: true },
      { kind: 'key', code: 'KeyA', down: false },
      { kind: 'key', code: 'ArrowLeft', down: false },
      { kind: 'point', x: 0x7fff, y: 0x4000, buttons: 1 },
    ]);
    for (let scanCode = 1; scanCode < 256; scanCode++) {
      const code = codeOfScanCode(scanCode);
      if (code !== undefined) expect(codeOfScanCode(scanCodeOf(code) ?? 0)).toBe(code);
    }
  });

  it('reads runs of any colours, RFC 6143 §7.7.6', () => {
    // Plain runs, which our server does not send: 255 + 3 + 1 pixels, then 1.
    const bytes = Uint8Array.of(128, 1, 2, 3, 255, 3, 4, 5, 6, 0);
    const pixels = new Uint32Array(readZrle(bytes, 52, 5).buffer);
    expect([...pixels.subarray(0, 259)].every((color) => color === 0xff010203)).toBe(true);
    expect(pixels[259]).toBe(0xff040506);
    // Longer than the tile; of no kind; of a colour that is not there; cut off.
    for (const wrong of [[128, 1, 2, 3, 255, 255, 0], [129], [17], [130, 0, 0, 0, 1, 1, 1, 2], [0, 1, 2]])
      expect(() => readZrle(Uint8Array.from(wrong), 52, 5)).toThrow(RangeError);
  });

  it('says in few words why it cannot go on, whatever comes', () => fuzz(rfbWatcherTarget, 1500));
});
