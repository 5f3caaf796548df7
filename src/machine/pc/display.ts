/** What of the PC has to do with its screen: the adapter, its memory, and where it is attached. */
import { gpa } from '../../base/units.js';
import type { Bus } from '../../bus/io-space.js';
import type { PciEnvironment } from '../../bus/pci/function.js';
import { DISPI_PORT_COUNT, DISPI_PORTS } from '../../devices/legacy/vga/dispi.js';
import { VgaCard, VRAM_SIZE } from '../../devices/legacy/vga/vga-card.js';
import { Vga, VGA_MEMORY, VGA_MEMORY_SIZE, VGA_PORT_COUNT, VGA_PORTS } from '../../devices/legacy/vga/vga.js';
import type { Clock } from '../../iface/clock.js';
import type { DisplayAdapter } from '../../iface/display.js';
import type { MemorySlot } from '../../iface/guest-memory.js';
import type { Vm } from '../../iface/vcpu.js';
import type { Snapshotable } from '../../snapshot/snapshotable.js';
import type { CardSlots } from './card-slots.js';
import { PC } from './layout.js';

/** `std`: a PCI card with large modes. `isa`: a VGA without a card, as machines had that were saved by old versions. */
export const VGA_KINDS = ['std', 'isa', 'none'] as const;
export type VgaKind = (typeof VGA_KINDS)[number];

export interface PcDisplayOptions {
  readonly vga: VgaKind;
  /** The video BIOS, for the card's ROM. */
  readonly rom?: Uint8Array | undefined;
}

/** Bytes of the machine's backing memory that an adapter shows. */
export const displayMemory = (vga: VgaKind): number => (vga === 'std' ? VRAM_SIZE : 0);

export interface PcDisplayParts {
  readonly options: PcDisplayOptions;
  readonly clock: Clock;
  readonly bus: Bus;
  readonly environment: PciEnvironment;
  readonly cards: CardSlots;
  readonly vm: Pick<Vm, 'backing' | 'backingWritten'>;
  /** Where display memory begins in the backing, bytes, whole pages. */
  readonly memoryOffset: number;
  /** Told when display memory appears elsewhere. */
  readonly moved: () => void;
}

export class PcDisplay {
  readonly vga: Vga | undefined;
  readonly adapter: DisplayAdapter | undefined;
  /** In the order in which they are restored; the card is among the cards. */
  readonly parts: readonly Snapshotable[];
  /** Where the CPU finds display memory. */
  private memoryAddress: number | undefined;

  constructor(private readonly connections: PcDisplayParts) {
    const { options } = connections;
    this.vga = options.vga === 'none' ? undefined : this.addVga(options);
    this.adapter = this.vga;
    this.parts = this.vga ? [this.vga] : [];
  }

  private addVga({ vga: kind, rom }: PcDisplayOptions): Vga {
    const { bus, clock, cards, environment, vm, memoryOffset, moved } = this.connections;
    if (kind !== 'std') return this.claim(new Vga(clock), bus);
    const vga = new Vga(clock, {
      bytes: vm.backing.subarray(memoryOffset, memoryOffset + VRAM_SIZE),
      // Code may have been run there.
      written: (offset, length) => {
        if (this.memoryAddress !== undefined) vm.backingWritten(memoryOffset + offset, length);
      },
    });
    const card = new VgaCard({
      vga,
      environment,
      rom,
      moved: (address) => {
        this.memoryAddress = address;
        moved();
      },
    });
    cards.attach(card.pci, [card]);
    return this.claim(vga, bus);
  }

  /**
   * A VGA's own places, which it decodes whatever its command register says: also a kernel that was started without firmware finds
   * it there.
   */
  private claim(vga: Vga, { ports, memory }: Bus): Vga {
    ports.claim('vga', VGA_PORT_COUNT, vga.ports, VGA_PORTS);
    ports.claim('dispi', DISPI_PORT_COUNT, vga.dispi.ports, DISPI_PORTS);
    memory.claim('vga', VGA_MEMORY_SIZE, vga.window, VGA_MEMORY);
    return vga;
  }

  /**
   * Display memory as the CPU can access it without asking us. Elsewhere than between RAM and chips, where no sane guest puts it, it
   * is reached through the bus.
   */
  get slots(): readonly MemorySlot[] {
    const { memoryAddress: at, connections } = this;
    if (at === undefined || at < PC.PCI_HOLE || at + VRAM_SIZE > PC.PCI_HOLE_END) return [];
    return [{ start: gpa(at), size: VRAM_SIZE, offset: connections.memoryOffset, kind: 'ram' }];
  }
}
