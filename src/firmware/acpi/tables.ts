/** The static ACPI tables of a board (ACPI 6.5 ch. 5; HPET: IA-PC HPET 1.0a §3.2.4; MCFG: PCI Firmware 3.3 §4.1.2). */
import type { ApicTopology, BoardDescription } from '../board.js';
import { ByteWriter } from '../bytes.js';

const OEM_ID = 'VITRIN';
const OEM_TABLE_ID = 'VITRINE ';
const CREATOR_ID = 'VTRN';
/** Bytes of the header that every table but FACS and RSDP has. */
export const HEADER_SIZE = 36;
/** Offset of a table's checksum in its header. */
export const HEADER_CHECKSUM = 9;

/** A table with its header; the checksum is still 0. */
export function table(signature: string, revision: number, body: Uint8Array): Uint8Array {
  return new ByteWriter()
    .text(signature, 4)
    .u32(HEADER_SIZE + body.length)
    .u8(revision, 0)
    .text(OEM_ID, 6)
    .text(OEM_TABLE_ID, 8)
    .u32(1)
    .text(CREATOR_ID, 4)
    .u32(1)
    .bytes(body)
    .finish();
}

/** Offsets of the pointers in the FADT. */
export const FADT_POINTERS = { FACS: 36, DSDT: 40, X_FACS: 132, X_DSDT: 140 } as const;

/** FADT flags, table 5.10. */
const FADT_FLAG = {
  WBINVD: 1 << 0,
  PROC_C1: 1 << 2,
  /** No fixed sleep button. */
  SLP_BUTTON: 1 << 5,
  /** The RTC's alarm does not wake through fixed registers. */
  FIX_RTC: 1 << 6,
  RESET_REG_SUP: 1 << 10,
  USE_PLATFORM_CLOCK: 1 << 15,
} as const;

/** IA-PC boot architecture flags, table 5.11. */
const BOOT_ARCH = { LEGACY_DEVICES: 1 << 0, HAS_8042: 1 << 1, NO_VGA: 1 << 2, NO_ASPM: 1 << 4 } as const;

/** Generic Address Structure of a port, §5.2.3.2. `access`: 1 byte, 2 word, 3 dword. */
const portAddress = (out: ByteWriter, port: number, bytes: number, access: number): ByteWriter =>
  out.u8(1, Math.min(bytes * 8, 255), 0, access).u64(port);

/** Fixed ACPI Description Table, revision 6 (§5.2.9). FACS and DSDT are filled in by whoever places them. */
export function fadt(board: BoardDescription): Uint8Array {
  const { pm } = board;
  const [event, control, timer, gpe0] = [pm.base, pm.base + 4, pm.base + 8, pm.base + 0x20];
  const flags =
    FADT_FLAG.WBINVD |
    FADT_FLAG.PROC_C1 |
    FADT_FLAG.SLP_BUTTON |
    FADT_FLAG.FIX_RTC |
    FADT_FLAG.RESET_REG_SUP |
    (board.hpet ? FADT_FLAG.USE_PLATFORM_CLOCK : 0);
  const architecture =
    BOOT_ARCH.LEGACY_DEVICES |
    (board.keyboard ? BOOT_ARCH.HAS_8042 : 0) |
    (board.vga ? 0 : BOOT_ARCH.NO_VGA) |
    BOOT_ARCH.NO_ASPM;
  const out = new ByteWriter()
    .u32(0, 0)
    .u8(0, 0) // reserved; preferred profile: unspecified
    .u16(pm.sci)
    .u32(0) // no SMI command port: always in ACPI mode
    .u8(0, 0, 0, 0)
    .u32(event, 0, control, 0, 0, timer, gpe0, 0)
    .u8(4, 2, 0, 4, pm.gpe0Size, 0, 0, 0)
    .u16(0xfff, 0xfff) // no C2, no C3
    .u16(0, 0)
    .u8(0, 0, 0, 0, board.century)
    .u16(architecture)
    .u8(0)
    .u32(flags);
  portAddress(out, board.reset.port, 1, 1).u8(board.reset.value).u16(0).u8(0);
  out.u64(0, 0);
  portAddress(out, event, 4, 2);
  portAddress(out, 0, 0, 0);
  portAddress(out, control, 2, 2);
  portAddress(out, 0, 0, 0);
  portAddress(out, 0, 0, 0);
  portAddress(out, timer, 4, 3);
  portAddress(out, gpe0, pm.gpe0Size, 1);
  portAddress(out, 0, 0, 0);
  out.zeros(24); // sleep control and status: for hardware-reduced ACPI only
  out.text('VITRINE', 8);
  return table('FACP', 6, out.finish());
}

/** Firmware ACPI Control Structure, version 2 (§5.2.10): 64 bytes, 64-byte aligned, without checksum. */
export const facs = (): Uint8Array => new ByteWriter().text('FACS', 4).u32(64).zeros(24).u8(2).zeros(31).finish();

/** MPS INTI flags, table 5.26. */
const INTI = { ACTIVE_HIGH: 1, LEVEL: 3 << 2 } as const;

/** Multiple APIC Description Table, revision 5 (§5.2.12). */
export function madt(board: ApicTopology): Uint8Array {
  const PCAT_COMPAT = 1;
  const ENABLED = 1;
  const out = new ByteWriter().u32(board.localApicBase, board.pm ? PCAT_COMPAT : 0);
  board.cpus.forEach((apicId, uid) => out.u8(0, 8, uid, apicId).u32(ENABLED));
  for (const { id, base, gsiBase } of board.ioApics) out.u8(1, 12, id, 0).u32(base, gsiBase);
  const override = (irq: number, gsi: number, flags: number): ByteWriter => out.u8(2, 10, 0, irq).u32(gsi).u16(flags);
  if (board.pm) {
    const { sci } = board.pm;
    override(0, 2, 0);
    override(sci, sci, INTI.ACTIVE_HIGH | INTI.LEVEL);
  }
  // NMI on LINT1 of every CPU.
  out.u8(4, 6, 0xff).u16(0).u8(1);
  return table('APIC', 5, out.finish());
}

/** HPET description table. */
export function hpetTable(hpet: NonNullable<BoardDescription['hpet']>): Uint8Array {
  const out = new ByteWriter().u32(hpet.id);
  // Memory-mapped, 64 bits; access size undefined, as the specification has it.
  out.u8(0, 64, 0, 0).u64(hpet.base);
  return table('HPET', 1, out.u8(0).u16(hpet.minimumTick).u8(0).finish());
}

/** PCI Express memory-mapped configuration space. */
export const mcfg = (ecam: NonNullable<BoardDescription['ecam']>): Uint8Array =>
  table(
    'MCFG',
    1,
    new ByteWriter()
      .zeros(8)
      .u64(ecam.base)
      .u16(0)
      .u8(0, ecam.buses - 1)
      .zeros(4)
      .finish(),
  );
