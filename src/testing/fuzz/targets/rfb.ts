import { createCipheriv } from 'node:crypto';
import { deflateSync } from 'node:zlib';
import { ENCODING } from '../../../display/rfb/protocol.js';
import { RfbServer } from '../../../display/rfb/server.js';
import type { InputEvent } from '../../../iface/input.js';
import { POINTER_RANGE } from '../../../iface/input.js';
import type { RandomSource } from '../../random-source.js';
import { must, type FuzzSession, type FuzzTarget } from '../target.js';

const [WIDTH, HEIGHT] = [96, 64];
/** A client that is sent more than this between two inputs is sent too much. */
const MOST_ANSWER = 4 << 20;

const be16 = (value: number): number[] => [(value >>> 8) & 255, value & 255];
const be32 = (value: number): number[] => [...be16(value >>> 16), ...be16(value)];

class Session implements FuzzSession {
  private readonly timers: (() => void)[] = [];
  private readonly shared = new SharedArrayBuffer(WIDTH * HEIGHT * 4);
  private time = 0;
  private told = false;
  private sent = 0;
  private closed = true;
  private viewer: ReturnType<RfbServer['accept']>;
  private readonly server: RfbServer;

  constructor(private readonly random: RandomSource) {
    const withPassword = random.once(4);
    this.server = new RfbServer({
      name: 'fuzzed',
      password: withPassword ? 'secret' : undefined,
      crypto: {
        random: (count) => random.bytes(count),
        des: (key, data) => {
          const cipher = createCipheriv('des-ede3-ecb', Buffer.concat([key, key, key]), null);
          return new Uint8Array(cipher.setAutoPadding(false).update(data));
        },
      },
      createDeflater: () => ({ deflate: (data) => Promise.resolve(deflateSync(data)), close: () => undefined }),
      requestFrame: () => undefined,
      input: (event) => this.check(event),
      resize: (width, height) => width > 0 && height > 0 && random.once(2),
      now: () => this.time,
      schedule: (_, work) => this.timers.push(work),
    });
  }

  /** What goes on to the machine is in its ranges, whatever the client said. */
  private check(event: InputEvent): void {
    if (event.kind === 'point')
      must(
        [event.x, event.y].every((at) => Number.isInteger(at) && at >= 0 && at <= POINTER_RANGE),
        'a point is off',
      );
    else if (event.kind === 'wheel') must(Math.abs(event.vertical) + Math.abs(event.horizontal) < 9, 'a wheel spins');
    else must(event.code.length > 0, 'a key has no name');
  }

  private connect(): void {
    this.closed = false;
    this.viewer = this.server.accept({
      write: (bytes) => {
        this.sent += bytes.length;
        return !this.random.once(10);
      },
      close: () => (this.closed = true),
    });
    if (!this.viewer) this.time += 20_000;
    const { random } = this;
    // Most get in, by the version that they like.
    this.send([...Buffer.from(random.pick(['RFB 003.008\n', 'RFB 003.008\n', 'RFB 003.007\n', 'RFB 003.003\n']))]);
    this.send([1]);
    this.send([1]);
    this.frame();
  }

  private send(bytes: readonly number[]): void {
    this.viewer?.receive(this.random.damage(Uint8Array.from(bytes), 60));
  }

  private frame(): void {
    const { random } = this;
    this.time += 300;
    for (const work of this.timers.splice(0)) work();
    const pixels = new Uint32Array(this.shared);
    const scrolls = random.once(2);
    // Lines that can be told apart, so that they are found again when they move.
    if (scrolls) pixels.copyWithin(0, WIDTH * random.below(HEIGHT / 2));
    for (let n = random.below(30); n > 0; n--) pixels[random.below(WIDTH * HEIGHT)] = random.next() & 0xff_ffff;
    if (random.once(9)) pixels.fill(random.next() & 0xff_ffff, random.below(WIDTH * HEIGHT));
    const [x, y] = scrolls ? [0, 0] : [random.below(WIDTH), random.below(HEIGHT)];
    const part = { x, y, width: 1 + random.below(WIDTH - x), height: 1 + random.below(HEIGHT - y) };
    const changed = [scrolls ? { x, y, width: WIDTH, height: HEIGHT } : part];
    const news = { width: WIDTH, height: HEIGHT, changed };
    this.server.frame(this.told ? news : { ...news, pixels: this.shared });
    this.told = true;
  }

  private message(): number[] {
    const { random } = this;
    switch (random.below(9)) {
      case 0: {
        const depth = random.pick([8, 16, 32, 32, 24, random.below(256)]);
        const shifts = random.once(3) ? [...random.bytes(3)] : [16, 8, 0];
        const most = random.once(3) ? [255, 255, 255].flatMap(() => be16(random.u32(256))) : [0, 255, 0, 255, 0, 255];
        return [0, 0, 0, 0, depth, 24, random.below(2), random.once(4) ? 0 : 1, ...most, ...shifts, 0, 0, 0];
      }
      case 1: {
        const all = Object.values(ENCODING);
        const chosen = Array.from({ length: random.below(8) }, () =>
          random.once(8) ? random.next() : random.pick(all),
        );
        return [2, 0, ...be16(random.once(20) ? random.u32(2000) : chosen.length), ...chosen.flatMap(be32)];
      }
      case 2:
      case 3: {
        const area = random.once(3) ? [0, 0, WIDTH, HEIGHT] : Array.from({ length: 4 }, () => random.u32(120) & 0xffff);
        return [3, random.below(2), ...area.flatMap(be16)];
      }
      case 4:
        return [
          4,
          random.below(2),
          0,
          0,
          ...be32(random.once(3) ? random.next() : random.pick([0xff0d, 0xffe1, 97, 65])),
        ];
      case 5:
        return [
          5,
          random.below(256),
          ...be16(random.u32(200)),
          ...be16(random.u32(200)),
          ...(random.once(4) ? [1] : []),
        ];
      case 6: {
        const length = random.once(10) ? random.u32(2 ** 21) : random.below(30);
        return [6, 0, 0, 0, ...be32(length), ...random.bytes(Math.min(length, 40))];
      }
      case 7: {
        const screens = random.below(3);
        const screen = [...be32(1), ...[0, 0, 800, 600].flatMap(be16), ...be32(0)];
        const list = Array.from({ length: screens }, () => screen).flat();
        return [251, 0, ...be16(random.u32(2000)), ...be16(random.u32(2000)), screens, 0, ...list];
      }
      default:
        return random.once(6)
          ? [random.below(256), ...random.bytes(random.below(20))]
          : [255, 0, ...be16(random.below(2)), ...be32(random.next() & 0xffff), ...be32(random.u32(256))];
    }
  }

  async step(): Promise<void> {
    const { random } = this;
    if (this.closed || random.once(300)) {
      this.viewer?.close();
      this.connect();
    }
    this.sent = 0;
    this.send(this.message());
    if (random.once(3)) this.frame();
    if (random.once(3)) this.viewer?.drained();
    await Promise.resolve();
    must(this.sent < MOST_ANSWER, 'one message was answered by megabytes');
  }

  end(): void {
    this.viewer?.close();
  }
}

/** A VNC client that speaks the protocol, loosely. */
export const rfbTarget: FuzzTarget = { name: 'rfb', share: 14, length: 400, start: (random) => new Session(random) };
