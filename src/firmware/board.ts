/**
 * What a PC consists of, as far as its firmware tables tell: plain data that a machine fills in. Addresses are bytes,
 * ranges include `start` and end before `end`.
 */
export interface AddressRange {
  readonly start: number;
  /** First address behind it. */
  readonly end: number;
}

export interface PowerManagementPorts {
  /** The ACPI I/O block of an ICH9 (PMBASE): PM1a event at +0, control at +4, timer at +8, GPE0 at +20h. */
  readonly base: number;
  /** Bytes of the whole block. */
  readonly size: number;
  /** Bytes of the GPE0 block: status and enable halves. */
  readonly gpe0Size: number;
  /** ISA interrupt and GSI of the system control interrupt, level, active high. */
  readonly sci: number;
  /** SLP_TYP that switches the machine off. */
  readonly s5: number;
}

/** What the MADT tells. */
export interface ApicTopology {
  /** APIC ids of the CPUs, the bootstrap processor first; below 255. */
  readonly cpus: readonly number[];
  readonly localApicBase: number;
  readonly ioApics: readonly { readonly id: number; readonly base: number; readonly gsiBase: number }[];
  /** Of boards with 8259s and ISA interrupts. */
  readonly pm?: Pick<PowerManagementPorts, 'sci'>;
}

/** A board of hardware-reduced ACPI (ACPI 6.5 §4.1): no fixed hardware, and here no PCI either. */
export interface ReducedBoard extends Omit<ApicTopology, 'pm'> {
  /** Registers in memory: see devices/acpi/generic-event.ts. Addresses; the GSI of events. */
  readonly events: { readonly base: number; readonly size: number; readonly gsi: number; readonly powerButton: number };
  readonly sleep: { readonly control: number; readonly status: number; readonly s5: number };
  readonly reset: { readonly address: number; readonly value: number };
  readonly serial: readonly { readonly port: number; readonly irq: number }[];
  /** Virtio devices over MMIO. */
  readonly virtio: readonly { readonly base: number; readonly size: number; readonly gsi: number }[];
}

export interface BoardDescription extends ApicTopology {
  /** `id` is the low half of the capabilities register; `minimumTick` in ticks of the main counter. */
  readonly hpet?: { readonly base: number; readonly id: number; readonly minimumTick: number };
  readonly pm: PowerManagementPorts;
  /** Writing `value` to the port resets the machine. */
  readonly reset: { readonly port: number; readonly value: number };
  /** CMOS index of the century. */
  readonly century: number;
  /** PCI Express configuration window, of `size` bytes: 1 MiB for each bus, from bus 0; so many buses there are. */
  readonly ecam?: { readonly base: number; readonly size: number; readonly buses: number };
  readonly pci: {
    readonly mmio32: readonly AddressRange[];
    readonly mmio64?: AddressRange;
    /** By slot (0 … 31) and pin (0: INTA# … 3: INTD#): PIRQA (0) … PIRQH (7). See `ich9PirqRoutes`. */
    readonly routes: readonly (readonly number[])[];
    /** GSI of PIRQA; the others follow. */
    readonly firstPirqGsi: number;
    /** Slot of the chip with the PIRQ routing registers at 60h and 68h of its configuration space (the ICH9's LPC bridge). */
    readonly lpcSlot: number;
  };
  readonly serial: readonly { readonly port: number; readonly irq: number }[];
  readonly keyboard: boolean;
  readonly mouse: boolean;
  readonly vga: boolean;
  /** A floppy disk controller at its usual place. */
  readonly floppy?: boolean;
  /**
   * Slots of bus 0 that cards can be put into and taken out of while the machine runs: registers (devices/acpi/pci-hotplug.ts) at ports
   * from `base` on, and the event of GPE0 that says that something has happened.
   */
  readonly hotplug?: {
    readonly base: number;
    readonly size: number;
    readonly event: number;
    readonly slots: readonly number[];
  };
  /** First port of fw_cfg's twelve. */
  readonly fwCfg?: number;
}

/**
 * Interrupt routes of an ICH9: slots 0 … 24 hang on PIRQE … PIRQH, turned by one for each slot; the chipset's own
 * functions, slots 25 … 31, have their pins on PIRQA … PIRQD (reset values of D25IR … D31IR, 316972 §10.1).
 */
export const ich9PirqRoutes: readonly (readonly number[])[] = Array.from({ length: 32 }, (_, slot) =>
  [0, 1, 2, 3].map((pin) => (slot < 25 ? 4 + ((slot + pin) % 4) : pin)),
);
