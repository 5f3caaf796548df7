import { describe, expect, it } from 'vitest';
import { STREAM_WINDOW } from '../../../iface/streams.js';
import { fuzz } from '../../../testing/fuzz/target.js';
import { vsockTarget } from '../../../testing/fuzz/targets/vsock.js';
import { snapshotSuite } from '../../../testing/snapshot-suite.js';
import { FakeStreams } from '../../../testing/fake-streams.js';
import { VirtioDriver, type DriverQueue } from '../../../testing/virtio-driver.js';
import { HEADER_SIZE, OP, parseHeader, SHUTDOWN, writeHeader, type PacketHeader } from './packet.js';
import { VirtioVsock } from './virtio-vsock.js';

const CID = 42;

function setUp() {
  const streams = new FakeStreams();
  const device = new VirtioVsock({ id: 'vsock0', cid: CID, streams });
  const driver = new VirtioDriver(device).setUp();
  const [receive, transmit, event] = driver.queues;
  const packet = (op: number, more: Partial<PacketHeader> = {}, payload: Uint8Array = new Uint8Array(0)): Uint8Array =>
    Buffer.concat([
      writeHeader({
        sourceCid: BigInt(CID),
        destinationCid: 2n,
        sourcePort: 1000,
        destinationPort: 80,
        length: payload.length,
        type: 1,
        op,
        flags: 0,
        bufAlloc: 0x1000,
        fwdCnt: 0,
        ...more,
      }),
      payload,
    ]);
  const send = (op: number, more: Partial<PacketHeader> = {}, payload?: Uint8Array): void => {
    transmit.exchange([packet(op, more, payload)], []);
  };
  return { streams, device, driver, receive, transmit, event, packet, send };
}

/** Offers buffers and reads what comes. */
function read(receive: DriverQueue, buffers = 8): { op: number; header: PacketHeader; payload: Buffer }[] {
  for (let i = 0; i < buffers; i++) receive.add([], [HEADER_SIZE, 500]);
  receive.kick();
  return receive.collect().map(({ data, length }) => {
    const header = parseHeader(data);
    return { op: header.op, header, payload: Buffer.from(data.subarray(HEADER_SIZE, length)) };
  });
}

