import { viewOf } from '../bytes.js';
import type { Elf } from './elf.js';

/** XEN_ELFNOTE_PHYS32_ENTRY: the physical address of the 32-bit entry (xen/include/public/elfnote.h). */
const PHYS32_ENTRY = 18;

/** The entry that an ELF kernel gives for PVH, or undefined. */
export function findPvhEntry(elf: Elf): number | undefined {
  const note = elf.notes.find((each) => each.name === 'Xen' && each.type === PHYS32_ENTRY);
  if (note === undefined || note.description.length < 4) return undefined;
  return viewOf(note.description).getUint32(0, true);
}
