/** The PC's guest-physical memory map as slots: RAM below and above the hole, ROM, and the shadow area that PAM switches. */
import { GIB, gpa, MIB } from '../../base/units.js';
import type { MemorySlot } from '../../iface/guest-memory.js';
import type { BiosPlacement } from '../../firmware/bios.js';
import { splitRam } from '../../firmware/memory-map.js';
import type { ShadowSegment } from '../../devices/pci/host-bridge.js';
import { PC } from './layout.js';

/** What backs the machine: RAM at offset 0, the BIOS image (if any) behind it. */
export interface PcBacking {
  readonly ramSize: number;
  readonly bios: BiosPlacement | undefined;
}

const ram = (start: number, end: number, offset: number): MemorySlot[] =>
  end > start ? [{ start: gpa(start), size: end - start, offset, kind: 'ram' }] : [];

/**
 * The slots for a setting of the shadow area. Reads from RAM with writes to it is RAM; reads from RAM without is ROM in
 * RAM's place; reads from ROM are the BIOS image, or open bus.
 *
 * DEVIATION: "read ROM, write RAM" reads from RAM: a slot is one thing. Firmware that copies itself in place (SeaBIOS) first
 * copies with the CPU, which finds the ROM below 4 GiB as well.
 */
export function memorySlots(backing: PcBacking, shadow: readonly ShadowSegment[]): MemorySlot[] {
  const { low, high } = splitRam(backing.ramSize, PC.LOW_RAM_LIMIT);
  const slots = [
    ...ram(0, Math.min(low, PC.VGA_WINDOW), 0),
    ...ram(MIB, low, MIB),
    ...ram(4 * GIB, 4 * GIB + high, low),
  ];
  const { bios } = backing;
  if (bios)
    slots.push({
      start: bios.high.start,
      size: bios.high.size,
      offset: backing.ramSize + bios.high.offset,
      kind: 'rom',
    });
  for (const segment of shadow) slots.push(...shadowSlot(backing, segment, low));
  return merge(slots);
}

function shadowSlot({ bios, ramSize }: PcBacking, segment: ShadowSegment, low: number): MemorySlot[] {
  const { start, size } = segment;
  const inRam = start + size <= low;
  if (inRam && segment.writeRam) return [{ start, size, offset: start, kind: 'ram' }];
  if (inRam && segment.readRam) return [{ start, size, offset: start, kind: 'rom' }];
  if (bios === undefined || start < bios.low.start) return [];
  return [{ start, size, offset: ramSize + bios.low.offset + (start - bios.low.start), kind: 'rom' }];
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
