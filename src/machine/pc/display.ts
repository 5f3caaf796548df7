/** What of the PC has to do with its screen: the adapter, its memory, and where it is attached. */
import { gpa } from '../../base/units.js';
import type { Bus } from '../../bus/io-space.js';
import type { PciEnvironment } from '../../bus/pci/function.js';
import { DISPI_PORT_COUNT, DISPI_PORTS } from '../../devices/legacy/vga/dispi.js';
import {
  memoryBar,
  MEMORY_BAR,
  REGISTER_BAR,
  REGISTER_SIZE,
  VgaCard,
  VgaRegisters,
  VRAM_SIZE,
} from '../../devices/legacy/vga/vga-card.js';
import { Vga, VGA_MEMORY, VGA_MEMORY_SIZE, VGA_PORT_COUNT, VGA_PORTS } from '../../devices/legacy/vga/vga.js';
import { VirtioGpu } from '../../devices/virtio/gpu/gpu.js';
import { VirtioKeyboard, VirtioTablet } from '../../devices/virtio/input/input.js';
import { VirtioPci, type VirtioPciLayout } from '../../devices/virtio/virtio-pci.js';
import type { Clock } from '../../iface/clock.js';
import type { DisplayAdapter } from '../../iface/display.js';
import type { MemorySlot } from '../../iface/guest-memory.js';
import type { Vm } from '../../iface/vcpu.js';
import type { Snapshotable } from '../../snapshot/snapshotable.js';
import type { CardSlots } from './card-slots.js';
import type { InputKind, VgaKind } from './display-kinds.js';
import { PC } from './layout.js';

export interface PcDisplayOptions {
  readonly vga: VgaKind;
  /** The video BIOS, for the card's ROM. */
  readonly rom?: Uint8Array | undefined;
  /** Absent: PS/2 alone. */
  readonly input?: InputKind;
}

/** BARs of the card with both: the VGA's registers come first, as on a VGA of its own. */
const VIRTIO_LAYOUT: VirtioPciLayout = {
  msixBar: 4,
  registerBar: REGISTER_BAR,
  registerOffset: 0x4000,
  registerBarSize: 0x8000,
};
/** A VGA-compatible controller. */
const VGA_CLASS = 0x03_0000;

/** Bytes of the machine's backing memory that an adapter shows. */
export const displayMemory = (vga: VgaKind): number => (vga === 'std' || vga === 'virtio' ? VRAM_SIZE : 0);

export interface PcDisplayParts {
  readonly options: PcDisplayOptions;
  readonly clock: Clock;
  readonly bus: Bus;
  readonly environment: PciEnvironment;
  readonly cards: CardSlots;
  readonly vm: Pick<Vm, 'backing' | 'backingWritten' | 'takeWritten' | 'dma'>;
  /** Where display memory begins in the backing, bytes, whole pages. */
  readonly memoryOffset: number;
  /** Told when display memory appears elsewhere. */
  readonly moved: () => void;
}

export class PcDisplay {
  readonly vga: Vga | undefined;
  readonly adapter: DisplayAdapter | undefined;
  readonly keyboard: VirtioKeyboard | undefined;
  readonly tablet: VirtioTablet | undefined;
  /** In the order in which they are restored; the card is among the cards. */
  readonly parts: readonly Snapshotable[];
  /** Where the CPU finds display memory. */
  private memoryAddress: number | undefined;

  constructor(private readonly connections: PcDisplayParts) {
    const { options, cards } = connections;
    const { vga: kind } = options;
    this.vga = kind === 'none' ? undefined : this.addVga(kind);
    this.adapter = this.vga && (kind === 'virtio' ? this.addGpu(this.vga) : this.vga);
    if (this.vga && kind === 'std') this.addCard(this.vga);
    this.parts = this.vga ? [this.vga] : [];
    if (options.input !== 'virtio') return;
    this.keyboard = new VirtioKeyboard('virtio-keyboard0');
    this.tablet = new VirtioTablet('virtio-tablet0');
    cards.attachVirtio(this.keyboard);
    cards.attachVirtio(this.tablet);
  }

  private addVga(kind: VgaKind): Vga {
    const { bus, clock, vm, memoryOffset } = this.connections;
    if (kind === 'isa') return this.claim(new Vga(clock), bus);
    const vga = new Vga(clock, {
      bytes: vm.backing.subarray(memoryOffset, memoryOffset + VRAM_SIZE),
      // Code may have been run there, and there may be a log of what is written.
      written: (offset, length) => {
        if (this.memoryAddress !== undefined || vm.takeWritten) vm.backingWritten(memoryOffset + offset, length);
      },
      takeWritten: vm.takeWritten && ((into) => vm.takeWritten?.(memoryOffset, into)),
    });
    return this.claim(vga, bus);
  }

  private moved(address: number | undefined): void {
    this.memoryAddress = address;
    this.connections.moved();
  }

  private addCard(vga: Vga): void {
    const { cards, environment, options } = this.connections;
    const card = new VgaCard({ vga, environment, rom: options.rom, moved: (address) => this.moved(address) });
    cards.attach(card.pci, [card]);
  }

  /** The VGA is shown until a driver sets up the GPU. */
  private addGpu(vga: Vga): DisplayAdapter {
    const { cards, environment, options, vm } = this.connections;
    const { dma } = vm;
    const gpu = new VirtioGpu({ id: 'virtio-gpu0', classCode: VGA_CLASS, read: (from, into) => dma.read(from, into) });
    const transport = new VirtioPci({ name: gpu.id, device: gpu, environment, dma, layout: VIRTIO_LAYOUT });
    transport.registers.add(0, REGISTER_SIZE, new VgaRegisters(vga));
    transport.pci.addBar(
      MEMORY_BAR,
      memoryBar(vga, (address) => this.moved(address)),
    );
    if (options.rom) transport.pci.addRom(options.rom);
    cards.attachTransport(transport, gpu);
    return {
      picture: () => (gpu.active ? gpu.picture() : vga.picture()),
      pointer: () => gpu.pointer(),
      prefer: (width, height) => gpu.prefer(width, height),
    };
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
    return [{ start: gpa(at), size: VRAM_SIZE, offset: connections.memoryOffset, kind: 'ram', watched: true }];
  }
}
