import { beforeEach, describe, expect, it } from 'vitest';
import { fuzz } from '../../testing/fuzz/target.js';
import { rfbClientTarget } from '../../testing/fuzz/targets/rfb-client.js';
import { rfbTarget } from '../../testing/fuzz/targets/rfb.js';
import { noise } from '../../testing/noise.js';
import { Canvas, paint } from '../../testing/rfb-canvas.js';
import { HEIGHT, Host, opened, Peer, WIDTH } from '../../testing/rfb-host.js';
import type { Frame } from '../scan-out.js';
import { RfbClient } from './client.js';
import { ENCODING } from './protocol.js';

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

  it('tells of no move to who does not know moves any more', async () => {
    const peer = opened(host);
    const canvas = new Canvas(peer);
    peer.encodings(ENCODING.RAW, ENCODING.COPY_RECT);
    paint(host.pixels, 2);
    peer.request(false);
    await peer.settled();
    canvas.update();
    const whole = [{ x: 0, y: 0, width: WIDTH, height: HEIGHT }];
    peer.request(true);
    host.frame(whole);
    await peer.settled();
    canvas.update();
    host.pixels.copyWithin(0, 8 * WIDTH);
    host.frame(whole);
    peer.encodings(ENCODING.RAW);
    peer.request(true);
    await peer.settled();
    expect(canvas.update()).not.toContain(ENCODING.COPY_RECT);
    expect(Buffer.from(canvas.pixels.buffer).equals(Buffer.from(host.pixels.slice().buffer))).toBe(true);
  });

  it('lets so many in and no more', () => {
    const peers = Array.from({ length: 20 }, () => new Peer(host));
    for (const [i, version] of ['3', '7', '8', '8'].entries()) peers[16 + i].text(`RFB 003.00${version}\n`);
    expect(peers.filter(({ closed }) => closed)).toEqual(peers.slice(16));
    const reason = `\0\0\0\x24too many clients look at this screen`;
    expect(peers[16].take(12 + 4 + 4 + 36).toString('latin1')).toBe(`RFB 003.008\n\0\0\0\0${reason}`);
    for (const { received } of peers.slice(17)) expect(received.toString('latin1')).toBe(`RFB 003.008\n\0${reason}`);
    // They come again, and do not say a word.
    const silent = Array.from({ length: 20 }, () => new Peer(host));
    expect(silent.filter(({ closed }) => closed)).toHaveLength(4);
    silent[0].viewer?.close();
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
      crypto: Host.crypto,
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
    expect(look(host, 'secret').failed).toBe('the server refuses: too many wrong passwords, wait ten seconds');
    host.time += 20_000;
    expect(look(host, 'secret').failed).toBeUndefined();
  });
});

describe('fuzzed', () => {
  it('a client’s bytes throw nothing and keep nothing', () => fuzz(rfbTarget, 8000));

  it('a server’s bytes make the client fail, or finish, and no more', () => fuzz(rfbClientTarget, 1000));
});
