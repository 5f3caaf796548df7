/** What a machine has and is doing, as plain data for whoever manages it. */
import { describePci, type PciFunctionInfo } from '../machine/pc/describe-pci.js';
import type { PointerInfo } from '../machine/common/input-hub.js';
import { diskId } from './media.js';
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
}

/** What is in a drive. */
export interface MediumInfo {
  readonly path: string;
  /** Of the image: `raw`, `qcow2`. */
  readonly format: string;
  readonly readOnly: boolean;
  /** Bytes. */
  readonly size: number;
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
}

const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

function uuidText(bytes: Uint8Array): string {
  const text = hex(bytes);
  return [text.slice(0, 8), text.slice(8, 12), text.slice(12, 16), text.slice(16, 20), text.slice(20)].join('-');
}

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
    disks: config.disks.map(({ path }, i) => {
      const drive = board.mediaDrive?.(i);
      const tray = drive?.tray && { open: drive.tray.open, locked: drive.tray.locked };
      const image = disks[i];
      const medium = image && { path, format: image.format, readOnly: image.readOnly, size: image.size };
      return { id: diskId(i), removable: drive !== undefined, ...(tray && { tray }), medium };
    }),
  };
}
