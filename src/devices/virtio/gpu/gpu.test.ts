import { describe, expect, it } from 'vitest';
import { ScanOut } from '../../../display/scan-out.js';
import { FakeMemory } from '../../../host/fake/memory.js';
import { fuzz } from '../../../testing/fuzz/target.js';
import { gpuTarget } from '../../../testing/fuzz/targets/gpu.js';
import { snapshotSuite } from '../../../testing/snapshot-suite.js';
import { VirtioDriver } from '../../../testing/virtio-driver.js';
import { VirtioGpu } from './gpu.js';

const words = (...values: readonly number[]): Uint8Array => new Uint8Array(Uint32Array.from(values).buffer);

/** A GPU, its driver, and requests as VIRTIO 1.2 §5.7.6 has them. */
class Machine {
  readonly memory = new FakeMemory(0x20_0000);
  readonly gpu = new VirtioGpu({ id: 'gpu', classCode: 0x03_8000, read: (from, into) => this.memory.read(from, into) });
  readonly driver = new VirtioDriver(this.gpu, this.memory).setUp();

  /** Header without a fence, then the request's words. Returns the answer's words. */
  send(queue: number, type: number, body: readonly number[], room = 24 + 8 + 1024): Uint32Array {
    const [back] = this.driver.queues[queue].exchange([words(type, 0, 0, 0, 0, 0, ...body)], [room]);
    return new Uint32Array(back.data.slice(0, back.length - (back.length % 4)).buffer);
  }

  control(type: number, ...body: readonly number[]): number {
    return this.send(0, type, body)[0];
  }

  /** A picture in guest memory at an address, in two pieces, shown. */
  show(width: number, height: number, at: number): void {
    const bytes = width * height * 4;
    expect([
      this.control(0x101, 1, 2, width, height),
      this.control(0x106, 1, 2, at, 0, 100, 0, at + 100, 0, bytes - 100, 0),
      this.control(0x103, 0, 0, width, height, 0, 1),
    ]).toEqual([0x1100, 0x1100, 0x1100]);
  }

  frame(): Uint32Array {
    const out = new ScanOut();
    out.update(this.gpu.picture(), 0);
    return out.frame.pixels;
  }
}

const AT = 0x10_0000;

