/** What a machine is: plain data, which can be posted to a worker and is saved with the machine. */
import type { BootSource } from '../machine/common/board.js';
import { MAX_VCPUS } from '../memory/layout.js';
import { INPUT_KINDS, VGA_KINDS, type InputKind, type VgaKind } from '../machine/pc/display-kinds.js';
import { DISK_ATTACHMENTS, DISK_MEDIA, type DiskAttachment, type DiskMedia } from '../machine/common/disks.js';
import { firmwareSchema, type FirmwareConfig } from './firmware-config.js';
import type { NetConfig } from '../iface/net-config.js';
import { networksSchema } from './net-config.js';
import { pluggedSchema, type PluggedConfig } from './plugged-config.js';
import { sharingSchema, type SharingConfig } from './sharing-config.js';
import { array, bool, bytes, nullable, oneOf, range, str, struct, type Plain } from '../snapshot/schema.js';

/** How an image is read: `auto` looks at what is in it. */
export const DISK_FORMATS = ['auto', 'raw', 'qcow2'] as const;
/** The format of a disk's image. */
export type DiskFormat = (typeof DISK_FORMATS)[number];

export const DISK_CACHES = ['writeback', 'none'] as const;
/** `writeback`: reads and writes go through the host's cache. `none`: past it (O_DIRECT on Linux). Either way what was flushed is durable. */
export type DiskCache = (typeof DISK_CACHES)[number];
export const DEFAULT_DISK_CACHE: DiskCache = 'writeback';

/** One disk of a machine, as its description has it. */
export interface DiskConfig {
  /** A file, or the address of one. */
  readonly path: string;
  readonly format: DiskFormat;
  readonly readOnly: boolean;
  /** What the guest writes is thrown away with the machine; the image stays as it is. */
  readonly temporary: boolean;
  readonly attach: DiskAttachment;
  readonly media: DiskMedia;
  /** What the guest reads as the serial number, up to 20 characters of printable ASCII; null: one made of the path. */
  readonly serial: string | null;
  /** A snapshot within a qcow2 image, to be read instead of its present contents. */
  readonly internal: string | null;
  /** Queues of a virtio disk, 1 … 16; absent: one. */
  readonly queues?: number;
  /** Absent: writeback. */
  readonly cache?: DiskCache;
}

/** `host`: the host's time. `virtual`: time that instructions make, the same in every run. */
export type ClockKind = 'host' | 'virtual';

/** `pc`: a Q35 with an ICH9. `microvm`: virtio alone, without a bus or firmware, which starts faster. */
export const MACHINES = ['pc', 'microvm'] as const;
export type MachineKind = (typeof MACHINES)[number];
export const DEFAULT_MACHINE: MachineKind = 'pc';

/** A machine: plain data, from which it is built anew at each reset, and which is saved with it. */
export interface MachineConfig {
  /** The board; absent: pc. */
  readonly machine?: MachineKind;
  /** Name of a CPU model. */
  readonly cpu: string;
  /** Virtual CPUs, 1 … MAX_VCPUS; absent: one. */
  readonly cpus?: number;
  /** RAM in bytes, a multiple of 4 KiB. */
  readonly memory: number;
  readonly boot: BootSource;
  readonly disks: readonly DiskConfig[];
  /** Adds isa-debug-exit at port 0xf4. */
  readonly debugExit: boolean;
  /** A reset of the guest ends the machine. */
  readonly noReboot: boolean;
  readonly clock: ClockKind;
  /** Absent: a VGA on a card, without a video BIOS. */
  readonly display?: DisplayConfig;
  /** How its firmware starts; absent: as it likes. */
  readonly firmware?: FirmwareConfig;
  /** What it shares with its host; absent: nothing. */
  readonly sharing?: SharingConfig;
  /** Network cards, in the order of their slots; absent: none. */
  readonly networks?: readonly NetConfig[];
  /** What was added while it runs; absent: nothing. */
  readonly plugged?: PluggedConfig;
  /** Whatever its owner wants to find again in a resumed machine; nothing to the machine itself. */
  readonly note?: string;
}

/** Screen, keyboard and pointer. */
export interface DisplayConfig {
  readonly vga: VgaKind;
  /** The video BIOS; null: none. */
  readonly rom: Uint8Array | null;
  readonly input: InputKind;
}

export const DEFAULT_DISPLAY: DisplayConfig = { vga: 'std', rom: null, input: 'ps2' };

const diskSchema = struct({
  path: str,
  format: oneOf(...DISK_FORMATS),
  readOnly: bool,
  temporary: bool,
  attach: oneOf(...DISK_ATTACHMENTS),
  media: oneOf(...DISK_MEDIA),
  serial: nullable(str),
  internal: nullable(str),
  queues: range(1, 16),
  cache: oneOf(...DISK_CACHES),
});

/** All of a `MachineConfig` but what it boots. */
export const configSchema = struct({
  machine: oneOf(...MACHINES),
  cpu: str,
  cpus: range(1, MAX_VCPUS),
  memory: range(1, Number.MAX_SAFE_INTEGER),
  disks: array(diskSchema, { max: 64 }),
  debugExit: bool,
  noReboot: bool,
  clock: oneOf('host', 'virtual'),
  display: struct({ vga: oneOf(...VGA_KINDS), rom: nullable(bytes()), input: oneOf(...INPUT_KINDS) }),
  sharing: sharingSchema,
  networks: networksSchema,
  firmware: firmwareSchema,
  plugged: pluggedSchema,
  note: str,
});

/** What it boots: needed again when the guest resets. */
export const bootSchema = struct({
  bios: nullable(struct({ name: str, image: bytes() })),
  kernel: nullable(
    struct({
      name: str,
      data: bytes(),
      commandLine: str,
      modules: array(struct({ name: str, data: bytes(), arguments: nullable(str) }), { max: 1024 }),
    }),
  ),
});

export function saveBoot({ bios, kernel }: BootSource): Plain {
  return {
    bios: bios ? { name: bios.name, image: bios.image } : null,
    kernel: kernel
      ? {
          name: kernel.name,
          data: kernel.data,
          commandLine: kernel.commandLine,
          modules: kernel.modules.map((module) => ({
            name: module.name,
            data: module.data,
            arguments: module.arguments ?? null,
          })),
        }
      : null,
  };
}

export function restoreBoot(saved: Plain): BootSource {
  const { bios, kernel } = bootSchema.check(saved, 'boot');
  return {
    ...(bios && { bios }),
    ...(kernel && {
      kernel: {
        ...kernel,
        modules: kernel.modules.map(({ name, data, arguments: words }) => ({
          name,
          data,
          ...(words !== null && { arguments: words }),
        })),
      },
    }),
  };
}
