/** How a machine's firmware starts: plain data, as the rest of its description. */
import { BOOT_LETTERS, DEFAULT_BOOT, type BootLetter, type PcBootOptions } from '../machine/pc/boot-order.js';
import type { PcFlash } from '../machine/pc/flash.js';
import type { BlockBackend } from '../iface/block.js';
import { array, bool, bytes, nullable, oneOf, range, str, struct, type Plain } from '../snapshot/schema.js';
import type { DiskConfig } from './config.js';

/** What to boot from. */
export interface BootConfig {
  readonly order: readonly BootLetter[];
  /** The order of the first start alone; null: `order` from the beginning. */
  readonly once: readonly BootLetter[] | null;
  readonly menu: boolean;
  /** Milliseconds. */
  readonly menuWait: number | null;
  readonly strict: boolean;
}

/** A flash chip with firmware or its variables; the first one ends at 4 GiB. */
export interface FlashConfig {
  readonly path: string;
  readonly readOnly: boolean;
  /** What is written is kept in the machine and its snapshots, not in the file. */
  readonly volatile: boolean;
}

/** The ROM of network cards of one model. */
export interface NetRomConfig {
  readonly model: string;
  readonly image: Uint8Array;
}

/** What firmware finds: the order of boot, its flash, ROMs of cards. */
export interface FirmwareConfig {
  readonly boot: BootConfig;
  readonly flash: readonly FlashConfig[];
  /** ROMs of network cards by model, to boot from the network. */
  readonly netRoms: readonly NetRomConfig[];
}

export const DEFAULT_FIRMWARE: FirmwareConfig = {
  boot: { order: [], once: null, menu: false, menuWait: null, strict: false },
  flash: [],
  netRoms: [],
};

const letters = array(oneOf(...BOOT_LETTERS), { max: 8 });

export const firmwareSchema = struct({
  boot: struct({
    order: letters,
    once: nullable(letters),
    menu: bool,
    menuWait: nullable(range(0, 0xffff)),
    strict: bool,
  }),
  flash: array(struct({ path: str, readOnly: bool, volatile: bool }), { max: 8 }),
  netRoms: array(struct({ model: str, image: bytes() }), { max: 8 }),
});

export const saveFirmware = ({ boot, flash, netRoms }: FirmwareConfig = DEFAULT_FIRMWARE): Plain => ({
  boot: { ...boot, order: [...boot.order], once: boot.once && [...boot.once] },
  flash: flash.map((chip) => ({ ...chip })),
  netRoms: netRoms.map((rom) => ({ ...rom })),
});

/** What the board is told. */
export function bootOptions(config: FirmwareConfig | undefined): PcBootOptions {
  if (!config) return DEFAULT_BOOT;
  const { order, once, menu, menuWait, strict } = config.boot;
  return { order: once ?? order, menu, menuWait: menuWait ?? undefined, strict };
}

/** The order of the first start is forgotten. */
export const afterFirstStart = (config: FirmwareConfig): FirmwareConfig => ({
  ...config,
  boot: { ...config.boot, once: null },
});

/** How the file of a flash chip is opened. */
export const flashDisk = ({ path, readOnly, volatile: temporary }: FlashConfig): DiskConfig => ({
  path,
  format: 'raw',
  readOnly: readOnly || temporary,
  temporary: false,
  attach: 'virtio',
  media: 'disk',
  serial: null,
  internal: null,
});

export const flashChips = (chips: readonly FlashConfig[], files: readonly BlockBackend[]): PcFlash[] =>
  chips.map(({ path, volatile: temporary }, i) => ({ name: path, volatile: temporary, file: files[i] }));