describe('the GPU', () => {
  it('tells its size, and of another one that somebody wishes', () => {
    const machine = new Machine();
    const { gpu, driver } = machine;
    expect([driver.device(0, 4), driver.device(8, 4), driver.device(12, 4)]).toEqual([0, 1, 0]);
    const size = (): number[] => [...machine.send(0, 0x100, []).subarray(0, 11)];
    expect(size()).toEqual([0x1101, 0, 0, 0, 0, 0, 0, 0, 1280, 800, 1]);
    gpu.prefer(1024, 100_000);
    expect([driver.device(0, 4), driver.isr()]).toEqual([1, 3]);
    driver.writeDevice(4, 4, 1);
    expect(driver.device(0, 4)).toBe(0);
    expect(size().slice(8, 10)).toEqual([1024, 4095]);
    const edid = machine.send(0, 0x10a, [0, 0]);
    expect([edid[0], edid[6]]).toEqual([0x1104, 128]);
    const block = new Uint8Array(edid.buffer).subarray(32, 32 + 128);
    expect([...block.subarray(0, 8)]).toEqual([0, 255, 255, 255, 255, 255, 255, 0]);
    expect(block.reduce((sum, byte) => sum + byte, 0) % 256).toBe(0);
    // The first timing's size.
    expect(block[56] | ((block[58] >> 4) << 8)).toBe(1024);
  });

  it('shows a picture that is filled from guest memory', () => {
    const machine = new Machine();
    const { bytes } = machine.memory;
    for (let i = 0; i < 32 * 20; i++) bytes.set([i, i >> 8, 0x55, 0], AT + i * 4);
    machine.show(32, 20, AT);
    expect(machine.frame()[5]).toBe(0);
    // The whole, then a part whose offset says where it begins.
    expect(machine.control(0x105, 0, 0, 32, 20, 0, 0, 1)).toBe(0x1100);
    expect(machine.frame()[32 * 7 + 3]).toBe(0x55_0000 + 32 * 7 + 3);
    bytes.fill(0xff, AT, AT + 32 * 20 * 4);
    expect(machine.control(0x105, 4, 2, 3, 2, (2 * 32 + 4) * 4, 0, 1)).toBe(0x1100);
    const white = [...machine.frame()].flatMap((color, at) => (color === 0xff_ffff ? [at] : []));
    expect(white).toEqual([2, 3].flatMap((y) => [4, 5, 6].map((x) => y * 32 + x)));
    expect(machine.control(0x104, 0, 0, 32, 20, 1, 0)).toBe(0x1100);
    expect(machine.control(0x102, 1, 0)).toBe(0x1100);
    expect(machine.gpu.active).toBe(false);
  });

  it('answers what is fenced with the fence', () => {
    const { driver } = new Machine();
    const [back] = driver.queues[0].exchange([words(0x100, 1, 7, 8, 9, 0)], [24]);
    expect([...new Uint32Array(back.data.buffer)]).toEqual([0x1101, 1, 7, 8, 9, 0]);
  });

  it('has a pointer', () => {
    const machine = new Machine();
    machine.show(64, 64, AT);
    machine.control(0x101, 2, 1, 64, 64);
    machine.control(0x106, 2, 1, AT, 0, 64 * 64 * 4, 0);
    machine.memory.bytes.fill(0xab, AT, AT + 64 * 64 * 4);
    machine.control(0x105, 0, 0, 64, 64, 0, 0, 2);
    expect(machine.gpu.pointer()).toBeUndefined();
    machine.send(1, 0x300, [0, 10, 20, 0, 2, 3, 4, 0], 24);
    const { pixels, ...pointer } = machine.gpu.pointer() ?? { pixels: new Uint8Array(0) };
    expect(pointer).toMatchObject({ x: 13, y: 24, hotX: 3, hotY: 4, width: 64, height: 64 });
    expect(pixels[5]).toBe(0xab);
    machine.send(1, 0x301, [0, 30, 40, 0, 0, 0, 0, 0], 24);
    expect(machine.gpu.pointer()).toMatchObject({ x: 33, y: 44 });
    machine.send(1, 0x300, [0, 0, 0, 0, 0, 0, 0, 0], 24);
    expect(machine.gpu.pointer()).toBeUndefined();
  });

  it('refuses what cannot be', () => {
    const machine = new Machine();
    const { control } = { control: machine.control.bind(machine) };
    machine.show(32, 20, AT);
    expect([
      control(0x101, 0, 1, 8, 8),
      control(0x101, 1, 1, 8, 8),
      control(0x101, 2, 99, 8, 8),
      control(0x101, 2, 1, 0, 8),
      control(0x101, 2, 1, 9000, 8),
      control(0x103, 0, 0, 33, 20, 0, 1),
      control(0x103, 0, 0, 32, 20, 1, 1),
      control(0x103, 0, 0, 32, 20, 0, 9),
      control(0x105, 0xffff_fff0, 0, 32, 20, 0, 0, 1),
      control(0x106, 1, 100_000),
      control(0x106, 9, 0),
      control(0x10a, 3, 0),
      control(0x207),
    ]).toEqual([
      0x1203, 0x1203, 0x1205, 0x1205, 0x1205, 0x1205, 0x1202, 0x1203, 0x1205, 0x1205, 0x1203, 0x1202, 0x1200,
    ]);
    // No more than 256 MiB in all.
    const answers = Array.from({ length: 3 }, (_, i) => control(0x101, 100 + i, 1, 8192, 4096));
    expect(answers).toEqual([0x1100, 0x1201, 0x1201]);
  });

  it('survives anything that a driver sends', () => fuzz(gpuTarget, 10000));
});

snapshotSuite('the GPU', {
  create: () => new VirtioGpu({ id: 'gpu', classCode: 0x03_8000, read: () => true }),
  change(gpu) {
    const memory = new FakeMemory(0x20_0000);
    const driver = new VirtioDriver(gpu, memory).setUp();
    const send = (queue: number, ...request: readonly number[]): void =>
      void driver.queues[queue].exchange([words(request[0], 0, 0, 0, 0, 0, ...request.slice(1))], [24]);
    send(0, 0x101, 1, 2, 64, 64);
    send(0, 0x106, 1, 1, 0x1000, 0, 0x4000, 0);
    send(0, 0x105, 0, 0, 64, 64, 0, 0, 1);
    send(0, 0x103, 0, 0, 64, 64, 0, 1);
    send(1, 0x300, 0, 10, 20, 0, 1, 3, 4, 0);
    gpu.prefer(800, 600);
  },
  observe: (gpu) => [gpu.picture(), gpu.pointer(), gpu.readConfig(0, 4)],
});
