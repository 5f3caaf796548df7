/** The slots for cards: each card gets the next free one, so that the same description makes the same machine. */
import { UsageError } from '../../base/errors.js';
import type { PciEnvironment, PciFunction } from '../../bus/pci/function.js';
import type { PciBus } from '../../bus/pci/pci-bus.js';
import type { VirtioDevice } from '../../devices/virtio/device.js';
import { VirtioPci } from '../../devices/virtio/virtio-pci.js';
import type { Dma } from '../../iface/guest-memory.js';
import type { Snapshotable } from '../../snapshot/snapshotable.js';
import type { PciCard, VirtioSlots } from '../common/virtio-slots.js';
import { PC } from './layout.js';

export interface CardSlotsParts {
  readonly pci: PciBus;
  readonly environment: PciEnvironment;
  readonly dma: Dma;
}

export class CardSlots implements VirtioSlots {
  private next: number = PC.FIRST_CARD_SLOT;
  private readonly transports: Pick<PciCard, 'resume'>[] = [];
  /** Transports and devices, in the order in which they are restored. */
  readonly parts: Snapshotable[] = [];

  constructor(private readonly connections: CardSlotsParts) {}

  /** Returns the card's slot. Throws a one-line error when there is none left. `parts`: what of the card is saved. */
  attach(card: PciFunction, parts: readonly Snapshotable[]): number {
    if (this.next > PC.LAST_CARD_SLOT) {
      const all = PC.LAST_CARD_SLOT - PC.FIRST_CARD_SLOT + 1;
      throw new UsageError(`there are more than ${all} cards: disks, network interfaces and other devices`);
    }
    const slot = this.next++;
    this.connections.pci.attach(slot, card);
    this.parts.push(...parts);
    return slot;
  }

  /** `rom`: what firmware finds on the card. */
  attachVirtio(device: VirtioDevice, rom?: Uint8Array): number {
    const { environment, dma } = this.connections;
    const transport = new VirtioPci({ name: device.id, device, environment, dma });
    if (rom) transport.pci.addRom(rom);
    return this.attachTransport(transport, device);
  }

  attachCard(make: (environment: PciEnvironment, dma: Dma) => PciCard, rom?: Uint8Array): void {
    const { environment, dma } = this.connections;
    const card = make(environment, dma);
    if (rom) card.pci.addRom(rom);
    this.transports.push(card);
    this.attach(card.pci, [card]);
  }

  attachTransport(transport: VirtioPci, device: VirtioDevice): number {
    this.transports.push(transport);
    return this.attach(transport.pci, [transport, device]);
  }

  /** Slots from `first` on that no card has taken. */
  freeFrom(first: number): number[] {
    const slots: number[] = [];
    for (let slot = Math.max(first, this.next); slot <= PC.LAST_CARD_SLOT; slot++) slots.push(slot);
    return slots;
  }

  /** Lets devices go on with what was under way, after all of a machine was restored. */
  resume(): void {
    for (const transport of this.transports) transport.resume();
  }
}
