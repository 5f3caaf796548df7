/**
 * Where ACPI and SMBIOS tables go when no firmware runs in the guest: into the BIOS area, where guests look for them.
 */
import { gpa, KIB, MIB, type Gpa } from '../base/units.js';
import { assert } from '../base/assert.js';
import { ACPI_ALIGNMENT, relocate, type AcpiTables } from './acpi/build.js';
import type { GuestMemoryWriter } from './guest-memory.js';
import { smbios2Anchor, smbios3Anchor, type SmbiosTable } from './smbios/smbios.js';

/** Guests search 0xe0000 … 0xfffff for the ACPI root pointer, and 0xf0000 … 0xfffff for SMBIOS. */
const ACPI_START = 0xe_0000;
const SMBIOS_START = 0xf_0000;

const roundUp = (value: number, to: number): number => Math.ceil(value / to) * to;

/**
 * Writes the tables into the BIOS area, which must be writable memory now, and returns where the ACPI root pointer is.
 * The area belongs to the memory map's reserved ranges.
 */
export function placeTables(memory: GuestMemoryWriter, acpi: AcpiTables, smbios: SmbiosTable): Gpa {
  memory.write(gpa(ACPI_START), new Uint8Array(128 * KIB));

  const tablesAt = roundUp(ACPI_START + acpi.rsdp.bytes.length, ACPI_ALIGNMENT);
  assert(tablesAt + acpi.tables.bytes.length <= SMBIOS_START, 'the ACPI tables fit into 64 KiB');
  memory.write(gpa(tablesAt), relocate(acpi.tables, tablesAt));
  memory.write(gpa(ACPI_START), relocate(acpi.rsdp, tablesAt));

  const anchor2At = SMBIOS_START;
  const anchor3At = SMBIOS_START + 32;
  const smbiosAt = SMBIOS_START + 64;
  assert(smbiosAt + smbios.bytes.length <= MIB, 'the SMBIOS tables fit below 1 MiB');
  memory.write(gpa(anchor2At), smbios2Anchor(smbios, smbiosAt));
  memory.write(gpa(anchor3At), smbios3Anchor(smbios, smbiosAt));
  memory.write(gpa(smbiosAt), smbios.bytes);
  return gpa(ACPI_START);
}
