import { describe, expect, it } from 'vitest';
import { MessageReader, MessageWriter } from './message.js';

class Written extends MessageWriter {
  get all(): Uint8Array {
    return this.bytes.subarray(0, this.at);
  }
}

describe('a place in a file', () => {
  const reader = (value: bigint): MessageReader =>
    new MessageReader(new Uint8Array(new BigUint64Array([value]).buffer), 0);

  it('that a double does not hold is behind the end of what is read, and too far to write', () => {
    expect([reader(7n).offset(), reader(7n).extent()]).toEqual([7, 7]);
    for (const far of [2n ** 53n, 2n ** 64n - 1n]) {
      expect(reader(far).offset()).toBe(Number.MAX_SAFE_INTEGER);
      expect(() => reader(far).extent()).toThrow('EFBIG');
    }
  });
});

describe('an answer under construction', () => {
  it.each([1, 2, 4, 8])('grows at a number of %i bytes, wherever that is', (size) => {
    // The buffer has 4 KiB at first: what is behind that is written to a larger one.
    for (let before = 4096 - size; before <= 4096; before++) {
      const writer = new Written(0);
      writer.begin(1 << 20);
      writer.zeros(before);
      if (size === 1) writer.u8(0x11).u8(0x12);
      if (size === 2) writer.u16(0x1111).u16(0x1212);
      if (size === 4) writer.u32(0x1111_1111, 0x1212_1212);
      if (size === 8) writer.u64(0x1111_1111_1111_1111n, 0x1212_1212_1212_1212n);
      const expected = new Uint8Array(before + 2 * size);
      expected.fill(0x11, before, before + size).fill(0x12, before + size);
      expect(writer.all).toEqual(expected);
    }
  });

  it('has no more room than the guest', () => {
    const writer = new Written(4);
    writer.begin(12);
    expect(writer.left).toBe(8);
    expect(() => writer.u32(1, 2, 3)).toThrow('EINVAL');
    expect(new MessageReader(writer.all, 4).u64()).toBe(0x2_0000_0001n);
  });
});
