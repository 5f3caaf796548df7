import { describe, expect, it } from 'vitest';
import { gpa } from '../../base/units.js';
import type { MemorySlot } from '../../iface/guest-memory.js';
import { RandomSource } from '../../testing/random-source.js';
import { SlotDma } from './slot-dma.js';

const KIB = 1024;
const RAM = 256 * KIB;
/** RAM in two slots with a gap between, behind it a ROM. */
const SLOTS: readonly MemorySlot[] = [
  { start: gpa(0), size: 128 * KIB, offset: 0, kind: 'ram' },
  { start: gpa(0x10_0000), size: 128 * KIB, offset: 128 * KIB, kind: 'ram' },
  { start: gpa(0x10_0000 + 128 * KIB), size: 64 * KIB, offset: RAM, kind: 'rom' },
];

/** Where a byte of guest memory lies in the backing; undefined: nowhere. */
const offsetOf = (at: number): number | undefined => {
  const slot = SLOTS.find(({ start, size }) => at >= start && at < start + size);
  return slot === undefined ? undefined : slot.offset + at - slot.start;
};

describe('devices’ access to guest memory', () => {
  it('is the same with buffers in the machine’s memory and elsewhere', () => {
    const random = new RandomSource(54);
    const memory = new WebAssembly.Memory({ initial: 16, maximum: 16, shared: true });
    const backing = new Uint8Array(memory.buffer, 64 * KIB, RAM + 64 * KIB);
    const staging = new Uint8Array(memory.buffer, 512 * KIB, 64 * KIB);
    const written: [number, number][] = [];
    const dma = new SlotDma({ memory, backing, written: (offset, length) => written.push([offset, length]) });
    dma.setSlots(SLOTS);
    const model = new Uint8Array(backing.length);
    for (let i = 0; i < model.length; i++) model[i] = random.next();
    backing.set(model);
    const around = new Uint8Array(memory.buffer, 0, 64 * KIB);
    const buffers = [staging, new Uint8Array(64 * KIB), staging.subarray(3, 40_000)];
    for (let i = 0; i < 600; i++) {
      const buffer = buffers[random.below(buffers.length)];
      for (let k = 0; k < 64; k++) buffer[random.below(buffer.length)] = random.next();
      const begin = random.once(2) ? 0 : random.below(9000);
      const length = random.once(4) ? random.below(3000) : random.below(buffer.length - begin + 1);
      const at = random.below(0x10_0000 + 200 * KIB);
      const bytes = Array.from({ length }, (_, k) => offsetOf(at + k));
      const before = buffer.slice();
      if (random.once(2)) {
        expect(dma.read(gpa(at), buffer, begin, length)).toBe(!bytes.includes(undefined));
        for (const [k, offset] of bytes.entries()) before[begin + k] = offset === undefined ? 0xff : model[offset];
      } else {
        const told = written.length;
        const zeros = random.once(4);
        const complete = zeros ? dma.zero(gpa(at), length) : dma.write(gpa(at), buffer, begin, length);
        expect(complete).toBe(!bytes.includes(undefined));
        const changed = new Set<number>();
        for (const [k, offset] of bytes.entries())
          if (offset !== undefined && offset < RAM) {
            model[offset] = zeros ? 0 : before[begin + k];
            changed.add(offset);
          }
        for (const [offset, count] of written.slice(told)) for (let k = 0; k < count; k++) changed.delete(offset + k);
        expect(changed.size).toBe(0);
      }
      expect(Buffer.compare(buffer, before)).toBe(0);
    }
    expect(Buffer.compare(backing, model)).toBe(0);
    expect(around.every((byte) => byte === 0)).toBe(true);
  });

  it('takes pieces as one run of bytes', () => {
    const random = new RandomSource(7);
    const memory = new WebAssembly.Memory({ initial: 16, maximum: 16, shared: true });
    const backing = new Uint8Array(memory.buffer, 64 * KIB, RAM + 64 * KIB);
    const dma = new SlotDma({ memory, backing, written: () => {} });
    dma.setSlots(SLOTS);
    for (let i = 0; i < 300; i++) {
      for (let k = 0; k < 64; k++) backing[random.below(RAM)] = random.next();
      const model = backing.slice();
      // Apart, so that each byte is in one of them; some are empty, some not in RAM.
      const addresses = Array.from({ length: 1 + random.below(12) }, (_, k) =>
        gpa((random.once(20) ? 0x8_0000 : random.once(2) ? 0 : 0x10_0000) + 8 * KIB * k + random.below(4 * KIB)),
      );
      const lengths = addresses.map(() => random.below(4) * random.below(1400));
      const run = addresses.flatMap((at, k) => Array.from({ length: lengths[k] }, (_, n) => offsetOf(at + n)));
      const offset = random.below(run.length + 10);
      const bytes = new Uint8Array(random.below(run.length + 10));
      for (let k = 0; k < bytes.length; k++) bytes[k] = random.next();
      const part = run.slice(offset, offset + bytes.length);
      const complete = part.length === bytes.length && !part.includes(undefined);
      const way = random.below(3);
      if (way === 0) {
        const expected = bytes.slice();
        for (const [k, from] of part.entries()) expected[k] = from === undefined ? 0xff : model[from];
        expect(dma.readPieces({ addresses, lengths }, offset, bytes)).toBe(complete);
        expect(Buffer.compare(bytes, expected)).toBe(0);
      } else {
        const pieces = { addresses, lengths };
        const ok = way === 1 ? dma.writePieces(pieces, offset, bytes) : dma.zeroPieces(pieces, offset, bytes.length);
        expect(ok).toBe(complete);
        for (const [k, to] of part.entries()) if (to !== undefined) model[to] = way === 1 ? bytes[k] : 0;
      }
      expect(Buffer.compare(backing, model)).toBe(0);
    }
  });

  it('looks again where memory lies when that has changed', () => {
    const memory = new WebAssembly.Memory({ initial: 16, maximum: 16, shared: true });
    const backing = new Uint8Array(memory.buffer, 0, RAM);
    const dma = new SlotDma({ memory, backing, written: () => {} });
    const slot = (offset: number): MemorySlot => ({ start: gpa(0), size: 4 * KIB, offset, kind: 'ram' });
    for (const [i, offset] of [0, 8 * KIB, 0].entries()) {
      dma.setSlots([slot(offset)]);
      dma.writeU32(gpa(16), i + 1);
      expect(backing[offset + 16]).toBe(i + 1);
    }
  });
});
