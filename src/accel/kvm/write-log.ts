/**
 * Which pages of memory have been written to: by guests, as KVM says (its dirty log, api.rst 4.8), and by devices. For slots that are
 * watched, since they are there.
 */
import { PAGE_SIZE } from '../../base/units.js';
import type { MemorySlot } from '../../iface/guest-memory.js';
import { KVM, SIZE } from './abi.js';
import { addressOf, ioctl } from './libc.js';
import { Structure } from './registers.js';

/** Memory that is watched, mapped or not. */
interface Area {
  /** Where it begins in the backing, bytes. */
  readonly offset: number;
  /** 1 for each page that was written to and that nobody has asked for since. */
  readonly written: Uint8Array;
  /** KVM's number for the slot that it is in. */
  slot: number | undefined;
}

/** Words of 64 bits, a bit for each page. */
const bitmapBytes = (pages: number): number => Math.ceil(pages / 64) * 8;

export class WriteLog {
  private readonly areas: Area[] = [];

  /** `vm`: KVM's machine. */
  constructor(private readonly vm: number) {}

  /** KVM has a slot under a number. */
  added(slot: number, { offset, size, watched = false }: MemorySlot): void {
    if (!watched) return;
    const known = this.areas.find((area) => area.offset === offset && area.written.length === size / PAGE_SIZE);
    if (known) known.slot = slot;
    else this.areas.push({ offset, written: new Uint8Array(size / PAGE_SIZE).fill(1), slot });
  }

  /** It is about to be taken away, and what KVM knows of it. */
  removing(slot: number): void {
    const area = this.areas.find((one) => one.slot === slot);
    if (area === undefined) return;
    this.collect(area);
    area.slot = undefined;
  }

  /** A device has written there. */
  wrote(offset: number, length: number): void {
    for (const area of this.areas) {
      const first = Math.floor((offset - area.offset) / PAGE_SIZE);
      const end = Math.ceil((offset + length - area.offset) / PAGE_SIZE);
      if (end > 0 && first < area.written.length) area.written.fill(1, Math.max(0, first), end);
    }
  }

  /** See `Vm.takeWritten`. */
  take(offset: number, into: Uint8Array): void {
    const area = this.areas.find((one) => one.offset === offset && one.written.length === into.length);
    if (area === undefined) {
      into.fill(1);
      return;
    }
    this.collect(area);
    into.set(area.written);
    area.written.fill(0);
  }

  /** KVM forgets what it says. */
  private collect({ written, slot }: Area): void {
    if (slot === undefined) return;
    const bitmap = new Structure(bitmapBytes(written.length));
    const log = new Structure(SIZE.DIRTY_LOG);
    log.view.setUint32(0, slot, true);
    log.setU64(8, addressOf(bitmap.bytes));
    ioctl(this.vm, KVM.GET_DIRTY_LOG, log.bytes, 'KVM_GET_DIRTY_LOG');
    for (const [i, bits] of bitmap.bytes.entries()) {
      if (bits === 0) continue;
      for (let bit = 0; bit < 8; bit++) if (bits & (1 << bit)) written[i * 8 + bit] = 1;
    }
  }
}
