/** Where things are on the microvm board. Addresses and sizes in bytes; where QEMU's board of that name has them, too. */
import { GIB } from '../../base/units.js';

export const MICROVM = {
  /** RAM below 4 GiB ends here at the latest; the rest continues at 4 GiB. */
  LOW_RAM_LIMIT: 3 * GIB,
  /** Sleep, reset and event registers. */
  GED: 0xfea0_0000,
  /** Windows of virtio devices, one behind the other. */
  VIRTIO: 0xfeb0_0000,
  /** Devices that there can be. */
  VIRTIO_SLOTS: 32,
  LOCAL_APIC: 0xfee0_0000,
  /** GSI of the event device. */
  GED_GSI: 9,
  COM1: { port: 0x3f8, irq: 4 },
  RTC_IRQ: 8,
} as const;

/** GSIs of virtio devices in the order of their slots; with more devices than that they are shared. */
const VIRTIO_GSIS = [16, 17, 18, 19, 20, 21, 22, 23, 5, 6, 7, 10, 11, 12, 13, 14, 15] as const;

export const virtioGsi = (slot: number): number => VIRTIO_GSIS[slot % VIRTIO_GSIS.length];
