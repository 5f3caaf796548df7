/** The PC's guest-physical memory map as slots: RAM below and above the hole, ROM, and the shadow area that PAM switches. */
import { GIB, gpa, MIB } from '../../base/units.js';
import type { IoHandler } from '../../iface/bus.js';
import type { MemorySlot } from '../../iface/guest-memory.js';
import type { Vm } from '../../iface/vcpu.js';
import type { BiosMapping, BiosPlacement } from '../../firmware/bios.js';
import { splitRam } from '../../firmware/memory-map.js';
import type { ShadowSegment } from '../../devices/pci/host-bridge.js';
import { PC } from './layout.js';

/** What backs the machine: RAM at offset 0, the BIOS image (if any) behind it. */
export interface PcBacking {
  readonly ramSize: number;
  /** Where the BIOS image begins in the backing; absent: behind all RAM. */
  readonly romOffset?: number;
  /** Where RAM above 4 GiB begins in the backing; absent: behind that below. */
  readonly highOffset?: number;
  readonly bios: BiosPlacement | undefined;
}

/** Bytes from an address on. */
export interface AddressSpan {
  readonly start: number;
  readonly size: number;
}

const ram = (start: number, end: number, offset: number): MemorySlot[] =>
  end > start ? [{ start: gpa(start), size: end - start, offset, kind: 'ram' }] : [];

/**
 * The slots for a setting of the shadow area. Reads and writes to RAM are RAM; reads from RAM alone are ROM in RAM's place;
 * reads from ROM are the BIOS image, or open bus. Writes to where no RAM is to be read go to the bus: see `ShadowWrites`.
 */
export function memorySlots(
  backing: PcBacking,
  shadow: readonly ShadowSegment[],
  hidden: readonly AddressSpan[] = [],
): MemorySlot[] {
  const { low, high } = splitRam(backing.ramSize, PC.LOW_RAM_LIMIT);
  const slots = [
    ...ram(0, Math.min(low, PC.VGA_WINDOW), 0),
    ...ram(MIB, low, MIB),
    ...ram(4 * GIB, 4 * GIB + high, backing.highOffset ?? low),
  ];
  const { bios } = backing;
  if (bios) slots.push(...romSlots(bios.high, backing.romOffset ?? backing.ramSize, hidden));
  for (const segment of shadow) slots.push(...shadowSlot(backing, segment, low));
  return merge(slots);
}

/** A BIOS image below 4 GiB, without the flash chips in it that answer themselves. */
function romSlots(
  { start, size, offset }: BiosMapping,
  romOffset: number,
  hidden: readonly AddressSpan[],
): MemorySlot[] {
  const slots: MemorySlot[] = [];
  let at: number = start;
  const upTo = (end: number): void => {
    if (end > at)
      slots.push({ start: gpa(at), size: end - at, offset: romOffset + offset + (at - start), kind: 'rom' });
  };
  for (const span of hidden.toSorted((a, b) => a.start - b.start)) {
    upTo(span.start);
    at = span.start + span.size;
  }
  upTo(start + size);
  return slots;
}

function shadowSlot(
  { bios, ramSize, romOffset = ramSize }: PcBacking,
  segment: ShadowSegment,
  low: number,
): MemorySlot[] {
  const { start, size } = segment;
  const inRam = start + size <= low;
  if (inRam && segment.readRam) return [{ start, size, offset: start, kind: segment.writeRam ? 'ram' : 'rom' }];
  if (bios === undefined || start < bios.low.start) return [];
  return [{ start, size, offset: romOffset + bios.low.offset + (start - bios.low.start), kind: 'rom' }];
}

/** Joins neighbours that are one piece: fewer slots are faster to search. */
function merge(slots: readonly MemorySlot[]): MemorySlot[] {
  const merged: MemorySlot[] = [];
  for (const slot of slots.toSorted((a, b) => a.start - b.start)) {
    const last = merged.at(-1);
    if (last?.kind === slot.kind && last.start + last.size === slot.start && last.offset + last.size === slot.offset)
      merged[merged.length - 1] = { ...last, size: last.size + slot.size };
    else merged.push(slot);
  }
  return merged;
}

/**
 * The shadow area on the bus: writes go on to RAM in segments that are read from ROM and written to RAM. With such a setting
 * a BIOS copies itself in place.
 */
export class ShadowWrites implements IoHandler {
  segments: readonly ShadowSegment[] = [];

  constructor(private readonly vm: Pick<Vm, 'backing' | 'backingWritten'>) {}

  /** Reached only where there is no ROM either. */
  read(_offset: number, size: number): number {
    return size === 4 ? 0xffff_ffff : size === 2 ? 0xffff : 0xff;
  }

  write(offset: number, size: number, value: number): void {
    const address = PC.SHADOW + offset;
    const segment = this.segments.find(({ start, size: length }) => address >= start && address < start + length);
    if (!segment?.writeRam || segment.readRam) return;
    for (let i = 0; i < size; i++) this.vm.backing[address + i] = (value >>> (8 * i)) & 0xff;
    this.vm.backingWritten(address, size);
  }
}
