/** A flat BIOS image: where it goes in the address space. The CPU starts in it, at the reset vector. */
import { GIB, gpa, KIB, MIB, type Gpa } from '../base/units.js';
import { UsageError } from '../base/errors.js';
import { isElf } from './loaders/elf.js';
import type { BootState } from '../arch/x86/boot-state.js';

/** A part of a BIOS image mapped read-only. */
export interface BiosMapping {
  readonly start: Gpa;
  /** Offset in the image, and size. Bytes, multiples of 4 KiB. */
  readonly offset: number;
  readonly size: number;
}

export interface BiosPlacement {
  /** The whole image, ending at 4 GiB. */
  readonly high: BiosMapping;
  /** Its end once more, ending at 1 MiB: at most 128 KiB. The chipset's PAM registers decide whether it shows. */
  readonly low: BiosMapping;
}

/** The largest image: what lies between the local APIC and 4 GiB. */
const MAX_SIZE = 16 * MIB;

/** The processor starts that many bytes before 4 GiB (SDM vol. 3 §10.1.4). */
const RESET_VECTOR = 16;

/** Checks a BIOS image and says where its parts go. `name` is how messages call it. */
export function placeBios(image: Uint8Array, name: string): BiosPlacement {
  const size = image.length;
  if (size === 0) throw new UsageError(`${name} is empty`);
  if (isElf(image)) throw new UsageError(`${name} is an ELF file, not a BIOS image; is it meant for --kernel?`);
  if (size % (64 * KIB) !== 0)
    throw new UsageError(
      `${name} is not a BIOS image, or is truncated: its size (${size}) is not a multiple of 64 KiB`,
    );
  if (size > MAX_SIZE) throw new UsageError(`${name} is not a BIOS image: it is larger than 16 MiB`);
  const first = image[size - RESET_VECTOR];
  if ((first === 0 || first === 0xff) && image.subarray(size - RESET_VECTOR).every((byte) => byte === first))
    throw new UsageError(
      `${name} is no x86 BIOS image, or is truncated: there is no code at its end, where the processor starts`,
    );
  const shadow = Math.min(size, 128 * KIB);
  return {
    high: { start: gpa(4 * GIB - size), offset: 0, size },
    low: { start: gpa(MIB - shadow), offset: size - shadow, size: shadow },
  };
}

/** The first CPU starts as at power-on. */
export const biosBootState: BootState = {};
