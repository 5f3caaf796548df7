/** Resource descriptors (ACPI 6.5 §6.4), as `resourceTemplate` takes them. */
import { buffer, type Aml } from './aml.js';

const le = (value: number, bytes: number): number[] =>
  Array.from({ length: bytes }, (_, i) => Math.floor(value / 256 ** i) % 256);

/** A buffer of descriptors with its end tag, whose checksum 0 means "not used". */
export const resourceTemplate = (...descriptors: readonly Aml[]): Aml => buffer([...descriptors.flat(), 0x79, 0]);

/** IO(Decode16, port, port, 1, length), §6.4.2.5. */
export const io = (port: number, length: number): Aml => [0x47, 1, ...le(port, 2), ...le(port, 2), 1, length];

/** IRQNoFlags() { irq }: edge, active high, exclusive, §6.4.2.1. */
export const irq = (line: number): Aml => [0x22, ...le(1 << line, 2)];

/** DMA(Compatibility, NotBusMaster, Transfer8) { channel }, §6.4.2.2. */
export const dmaChannel = (channel: number): Aml => [0x2a, 1 << channel, 0];

/** Interrupt(ResourceConsumer, Level, ActiveLow, Shared) { … }, §6.4.3.6. The first number stands at byte 5. */
export const levelInterrupts = (...numbers: readonly number[]): Aml => {
  const CONSUMER = 1;
  const ACTIVE_LOW = 1 << 2;
  const SHARED = 1 << 3;
  return [
    0x89,
    ...le(2 + 4 * numbers.length, 2),
    CONSUMER | ACTIVE_LOW | SHARED,
    numbers.length,
    ...numbers.flatMap((n) => le(n, 4)),
  ];
};

/** Interrupt(ResourceConsumer, Level, ActiveHigh, Shared) { number }, §6.4.3.6. */
export const activeHighInterrupt = (number: number): Aml => {
  const CONSUMER = 1;
  const SHARED = 1 << 3;
  return [0x89, ...le(6, 2), CONSUMER | SHARED, 1, ...le(number, 4)];
};

/** Memory32Fixed(ReadWrite or ReadOnly, base, length), §6.4.3.4. */
export const memory32Fixed = (base: number, length: number, writable = true): Aml => [
  0x86,
  ...le(9, 2),
  writable ? 1 : 0,
  ...le(base, 4),
  ...le(length, 4),
];

/** Resource types and flags of address space descriptors, §6.4.3.5. */
const TYPE = { MEMORY: 0, IO: 1, BUS: 2 } as const;
const GENERAL_FIXED = (1 << 2) | (1 << 3);
const MEMORY_READ_WRITE = 1;
const MEMORY_CACHEABLE = 1 << 1;
const IO_ENTIRE_RANGE = 3;

/** A window that a bridge passes on, `width` bytes a number: 2, 4 or 8. */
function window(tag: number, width: number, type: number, flags: number, start: number, end: number): Aml {
  const fields = [0, start, end - 1, 0, end - start].flatMap((value) => le(value, width));
  return [tag, ...le(3 + fields.length, 2), type, GENERAL_FIXED, flags, ...fields];
}

export const busWindow = (start: number, end: number): Aml => window(0x88, 2, TYPE.BUS, 0, start, end);
export const ioWindow = (start: number, end: number): Aml => window(0x88, 2, TYPE.IO, IO_ENTIRE_RANGE, start, end);
export const memoryWindow = (start: number, end: number, cacheable = false): Aml =>
  window(0x87, 4, TYPE.MEMORY, MEMORY_READ_WRITE | (cacheable ? MEMORY_CACHEABLE : 0), start, end);
export const memoryWindow64 = (start: number, end: number): Aml =>
  window(0x8a, 8, TYPE.MEMORY, MEMORY_READ_WRITE | MEMORY_CACHEABLE, start, end);
