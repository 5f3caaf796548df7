import { describe, expect, it } from 'vitest';
import type { EchoError } from '../../iface/host-sockets.js';
import { FINISHED } from '../../iface/net.js';
import { packet, userStack, type StackParts } from '../../testing/user-stack-guest.js';
import { addressText } from '../addresses.js';
import { ECHO_IDLE, MAX_ECHO_REQUESTS, MAX_ECHO_SOCKETS } from './echo-service.js';
import { get16, put16 } from './packet.js';

const [GUEST, HOST, GUEST6, HOST6] = ['10.0.2.15', '192.0.2.9', 'fec0::15', '2001:db8::9'];

function echo(type: number, identifier: number, sequence: number, data = 'data'): Uint8Array {
  const bytes = new Uint8Array(8 + data.length);
  bytes[0] = type;
  put16(bytes, 4, identifier);
  put16(bytes, 6, sequence);
  bytes.set(Buffer.from(data, 'latin1'), 8);
  return bytes;
}

function ping(
  parts: StackParts,
  to: string,
  identifier: number,
  sequence: number,
  { data = 'data', ttl = 64 } = {},
): void {
  const six = to.includes(':');
  const request = echo(six ? 128 : 8, identifier, sequence, data);
  parts.stack.receive(packet(six ? 58 : 1, six ? GUEST6 : GUEST, to, request, 2, ttl), FINISHED);
}

/** What the guest is told: from whom, type, code, and identifier, sequence and data of an echo or of what an error is about. */
function told(frame: Uint8Array): unknown[] {
  const six = frame[12] === 0x86;
  const source = six ? frame.subarray(22, 38) : frame.subarray(26, 30);
  const icmp = frame.subarray(six ? 54 : 34);
  const isEcho = icmp[0] === (six ? 129 : 0);
  const inner = isEcho ? icmp : icmp.subarray(8 + (six ? 40 : 20));
  const rest = isEcho ? [Buffer.from(icmp.subarray(8)).toString('latin1')] : [];
  return [addressText(source), icmp[0], icmp[1], get16(inner, 4), get16(inner, 6), ...rest];
}

