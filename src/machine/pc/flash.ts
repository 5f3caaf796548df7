/** Flash chips below 4 GiB: firmware's code, and what it wants to remember. */
import { UsageError } from '../../base/errors.js';
import { GIB, gpa, KIB, MIB } from '../../base/units.js';
import { CfiFlash, FLASH_BLOCK } from '../../devices/legacy/flash/cfi-flash.js';
import type { BiosPlacement } from '../../firmware/bios.js';
import type { BlockBackend } from '../../iface/block.js';
import type { IoSpace } from '../../iface/bus.js';
import type { Vm } from '../../iface/vcpu.js';

/** A chip; the first one ends at 4 GiB, where the processor starts, each further one below the one before. */
export interface PcFlash {
  /** How messages call it. */
  readonly name: string;
  readonly file: BlockBackend;
  /** Writes change the machine's memory alone, not the file. */
  readonly volatile: boolean;
}

/** What lies between the local APIC and 4 GiB. */
const MAX_SIZE = 16 * MIB;

/** `size`: bytes of the image. Throws a one-line error. */
export function checkFlashSize(name: string, size: number): void {
  if (size === 0 || size % FLASH_BLOCK !== 0)
    throw new UsageError(`the flash image ${name} is not a whole number of 4 KiB blocks long`);
}

/** Where chips go: as one piece, with the end of the first one below 1 MiB once more. Throws a one-line error. */
export function placeFlash(chips: readonly PcFlash[]): BiosPlacement | undefined {
  if (chips.length === 0) return undefined;
  for (const { name, file } of chips) checkFlashSize(name, file.size);
  const size = chips.reduce((sum, { file }) => sum + file.size, 0);
  if (size > MAX_SIZE) throw new UsageError('the flash images together are larger than 16 MiB');
  const low = Math.min(chips[0].file.size, 128 * KIB);
  return {
    high: { start: gpa(4 * GIB - size), offset: 0, size },
    low: { start: gpa(MIB - low), offset: size - low, size: low },
  };
}

export interface FlashChipsParts {
  readonly chips: readonly PcFlash[];
  readonly vm: Pick<Vm, 'backing' | 'backingWritten'>;
  readonly memory: IoSpace;
  /** Where the chips' contents lie in the backing: the lowest one first. */
  readonly offset: number;
  /** What can be read as memory has changed. */
  readonly changed: () => void;
}

/** The chips on a board. */
export class FlashChips {
  readonly parts: readonly CfiFlash[];
  private readonly hiddenRanges = new Map<string, { readonly start: number; readonly size: number }>();

  constructor({ chips, vm, memory, offset, changed }: FlashChipsParts) {
    const total = chips.reduce((sum, { file }) => sum + file.size, 0);
    let below = 0;
    this.parts = chips.map(({ name, file, volatile: temporary }, i) => {
      below += file.size;
      const from = offset + total - below;
      const start = 4 * GIB - below;
      const data = vm.backing.subarray(from, from + file.size);
      load(file, data, name);
      const id = `flash${i}`;
      const chip = new CfiFlash({
        id,
        data,
        file: temporary || file.readOnly ? undefined : file,
        readOnly: file.readOnly && !temporary,
        readable: (whether) => {
          if (whether) this.hiddenRanges.delete(id);
          else this.hiddenRanges.set(id, { start, size: file.size });
          changed();
        },
        changed: (at, length) => vm.backingWritten(from + at, length),
      });
      memory.claim(id, file.size, chip.handler, start);
      return chip;
    });
  }

  /** Chips that answer themselves instead of being read as memory. */
  get hidden(): readonly { readonly start: number; readonly size: number }[] {
    return [...this.hiddenRanges.values()];
  }
}

function load(file: BlockBackend, data: Uint8Array, name: string): void {
  const answer: { status?: string } = {};
  const bytes = new Uint8Array(data.length);
  file.read(0, bytes, (status) => {
    answer.status = status;
  });
  if (answer.status !== 'ok') throw new UsageError(`cannot read the flash image ${name}`);
  data.set(bytes);
}
