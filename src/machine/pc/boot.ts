/** Starting a PC: by a kernel that is loaded without firmware, or by a BIOS image that runs in the guest. */
import { firmwareMemoryTypes } from '../../arch/x86/msr-policy.js';
import { UsageError } from '../../base/errors.js';
import { HPET_ID } from '../../devices/legacy/hpet/hpet.js';
import { HOTPLUG_EVENT, HOTPLUG_PORTS } from '../../devices/acpi/pci-hotplug.js';
import { buildAcpi } from '../../firmware/acpi/build.js';
import { biosBootState } from '../../firmware/bios.js';
import { ich9PirqRoutes, type BoardDescription } from '../../firmware/board.js';
import { cmosContent } from '../../firmware/cmos.js';
import { fwCfgItems, type FwCfgItem } from '../../firmware/fw-cfg/items.js';
import { kernelItems } from '../../firmware/fw-cfg/kernel-items.js';
import { loadKernel } from '../../firmware/loaders/load-kernel.js';
import { pcMemoryMap, splitRam, type MemoryMap } from '../../firmware/memory-map.js';
import { placeTables } from '../../firmware/place-tables.js';
import type { SmbiosTable } from '../../firmware/smbios/smbios.js';
import type { BiosImage, BootKernel, BootServices } from '../common/board.js';
import { boardSmbios } from '../common/identity.js';
import { startCpus } from '../common/start-cpus.js';
import { bootOrder, CMOS_BOOT, type BootLetter, type PcBootOptions } from './boot-order.js';
import { PC } from './layout.js';
import { hasMouse, SERIAL_PORTS, type Pc } from './pc.js';

/** Periods of the HPET's main counter (10 ns): what it can be relied on for. */
const HPET_MINIMUM_TICK = 0x80;
const ECAM_RESERVED = [{ start: PC.ECAM, size: PC.ECAM_SIZE }];

/** What the firmware tables say of the board. */
export function describeBoard(pc: Pc): BoardDescription {
  return {
    cpus: pc.cpus.map((cpu) => cpu.index),
    localApicBase: PC.LOCAL_APIC,
    ioApics: [{ id: 0, base: 0xfec0_0000, gsiBase: 0 }],
    hpet: { base: PC.HPET, id: HPET_ID, minimumTick: HPET_MINIMUM_TICK },
    pm: { base: PC.PM_BASE, size: PC.PM_SIZE, gpe0Size: 16, sci: 9, s5: 7 },
    reset: { port: 0xcf9, value: 6 },
    century: 0x32,
    // All cards are on bus 0: a guest that is told of more asks for the devices on each.
    ecam: { base: PC.ECAM, size: PC.ECAM_SIZE, buses: 1 },
    pci: {
      mmio32: [{ start: PC.PCI_HOLE, end: PC.PCI_HOLE_END }],
      ...(pc.options.model.physicalBits > 36 ? { mmio64: { start: PC.PCI_64, end: PC.PCI_64_END } } : {}),
      routes: ich9PirqRoutes,
      firstPirqGsi: 16,
      lpcSlot: PC.LPC_SLOT,
    },
    serial: SERIAL_PORTS,
    keyboard: true,
    mouse: hasMouse(pc.options),
    vga: pc.options.display.vga !== 'none',
    floppy: pc.floppies.length > 0,
    fwCfg: PC.FW_CFG,
    hotplug: { base: PC.HOTPLUG, size: HOTPLUG_PORTS, event: HOTPLUG_EVENT, slots: pc.hotplug.slots },
  };
}

function describeSmbios({ options, cpus }: Pc, uuid: Uint8Array, version: string): SmbiosTable {
  const { model, ramSize, tscHz } = options;
  const lowRamLimit = PC.LOW_RAM_LIMIT;
  return boardSmbios({ product: 'Q35', model, cpus: cpus.length, ramSize, lowRamLimit, tscHz }, uuid, version);
}

export const pcRamMap = (ramSize: number): MemoryMap =>
  pcMemoryMap({ ramSize, lowRamLimit: PC.LOW_RAM_LIMIT, reserved: ECAM_RESERVED });

