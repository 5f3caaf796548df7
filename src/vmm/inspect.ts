/** What a machine has and is doing, as plain data for whoever manages it. */
import type { BlockBackend } from '../iface/block.js';
import { describePci, type PciFunctionInfo } from '../machine/pc/describe-pci.js';
import type { PointerInfo } from '../machine/common/input-hub.js';
import { DEFAULT_DISK_CACHE, type DiskCache, type DiskConfig } from './config.js';
import { nodeDisk } from './hotplug.js';
import { diskId } from './media.js';
import { NOTHING_PLUGGED, type PluggedConfig } from './plugged-config.js';
import type { VirtualMachine } from './machine.js';

export type { PciFunctionInfo };

/** A virtual CPU, as the monitor tells it. */
export interface CpuInfo {
  readonly index: number;
}

/** A disk or drive, as the monitor tells it. */
export interface DiskInfo {
  readonly id: string;
  /** The medium can be taken out. */
  readonly removable: boolean;
  /** Of a drive for CDs. */
  readonly tray?: { readonly open: boolean; readonly locked: boolean };
  /** Undefined: there is none in the drive. */
  readonly medium: MediumInfo | undefined;
  /** Of a disk that was plugged: the name of its block node. Its card's is `id`. */
  readonly node?: string;
}

/** What is in a drive. */
export interface MediumInfo {
  readonly path: string;
  /** Of the image: `raw`, `qcow2`. */
  readonly format: string;
  readonly readOnly: boolean;
  /** Bytes. */
  readonly size: number;
  readonly cache: DiskCache;
  /** Files that the image stands on, the next one first. */
  readonly backing: readonly string[];
}

/** What a machine consists of, as the monitor tells it. */
export interface Inspection {
  readonly cpuModel: string;
  readonly cpus: readonly CpuInfo[];
  /** RAM in bytes. */
  readonly memory: number;
  /** 16 bytes, as text. */
  readonly uuid: string;
  readonly pci: readonly PciFunctionInfo[];
  readonly disks: readonly DiskInfo[];
  readonly pointers: readonly PointerInfo[];
  /** What was added while it runs. */
  readonly plugged: PluggedConfig;
  /** Block nodes that were added, and have their image open. */
  readonly nodes: readonly { readonly name: string; readonly medium: MediumInfo }[];
}

const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

function uuidText(bytes: Uint8Array): string {
  const text = hex(bytes);
  return [text.slice(0, 8), text.slice(8, 12), text.slice(12, 16), text.slice(16, 20), text.slice(20)].join('-');
}

const mediumOf = (
  { path, cache = DEFAULT_DISK_CACHE }: DiskConfig,
  { format, readOnly, size, files }: BlockBackend,
): MediumInfo => ({ path, format, readOnly, size, cache, backing: files.slice(1) });

const pluggedDisks = ({ hotplug, config }: VirtualMachine): DiskInfo[] =>
  (config.plugged?.cards ?? []).flatMap(({ id, driver, backend }) => {
    const used = driver === 'virtio-blk' && hotplug.openNodes.find(({ node }) => node.name === backend);
    if (!used) return [];
    return [{ id, removable: false, medium: mediumOf(nodeDisk(used.node), used.image), node: used.node.name }];
  });

/** Can be asked at any time on the machine's thread. */
export function inspect(machine: VirtualMachine): Inspection {
  const { config, board, cpus, disks, uuid } = machine;
  return {
    cpuModel: config.cpu,
    cpus: cpus.map(({ index }) => ({ index })),
    memory: config.memory,
    uuid: uuidText(uuid),
    pointers: board.input.pointers,
    pci: board.pci ? describePci(board.pci) : [],
    plugged: config.plugged ?? NOTHING_PLUGGED,
    nodes: machine.hotplug.openNodes.map(({ node, image }) => ({
      name: node.name,
      medium: mediumOf(nodeDisk(node), image),
    })),
    disks: [
      ...config.disks.map((disk, i) => {
        const drive = board.mediaDrive?.(i);
        const tray = drive?.tray && { open: drive.tray.open, locked: drive.tray.locked };
        const image = disks[i];
        const medium = image && mediumOf(disk, image);
        return { id: diskId(i), removable: drive !== undefined, ...(tray && { tray }), medium };
      }),
      ...pluggedDisks(machine),
    ],
  };
}
