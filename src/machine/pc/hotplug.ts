/** The PC's slots for cards that come and go while it runs, behind the registers of ACPI's methods for them. */
import { assert } from '../../base/assert.js';
import { UsageError } from '../../base/errors.js';
import type { PciEnvironment } from '../../bus/pci/function.js';
import type { PciBus } from '../../bus/pci/pci-bus.js';
import { PciHotplug } from '../../devices/acpi/pci-hotplug.js';
import { E1000 } from '../../devices/e1000/e1000.js';
import { VirtioBlock } from '../../devices/virtio/block.js';
import type { VirtioDevice } from '../../devices/virtio/device.js';
import { VirtioEntropy } from '../../devices/virtio/entropy.js';
import { VirtioNet } from '../../devices/virtio/net/virtio-net.js';
import { VirtioPci } from '../../devices/virtio/virtio-pci.js';
import type { Clock, Entropy } from '../../iface/clock.js';
import type { Dma } from '../../iface/guest-memory.js';
import type { NetBackend, Nic } from '../../iface/net.js';
import type { Snapshotable } from '../../snapshot/snapshotable.js';
import type { BoardCard, HotplugSlots } from '../common/cards.js';
import { shareDevice } from '../common/sharing.js';
import type { PciCard } from '../common/virtio-slots.js';

export interface PcHotplugParts {
  readonly pci: PciBus;
  readonly environment: PciEnvironment;
  readonly dma: Dma;
  readonly clock: Clock;
  readonly entropy: Entropy;
  /** By number, ascending. */
  readonly slots: readonly number[];
  /** Makes the general-purpose event happen. */
  readonly raise: () => void;
  /** The guest has let go of a card, which is not there any more. */
  readonly ejected: (id: string) => void;
}

interface Plugged {
  readonly id: string;
  readonly card: PciCard;
  /** What is saved of it, in the order in which it is restored. */
  readonly parts: readonly Snapshotable[];
  readonly backend: NetBackend | undefined;
}

/** What is at a network's end when its card has gone: frames are lost, as at the end of a cable. */
const NO_CARD: Nic = {
  offloads: { checksum: false, tcp4: false, tcp6: false },
  receive: () => true,
  received: () => {},
  sendReady: () => {},
  settle: () => false,
  linkChanged: () => {},
};

export class PcHotplug implements HotplugSlots {
  readonly registers: PciHotplug;
  readonly slots: readonly number[];
  /** By slot. */
  private readonly plugged = new Map<number, Plugged>();

  constructor(private readonly given: PcHotplugParts) {
    this.slots = given.slots;
    this.registers = new PciHotplug({
      slots: given.slots.reduce((bits, slot) => bits + 2 ** slot, 0),
      raise: given.raise,
      eject: (slot) => this.eject(slot),
    });
  }

  get free(): number | undefined {
    return this.slots.find((slot) => !this.plugged.has(slot));
  }

  get leaving(): readonly string[] {
    return [...this.plugged].filter(([slot]) => this.registers.isLeaving(slot)).map(([, { id }]) => id);
  }

  /** What is saved of all cards, in the order of their slots. */
  get parts(): Snapshotable[] {
    return this.slots.flatMap((slot) => this.plugged.get(slot)?.parts ?? []);
  }

  /** A card that is there when power comes on. */
  insert(card: BoardCard): void {
    const { slot, id } = card;
    assert(this.slots.includes(slot) && !this.plugged.has(slot), `slot ${slot} takes a card`);
    for (const [, other] of this.given.pci.attached)
      if (other.name === id) throw new UsageError(`Duplicate device ID '${id}'`);
    const plugged = this.make(card);
    this.given.pci.attach(slot, plugged.card.pci);
    this.plugged.set(slot, plugged);
  }

  plug(card: BoardCard): void {
    this.insert(card);
    this.registers.plugged(card.slot);
  }

  requestUnplug(id: string): void {
    for (const [slot, card] of this.plugged) if (card.id === id) this.registers.requestEject(slot);
  }

  takeOut(id: string): void {
    for (const [slot, card] of this.plugged) if (card.id === id) this.eject(slot);
  }

  private eject(slot: number): void {
    const plugged = this.plugged.get(slot);
    if (!plugged) return;
    const { card, id, backend } = plugged;
    // Nothing of it reaches memory or interrupts from here on, whatever its driver had under way.
    card.turnOff();
    backend?.connect(NO_CARD);
    this.given.pci.detach(slot);
    this.plugged.delete(slot);
    this.registers.removed(slot);
    this.given.ejected(id);
  }

  private make(card: BoardCard): Plugged {
    const { id } = card;
    const { environment, dma, clock, entropy } = this.given;
    const section = `card.${id}`;
    const virtio = (device: VirtioDevice, backend?: NetBackend): Plugged => {
      const transport = new VirtioPci({ name: id, device, environment, dma });
      return { id, card: transport, parts: [transport, device, ...(backend ? [backend] : [])], backend };
    };
    switch (card.kind) {
      case 'disk': {
        const { backend, queues, serial } = card;
        return virtio(new VirtioBlock({ id: section, backend, queues, serial }));
      }
      case 'entropy':
        return virtio(new VirtioEntropy(section, entropy));
      case 'share':
        return virtio(shareDevice(section, card.share));
      case 'nic': {
        const { model, backend, mac, queues, mtu } = card.nic;
        if (model === 'virtio-net')
          return virtio(new VirtioNet({ id: section, backend, mac, pairs: queues, mtu, clock }), backend);
        const e1000 = new E1000({ id: section, name: id, environment, dma, backend, mac, clock });
        return { id, card: e1000, parts: [e1000, backend], backend };
      }
    }
  }

  /** Lets devices go on with what was under way, after all of a machine was restored. */
  resume(): void {
    for (const { card } of this.plugged.values()) card.resume();
  }
}
