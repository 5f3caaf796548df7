/**
 * Where ACPI and SMBIOS tables go when no firmware runs in the guest: into the BIOS area, where guests look for them.
 */
import { gpa, KIB, type Gpa } from '../base/units.js';
import { assert } from '../base/assert.js';
import { ACPI_ALIGNMENT, relocate, type AcpiTables } from './acpi/build.js';
import { placeBiosData } from './bios-data.js';
import { placeBiosServices } from './bios-services.js';
import type { GuestMemoryWriter } from './guest-memory.js';
import { smbios2Anchor, smbios3Anchor, type SmbiosTable } from './smbios/smbios.js';

/** Guests search 0xe0000 … 0xfffff for the ACPI root pointer, and 0xf0000 … 0xfffff for SMBIOS. */
const ACPI_START = 0xe_0000;
const SMBIOS_START = 0xf_0000;

/** The handlers of BIOS interrupts begin here. */
const BIOS_SERVICES = 0xf_f000;

const roundUp = (value: number, to: number): number => Math.ceil(value / to) * to;

/**
 * Writes the tables into the BIOS area, which must be writable memory now, and returns where the ACPI root pointer is; besides
 * them what else a BIOS leaves: its data areas, with the UARTs' ports, and an interrupt table. All of it belongs to the memory map's reserved ranges.
 */
export function placeTables(
  memory: GuestMemoryWriter,
  acpi: AcpiTables,
  smbios: SmbiosTable,
  serialPorts: readonly number[] = [0x3f8, 0x2f8],
): Gpa {
  memory.write(gpa(ACPI_START), new Uint8Array(128 * KIB));
  placeBiosData(memory, serialPorts);
  placeBiosServices(memory);

  const tablesAt = roundUp(ACPI_START + acpi.rsdp.bytes.length, ACPI_ALIGNMENT);
  assert(tablesAt + acpi.tables.bytes.length <= SMBIOS_START, 'the ACPI tables fit into 64 KiB');
  memory.write(gpa(tablesAt), relocate(acpi.tables, tablesAt));
  memory.write(gpa(ACPI_START), relocate(acpi.rsdp, tablesAt));

  const anchor2At = SMBIOS_START;
  const anchor3At = SMBIOS_START + 32;
  const smbiosAt = SMBIOS_START + 64;
  assert(smbiosAt + smbios.bytes.length <= BIOS_SERVICES, 'the SMBIOS tables fit into 60 KiB');
  memory.write(gpa(anchor2At), smbios2Anchor(smbios, smbiosAt));
  memory.write(gpa(anchor3At), smbios3Anchor(smbios, smbiosAt));
  memory.write(gpa(smbiosAt), smbios.bytes);
  return gpa(ACPI_START);
}
