import { HEADER_SIZE, OP, writeHeader } from '../../../devices/virtio/vsock/packet.js';
import { VirtioVsock } from '../../../devices/virtio/vsock/virtio-vsock.js';
import type { StreamListener } from '../../../iface/streams.js';
import { FakeStreams } from '../../fake-streams.js';
import type { RandomSource } from '../../random-source.js';
import { VirtioDriver } from '../../virtio-driver.js';
import { must, type FuzzSession, type FuzzTarget } from '../target.js';

const CID = 42;
/** Streams that are remembered: the test's own, not the device's. */
const REMEMBERED = 16;

class Session implements FuzzSession {
  private readonly streams = new FakeStreams();
  private readonly device = new VirtioVsock({ id: 'vsock0', cid: CID, streams: this.streams });
  private readonly driver = new VirtioDriver(this.device).setUp();

  constructor(private readonly random: RandomSource) {}

  private packet(): Uint8Array {
    const { random } = this;
    const payload = random.bytes(random.once(4) ? random.below(2000) : random.below(20));
    const header = writeHeader({
      sourceCid: random.once(30) ? random.u64(50) : BigInt(CID),
      destinationCid: random.once(30) ? random.u64(50) : 2n,
      sourcePort: random.below(4),
      destinationPort: random.below(4),
      length: random.once(10) ? random.u32(4000) : payload.length,
      type: random.once(20) ? random.below(3) : 1,
      op: random.once(20) ? random.below(12) : random.pick(Object.values(OP)),
      flags: random.u32(4),
      bufAlloc: random.once(3) ? random.next() : 0x1000,
      fwdCnt: random.once(3) ? random.next() : 0,
    });
    return random.damage(Uint8Array.from([...header, ...payload]), 20);
  }

  /** What the other side of a stream does. */
  private outside(): void {
    const { random, streams } = this;
    const stream = streams.made.at(-1 - random.below(6));
    if (random.once(5)) streams.open('vsock', random.below(4));
    const listener: StreamListener | undefined = stream?.state === 'open' ? stream.listener : undefined;
    switch (random.below(8)) {
      case 0:
        listener?.accepted(1);
        break;
      case 1:
      case 2:
        listener?.data(random.bytes(random.below(900)));
        break;
      case 3:
        stream?.drain();
        break;
      case 4:
        listener?.ended();
        break;
      case 5:
        stream?.fail(random.once(2));
        break;
    }
    for (const old of streams.made.splice(0, streams.made.length - REMEMBERED)) if (old.state === 'open') old.fail();
    for (const { sent } of streams.made) sent.length = 0;
  }

  step(): void {
    const { random, driver, device } = this;
    // More buffers than the ring has entries are against the rules.
    if (driver.needsReset || random.once(500)) driver.setUp();
    driver.reuse();
    const [receive, transmit, event] = driver.queues;
    transmit.exchange([this.packet()], random.once(50) ? [4] : []);
    if (random.once(2)) receive.exchange([], [random.once(3) ? random.below(60) : HEADER_SIZE + 600]);
    else receive.collect();
    if (random.once(40)) event.exchange([], [random.below(8)]);
    if (random.once(1000)) {
      device.restore(structuredClone(device.save()));
      device.resume();
    }
    this.outside();
    must(device.open <= 300, 'connections are left over');
  }

  end(): void {
    this.device.reset();
    must(this.device.open === 0, 'connections outlive a reset');
  }
}

/** A guest's packets to vsock, and what the other sides of its connections do meanwhile. */
export const vsockTarget: FuzzTarget = {
  name: 'vsock',
  share: 12,
  length: 500,
  start: (random) => new Session(random),
};
