import { FINISHED } from '../../../iface/net.js';
import { ETHER, get16, put16, put32 } from '../../../net/user/packet.js';
import type { RandomSource } from '../../random-source.js';
import { nearGateway, packet, segment, userStack } from '../../user-stack-guest.js';
import { must, type FuzzSession, type FuzzTarget } from '../target.js';

const HOSTS = ['10.0.2.2', '10.0.2.3', '192.0.2.1', '10.0.2.77', '255.255.255.255', '127.0.0.1'];
const HOSTS6 = ['fec0::2', 'fec0::3', '2001:db8::1', 'ff02::2', '::1'];
/** Frames to the guest that are kept at most; more for one input is a flood of our making. */
const MOST_ANSWERS = 2000;

/** UDP with its header, ports and length. */
function datagram(to: number, payload: Uint8Array, length = payload.length + 8): Uint8Array {
  const bytes = new Uint8Array(8 + payload.length);
  put16(bytes, 0, to === 67 ? 68 : 30_000);
  put16(bytes, 2, to);
  put16(bytes, 4, length & 0xffff);
  bytes.set(payload, 8);
  return bytes;
}

/** Without the card, which both learn from frames of their own, and what IPv4 counts. */
function sameAnswers(some: readonly Uint8Array[], others: readonly Uint8Array[]): boolean {
  const plain = (frame: Uint8Array): string => {
    const bytes = frame.slice(6);
    if (get16(frame, 12) === ETHER.IPV4) for (const at of [12, 13, 18, 19]) bytes[at] = 0;
    return bytes.join();
  };
  return some.map(plain).join(';') === others.map(plain).join(';');
}

class Session implements FuzzSession {
  private readonly parts;
  private readonly near;
  private inputs = 0;

  constructor(private readonly random: RandomSource) {
    const config = random.once(3) ? { restrict: true, allow: [{ host: '192.0.2.1', port: 80 }] } : {};
    this.parts = userStack(config);
    this.near = nearGateway(config);
  }

  /** DHCP as RFC 2131 has it, with options of any kind and length. */
  private dhcp(): Uint8Array {
    const { random } = this;
    const bytes = new Uint8Array(240 + random.below(80));
    bytes.set([random.once(10) ? random.below(4) : 1, 1, 6]);
    bytes.set([0x52, 0x54, 0, 0x12, 0x34, 0x56], 28);
    if (!random.once(20)) put32(bytes, 236, 0x6382_5363);
    let at = 240;
    const option = (kind: number, ...value: number[]): void => {
      const length = random.once(15) ? random.below(256) : value.length;
      for (const byte of [kind, length, ...value]) if (at < bytes.length) bytes[at++] = byte;
    };
    option(53, 1 + random.below(9));
    for (let n = random.below(5); n > 0; n--)
      option(random.pick([50, 54, 55, 57, 60, 61, 93, 0, 255, random.below(256)]), ...random.bytes(random.below(8)));
    if (at < bytes.length && !random.once(8)) bytes[at] = 255;
    return bytes;
  }

  private dns(): Uint8Array {
    const { random } = this;
    const labels = Array.from({ length: random.below(5) }, () => [...random.bytes(random.below(12))]);
    const name = labels.flatMap((label) => [random.once(10) ? random.below(256) : label.length, ...label]);
    const counts = [0, random.once(8) ? random.below(256) : 1, 0, random.below(2), 0, 0, 0, random.below(2)];
    return Uint8Array.from([0, 1, random.once(8) ? random.below(256) : 1, 0, ...counts, ...name, 0, 0, 1, 0, 1]);
  }

  private tcp(): Uint8Array {
    const { random } = this;
    const flags = random.once(3) ? random.below(256) : random.pick([2, 0x10, 0x18, 0x11, 4, 0x12]);
    const data = random.once(2) ? '' : 'x'.repeat(random.below(200));
    const bytes = segment(flags, random.u32(1000), random.u32(1000), random.below(4) + 79, data);
    put16(bytes, 0, 40_000 + random.below(4));
    if (random.once(6)) bytes[12] = random.below(256);
    if (random.once(4)) put16(bytes, 14, random.u32(0x1_0000) & 0xffff);
    return bytes;
  }

  private frame(): Uint8Array {
    const { random } = this;
    const six = random.once(3);
    const [from, to] = six ? ['fec0::1', random.pick(HOSTS6)] : ['10.0.2.15', random.pick(HOSTS)];
    switch (random.below(8)) {
      case 0:
      case 1:
        return packet(17, '0.0.0.0', '255.255.255.255', datagram(67, this.dhcp()), 6);
      case 2:
        return packet(17, from, random.once(4) ? to : six ? 'fec0::3' : '10.0.2.3', datagram(53, this.dns()), 6);
      case 3: {
        const ping = random.bytes(4 + random.below(100));
        ping[0] = random.pick(six ? [128, 133, 135, 136, 143] : [8, 0, 3, 13]);
        return packet(six ? 58 : 1, from, to, ping, 2);
      }
      case 4: {
        const arp = random.bytes(42).fill(0xff, 0, 6);
        arp.set([8, 6, 0, 1, 8, 0, 6, 4, 0, random.below(3)], 12);
        return arp;
      }
      case 5: {
        const length = random.once(4) ? random.u32(2000) : undefined;
        return packet(
          17,
          from,
          to,
          datagram(random.pick([69, 123, 5353, 68]), random.bytes(random.below(60)), length),
          6,
        );
      }
      default:
        return packet(6, from, to, this.tcp(), 16);
    }
  }

  step(): void {
    const { random, parts } = this;
    const { stack, frames, sockets } = parts;
    const frame = random.damage(this.frame(), 5);
    // Most of what is damaged would go no further than its checksum.
    const checksumStart = random.once(2) ? 34 : 0;
    const info = { ...FINISHED, checksumStart };
    const isNear = this.near.near.receive(frame);
    stack.receive(frame, info);
    if (isNear) must(sameAnswers(this.near.frames, frames), 'what is answered near is answered otherwise far away');
    this.near.frames.length = 0;
    if (++this.inputs % 16 === 0) {
      stack.endBatch();
      sockets.time += random.below(3000);
      for (const work of sockets.timers) work();
      for (const { events, sent } of [...sockets.echoSockets])
        for (const { address, sequence, data } of sent.splice(0)) {
          const [type, code] = [random.pick([1, 3, 4, 5, 11]), random.below(8)];
          if (random.once(2)) events.reply(address, sequence, random.once(3) ? random.bytes(random.below(3000)) : data);
          if (random.once(3)) events.error({ address, sequence, from: random.pick(HOSTS), type, code });
        }
      for (const { events } of sockets.connects.splice(0)) {
        if (random.once(3)) events.failed('other');
        else {
          events.connected();
          if (random.once(2)) events.data(random.bytes(random.below(3000)));
          if (random.once(3)) events.ended();
        }
      }
    }
    must(frames.length < MOST_ANSWERS, 'one frame was answered by thousands');
    frames.length = 0;
    sockets.datagramsSent.length = 0;
  }
}

/** A guest's frames to the user-mode stack: DHCP, DNS, TCP, ICMP, ARP, over IPv4 and IPv6, damaged. */
export const userNetTarget: FuzzTarget = {
  name: 'user-net',
  share: 16,
  length: 1000,
  start: (random) => new Session(random),
};
