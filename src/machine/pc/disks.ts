/** Disks of the PC: what each is, and where it is attached. */
import { UsageError } from '../../base/errors.js';
import type { PciEnvironment, PciFunction } from '../../bus/pci/function.js';
import type { PciBus } from '../../bus/pci/pci-bus.js';
import { Ahci, AHCI_PORTS } from '../../devices/ahci/ahci.js';
import { AtaDisk } from '../../devices/ata/ata-disk.js';
import { AtapiCdRom } from '../../devices/ata/atapi-cdrom.js';
import type { AtaDrive } from '../../devices/ata/drive.js';
import { IDE_CHANNELS, Piix3Ide } from '../../devices/ide/piix3-ide.js';
import { Dma8237 } from '../../devices/legacy/dma8237/dma-8237.js';
import { Fdc } from '../../devices/legacy/fdc/fdc.js';
import {
  FLOPPY_SIZES,
  floppyFormat,
  type FloppyDisk,
  type FloppyDrive,
} from '../../devices/legacy/fdc/floppy-drive.js';
import { VirtioBlock } from '../../devices/virtio/block.js';
import type { BlockBackend } from '../../iface/block.js';
import type { IoSpace } from '../../iface/bus.js';
import type { Dma } from '../../iface/guest-memory.js';
import type { IrqLine } from '../../iface/lines.js';
import type { Snapshotable } from '../../snapshot/snapshotable.js';
import type { BoardDisk } from '../common/board.js';
import { fixedDisk, type MediaDrive } from '../common/disks.js';
import { bootPath, type BootDevice } from './boot-order.js';
import type { CardSlots } from './card-slots.js';
import { PC } from './layout.js';

/** What controllers are connected to. */
export interface DiskBoard {
  readonly cards: CardSlots;
  readonly pci: PciBus;
  readonly environment: PciEnvironment;
  readonly dma: Dma;
  readonly ports: IoSpace;
  /** A new driver of an ISA interrupt. */
  readonly isa: (irq: number) => IrqLine;
}

/** Drives that firmware knows. */
const FLOPPY_DRIVES = 2;

/** Of an empty drive: 1.44 MB. */
const USUAL_FLOPPY_DRIVE = 4;

function floppyDisk(backend: BlockBackend | undefined): FloppyDisk | undefined {
  if (!backend) return undefined;
  const format = floppyFormat(backend.size);
  if (format) return { backend, format };
  const sizes = FLOPPY_SIZES.map((size) => size / 1024).join(', ');
  throw new UsageError(
    `the floppy ${backend.serial} has ${backend.size / 1024} KiB; there are floppies of ${sizes} KiB`,
  );
}

function cdDrive(drive: AtapiCdRom): MediaDrive {
  return {
    get tray() {
      return { open: drive.trayOpen, locked: drive.locked };
    },
    requestEject: () => drive.requestEject(),
    moveTray: (open) => drive.moveTray(open),
    change: (medium) => drive.change(medium),
  };
}

const floppyDrive = (fdc: Fdc, drive: number): MediaDrive => ({
  tray: undefined,
  requestEject: () => {},
  moveTray: () => {},
  change: (medium) => fdc.change(drive, floppyDisk(medium)),
});

/** Controllers on the board itself; each is there when something hangs on it. */
export class DiskControllers {
  /** In the order in which they are restored. */
  readonly parts: Snapshotable[] = [];
  /** Types of floppy disk drives, as CMOS memory tells them. */
  readonly floppies: readonly number[];
  /** By disk: where firmware finds it. */
  private readonly boot: BootDevice[] = [];
  /** By disk: drives whose media can be changed. */
  private readonly media = new Map<number, MediaDrive>();
  private readonly resumable: { resume(): void }[] = [];

