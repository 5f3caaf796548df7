import { describe, expect, it } from 'vitest';
import { FINISHED } from '../../iface/net.js';
import { MAC, packet, segment, userStack as setUp } from '../../testing/user-stack-guest.js';
import { fuzz } from '../../testing/fuzz/target.js';
import { userNetTarget } from '../../testing/fuzz/targets/user-net.js';
import { addressText, parseAddress } from '../addresses.js';
import { get16, put16 } from './packet.js';
import { MAX_CONNECTING } from './tcp-service.js';

const flagsOf = (frame: Uint8Array | undefined): number | undefined => frame?.[14 + 20 + 13];

describe('the user-mode stack', () => {
  it('answers ARP for its own addresses only', () => {
    const { stack, frames } = setUp();
    const ask = (target: string): void => {
      const arp = new Uint8Array(42).fill(0xff, 0, 6);
      arp.set(MAC, 6);
      arp.set([8, 6, 0, 1, 8, 0, 6, 4, 0, 1, ...MAC, 10, 0, 2, 15, 0, 0, 0, 0, 0, 0], 12);
      arp.set(parseAddress(target) ?? [], 38);
      stack.receive(arp, FINISHED);
    };
    for (const target of ['10.0.2.2', '10.0.2.3', '10.0.2.9', '8.8.8.8']) ask(target);
    expect(frames).toHaveLength(2);
    expect([get16(frames[0], 20), addressText(frames[0].subarray(28, 32))]).toEqual([2, '10.0.2.2']);
  });

  it('opens a connection when the host has, passes data on, and ends both halves', () => {
    const { stack, frames, sockets } = setUp();
    const send = (flags: number, sequence: number, acknowledgement: number, data = ''): void => {
      stack.receive(
        packet(6, '10.0.2.15', '10.0.2.2', segment(flags, sequence, acknowledgement, 80, data), 16),
        FINISHED,
      );
      stack.endBatch();
    };
    send(2, 100, 0);
    const [host] = sockets.connects;
    expect([host.address, host.port, frames.length]).toEqual(['127.0.0.1', 80, 0]);
    host.events.connected();
    expect(flagsOf(frames.at(-1))).toBe(0x12);
    const ours = new DataView(frames[0].buffer).getUint32(38) + 1;
    send(0x10, 101, ours);
    send(0x18, 101, ours, 'hello');
    expect(host.told).toEqual(['hello']);
    host.events.data(Buffer.from('answer'));
    expect(Buffer.from(frames.at(-1) ?? []).toString('latin1')).toContain('answer');
    send(0x11, 106, ours + 6);
    expect(host.told).toEqual(['hello', 'end']);
    host.events.ended();
    expect((flagsOf(frames.at(-1)) ?? 0) & 1).toBe(1);
  });

  it('refuses at once what the host refuses, and what leads to the host itself', () => {
    const { stack, frames, sockets } = setUp();
    stack.receive(packet(6, '10.0.2.15', '192.0.2.1', segment(2, 1, 0), 16), FINISHED);
    sockets.connects[0].events.failed('refused');
    expect(flagsOf(frames[0])).toBe(0x14);
    for (const target of ['127.0.0.1', '0.0.0.0', '169.254.1.1', '10.0.2.77'])
      stack.receive(packet(6, '10.0.2.15', target, segment(2, 1, 0), 16), FINISHED);
    expect(sockets.connects.map(({ address }) => address)).toEqual(['192.0.2.1']);
  });

  it('lets the internet alone through where that is what is allowed', () => {
    const { stack, sockets } = setUp({ restrict: true, allow: [{ host: 'public:*', port: 0 }] });
    for (const target of ['10.0.2.2', '10.1.1.1', '192.168.1.1', '127.0.0.1', '169.254.169.254', '8.8.8.8'])
      stack.receive(packet(6, '10.0.2.15', target, segment(2, 1, 0, 80), 16), FINISHED);
    expect(sockets.connects.map(({ address }) => address)).toEqual(['8.8.8.8']);
  });

  it('lets nothing through under restrict but what is allowed', () => {
    const { stack, sockets } = setUp({ restrict: true, allow: [{ host: '192.0.2.1', port: 80 }] });
    for (const [target, port] of [
      ['192.0.2.1', 81],
      ['192.0.2.2', 80],
      ['10.0.2.2', 80],
      ['192.0.2.1', 80],
      ['10.0.2.3', 53],
    ] as const)
      stack.receive(packet(6, '10.0.2.15', target, segment(2, 1, 0, port), 16), FINISHED);
    const udp = new Uint8Array(12);
    put16(udp, 2, 80);
    put16(udp, 4, 12);
    stack.receive(packet(17, '10.0.2.15', '192.0.2.2', udp, 6), FINISHED);
    put16(udp, 2, 53);
    stack.receive(packet(17, '10.0.2.15', '10.0.2.3', udp, 6), FINISHED);
    expect(sockets.connects.map(({ address, port }) => `${address}:${port}`)).toEqual(['192.0.2.1:80']);
    expect(sockets.datagramsSent).toEqual([]);
  });

  it('bounds connections that are never answered', () => {
    const { stack, sockets, frames } = setUp();
    for (let port = 1; port <= MAX_CONNECTING + 500; port++)
      stack.receive(packet(6, '10.0.2.15', '192.0.2.1', segment(2, 1, 0, port), 16), FINISHED);
    expect([sockets.connects.length, frames.length]).toEqual([MAX_CONNECTING, 500]);
  });

  it('tells a guest whose connections are gone', () => {
    const { stack, frames } = setUp();
    const [guest, remote] = [Uint8Array.of(10, 0, 2, 15), Uint8Array.of(10, 0, 2, 2)];
    stack.resetConnections([{ guest, remote, guestPort: 1, remotePort: 2, next: 7, received: 9 }]);
    expect(flagsOf(frames[0])).toBe(0x14);
  });

  it('survives frames that are almost right, and noise', () => fuzz(userNetTarget, 40_000));
});
