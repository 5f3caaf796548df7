/**
 * What firmware that runs in the guest (SeaBIOS, OVMF) is told of the machine through fw_cfg: QEMU's docs/specs/fw_cfg.rst
 * and the items that SeaBIOS reads (src/fw/paravirt.c).
 */
import type { AcpiTables } from '../acpi/build.js';
import { ByteWriter, cstring } from '../bytes.js';
import { e820, type MemoryMap } from '../memory-map.js';
import { smbios2Anchor, type SmbiosTable } from '../smbios/smbios.js';
import { ACPI_FILES, tableLoader } from './table-loader.js';

/** Selectors of items that have no file name. */
export const FW_CFG_KEY = {
  SIGNATURE: 0x00,
  ID: 0x01,
  UUID: 0x02,
  RAM_SIZE: 0x03,
  NOGRAPHIC: 0x04,
  NB_CPUS: 0x05,
  KERNEL_ADDR: 0x07,
  KERNEL_SIZE: 0x08,
  INITRD_ADDR: 0x0a,
  INITRD_SIZE: 0x0b,
  BOOT_MENU: 0x0e,
  MAX_CPUS: 0x0f,
  KERNEL_ENTRY: 0x10,
  KERNEL_DATA: 0x11,
  INITRD_DATA: 0x12,
  CMDLINE_ADDR: 0x13,
  CMDLINE_SIZE: 0x14,
  CMDLINE_DATA: 0x15,
  SETUP_ADDR: 0x16,
  SETUP_SIZE: 0x17,
  SETUP_DATA: 0x18,
  FILE_DIR: 0x19,
  FILE_FIRST: 0x20,
  IRQ0_OVERRIDE: 0x8002,
} as const;

/** An item: with a selector of its own, or a file of the directory (names of at most 55 characters). */
export type FwCfgItem =
  | { readonly key: number; readonly data: Uint8Array }
  | { readonly file: string; readonly data: Uint8Array };

export interface FwCfgDescription {
  readonly cpus: number;
  readonly ramSize: number;
  /** 16 bytes as RFC 4122 writes them. */
  readonly uuid: Uint8Array;
  readonly vga: boolean;
  readonly memoryMap: MemoryMap;
  readonly acpi: AcpiTables;
  readonly smbios: SmbiosTable;
  /** Open Firmware paths of devices to boot from, the first one first. */
  readonly bootOrder: readonly string[];
  /** Whether the firmware offers a boot menu. */
  readonly bootMenu?: boolean;
  /** Milliseconds that it waits for the menu's key; undefined: its own default. */
  readonly bootMenuWait?: number;
}

const u16 = (value: number): Uint8Array => new ByteWriter().u16(value).finish();
const u32 = (value: number): Uint8Array => new ByteWriter().u32(value).finish();
const u64 = (value: number): Uint8Array => new ByteWriter().u64(value).finish();

/**
 * Sleep states, a byte for each: bit 7 offered, low bits the SLP_TYP of S3 and S4. Only S0 and S5 are offered.
 */
const SYSTEM_STATES = Uint8Array.of(0x80, 0, 0, 1, 2, 0x80);

/** All items but a kernel's. */
export function fwCfgItems(description: FwCfgDescription): FwCfgItem[] {
  const { acpi, smbios } = description;
  const key = (which: keyof typeof FW_CFG_KEY, data: Uint8Array): FwCfgItem => ({ key: FW_CFG_KEY[which], data });
  const file = (name: string, data: Uint8Array): FwCfgItem => ({ file: name, data });
  const menu = description.bootMenu ?? description.bootMenuWait !== undefined;
  const items = [
    key('UUID', description.uuid),
    key('RAM_SIZE', u64(description.ramSize)),
    key('NOGRAPHIC', u16(description.vga ? 0 : 1)),
    key('NB_CPUS', u16(description.cpus)),
    key('MAX_CPUS', u16(description.cpus)),
    key('BOOT_MENU', u16(menu ? 1 : 0)),
    key('IRQ0_OVERRIDE', Uint8Array.of(1)),
    file('etc/e820', e820(description.memoryMap)),
    file(ACPI_FILES.rsdp, acpi.rsdp.bytes),
    file(ACPI_FILES.tables, acpi.tables.bytes),
    file(ACPI_FILES.loader, tableLoader(acpi)),
    // The address is the firmware's to fill in.
    file('etc/smbios/smbios-anchor', smbios2Anchor(smbios, 0)),
    file('etc/smbios/smbios-tables', smbios.bytes),
    file('etc/system-states', SYSTEM_STATES),
    file('etc/max-cpus', u16(description.cpus)),
    // Never reboot by itself when nothing boots: the machine's owner decides.
    file('etc/boot-fail-wait', u32(0xffff_ffff)),
  ];
  if (description.bootOrder.length > 0) items.push(file('bootorder', cstring(description.bootOrder.join('\n'))));
  if (description.bootMenuWait !== undefined)
    items.push(file('etc/boot-menu-wait', u16(Math.min(description.bootMenuWait, 0xffff))));
  return items;
}
