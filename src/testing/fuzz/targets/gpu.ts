import { VirtioGpu } from '../../../devices/virtio/gpu/gpu.js';
import { COMMAND } from '../../../devices/virtio/gpu/protocol.js';
import { ScanOut } from '../../../display/scan-out.js';
import { FakeMemory } from '../../../host/fake/memory.js';
import type { RandomSource } from '../../random-source.js';
import { VirtioDriver } from '../../virtio-driver.js';
import { must, type FuzzSession, type FuzzTarget } from '../target.js';

const MEMORY = 0x20_0000;
const FORMATS = [1, 2, 3, 4, 67, 68, 121, 134];
const PICTURE_EVERY = 16;

class Session implements FuzzSession {
  private readonly memory = new FakeMemory(MEMORY);
  private readonly gpu = new VirtioGpu({
    id: 'gpu',
    classCode: 0x03_8000,
    read: (from, into) => this.memory.read(from, into),
  });
  private readonly driver = new VirtioDriver(this.gpu, this.memory).setUp();
  private readonly scanOut = new ScanOut();
  private inputs = 0;

  constructor(private readonly random: RandomSource) {}

  private id = (): number => this.random.u32(6);
  private side = (): number => this.random.u32(90);

  private rectangle(): number[] {
    return this.random.once(3) ? [0, 0, 64, 64] : [this.side(), this.side(), this.side(), this.side()];
  }

  /** Memory behind a picture: pieces of RAM, most of them. */
  private entries(): number[] {
    const { random } = this;
    const count = random.below(6);
    const pieces = Array.from({ length: count }, () => [
      random.once(8) ? random.next() : random.below(MEMORY),
      random.once(20) ? random.next() : 0,
      random.u32(20_000),
      0,
    ]);
    return [random.once(10) ? random.u32(40_000) : count, ...pieces.flat()];
  }

  private body(type: number): number[] {
    const { random } = this;
    switch (type) {
      case COMMAND.RESOURCE_CREATE_2D:
        return [this.id(), random.pick(FORMATS), ...(random.once(3) ? [64, 64] : [this.side(), this.side()])];
      case COMMAND.SET_SCANOUT:
        return [...this.rectangle(), random.once(10) ? random.u32(3) : 0, this.id()];
      case COMMAND.RESOURCE_FLUSH:
        return [...this.rectangle(), this.id(), 0];
      case COMMAND.TRANSFER_TO_HOST_2D:
        return [...this.rectangle(), random.u32(20_000), random.once(20) ? random.next() : 0, this.id(), 0];
      case COMMAND.ATTACH_BACKING:
        return [this.id(), ...this.entries()];
      case COMMAND.UPDATE_CURSOR:
      case COMMAND.MOVE_CURSOR:
        return [random.u32(2), random.u32(90), random.u32(90), 0, this.id(), random.u32(70), random.u32(70), 0];
      default:
        return Array.from({ length: random.below(14) }, () => random.u32(70));
    }
  }

  step(): void {
    const { random, driver, gpu } = this;
    if (random.once(400)) driver.setUp();
    driver.reuse();
    const type = random.once(30) ? random.next() : random.pick(Object.values(COMMAND));
    const fence = random.once(4) ? [1, random.next(), random.next(), random.next(), 0] : [0, 0, 0, 0, 0];
    const bytes = random.damage(new Uint8Array(Uint32Array.from([type, ...fence, ...this.body(type)]).buffer), 20);
    const cut = random.below(bytes.length + 1);
    const parts = random.once(4) ? [bytes.subarray(0, cut), bytes.subarray(cut)] : [bytes];
    const queue =
      driver.queues[type === COMMAND.UPDATE_CURSOR || type === COMMAND.MOVE_CURSOR || random.once(20) ? 1 : 0];
    queue.exchange(parts, random.once(10) ? [random.below(40)] : [24, 1100]);
    // Mostly small ones: each pixel of a screen is looked at.
    if (random.once(200)) gpu.prefer(random.u32(300), random.u32(300));
    if (random.once(100)) driver.writeDevice(random.below(20), 4, random.next());
    if (++this.inputs % PICTURE_EVERY === 0) {
      this.scanOut.update(gpu.picture(), 0);
      gpu.pointer();
    }
  }

  end(): void {
    must(!this.driver.needsReset, 'the GPU wants to be reset');
    const { gpu } = this;
    gpu.restore(gpu.stateSchema.check(structuredClone(gpu.save()), 'gpu'));
    this.scanOut.update(gpu.picture(), 0);
  }
}

/** A driver of the virtio GPU that knows its commands, and gets them wrong. */
export const gpuTarget: FuzzTarget = { name: 'gpu', share: 12, length: 500, start: (random) => new Session(random) };
