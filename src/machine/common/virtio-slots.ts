import type { VirtioDevice } from '../../devices/virtio/device.js';
import type { Snapshotable } from '../../snapshot/snapshotable.js';

/** Where a board takes virtio devices: each gets the next free place, so that the same description makes the same machine. */
export interface VirtioSlots {
  /** Throws a one-line error when there is no place left. `rom`: what firmware finds with it, where there is firmware. */
  attachVirtio(device: VirtioDevice, rom?: Uint8Array): void;
  /** Transports and devices, in the order in which they are restored. */
  readonly parts: Snapshotable[];
}