describe('virtio-vsock (VIRTIO 1.2 §5.10)', () => {
  it('tells the guest who it is', () => {
    const { driver } = setUp();
    expect([driver.device(0, 4), driver.device(4, 4)]).toEqual([CID, 0]);
  });

  it('carries a connection that the guest makes, from REQUEST to RST', () => {
    const { streams, device, receive, send } = setUp();
    send(OP.REQUEST);
    expect(read(receive, 2)).toEqual([]);
    const [stream] = streams.made;
    expect([stream.service, stream.port]).toEqual(['vsock', 80]);
    stream.listener.accepted(80);
    send(OP.RW, {}, Buffer.from('to the host'));
    expect(Buffer.concat(stream.sent).toString()).toBe('to the host');
    stream.listener.data(Buffer.from('to the guest'));
    stream.listener.ended();
    const packets = receive.collect();
    expect(packets).toHaveLength(2);
    expect(parseHeader(packets[0].data).op).toBe(OP.RESPONSE);
    expect(Buffer.from(packets[1].data.subarray(HEADER_SIZE, packets[1].length)).toString()).toBe('to the guest');
    const [{ op, header }] = read(receive, 2);
    expect([op, header.flags]).toEqual([OP.SHUTDOWN, SHUTDOWN.SEND]);
    send(OP.SHUTDOWN, { flags: SHUTDOWN.SEND | SHUTDOWN.RECEIVE });
    expect(stream.state).toBe('finished');
    expect(parseHeader(receive.collect()[0].data).op).toBe(OP.RST);
    expect(device.open).toBe(0);
  });

  it('carries a connection from outside', () => {
    const { streams, device, receive, send } = setUp();
    const stream = streams.open('vsock', 99);
    const [{ op, header }] = read(receive, 4);
    expect([op, header.destinationPort, header.destinationCid]).toEqual([OP.REQUEST, 99, BigInt(CID)]);
    const ports = { sourcePort: 99, destinationPort: header.sourcePort };
    stream.listener.data(Buffer.from('early'));
    send(OP.RESPONSE, ports);
    expect(stream.acceptedPort).toBe(header.sourcePort);
    expect(receive.collect()).toHaveLength(1);
    send(OP.RST, ports);
    expect(stream.state).toBe('closed');
    expect(device.open).toBe(0);
  });

  it('sends no more than the guest has room for, and takes no more than it has itself', () => {
    const { streams, receive, send } = setUp();
    send(OP.REQUEST, { bufAlloc: 700 });
    const [stream] = streams.made;
    stream.listener.accepted(80);
    stream.listener.data(new Uint8Array(1000));
    const sizes = read(receive).map(({ payload }) => payload.length);
    expect(sizes).toEqual([0, 500, 200]);
    send(OP.CREDIT_UPDATE, { bufAlloc: 700, fwdCnt: 650 });
    expect(receive.collect().map(({ length }) => length - HEADER_SIZE)).toEqual([300]);
    expect(stream.credited).toBe(1000);
    // The stream takes nothing: what comes beyond the window breaks the rules.
    for (let sent = 0; sent < STREAM_WINDOW; sent += 0x8000) send(OP.RW, {}, new Uint8Array(0x8000));
    expect(stream.state).toBe('open');
    send(OP.RW, {}, new Uint8Array(1));
    expect(stream.state).toBe('closed');
    expect(parseHeader(receive.collect()[0].data).op).toBe(OP.RST);
  });

  it('tells of credit when it may run out, and when asked', () => {
    const { streams, receive, send } = setUp();
    send(OP.REQUEST);
    const [stream] = streams.made;
    stream.listener.accepted(80);
    for (let i = 0; i < 5; i++) send(OP.RW, {}, new Uint8Array(0x8000));
    stream.drain();
    const updates = read(receive).map(({ op, header }) => [op, header.fwdCnt]);
    expect(updates).toEqual([[OP.RESPONSE, 0x28000]]);
    send(OP.CREDIT_REQUEST);
    expect(parseHeader(receive.collect()[0].data)).toMatchObject({ op: OP.CREDIT_UPDATE, bufAlloc: STREAM_WINDOW });
  });

  it('refuses what there is no connection for, and ignores what is nobody’s', () => {
    const { device, receive, send } = setUp();
    send(OP.RW, {}, Buffer.from('x'));
    send(OP.REQUEST, { type: 2 });
    send(OP.RST);
    send(OP.REQUEST, { sourceCid: 7n });
    send(OP.REQUEST, { destinationCid: 9n });
    expect(read(receive).map(({ op, header }) => [op, header.destinationPort, header.type])).toEqual([
      [OP.RST, 1000, 1],
      [OP.RST, 1000, 2],
    ]);
    expect(device.dropped).toBe(2);
  });

  it('lets the guest wait when it takes no answers', () => {
    const { driver, receive, transmit, packet } = setUp();
    const bytes = packet(OP.RW);
    const at = driver.memory.bytes.length - 64;
    driver.memory.bytes.set(bytes, at);
    for (let round = 0; round < 40; round++) {
      for (let i = 0; i < 16; i++) {
        transmit.descriptor(i, at, bytes.length, 0);
        transmit.offer(i);
      }
      transmit.kick();
      if (transmit.collect().length < 16) break;
    }
    // Of 640 packets 256 were answered before buffers were needed.
    expect(transmit.collect()).toHaveLength(0);
    expect(read(receive, 16)).toHaveLength(16);
  });

  it('connects nobody to a guest without a driver, and forgets all connections when it is reset', () => {
    const streams = new FakeStreams();
    const device = new VirtioVsock({ id: 'vsock0', cid: CID, streams });
    expect(streams.open('vsock', 5).state).toBe('closed');
    const { send, streams: others, device: other } = setUp();
    send(OP.REQUEST);
    other.reset();
    expect([others.made[0].state, other.open, device.open]).toEqual(['closed', 0, 0]);
  });

  it('tells a restored guest that its connections are gone', () => {
    const { device, event } = setUp();
    const saved = device.save();
    event.add([], [4]);
    event.kick();
    expect(event.collect()).toEqual([]);
    device.restore(saved);
    device.resume();
    expect(event.collect().map(({ length, data }) => [length, ...data])).toEqual([[4, 0, 0, 0, 0]]);
  });

  it('survives random packets', () => fuzz(vsockTarget, 20000));

  snapshotSuite('virtio-vsock', {
    create: () => new VirtioVsock({ id: 'vsock0', cid: CID, streams: new FakeStreams() }),
    change: (device) => {
      new VirtioDriver(device).setUp();
      // Somebody outside asks.
      device.restore({ nextHostPort: 2 ** 30 + 5 });
    },
  });
});
