import { GIB } from '../../base/units.js';
import { UsageError } from '../../base/errors.js';
import type { Placer } from '../guest-memory.js';
import type { ElfSegment } from './elf.js';

/** Puts a kernel's segments where they want to be, and clears what the file does not fill. */
export function placeSegments(placer: Placer, name: string, image: Uint8Array, segments: readonly ElfSegment[]): void {
  for (const { fileOffset, fileSize, physicalAddress, memorySize } of segments) {
    if (physicalAddress + memorySize > 4 * GIB) throw new UsageError(`${name} wants to be loaded above 4 GiB`);
    placer.claim(physicalAddress, memorySize, name);
    placer.write(physicalAddress, image.subarray(fileOffset, fileOffset + fileSize));
    placer.zero(physicalAddress + fileSize, memorySize - fileSize);
  }
}
