/** A screen that a test changes and shows by an RFB server, and a client that speaks bytes. */
import { expect } from 'vitest';
import type { Rectangle } from '../display/rectangle.js';
import { RfbServer, type RfbServerOptions } from '../display/rfb/server.js';
import type { Deflater } from '../display/rfb/update-writer.js';
import type { Viewer } from '../display/rfb/viewer.js';
import { rfbCrypto } from '../host/node/rfb-crypto.js';
import { ZlibStream } from '../host/node/zlib-stream.js';
import type { InputEvent } from '../iface/input.js';

/** Of a screen, in pixels. */
export const [WIDTH, HEIGHT] = [150, 90];

/** Compressions that Node's threads are at. */
let deflating = 0;

function createDeflater(): Deflater {
  const stream = new ZlibStream();
  return {
    async deflate(data) {
      deflating++;
      try {
        return await stream.deflate(data);
      } finally {
        deflating--;
      }
    },
    close: () => stream.close(),
  };
}

/** A server with a screen of its own, of which it is asked for frames by hand. */
export class Host {
  static readonly crypto = rfbCrypto;
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
      crypto: Host.crypto,
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
export class Peer {
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
export function opened(host: Host): Peer {
  const peer = new Peer(host).text('RFB 003.008\n').send(1).send(1);
  host.frame([{ x: 0, y: 0, width: WIDTH, height: HEIGHT }]);
  expect(peer.take(12).toString()).toBe('RFB 003.008\n');
  expect([...peer.take(6)]).toEqual([1, 1, 0, 0, 0, 0]);
  const init = peer.take(24);
  expect([init.readUInt16BE(0), init.readUInt16BE(2)]).toEqual([WIDTH, HEIGHT]);
  expect(peer.take(init.readUInt32BE(20)).toString()).toBe('test');
  return peer;
}
