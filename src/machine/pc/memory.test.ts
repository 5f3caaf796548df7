import { describe, expect, it } from 'vitest';
import { GIB, gpa, MIB } from '../../base/units.js';
import type { ShadowSegment } from '../../devices/pci/host-bridge.js';
import { placeBios } from '../../firmware/bios.js';
import { PcBuilder } from './build.js';
import { PC } from './layout.js';
import { memorySlots, ShadowWrites } from './memory.js';

const RAM = 16 * MIB;
const segment = (readRam: boolean, writeRam: boolean): ShadowSegment => ({
  start: gpa(0xf_0000),
  size: 0x1_0000,
  readRam,
  writeRam,
});

describe('the shadow area', () => {
  const bios = placeBios(new Uint8Array(256 * 1024).fill(0xf4), 'BIOS');
  const slotAt = (shadow: ShadowSegment): { offset: number; kind: string } | undefined => {
    const slots = memorySlots({ ramSize: RAM, bios }, [shadow]);
    const slot = slots.find(({ start, size }) => start <= 0xf_8000 && start + size > 0xf_8000);
    return slot && { offset: slot.offset + 0xf_8000 - slot.start, kind: slot.kind };
  };

  it('is ROM or RAM to reads as PAM says, and RAM to writes only where it can be read as well', () => {
    const inBios = RAM + 256 * 1024 - 0x8000;
    expect(slotAt(segment(false, false))).toEqual({ offset: inBios, kind: 'rom' });
    expect(slotAt(segment(false, true))).toEqual({ offset: inBios, kind: 'rom' });
    expect(slotAt(segment(true, false))).toEqual({ offset: 0xf_8000, kind: 'rom' });
    expect(slotAt(segment(true, true))).toEqual({ offset: 0xf_8000, kind: 'ram' });
  });

  it('has the whole BIOS below 4 GiB, whatever PAM says', () => {
    const slots = memorySlots({ ramSize: RAM, bios }, [segment(true, true)]);
    expect(slots.at(-1)).toEqual({ start: 4 * GIB - 256 * 1024, size: 256 * 1024, offset: RAM, kind: 'rom' });
  });

  it('passes writes on to RAM while reads come from ROM', () => {
    const backing = new Uint8Array(RAM);
    const written: number[] = [];
    const shadow = new ShadowWrites({ backing, backingWritten: (offset, length) => written.push(offset, length) });
    for (const [readRam, writeRam] of [
      [false, false],
      [true, false],
      [false, true],
    ] as const) {
      shadow.segments = [segment(readRam, writeRam)];
      shadow.write(0x3_8000, 4, 0x1234_5678);
      expect(backing[0xf_8000]).toBe(writeRam ? 0x78 : 0);
    }
    expect([...backing.subarray(0xf_8000, 0xf_8004)]).toEqual([0x78, 0x56, 0x34, 0x12]);
    expect(written).toEqual([0xf_8000, 4]);
  });
});

describe('memory beyond what lies in one piece', () => {
  it('is above 4 GiB, behind all else in the backing', () => {
    const bios = placeBios(new Uint8Array(256 * 1024).fill(0xf4), 'BIOS');
    const [low, rom, behind] = [PC.LOW_RAM_LIMIT, PC.LOW_RAM_LIMIT, PC.LOW_RAM_LIMIT + 64 * MIB];
    const slots = memorySlots({ ramSize: low + 5 * GIB, romOffset: rom, highOffset: behind, bios }, []);
    expect(slots.find(({ start }) => start === 4 * GIB)).toEqual({
      start: 4 * GIB,
      size: 5 * GIB,
      offset: behind,
      kind: 'ram',
    });
    expect(slots.find(({ kind }) => kind === 'rom')?.offset).toBe(rom);
    expect(slots.filter(({ start, kind }) => kind === 'ram' && start < 4 * GIB).at(-1)).toMatchObject({
      start: MIB,
      size: low - MIB,
    });
  });
});

describe('a PC with so much memory', () => {
  const specification = { cpu: 'x86-64-v2', debugExit: false, boot: {}, tscHz: 1e9 };
  const request = (ramSize: number): PcBuilder['vmRequest'] => new PcBuilder({ ...specification, ramSize }).vmRequest;

  it('asks for what is above 4 GiB apart, when one piece is too small', () => {
    expect(request(3 * GIB).farSize).toBeUndefined();
    const { backingSize, farSize } = request(8 * GIB);
    expect(farSize).toBe(8 * GIB - PC.LOW_RAM_LIMIT);
    expect(backingSize).toBeLessThan(4 * GIB);
    expect(backingSize).toBeGreaterThanOrEqual(PC.LOW_RAM_LIMIT);
  });

  it('has no room for more than there are addresses', () => {
    expect(() => request(200 * GIB)).toThrow(/room for 62\.75 GiB of memory at most/);
  });
});
