/** What a machine has and is doing, as plain data for whoever manages it. */
import type { BarInfo } from '../bus/pci/bar.js';
import type { PciFunction } from '../bus/pci/function.js';
import { HEADER } from '../bus/pci/registers.js';
import type { VirtualMachine } from './machine.js';

export interface PciFunctionInfo {
  readonly slot: number;
  readonly function: number;
  /** The device that it belongs to. */
  readonly name: string;
  readonly vendor: number;
  readonly device: number;
  readonly subsystemVendor: number;
  readonly subsystem: number;
  /** Base class and sub-class: 16 bits. */
  readonly classCode: number;
  /** 0: none; 1: INTA# …. */
  readonly interruptPin: number;
  readonly interruptLine: number;
  readonly regions: readonly BarInfo[];
}

export interface CpuInfo {
  readonly index: number;
}

export interface DiskInfo {
  readonly id: string;
  readonly path: string;
  readonly format: string;
  /** The medium can be taken out. */
  readonly removable: boolean;
  readonly readOnly: boolean;
  /** Bytes. */
  readonly size: number;
}

export interface Inspection {
  readonly cpuModel: string;
  readonly cpus: readonly CpuInfo[];
  /** RAM in bytes. */
  readonly memory: number;
  /** 16 bytes, as text. */
  readonly uuid: string;
  readonly pci: readonly PciFunctionInfo[];
  readonly disks: readonly DiskInfo[];
}

function describeFunction(devfn: number, card: PciFunction): PciFunctionInfo {
  const { config } = card;
  return {
    slot: devfn >> 3,
    function: devfn & 7,
    name: card.name,
    vendor: config.get(HEADER.VENDOR_ID, 2),
    device: config.get(HEADER.DEVICE_ID, 2),
    subsystemVendor: config.get(HEADER.SUBSYSTEM_VENDOR_ID, 2),
    subsystem: config.get(HEADER.SUBSYSTEM_ID, 2),
    classCode: config.get(HEADER.CLASS + 1, 2),
    interruptPin: card.interruptPin,
    interruptLine: config.get(HEADER.INTERRUPT_LINE, 1),
    regions: card.regions,
  };
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
    pci: [...board.pci.attached].sort(([a], [b]) => a - b).map(([devfn, card]) => describeFunction(devfn, card)),
    disks: config.disks.map(({ path, format, media, attach }, i) => ({
      id: `disk${i}`,
      path,
      format,
      removable: media === 'cdrom' || attach === 'floppy',
      readOnly: disks[i].readOnly,
      size: disks[i].size,
    })),
  };
}
