/** Takes memory that a guest does not need, and gives it back to the host where that can be done. */
import { MIB, PAGE_SIZE, type Gpa } from '../../base/units.js';
import type { MemoryTaker } from '../../devices/virtio/balloon.js';
import { backingPieces, type BackingMemory } from '../../iface/guest-memory.js';
import type { Vm } from '../../iface/vcpu.js';

const ABOVE_4G = 2 ** 32;

export class BoardMemoryTaker implements MemoryTaker {
  /** `giveBack`: lets the host have the memory, which is zeros then; false when it cannot. */
  constructor(
    private readonly vm: BackingMemory & Pick<Vm, 'backingWritten'>,
    private readonly ramSize: number,
    /** RAM below 4 GiB ends here at the latest; the rest of it continues at 4 GiB. */
    private readonly lowRamLimit: number,
    private readonly giveBack: (bytes: Uint8Array) => boolean,
    /** Where RAM above 4 GiB begins in the backing; absent: behind that below. */
    private readonly highOffset = Math.min(ramSize, lowRamLimit),
  ) {}

  take(start: Gpa, length: number): void {
    const low = Math.min(this.ramSize, this.lowRamLimit);
    // Below 1 MiB things are not only memory; there is nothing to be had.
    this.takeWithin(start, length, MIB, low, 0);
    this.takeWithin(start, length, ABOVE_4G, ABOVE_4G + this.ramSize - low, this.highOffset - ABOVE_4G);
  }

  private takeWithin(start: number, length: number, from: number, to: number, toBacking: number): void {
    const begin = Math.max(start, from);
    const end = Math.min(start + length, to);
    if (end <= begin) return;
    for (const bytes of backingPieces(this.vm, begin + toBacking, end - begin)) if (!this.giveBack(bytes)) clear(bytes);
    this.vm.backingWritten(begin + toBacking, end - begin);
  }
}

/** Page by page: writing zeros to a page that was never touched would make the host allocate it. */
function clear(bytes: Uint8Array): void {
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
  const step = PAGE_SIZE / 4;
  for (let at = 0; at < words.length; at += step) {
    const page = words.subarray(at, at + step);
    if (page.some((word) => word !== 0)) page.fill(0);
  }
}
