/** The places for virtio devices on the board: each device gets the next one. */
import { UsageError } from '../../base/errors.js';
import type { IrqLine } from '../../iface/lines.js';
import type { Dma } from '../../iface/guest-memory.js';
import type { IoSpace } from '../../iface/bus.js';
import type { VirtioDevice } from '../../devices/virtio/device.js';
import { VIRTIO_MMIO_SIZE, VirtioMmio } from '../../devices/virtio/virtio-mmio.js';
import type { Snapshotable } from '../../snapshot/snapshotable.js';
import type { VirtioSlots } from '../common/virtio-slots.js';
import { MICROVM, virtioGsi } from './layout.js';

export interface MmioSlotsParts {
  readonly memory: IoSpace;
  readonly dma: Dma;
  /** A new driver of a global system interrupt. */
  readonly gsi: (number: number) => IrqLine;
}

export class MmioSlots implements VirtioSlots {
  readonly parts: Snapshotable[] = [];
  private readonly transports: VirtioMmio[] = [];

  constructor(private readonly connections: MmioSlotsParts) {}

  /** Firmware, which would look for a ROM, there is none. */
  attachVirtio(device: VirtioDevice): void {
    const slot = this.transports.length;
    if (slot >= MICROVM.VIRTIO_SLOTS)
      throw new UsageError(`the machine microvm has places for ${MICROVM.VIRTIO_SLOTS} devices, and there are more`);
    const { memory, dma, gsi } = this.connections;
    const transport = new VirtioMmio({ device, dma, irq: gsi(virtioGsi(slot)) });
    this.transports.push(transport);
    this.parts.push(transport, device);
    memory.claim(device.id, VIRTIO_MMIO_SIZE, transport, MICROVM.VIRTIO + slot * VIRTIO_MMIO_SIZE);
  }

  /** For firmware tables. */
  get windows(): readonly { readonly base: number; readonly size: number; readonly gsi: number }[] {
    return this.transports.map((_, slot) => ({
      base: MICROVM.VIRTIO + slot * VIRTIO_MMIO_SIZE,
      size: VIRTIO_MMIO_SIZE,
      gsi: virtioGsi(slot),
    }));
  }

  /** Lets devices go on with what was under way, after all of a machine was restored. */
  resume(): void {
    for (const transport of this.transports) transport.resume();
  }
}
