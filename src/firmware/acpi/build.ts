/**
 * Puts a board's ACPI tables together, in a form that can still be moved: into guest memory directly, or by firmware
 * that runs in the guest (see fw-cfg/table-loader.ts).
 */
import type { BoardDescription, ReducedBoard } from '../board.js';
import { ByteWriter, checksum, viewOf } from '../bytes.js';
import { dsdtBody } from './dsdt.js';
import { reducedDsdtBody, reducedFadt } from './reduced.js';
import { facs, fadt, FADT_POINTERS, HEADER_CHECKSUM, hpetTable, madt, mcfg, table } from './tables.js';

/** A pointer to be relocated: `size` bytes at `at`, holding an offset into the tables. */
export interface AcpiPointer {
  readonly at: number;
  readonly size: 4 | 8;
}

/** A checksum byte to be set, after relocation, so that the range sums to 0. */
export interface AcpiChecksum {
  readonly at: number;
  readonly start: number;
  readonly length: number;
}

/** Bytes with pointers into `AcpiTables.tables`. */
export interface AcpiBlob {
  readonly bytes: Uint8Array;
  readonly pointers: readonly AcpiPointer[];
  /** In the order in which they are to be computed. */
  readonly checksums: readonly AcpiChecksum[];
}

export interface AcpiTables {
  /** All tables; where they go must be aligned to 64 bytes. */
  readonly tables: AcpiBlob;
  /** The root pointer, to be found by guests: 16-byte aligned within 0xe0000 … 0xfffff. */
  readonly rsdp: AcpiBlob;
}

/** Alignment of the tables: FACS wants it. */
export const ACPI_ALIGNMENT = 64;

/** What the tables of a board are made of. */
interface TableParts {
  readonly dsdt: Uint8Array;
  readonly fadt: Uint8Array;
  /** Absent: what shares a lock with firmware is not there. */
  readonly facs?: Uint8Array;
  /** Tables that the root lists besides the FADT. */
  readonly others: readonly Uint8Array[];
}

/** Builds all tables of a PC. */
export function buildAcpi(board: BoardDescription): AcpiTables {
  const others = [madt(board)];
  if (board.hpet) others.push(hpetTable(board.hpet));
  if (board.ecam) others.push(mcfg(board.ecam));
  return assemble({ dsdt: dsdtBody(board), fadt: fadt(board), facs: facs(), others });
}

/** The same for a board of hardware-reduced ACPI. */
export const buildReducedAcpi = (board: ReducedBoard): AcpiTables =>
  assemble({ dsdt: reducedDsdtBody(board), fadt: reducedFadt(board), others: [madt(board)] });

function assemble(parts: TableParts): AcpiTables {
  const out = new ByteWriter();
  const pointers: AcpiPointer[] = [];
  const checksums: AcpiChecksum[] = [];
  const add = (bytes: Uint8Array, alignment = 16): number => {
    out.align(alignment);
    const at = out.length;
    out.bytes(bytes);
    return at;
  };
  const addTable = (bytes: Uint8Array): number => {
    const at = add(bytes);
    checksums.push({ at: at + HEADER_CHECKSUM, start: at, length: bytes.length });
    return at;
  };
  const point = (at: number, size: 4 | 8, target: number): void => {
    if (size === 4) out.setU32(at, target);
    else out.setU64(at, target);
    pointers.push({ at, size });
  };

  const facsAt = parts.facs && add(parts.facs, ACPI_ALIGNMENT);
  const dsdtAt = addTable(table('DSDT', 2, parts.dsdt));
  const fadtAt = addTable(parts.fadt);
  // X_FIRMWARE_CTRL is for a FACS above 4 GiB; both together are an error (ACPI 6.5 table 5.9).
  if (facsAt !== undefined) point(fadtAt + FADT_POINTERS.FACS, 4, facsAt);
  point(fadtAt + FADT_POINTERS.DSDT, 4, dsdtAt);
  point(fadtAt + FADT_POINTERS.X_DSDT, 8, dsdtAt);

  const listed = [fadtAt, ...parts.others.map(addTable)];

  const root = (signature: string, size: 4 | 8): number => {
    const at = addTable(table(signature, 1, new Uint8Array(listed.length * size)));
    listed.forEach((target, i) => point(at + 36 + i * size, size, target));
    return at;
  };
  const rsdtAt = root('RSDT', 4);
  const xsdtAt = root('XSDT', 8);

  return { tables: { bytes: out.finish(), pointers, checksums }, rsdp: rsdp(rsdtAt, xsdtAt) };
}

/** Root System Description Pointer, revision 2 (§5.2.5.3): the first checksum is that of ACPI 1.0's 20 bytes. */
function rsdp(rsdtAt: number, xsdtAt: number): AcpiBlob {
  const bytes = new ByteWriter()
    .text('RSD PTR ', 8)
    .u8(0)
    .text('VITRIN', 6)
    .u8(2)
    .u32(rsdtAt)
    .u32(36)
    .u64(xsdtAt)
    .u8(0, 0, 0, 0)
    .finish();
  return {
    bytes,
    pointers: [
      { at: 16, size: 4 },
      { at: 24, size: 8 },
    ],
    checksums: [
      { at: 8, start: 0, length: 20 },
      { at: 32, start: 0, length: 36 },
    ],
  };
}

/** A copy of a blob for tables that lie at `base`. */
export function relocate(blob: AcpiBlob, base: number): Uint8Array {
  const bytes = blob.bytes.slice();
  const view = viewOf(bytes);
  for (const { at, size } of blob.pointers)
    if (size === 4) view.setUint32(at, view.getUint32(at, true) + base, true);
    else view.setBigUint64(at, view.getBigUint64(at, true) + BigInt(base), true);
  for (const { at, start, length } of blob.checksums) {
    bytes[at] = 0;
    bytes[at] = checksum(bytes.subarray(start, start + length));
  }
  return bytes;
}
