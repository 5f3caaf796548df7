/** The functions of a PCI bus as plain data. */
import type { BarInfo } from '../../bus/pci/bar.js';
import type { PciFunction } from '../../bus/pci/function.js';
import type { PciBus } from '../../bus/pci/pci-bus.js';
import { HEADER } from '../../bus/pci/registers.js';

/** A function on the PCI bus, as the monitor tells it. */
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

/** By slot and function. */
export function describePci(bus: PciBus): PciFunctionInfo[] {
  return [...bus.attached].sort(([a], [b]) => a - b).map(([devfn, card]) => describeFunction(devfn, card));
}
