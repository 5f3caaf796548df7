/**
 * Registers by which a PC's cards come and go while it runs: what ACPI methods of the DSDT read and write when the general-purpose
 * event for it happens. The layout is that of QEMU's docs/specs/acpi_pci_hotplug (version 7.2), with one bus, which is number 0:
 * dwords of a bit for each slot. What methods do with them: ACPI 6.5 §5.6.4, §5.6.6, §6.3.3.
 */
import type { IoHandler } from '../../iface/bus.js';
import { struct, u32, type Infer } from '../../snapshot/schema.js';
import type { Snapshotable } from '../../snapshot/snapshotable.js';

/** Offsets from the first port. */
export const HOTPLUG_REG = {
  /** Slots into which a card was put; cleared by reading. */
  UP: 0x00,
  /** Slots whose card is to go; a bit stays until it has gone. */
  DOWN: 0x04,
  /** Written: the guest has let go of the cards in these slots. Reads 0. */
  EJECT: 0x08,
  /** Slots whose cards can go. */
  REMOVABLE: 0x0c,
  /** The bus that the others are about. */
  BUS: 0x10,
} as const;

/** Ports to claim. */
export const HOTPLUG_PORTS = 0x18;

/** The event of GPE0 by which the guest is told, as with QEMU; HOT_PLUG_STS of the ICH9 (316972-004, GPE0_STS). */
export const HOTPLUG_EVENT = 1;

const stateSchema = struct({ up: u32, down: u32, bus: u32 });
type State = Infer<typeof stateSchema>;

export interface PciHotplugParts {
  /** Slots, as bits, that cards may be plugged into. */
  readonly slots: number;
  /** Makes HOTPLUG_EVENT happen. */
  readonly raise: () => void;
  /** The guest lets go of the card in a slot; there may be none. */
  readonly eject: (slot: number) => void;
}

export class PciHotplug implements IoHandler, Snapshotable<State> {
  readonly id = 'pci-hotplug';
  readonly stateVersion = 1;
  readonly stateSchema = stateSchema;
  private up = 0;
  private down = 0;
  private bus = 0;

  constructor(private readonly parts: PciHotplugParts) {}

  /** There is a card in a slot now: tells the guest. */
  plugged(slot: number): void {
    this.up |= 1 << slot;
    this.down &= ~(1 << slot);
    this.parts.raise();
  }

  /** Asks the guest to let go of a card. It may be asked again: what happened before its drivers were there is lost. */
  requestEject(slot: number): void {
    this.down |= 1 << slot;
    this.parts.raise();
  }

  /** There is no card in a slot any more. */
  removed(slot: number): void {
    this.up &= ~(1 << slot);
    this.down &= ~(1 << slot);
  }

  /** Whether the guest was asked to let go of the card in a slot, and has not yet. */
  isLeaving(slot: number): boolean {
    return (this.down & (1 << slot)) !== 0;
  }

  read(offset: number, size: number): number {
    const value = this.peek(offset, size);
    if ((offset & ~3) === HOTPLUG_REG.UP && this.bus === 0) this.up = 0;
    return value;
  }

  peek(offset: number, size: number): number {
    const value = this.register(offset & ~3);
    return size === 4 ? value : (value >>> (8 * (offset & 3))) & (2 ** (8 * size) - 1);
  }

  private register(at: number): number {
    if (at === HOTPLUG_REG.BUS) return this.bus;
    // Other buses have no slots.
    if (this.bus !== 0) return 0;
    if (at === HOTPLUG_REG.UP) return this.up >>> 0;
    if (at === HOTPLUG_REG.DOWN) return this.down >>> 0;
    return at === HOTPLUG_REG.REMOVABLE ? this.parts.slots : 0;
  }

  /** Parts of registers are not written. */
  write(offset: number, size: number, value: number): void {
    if (size !== 4) return;
    if (offset === HOTPLUG_REG.BUS) this.bus = value;
    if (offset !== HOTPLUG_REG.EJECT || this.bus !== 0) return;
    const slots = value & this.parts.slots;
    for (let slot = 0; slot < 32; slot++) if (slots & (1 << slot)) this.parts.eject(slot);
  }

  save(): State {
    return { up: this.up >>> 0, down: this.down >>> 0, bus: this.bus };
  }

  restore(state: State): void {
    this.up = state.up & this.parts.slots;
    this.down = state.down & this.parts.slots;
    this.bus = state.bus;
  }
}
