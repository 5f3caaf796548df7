import type { PciFunction, PciEnvironment } from '../../bus/pci/function.js';
import type { Dma } from '../../iface/guest-memory.js';
import type { VirtioDevice } from '../../devices/virtio/device.js';
import type { Snapshotable } from '../../snapshot/snapshotable.js';

/** A card that is not virtio. */
export interface PciCard extends Snapshotable {
  readonly pci: PciFunction;
  /** Power goes: it forgets everything, and does nothing more by itself. */
  turnOff(): void;
  /** Goes on with what was under way, after all of a machine was restored. */
  resume(): void;
}

/** Where a board takes virtio devices: each gets the next free place, so that the same description makes the same machine. */
export interface VirtioSlots {
  /** Throws a one-line error when there is no place left. `rom`: what firmware finds with it, where there is firmware. */
  attachVirtio(device: VirtioDevice, rom?: Uint8Array): void;
  /** Attaches a card of PCI; absent: there is no such bus. */
  attachCard?(make: (environment: PciEnvironment, dma: Dma) => PciCard, rom?: Uint8Array): void;
  /** Transports and devices, in the order in which they are restored. */
  readonly parts: Snapshotable[];
}
