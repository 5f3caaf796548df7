/**
 * What firmware shall boot from, in terms that SeaBIOS and OVMF understand: device paths as Open Firmware writes them, one to a
 * line of the fw_cfg file `bootorder` (QEMU's get_boot_devices_list; SeaBIOS's src/boot.c; OVMF's QemuBootOrderLib).
 */
import type { PciBus } from '../../bus/pci/pci-bus.js';
import { HEADER } from '../../bus/pci/registers.js';

/** Kinds of devices: floppies, hard disks, CDs, network. The letters are those of QEMU's -boot. */
export const BOOT_LETTERS = ['a', 'c', 'd', 'n'] as const;
export type BootLetter = (typeof BOOT_LETTERS)[number];

export interface PcBootOptions {
  /** What to try, the first first; none: firmware does as it likes. */
  readonly order: readonly BootLetter[];
  /** Offers a menu. */
  readonly menu: boolean;
  /** Milliseconds that the menu's key is waited for; undefined: firmware's own default. */
  readonly menuWait?: number | undefined;
  /** Nothing but what `order` names. */
  readonly strict: boolean;
}

export const DEFAULT_BOOT: PcBootOptions = { order: [], menu: false, strict: false };

/** A disk's place, as firmware writes it, and its kind. */
export interface BootDevice {
  readonly letter: BootLetter;
  readonly path: string;
}

const NETWORK_CLASS = 0x02;
const slotAndFunction = (devfn: number): string =>
  (devfn >> 3).toString(16) + (devfn & 7 ? `,${(devfn & 7).toString(16)}` : '');

const BUS = '/pci@i0cf8';
export const bootPath = {
  virtio: (slot: number): string => `${BUS}/scsi@${slot.toString(16)}/disk@0,0`,
  sata: (devfn: number, port: number): string =>
    `${BUS}/pci8086,2922@${slotAndFunction(devfn)}/drive@${port.toString(16)}/disk@0`,
  ide: (devfn: number, place: number): string =>
    `${BUS}/ide@${slotAndFunction(devfn)}/drive@${place >> 1}/disk@${place & 1}`,
  floppy: (lpcSlot: number, drive: number): string => `${BUS}/isa@${lpcSlot.toString(16)}/fdc@03f0/floppy@${drive}`,
  network: (devfn: number): string => `${BUS}/ethernet@${slotAndFunction(devfn)}/ethernet-phy@0`,
} as const;

/** Network cards, in the order of their slots. */
export function networkDevices(pci: PciBus): BootDevice[] {
  return [...pci.attached]
    .filter(([, { config }]) => config.get(HEADER.CLASS + 2, 1) === NETWORK_CLASS)
    .map(([devfn]) => devfn)
    .toSorted((a, b) => a - b)
    .map((devfn) => ({ letter: 'n', path: bootPath.network(devfn) }));
}

/** The lines of `bootorder`. */
export function bootOrder(devices: readonly BootDevice[], { order, strict }: PcBootOptions): string[] {
  const lines = order.flatMap((letter) => devices.filter((device) => device.letter === letter).map(({ path }) => path));
  // SeaBIOS goes no further than this line.
  return strict ? [...lines, 'HALT'] : lines;
}

/** Codes of kinds in CMOS memory, by which SeaBIOS orders what has no line. */
export const CMOS_BOOT: Readonly<Record<BootLetter, number>> = { a: 1, c: 2, d: 3, n: 4 };