describe('pings of other hosts', () => {
  it('go out by a socket for each identifier, and what comes back has the guest’s own', () => {
    const parts = userStack();
    const { frames, sockets } = parts;
    ping(parts, HOST, 77, 1, { data: 'first' });
    ping(parts, '192.0.2.10', 77, 1);
    ping(parts, HOST, 78, 1);
    ping(parts, HOST6, 77, 65535, { data: 'sixth', ttl: 9 });
    const sent = sockets.echoSockets.map((socket) => [socket.family, socket.sent.map(({ address }) => address)]);
    expect(sent).toEqual([
      [4, [HOST, '192.0.2.10']],
      [4, [HOST]],
      [6, [HOST6]],
    ]);
    const [first, , six] = sockets.echoSockets;
    expect(first.sent[0]).toMatchObject({ sequence: 1, hopLimit: 63 });
    expect(six.sent[0]).toMatchObject({ sequence: 65535, hopLimit: 8 });
    expect(Buffer.from(first.sent[0].data).toString()).toBe('first');
    first.events.reply(HOST, 1, first.sent[0].data);
    // As a system may write it.
    six.events.reply('2001:0db8:0:0:0:0:0:9', 65535, six.sent[0].data);
    expect(frames.map(told)).toEqual([
      [HOST, 0, 0, 77, 1, 'first'],
      [HOST6, 129, 0, 77, 65535, 'sixth'],
    ]);
  });

  it('are answered once, by whom they went to', () => {
    const parts = userStack();
    const { frames, sockets } = parts;
    ping(parts, HOST, 1, 5);
    const [{ events }] = sockets.echoSockets;
    const data = new Uint8Array(3);
    for (const [from, sequence] of [
      ['192.0.2.66', 5],
      [HOST, 6],
      ['nonsense', 5],
      [HOST, 5],
      [HOST, 5],
    ] as const)
      events.reply(from, sequence, data);
    expect(frames).toHaveLength(1);
  });

  it('have their errors told, with what they are about', () => {
    const parts = userStack();
    const { frames, sockets } = parts;
    const fail = (sequence: number, from: string, type: number, code: number): void => {
      const six = from.includes(':');
      ping(parts, six ? HOST6 : HOST, 9, sequence);
      const error: EchoError = { address: six ? HOST6 : HOST, sequence, from, type, code };
      for (let i = 0; i < 2; i++) sockets.echoSockets[six ? 1 : 0].events.error(error);
    };
    fail(1, '198.51.100.1', 11, 0);
    fail(2, '198.51.100.1', 3, 1);
    // What the guest cannot reach, or knows as another, is the gateway.
    fail(3, '127.0.0.1', 3, 1);
    fail(4, '10.0.2.77', 11, 0);
    fail(5, '2001:db8::1', 3, 0);
    // Redirections, and packets that are to be cut, are the host's affair.
    fail(6, '198.51.100.1', 5, 1);
    fail(7, '198.51.100.1', 3, 4);
    fail(8, '2001:db8::1', 2, 0);
    expect(frames.map(told)).toEqual([
      ['198.51.100.1', 11, 0, 9, 1],
      ['198.51.100.1', 3, 1, 9, 2],
      ['10.0.2.2', 3, 1, 9, 3],
      ['10.0.2.2', 11, 0, 9, 4],
      ['2001:db8::1', 3, 0, 9, 5],
    ]);
  });

  it('end at the gateway when they may go no further, and where the host sends none', () => {
    const parts = userStack();
    const { frames, sockets } = parts;
    ping(parts, HOST, 1, 1, { ttl: 1 });
    ping(parts, HOST6, 1, 2, { ttl: 1 });
    for (const [i, sent] of (['unreachable', 'prohibited', 'lost', undefined] as const).entries()) {
      sockets.echoSent = sent;
      ping(parts, HOST, 1 + i, 3 + i);
    }
    expect(frames.map(told)).toEqual([
      ['10.0.2.2', 11, 0, 1, 1],
      ['fec0::2', 3, 0, 1, 2],
      ['10.0.2.2', 3, 0, 1, 3],
      ['10.0.2.2', 3, 13, 2, 4],
      ['10.0.2.2', 3, 13, 4, 6],
    ]);
  });

  it('lead neither to this host nor, under restrict, to what is not allowed', () => {
    const open = userStack();
    for (const to of ['127.0.0.1', '0.0.0.0', '169.254.169.254', '10.0.2.77', '224.0.0.1', '255.255.255.255'])
      ping(open, to, 1, 1);
    for (const to of ['::1', '::ffff:127.0.0.1', 'fe80::1', 'ff02::1']) ping(open, to, 1, 1);
    // The answer to a stranger would go astray.
    open.stack.receive(packet(1, '192.0.2.200', HOST, echo(8, 1, 1), 2), FINISHED);
    expect(open.sockets.echoSockets).toEqual([]);
    const allow = [
      { host: HOST, port: 0 },
      { host: '192.0.2.10', port: 80 },
    ];
    const closed = userStack({ restrict: true, allow });
    for (const to of ['192.0.2.10', '192.0.2.11', HOST6, HOST]) ping(closed, to, 1, 1);
    expect(closed.sockets.echoSockets.map(({ sent }) => sent.map(({ address }) => address))).toEqual([[HOST]]);
  });

  it('are bounded in sockets, requests and time', () => {
    const parts = userStack();
    const { frames, sockets, stack } = parts;
    const idle = sockets.timers.size;
    const tick = (milliseconds: number): void => {
      stack.endBatch();
      sockets.time += milliseconds;
      for (const work of sockets.timers) work();
      frames.length = 0;
    };
    for (let identifier = 0; identifier < 3 * MAX_ECHO_SOCKETS; identifier++) {
      sockets.time++;
      ping(parts, HOST, identifier, 1);
    }
    expect(sockets.echoSockets).toHaveLength(MAX_ECHO_SOCKETS);
    tick(ECHO_IDLE - 10);
    expect(sockets.echoSockets).toHaveLength(11);
    tick(20);
    expect(sockets.echoSockets).toHaveLength(0);
    // Nobody looks any more at what is due.
    expect(sockets.timers.size).toBe(idle);
    for (let sequence = 0; sequence < MAX_ECHO_REQUESTS + 100; sequence++) ping(parts, HOST, 1, sequence);
    const [{ events }] = sockets.echoSockets;
    for (let sequence = 0; sequence < MAX_ECHO_REQUESTS + 100; sequence++)
      events.reply(HOST, sequence, new Uint8Array(1));
    expect(frames).toHaveLength(MAX_ECHO_REQUESTS);
    // A socket that is used stays, with requests that are too old.
    ping(parts, HOST, 1, 1);
    tick(ECHO_IDLE);
    ping(parts, HOST, 1, 2);
    tick(1);
    for (const sequence of [1, 2]) events.reply(HOST, sequence, new Uint8Array(1));
    expect(frames.map((frame) => told(frame)[4])).toEqual([2]);
    stack.reset();
    expect(sockets.echoSockets).toHaveLength(0);
  });

  it('are sent when they are whole, and right', () => {
    const parts = userStack();
    const { frames, sockets, stack } = parts;
    const bytes = echo(8, 1, 1, 'x'.repeat(3000));
    const whole = packet(1, GUEST, HOST, bytes, 2);
    // Too short for a header, cut off, a wrong checksum.
    stack.receive(packet(1, GUEST, HOST, bytes.subarray(0, 7), 2), FINISHED);
    stack.receive(whole.subarray(0, 200), FINISHED);
    const wrong = whole.slice();
    wrong[50]++;
    stack.receive(wrong, FINISHED);
    expect(sockets.echoSockets).toEqual([]);
    // In fragments, the last first.
    const message = whole.subarray(34);
    const fragment = (from: number, to: number, more: boolean): void => {
      const frame = packet(1, GUEST, HOST, message.subarray(from, to));
      const field = (more ? 0x2000 : 0) | (from >> 3);
      // Instead of "don't fragment", 0x4000, and the identification that all have.
      const sum = get16(frame, 24) + 0x4000 + (0xffff - field);
      put16(frame, 20, field);
      put16(frame, 24, (sum & 0xffff) + (sum >>> 16));
      stack.receive(frame, FINISHED);
    };
    fragment(1480, message.length, false);
    expect(sockets.echoSockets).toEqual([]);
    fragment(0, 1480, true);
    const [{ events, sent }] = sockets.echoSockets;
    expect(sent[0].data).toHaveLength(3000);
    events.error({ address: HOST, sequence: 1, from: '198.51.100.1', type: 11, code: 0 });
    expect(told(frames[0])).toEqual(['198.51.100.1', 11, 0, 1, 1]);
    frames.length = 0;
    // The longest there is comes back as fragments, too.
    stack.receive(packet(1, GUEST, HOST, echo(8, 1, 2), 2), FINISHED);
    events.reply(HOST, 2, new Uint8Array(65_507));
    expect(frames).toHaveLength(45);
  });
});
