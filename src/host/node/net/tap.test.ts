import { execFileSync } from 'node:child_process';
import * as dgram from 'node:dgram';
import { describe, expect, it } from 'vitest';
import { FINISHED, type FrameInfo } from '../../../iface/net.js';
import { describeWith, requireTap } from '../../../testing/tools.js';
import { TapDevice } from '../native/tun.js';
import { Tap } from './tap.js';

const NAME = `vt${process.pid % 100_000}`;
const GUEST_MAC = Uint8Array.of(0x52, 0x54, 0, 0, 0, 9);
/** Of documentation, RFC 5737: the host's end, and the guest. */
const [HOST, GUEST] = ['198.51.100.1', '198.51.100.2'];

describe('a tap interface that cannot be had', () => {
  it.skipIf(process.platform !== 'linux')('is one clear line', () => {
    expect(() => TapDevice.open('lo')).toThrow(/^cannot open the tap interface lo: [^\n]+$/);
  });
});

const tap = await requireTap();
describeWith([tap], 'a tap interface of the host', () => {
  it('carries frames both ways, with what is left to do', async () => {
    const frames: { frame: Uint8Array; info: FrameInfo }[] = [];
    let full = false;
    const end = Tap.open(NAME, {
      frame: (frame, info) => {
        if (!full) frames.push({ frame: frame.slice(), info });
        return !full;
      },
      offloads: () => ({ checksum: true, tcp4: true, tcp6: true }),
    });
    expect(end.name).toBe(NAME);
    expect(() => TapDevice.open(NAME)).toThrow(`cannot open the tap interface ${NAME}: it is in use`);
    execFileSync('ip', ['addr', 'add', `${HOST}/24`, 'dev', NAME]);
    execFileSync('ip', ['link', 'set', NAME, 'up']);
    const socket = dgram.createSocket('udp4');
    const received = new Promise<string>((resolve) => socket.once('message', (bytes) => resolve(bytes.toString())));
    await new Promise<void>((resolve) => socket.bind(0, HOST, resolve));
    const next = async (type: number, protocol?: number): Promise<{ frame: Uint8Array; info: FrameInfo }> => {
      for (;;) {
        const found = frames.find(
          ({ frame }) => (frame[12] << 8) + frame[13] === type && (protocol === undefined || frame[23] === protocol),
        );
        if (found) return found;
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    };
    // What comes while there is no room is not lost.
    full = true;
    socket.send('to the guest', 7777, GUEST);
    await new Promise((resolve) => setTimeout(resolve, 100));
    full = false;
    end.room();
    const { frame: question } = await next(0x0806);
    const reply = question.slice();
    reply.set(question.subarray(6, 12), 0);
    reply.set(GUEST_MAC, 6);
    reply[21] = 2;
    reply.set(question.subarray(22, 32), 32);
    reply.set(GUEST_MAC, 22);
    reply.set([198, 51, 100, 2], 28);
    end.send(reply, FINISHED);
    const { frame, info } = await next(0x0800, 17);
    expect(new TextDecoder().decode(frame.subarray(42))).toBe('to the guest');
    expect(info).toMatchObject({ checksumStart: 34, checksumOffset: 6 });
    // Back the same way, the checksum left to the kernel: the sum of the pseudo-header stands where it should.
    const answer = frame.slice();
    answer.set(frame.subarray(0, 6), 6);
    answer.set(frame.subarray(6, 12), 0);
    for (const [to, from] of [
      [26, 30],
      [30, 26],
    ])
      answer.set(frame.subarray(from, from + 4), to);
    answer.set(frame.subarray(36, 38), 34);
    answer.set(frame.subarray(34, 36), 36);
    end.send(answer, info);
    expect(await received).toBe('to the guest');
    socket.close();
  });
});