/** Loads a kernel as a boot loader would and sets the first CPU to its entry. Returns what kind of kernel it is. */
export function bootKernel(pc: Pc, kernel: BootKernel, services: BootServices): string {
  const { vm, entropy } = services;
  const { model, ramSize } = pc.options;
  pc.setUpWithoutFirmware();
  setCmos(pc);
  const board = describeBoard(pc);
  const acpiRsdp = placeTables(vm.dma, buildAcpi(board), describeSmbios(pc, services.uuid, services.version));
  const randomSeed = new Uint8Array(32);
  entropy.fill(randomSeed);
  const loaded = loadKernel(vm.dma, {
    name: kernel.name,
    kernel: kernel.data,
    commandLine: kernel.commandLine,
    modules: kernel.modules,
    memoryMap: pcRamMap(ramSize),
    acpiRsdp,
    randomSeed,
    longMode: model.features.has('lm'),
    vgaText: pc.options.display.vga !== 'none',
    gunzip: (data) => services.gunzip(data),
  });
  const msrs = firmwareMemoryTypes(model, PC.PCI_HOLE);
  startCpus(pc.cpus, model, { ...loaded.boot, msrs: [...msrs, ...(loaded.boot.msrs ?? [])] });
  return loaded.description;
}

/** Puts the BIOS image in its place. It is not part of what a snapshot saves. */
export function installBios(bios: BiosImage, romOffset: number, services: BootServices): void {
  services.vm.backing.set(bios.image, romOffset);
}

/**
 * Tells firmware of the machine, and of the kernel that it shall start, through fw_cfg; or a kernel that runs without firmware
 * (test kernels ask for the number of CPUs there), once it asks. Not part of what a snapshot saves.
 */
export function fillFwCfg(
  pc: Pc,
  firmware: { readonly kernel: BootKernel | undefined; readonly boot: PcBootOptions } | undefined,
  services: BootServices,
): void {
  const { ramSize } = pc.options;
  const memoryMap = pcRamMap(ramSize);
  const board = describeBoard(pc);
  const order = firmware ? bootOrder(pc.bootDevices, firmware.boot) : [];
  const add = (items: readonly FwCfgItem[]): void => {
    for (const item of items)
      if ('key' in item) pc.fwCfg.add(item.key, item.data);
      else pc.fwCfg.addFile(item.file, item.data);
  };
  const addMachine = (): void =>
    add(
      fwCfgItems({
        cpus: pc.cpus.length,
        ramSize,
        uuid: services.uuid,
        vga: pc.options.display.vga !== 'none',
        memoryMap,
        acpi: buildAcpi(board),
        smbios: describeSmbios(pc, services.uuid, services.version),
        bootOrder: order,
        bootMenu: firmware?.boot.menu ?? false,
        ...(firmware?.boot.menuWait !== undefined && { bootMenuWait: firmware.boot.menuWait }),
      }),
    );
  if (!firmware) {
    pc.fwCfg.addLate(addMachine);
    return;
  }
  addMachine();
  // SeaBIOS's console on COM1, besides the screen.
  const [{ port }] = SERIAL_PORTS;
  add([{ file: 'etc/sercon-port', data: Uint8Array.of(port & 0xff, port >> 8) }]);
  if (firmware.kernel !== undefined) add(firmwareKernel(firmware.kernel, memoryMap));
}

function firmwareKernel({ name, data, commandLine, modules }: BootKernel, memoryMap: MemoryMap): FwCfgItem[] {
  const [initrd, ...others] = modules;
  if (others.length > 0) throw new UsageError(`${name} takes one initrd, ${modules.length} were given`);
  return kernelItems({ name, kernel: data, commandLine, memoryMap, ...(initrd && { initrd }) });
}

/** Sets the clock chip's memory and the first CPU for a BIOS that was installed. */
export function bootBios(pc: Pc, boot: PcBootOptions): void {
  setCmos(pc, boot.order);
  startCpus(pc.cpus, pc.options.model, biosBootState);
}

/** Battery-backed memory as firmware's setup program would have left it. */
function setCmos(pc: Pc, order: readonly BootLetter[] = []): void {
  const { low, high } = splitRam(pc.options.ramSize, PC.LOW_RAM_LIMIT);
  const content = cmosContent({
    lowRam: low,
    highRam: high,
    cpus: pc.cpus.length,
    mouse: hasMouse(pc.options),
    floppies: pc.floppies,
    bootOrder: order.map((letter) => CMOS_BOOT[letter]),
  });
  for (const [index, value] of content) pc.rtc.setCmos(index, value);
}
