import { describe, expect, it } from 'vitest';
import { FakeMemory } from '../../../host/fake/memory.js';
import { snapshotSuite } from '../../../testing/snapshot-suite.js';
import { Dma8237 } from './dma-8237.js';

describe('the 8237A pair', () => {
  it('passes a BIOS’s register test, both controllers apart', () => {
    const dma = new Dma8237(new FakeMemory());
    for (const [ports, step] of [
      [dma.firstPorts, 1],
      [dma.secondPorts, 2],
    ] as const) {
      ports.write(0xd * step, 1, 0);
      for (let register = 0; register < 8; register++) {
        ports.write(register * step, 1, 0x34 + register);
        ports.write(register * step, 1, 0x12);
      }
      for (let register = 0; register < 8; register++) {
        expect(ports.peek?.(register * step, 1)).toBe(0x34 + register);
        expect([ports.read(register * step, 1), ports.read(register * step, 1)]).toEqual([0x34 + register, 0x12]);
      }
    }
  });

  it('masks and requests channels', () => {
    const { firstPorts: ports } = new Dma8237(new FakeMemory());
    expect(ports.read(15, 1)).toBe(15);
    ports.write(10, 1, 2);
    expect(ports.read(15, 1)).toBe(11);
    ports.write(9, 1, 5);
    expect(ports.read(8, 1)).toBe(0x20);
    ports.write(14, 1, 0);
    expect(ports.read(15, 1)).toBe(0);
    ports.write(0, 1, 1);
    ports.write(13, 1, 0);
    expect([ports.read(15, 1), ports.read(8, 1), ports.read(0, 1)]).toEqual([15, 0, 1]);
  });

  it('keeps page registers and the POST code', () => {
    const dma = new Dma8237(new FakeMemory());
    for (let i = 0; i < 16; i++) dma.pagePorts.write(i, 1, 0xa0 + i);
    expect(Array.from({ length: 16 }, (_, i) => dma.pagePorts.read(i, 1))).toEqual(
      Array.from({ length: 16 }, (_, i) => 0xa0 + i),
    );
    expect(dma.postCode).toBe(0xa0);
  });
});

snapshotSuite('the 8237A pair', {
  create: () => new Dma8237(new FakeMemory()),
  change(dma) {
    for (let register = 0; register < 13; register++) {
      dma.firstPorts.write(register, 1, 0x10 + register);
      dma.secondPorts.write(register * 2, 1, 0x20 + register);
    }
    dma.firstPorts.write(3, 1, 9);
    dma.pagePorts.write(7, 1, 0xfe);
  },
  observe: (dma) => Array.from({ length: 16 }, (_, i) => [dma.firstPorts.read(i, 1), dma.secondPorts.read(i * 2, 1)]),
});
