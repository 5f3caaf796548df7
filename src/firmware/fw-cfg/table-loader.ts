/**
 * The script by which firmware places ACPI tables (etc/table-loader): QEMU's hw/acpi/bios-linker-loader.c describes it,
 * SeaBIOS and OVMF run it. Each command takes 128 bytes.
 */
import { ACPI_ALIGNMENT, type AcpiBlob, type AcpiTables } from '../acpi/build.js';
import { ByteWriter } from '../bytes.js';

/** fw_cfg files with tables, root pointer and script. */
export const ACPI_FILES = { rsdp: 'etc/acpi/rsdp', tables: 'etc/acpi/tables', loader: 'etc/table-loader' } as const;

const COMMAND = { ALLOCATE: 1, ADD_POINTER: 2, ADD_CHECKSUM: 3 } as const;
const COMMAND_SIZE = 128;
const FILE_SIZE = 56;
/** Where to allocate: anywhere high, or in the segment that guests search for the root pointer. */
const ZONE = { HIGH: 1, FSEG: 2 } as const;

/** The script for a board's tables. */
export function tableLoader(acpi: AcpiTables): Uint8Array {
  const out = new ByteWriter();
  const finish = (): void => {
    out.align(COMMAND_SIZE);
  };
  const allocate = (file: string, alignment: number, zone: number): void => {
    out.u32(COMMAND.ALLOCATE).text(file, FILE_SIZE).u32(alignment).u8(zone);
    finish();
  };

  const link = (file: string, blob: AcpiBlob): void => {
    for (const { at, size } of blob.pointers) {
      out.u32(COMMAND.ADD_POINTER).text(file, FILE_SIZE).text(ACPI_FILES.tables, FILE_SIZE).u32(at).u8(size);
      finish();
    }
    for (const { at, start, length } of blob.checksums) {
      out.u32(COMMAND.ADD_CHECKSUM).text(file, FILE_SIZE).u32(at, start, length);
      finish();
    }
  };

  allocate(ACPI_FILES.rsdp, 16, ZONE.FSEG);
  allocate(ACPI_FILES.tables, ACPI_ALIGNMENT, ZONE.HIGH);
  link(ACPI_FILES.tables, acpi.tables);
  link(ACPI_FILES.rsdp, acpi.rsdp);
  return out.finish();
}
