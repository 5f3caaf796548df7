import { describe, expect, it } from 'vitest';
import type { HostSockets, StreamEvents } from '../../iface/host-sockets.js';
import type { UserNetConfig } from '../../iface/net-config.js';
import { FINISHED } from '../../iface/net.js';
import { noise } from '../../testing/noise.js';
import { addressText, parseAddress } from '../addresses.js';
import { get16, put16, put32 } from './packet.js';
import { MAX_CONNECTING } from './tcp-service.js';
import { UserStack } from './user-stack.js';
import { IpOutput } from './ip-output.js';

const MAC = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56);

const CONFIG: UserNetConfig = {
  kind: 'user',
  net: '10.0.2.0/24',
  host: '',
  dns: '',
  dhcpStart: '',
  hostname: 'vm',
  domain: '',
  net6: 'fec0::/64',
  resolver: '192.0.2.53',
  bootFile: '',
  forwards: [],
  restrict: false,
  allow: [],
};

/** A host that remembers what it was asked for. */
class FakeSockets implements HostSockets {
  time = 0;
  readonly connects: { address: string; port: number; events: StreamEvents; told: string[] }[] = [];
  readonly datagramsSent: string[] = [];
  private readonly next = noise(99);
  readonly timers: (() => void)[] = [];

  now(): number {
    return this.time;
  }
  random(bytes: number): Uint8Array {
    return Uint8Array.from({ length: bytes }, () => this.next() & 0xff);
  }
  connect(address: string, port: number, events: StreamEvents) {
    const told: string[] = [];
    this.connects.push({ address, port, events, told });
    return {
      write: (bytes: Uint8Array, sent: () => void) => {
        told.push(Buffer.from(bytes).toString('latin1'));
        sent();
      },
      end: () => void told.push('end'),
      reset: () => void told.push('reset'),
      pause: () => {},
      resume: () => {},
    };
  }
  datagrams() {
    return {
      send: (_: Uint8Array, address: string, port: number) => void this.datagramsSent.push(`${address}:${port}`),
      close: () => {},
    };
  }
  resolve(): Promise<readonly string[]> {
    return Promise.resolve([]);
  }
  nameServers() {
    return [];
  }
  listen(): Promise<void> {
    return Promise.resolve();
  }
  listenDatagrams() {
    return Promise.resolve(this.datagrams());
  }
  every(_: number, work: () => void): void {
    this.timers.push(work);
  }
}

function setUp(config: Partial<UserNetConfig> = {}) {
  const frames: Uint8Array[] = [];
  let room = new Uint8Array(0);
  const sink = {
    offloads: { checksum: false, tcp4: false, tcp6: false },
    reserve: (length: number) => (room = new Uint8Array(length)),
    commit: () => void frames.push(room),
  };
  const sockets = new FakeSockets();
  const stack = new UserStack({ config: { ...CONFIG, ...config }, mac: MAC, mtu: 1500, sink, sockets });
  return { stack, frames, sockets };
}

/** A frame with an IP packet of the guest, checksums and all. */
function packet(
  protocol: number,
  source: string,
  destination: string,
  payload: Uint8Array,
  checksumAt?: number,
): Uint8Array {
  let frame = new Uint8Array(0);
  const output = new IpOutput(
    {
      offloads: { checksum: false, tcp4: false, tcp6: false },
      reserve: (length) => (frame = new Uint8Array(length)),
      commit: () => {},
    },
    MAC,
    9000,
  );
  output.send({
    source: parseAddress(source) ?? new Uint8Array(4),
    destination: parseAddress(destination) ?? new Uint8Array(4),
    protocol,
    length: payload.length,
    checksumAt,
    pseudoHeader: protocol === 6 || protocol === 17,
    fill: (into) => into.set(payload),
  });
  frame.set(MAC, 6);
  return frame;
}

function segment(flags: number, sequence: number, acknowledgement: number, port = 80, data = ''): Uint8Array {
  const bytes = new Uint8Array(20 + data.length);
  put16(bytes, 0, 40_000);
  put16(bytes, 2, port);
  put32(bytes, 4, sequence);
  put32(bytes, 8, acknowledgement);
  bytes[12] = 0x50;
  bytes[13] = flags;
  put16(bytes, 14, 0xffff);
  bytes.set(Buffer.from(data, 'latin1'), 20);
  return bytes;
}

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

  it('survives frames that are almost right, and noise', () => {
    const { stack, frames, sockets } = setUp();
    const next = noise(0x1234_5678);
    const dhcp = new Uint8Array(8 + 300);
    put16(dhcp, 0, 68);
    put16(dhcp, 2, 67);
    put16(dhcp, 4, dhcp.length);
    dhcp.set([1, 1, 6], 8);
    put32(dhcp, 8 + 236, 0x6382_5363);
    dhcp.set([53, 1, 1, 255], 8 + 240);
    const dns = new Uint8Array(8 + 40);
    put16(dns, 2, 53);
    put16(dns, 4, dns.length);
    dns.set([0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, 97, 98, 99, 0, 0, 1, 0, 1], 8);
    const ping = new Uint8Array(64);
    ping[0] = 8;
    const seeds = [
      packet(6, '10.0.2.15', '10.0.2.2', segment(2, 1, 0, 80, 'x'), 16),
      packet(17, '0.0.0.0', '255.255.255.255', dhcp, 6),
      packet(17, '10.0.2.15', '10.0.2.3', dns, 6),
      packet(1, '10.0.2.15', '10.0.2.2', ping, 2),
      packet(6, 'fec0::1', 'fec0::2', segment(2, 1, 0), 16),
      packet(17, 'fec0::1', 'fec0::3', dns, 6),
    ];
    for (let i = 0; i < 60_000; i++) {
      const seed = seeds[next() % seeds.length];
      const frame = seed.slice(0, next() % 8 === 0 ? next() % (seed.length + 1) : seed.length);
      for (let n = next() % 4; n > 0 && frame.length > 0; n--) frame[next() % frame.length] = next();
      // Without checksums most of it would go no further than these.
      stack.receive(frame, { ...FINISHED, checksumStart: next() & 1 ? 34 : 0 });
      if (i % 64 === 0) {
        stack.endBatch();
        sockets.time += 100;
        for (const work of sockets.timers) work();
        for (const { events } of sockets.connects.splice(0)) {
          if (next() & 1) events.connected();
          else events.failed('other');
        }
      }
    }
    expect(frames.length).toBeGreaterThan(10_000);
  });
});
