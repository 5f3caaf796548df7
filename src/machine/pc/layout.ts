/** Where things are on the PC board. Addresses and sizes in bytes. */
import { GIB, KIB, MIB } from '../../base/units.js';

export const PC = {
  /** RAM below 4 GiB ends here at the latest; the rest continues at 4 GiB. */
  LOW_RAM_LIMIT: 0xb000_0000,
  /** PCI Express configuration space, room for 256 buses. */
  ECAM: 0xb000_0000,
  ECAM_SIZE: 256 * MIB,
  /** PCI memory below 4 GiB: from behind ECAM to the I/O APIC. */
  PCI_HOLE: 0xc000_0000,
  PCI_HOLE_END: 0xfec0_0000,
  /** PCI memory above all RAM, when the address width allows. */
  PCI_64: 64 * GIB,
  PCI_64_END: 128 * GIB,
  HPET: 0xfed0_0000,
  LOCAL_APIC: 0xfee0_0000,
  /** The ACPI block of the chipset, where firmware puts it. */
  PM_BASE: 0x600,
  PM_SIZE: 128,
  VGA_WINDOW: 0xa_0000,
  VGA_WINDOW_SIZE: 128 * KIB,
  /** Shadow RAM: what PAM switches between ROM and RAM. */
  SHADOW: 0xc_0000,
  SHADOW_END: MIB,
  /** Slot of the ICH9's LPC bridge. */
  LPC_SLOT: 31,
  /** Functions of that slot: SATA as in the ICH9; the IDE function where older ones of the family have it. */
  AHCI_FUNCTION: 2,
  IDE_FUNCTION: 1,
  /** Slots for cards. Those behind them have their interrupt pins wired differently. */
  FIRST_CARD_SLOT: 1,
  LAST_CARD_SLOT: 24,
  /** The first of the slots that cards can be put into while the machine runs, as far as they are free; the last is LAST_CARD_SLOT. */
  FIRST_HOT_SLOT: 17,
  /** First port of the registers for that. */
  HOTPLUG: 0xcc0,
  /** First of fw_cfg's twelve ports. */
  FW_CFG: 0x510,
} as const;
