import { describe, expect, it } from 'vitest';
import { FINISHED, type Nic } from '../../iface/net.js';
import { CARD, CONFIG, MAC, nearGateway, packet, segment } from '../../testing/user-stack-guest.js';
import { addressText, parseAddress } from '../addresses.js';
import { FrameRing } from '../frame-ring.js';
import { RingBackend } from '../ring-backend.js';
import { ADVERTISE } from './gateway.js';
import { NearGateway } from './near-gateway.js';

const GUEST = '10.0.2.15';
const OTHER = Uint8Array.of(0x52, 0x54, 0, 1, 2, 3);
const echo = (to: string, length = 56): Uint8Array =>
  packet(
    1,
    GUEST,
    to,
    Uint8Array.from({ length: 8 + length }, (_, i) => (i === 0 ? 8 : i)),
    2,
  );

function arp(mac: Uint8Array, target = '10.0.2.2'): Uint8Array {
  const frame = new Uint8Array(42).fill(0xff, 0, 6);
  frame.set(mac, 6);
  frame.set([8, 6, 0, 1, 8, 0, 6, 4, 0, 1, ...mac, 10, 0, 2, 15, 0, 0, 0, 0, 0, 0], 12);
  frame.set(parseAddress(target) ?? [], 38);
  return frame;
}

const solicitation = (): Uint8Array =>
  packet(58, 'fe80::5054:ff:fe12:3456', 'ff02::2', Uint8Array.of(133, 0, 0, 0, 0, 0, 0, 0), 2, 255);

describe('the gateway on the machine’s thread', () => {
  it('answers pings of the network’s own addresses, and leaves others to the network', () => {
    const { near, frames } = nearGateway();
    expect([echo('10.0.2.2'), echo('10.0.2.3')].map((frame) => near.receive(frame))).toEqual([true, true]);
    expect(frames.map((frame) => [addressText(frame.subarray(26, 30)), frame[34]])).toEqual([
      ['10.0.2.2', 0],
      ['10.0.2.3', 0],
    ]);
    const fragment = echo('10.0.2.2');
    fragment[20] = 0x20;
    const far = [echo('192.0.2.1'), fragment, packet(6, GUEST, '10.0.2.2', segment(2, 1, 0), 16)];
    expect(far.map((frame) => near.receive(frame))).toEqual([false, false, false]);
    expect(frames).toHaveLength(2);
  });

  it('lets the network see that an address has another card, once', () => {
    const { near, frames } = nearGateway();
    expect([arp(MAC), arp(OTHER), arp(OTHER), arp(MAC)].map((frame) => near.receive(frame))).toEqual([
      true,
      false,
      true,
      false,
    ]);
    expect(frames.map((frame) => [...frame.subarray(0, 6)])).toEqual([[...MAC], [...OTHER]]);
  });

  it('is the guest’s router, and says so again before that runs out', () => {
    let now = 0;
    const { near, frames } = nearGateway({}, () => now);
    near.poll();
    expect(frames).toHaveLength(0);
    expect(near.receive(solicitation())).toBe(true);
    for (now = 0; now < 10 * ADVERTISE; now += ADVERTISE / 4) near.poll();
    expect(frames.map((frame) => frame[54])).toEqual(new Array<number>(10).fill(134));
  });

  it('is not there where each frame has to be seen', () => {
    const sink = {
      offloads: { checksum: false, tcp4: false, tcp6: false },
      reserve: () => undefined,
      commit: () => {},
    };
    const link = { ...CARD, network: { kind: 'link', path: '/tmp/link' } } as const;
    for (const config of [{ ...CARD, pcap: 'frames.pcap' }, link])
      expect(NearGateway.of(config, sink, () => 0)).toBeUndefined();
    expect(() => NearGateway.of({ ...CARD, network: { ...CONFIG, dns: '1.2.3.4' } }, sink, () => 0)).toThrow(
      'dns=1.2.3.4',
    );
  });

  it('answers before the guest goes on, gives the card what it has room for, and loses the rest of a flood', () => {
    let room = 1;
    const got: Uint8Array[] = [];
    const nic: Nic = {
      offloads: { checksum: false, tcp4: false, tcp6: false },
      receive: (frame) => room-- > 0 && got.push(frame) > 0,
      received: () => {},
      sendReady: () => {},
      settle: () => false,
      linkChanged: () => {},
    };
    let woken = 0;
    const wake = (): void => {
      woken++;
    };
    const thread = { wake, reset: () => {}, save: () => new Uint8Array(0), restore: () => {} };
    const rings = [FrameRing.create(0x2_0000), FrameRing.create(0x2_0000)] as const;
    rings[0].markAsleep();
    const backend = new RingBackend('net0', ...rings, thread, (sink) => NearGateway.of(CARD, sink, () => 0));
    backend.connect(nic);
    const send = (frame: Uint8Array): void => {
      backend.reserve(frame.length)?.set(frame);
      backend.commit(FINISHED);
      backend.flush();
    };
    send(echo('10.0.2.2'));
    expect([got.length, backend.settle()]).toEqual([1, false]);
    for (let i = 0; i < 1000; i++) send(echo('10.0.2.2'));
    room = 10;
    backend.poll();
    expect([woken, got.length, backend.isBusy]).toEqual([0, 1, false]);
    backend.receiveReady();
    expect([got.length, backend.isBusy]).toEqual([11, false]);
    room = 1000;
    backend.receiveReady();
    expect([got.length, backend.settle()]).toEqual([257, false]);
    send(echo('192.0.2.1'));
    expect(woken).toBe(1);
  });
});
