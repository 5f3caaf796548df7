/** Configuration space of a PCI function, PCI Local Bus Specification 3.0 ch. 6. */

/** Header type 0, §6.1: offsets in bytes. */
export const HEADER = {
  VENDOR_ID: 0x00,
  DEVICE_ID: 0x02,
  COMMAND: 0x04,
  STATUS: 0x06,
  REVISION: 0x08,
  /** 24 bits: programming interface, subclass, class. */
  CLASS: 0x09,
  CACHE_LINE_SIZE: 0x0c,
  LATENCY_TIMER: 0x0d,
  HEADER_TYPE: 0x0e,
  BAR0: 0x10,
  SUBSYSTEM_VENDOR_ID: 0x2c,
  SUBSYSTEM_ID: 0x2e,
  /** Expansion ROM base address, §6.2.5.2. */
  ROM: 0x30,
  CAPABILITIES: 0x34,
  INTERRUPT_LINE: 0x3c,
  INTERRUPT_PIN: 0x3d,
  /** The first byte after the header. */
  END: 0x40,
} as const;

/** Command register, §6.2.2. */
export const COMMAND = {
  IO: 1 << 0,
  MEMORY: 1 << 1,
  BUS_MASTER: 1 << 2,
  PARITY: 1 << 6,
  SERR: 1 << 8,
  INTX_DISABLE: 1 << 10,
} as const;

/** Status register, §6.2.3. */
export const STATUS = { INTERRUPT: 1 << 3, CAPABILITIES: 1 << 4 } as const;

/** Header type register, §6.2.1. */
export const MULTI_FUNCTION = 0x80;

/** Base address registers, §6.2.5.1. */
export const BAR = { IO: 1 << 0, MEMORY_64: 1 << 2, PREFETCHABLE: 1 << 3 } as const;

/** Capability ids, appendix H. */
export const CAPABILITY = { MSI: 0x05, VENDOR: 0x09, MSIX: 0x11 } as const;

/** Message control of MSI, §6.8.1.3. */
export const MSI_CONTROL = {
  ENABLE: 1 << 0,
  CAPABLE_SHIFT: 1,
  ENABLED_SHIFT: 4,
  ENABLED_MASK: 7 << 4,
  ADDRESS_64: 1 << 7,
  MASKING: 1 << 8,
} as const;

/** Message control of MSI-X, §6.8.2.3. */
export const MSIX_CONTROL = { FUNCTION_MASK: 1 << 14, ENABLE: 1 << 15 } as const;

/** Bytes of configuration space: conventional PCI, and PCI Express (PCI Express 3.0 §7.2). */
export const CONFIG_SIZE = 0x100;
export const EXTENDED_CONFIG_SIZE = 0x1000;