  /** Throws a one-line error when there is no place for a disk. */
  constructor(
    disks: readonly BoardDisk[],
    private readonly board: DiskBoard,
  ) {
    for (const [i, { backend, attach, queues = 1 }] of disks.entries())
      if (attach === 'virtio') {
        const device = new VirtioBlock({ id: `virtio-blk${i}`, backend: fixedDisk(backend), queues });
        const slot = board.cards.attachVirtio(device);
        this.boot[i] = { letter: 'c', path: bootPath.virtio(slot) };
      }
    const { environment, dma } = board;
    this.floppies = this.addFloppies(disks);
    const sata = this.drives(disks, 'sata', AHCI_PORTS);
    if (sata.length > 0) {
      const ahci = new Ahci({ environment, dma, drives: sata });
      this.add(ahci, ahci.pci, PC.AHCI_FUNCTION);
    }
    const onIde = this.drives(disks, 'ide', 2 * IDE_CHANNELS.length);
    if (onIde.length > 0) {
      const [first, second] = IDE_CHANNELS;
      const irqs = [board.isa(first.irq), board.isa(second.irq)] as const;
      const ide = new Piix3Ide({ environment, dma, irqs, drives: onIde });
      this.add(ide, ide.pci, PC.IDE_FUNCTION);
    }
  }

  /** What firmware can boot from, in the order of the disks. */
  get bootDevices(): readonly BootDevice[] {
    return this.boot;
  }

  /** The drive of a disk, if its medium can be changed. */
  mediaDrive(disk: number): MediaDrive | undefined {
    return this.media.get(disk);
  }

  private drives(disks: readonly BoardDisk[], attach: 'sata' | 'ide', places: number): AtaDrive[] {
    const drives: AtaDrive[] = [];
    for (const [i, disk] of disks.entries()) {
      if (disk.attach !== attach) continue;
      const { backend, media, serial, trayMoved } = disk;
      const serialAta = attach === 'sata';
      const place = drives.length;
      this.boot[i] = {
        letter: media === 'cdrom' ? 'd' : 'c',
        path: serialAta
          ? bootPath.sata(PC.LPC_SLOT * 8 + PC.AHCI_FUNCTION, place)
          : bootPath.ide(PC.LPC_SLOT * 8 + PC.IDE_FUNCTION, place),
      };
      if (media === 'cdrom') {
        const options = { id: `cdrom${i}`, medium: backend, serial, serialAta, ...(trayMoved && { trayMoved }) };
        const cd = new AtapiCdRom(options);
        this.media.set(i, cdDrive(cd));
        drives.push(cd);
      } else drives.push(new AtaDisk({ id: `ata-disk${i}`, backend: fixedDisk(backend), serialAta }));
    }
    if (drives.length > places)
      throw new UsageError(`there are ${drives.length} disks with if=${attach}, and places for ${places}`);
    this.parts.push(...drives);
    return drives;
  }

  /** The floppy controller with its DMA controller. Returns the types of its drives. */
  private addFloppies(all: readonly BoardDisk[]): readonly number[] {
    const indexes = [...all.keys()].filter((i) => all[i].attach === 'floppy');
    const drives: FloppyDrive[] = indexes.map((i) => ({ disk: floppyDisk(all[i].backend) }));
    if (drives.length > FLOPPY_DRIVES)
      throw new UsageError(`there are ${drives.length} floppy disks, and drives for ${FLOPPY_DRIVES}`);
    if (drives.length === 0) return [];
    const { ports, dma, isa } = this.board;
    const isaDma = new Dma8237(dma);
    const types = drives.map(({ disk }) => disk?.format.drive ?? USUAL_FLOPPY_DRIVE);
    const fdc = new Fdc({ irq: isa(6), dma: isaDma.channel(2), drives });
    for (const [drive, i] of indexes.entries()) {
      this.boot[i] = { letter: 'a', path: bootPath.floppy(PC.LPC_SLOT, drive) };
      this.media.set(i, floppyDrive(fdc, drive));
    }
    ports.claim('dma', 16, isaDma.firstPorts, 0x00);
    ports.claim('dma-pages', 16, isaDma.pagePorts, 0x80);
    ports.claim('dma-second', 32, isaDma.secondPorts, 0xc0);
    ports.claim('fdc', 4, fdc.ports, 0x3f2);
    ports.claim('fdc-change', 1, fdc.changePort, 0x3f7);
    this.parts.push(isaDma, fdc);
    this.resumable.push(fdc);
    return types;
  }

  private add(controller: Snapshotable & { resume(): void }, pci: PciFunction, number: number): void {
    this.board.pci.attach(PC.LPC_SLOT, pci, number);
    this.parts.push(controller);
    this.resumable.push(controller);
  }

  /** Lets controllers go on with what was under way, after all of a machine was restored. */
  resume(): void {
    for (const controller of this.resumable) controller.resume();
  }
}
