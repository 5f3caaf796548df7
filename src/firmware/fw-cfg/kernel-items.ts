/**
 * A Linux kernel for firmware to boot by its 16-bit entry: setup code, kernel, initrd and command line as fw_cfg items,
 * which an option ROM copies to the addresses that stand in them (Documentation/arch/x86/boot.rst, "Memory layout").
 */
import { KIB, MIB } from '../../base/units.js';
import { UsageError } from '../../base/errors.js';
import { ByteWriter, cstring, viewOf } from '../bytes.js';
import { formatSize } from '../guest-memory.js';
import { lowRamEnd, type MemoryMap } from '../memory-map.js';
import { isBzImage } from '../loaders/detect.js';
import { CAN_USE_HEAP, HDR, readSetup, TYPE_OF_LOADER } from '../loaders/linux-setup.js';
import type { BootModule } from '../loaders/request.js';
import { FW_CFG_KEY, type FwCfgItem } from './items.js';
import { LINUX_ROM_FILE, linuxRom, type RomCopy } from './linux-rom.js';

/** Where the option ROM puts the parts. */
const REAL_MODE_ADDRESS = 0x1_0000;
const COMMAND_LINE_ADDRESS = 0x2_0000;
const KERNEL_ADDRESS = 1 * MIB;

export interface FirmwareKernel {
  readonly name: string;
  readonly kernel: Uint8Array;
  readonly initrd?: BootModule;
  readonly commandLine: string;
  readonly memoryMap: MemoryMap;
}

/** Names of video modes, x86/boot.rst "Special command line options". */
const VIDEO_MODES: Readonly<Record<string, number>> = { normal: 0xffff, ext: 0xfffe, ask: 0xfffd };

/** What `vga=` asks for: the boot loader hands that on, because the setup code does not read the command line. */
function videoMode(commandLine: string): number | undefined {
  const word = /(?:^|\s)vga=(\S+)/.exec(commandLine)?.[1];
  if (word === undefined) return undefined;
  if (Object.hasOwn(VIDEO_MODES, word)) return VIDEO_MODES[word];
  const number = Number(word);
  return Number.isInteger(number) && number >= 0 && number <= 0xffff ? number : undefined;
}

/** The items, from a bzImage, and the ROM that boots it; `LINUX_ROM_BOOT_PATH` puts it first in the boot order. */
export function kernelItems(request: FirmwareKernel): FwCfgItem[] {
  const { name, kernel } = request;
  if (kernel.length === 0) throw new UsageError(`${name} is empty`);
  if (!isBzImage(kernel)) throw new UsageError(`${name} is not a bzImage: firmware boots no other kernels`);
  const parsed = readSetup(kernel, name);
  const lowEnd = lowRamEnd(request.memoryMap);
  if (parsed.kernelEnd > lowEnd)
    throw new UsageError(`the machine's memory is too small: ${name} needs ${formatSize(parsed.kernelEnd)} to start`);

  const setup = kernel.slice(0, parsed.payload);
  const view = viewOf(setup);
  view.setUint8(HDR.TYPE_OF_LOADER, TYPE_OF_LOADER);
  view.setUint8(HDR.LOADFLAGS, view.getUint8(HDR.LOADFLAGS) | CAN_USE_HEAP);
  // Heap and stack of the setup code reach up to the command line.
  view.setUint16(HDR.HEAP_END_PTR, COMMAND_LINE_ADDRESS - REAL_MODE_ADDRESS - 0x200, true);
  view.setUint32(HDR.CMD_LINE_PTR, COMMAND_LINE_ADDRESS, true);
  const mode = videoMode(request.commandLine);
  if (mode !== undefined) view.setUint16(HDR.VIDEO_MODE, mode, true);

  const commandLine = cstring(request.commandLine);
  if (commandLine.length - 1 > parsed.commandLineMax)
    throw new UsageError(
      `the kernel command line is too long: ${commandLine.length - 1} bytes, at most ${parsed.commandLineMax}`,
    );

  const number = (value: number): Uint8Array => new ByteWriter().u32(value).finish();
  const key = (which: keyof typeof FW_CFG_KEY, data: Uint8Array): FwCfgItem => ({ key: FW_CFG_KEY[which], data });
  const items: FwCfgItem[] = [];
  const copies: RomCopy[] = [];
  if (request.initrd !== undefined) {
    const { data } = request.initrd;
    // Firmware keeps its own tables at the end of low memory.
    const below = Math.min(parsed.initrdMax + 1, lowEnd - 256 * KIB);
    const at = Math.floor((below - data.length) / 4096) * 4096;
    if (at < parsed.kernelEnd)
      throw new UsageError(
        `the initrd ${request.initrd.name} is too large: ${formatSize(data.length)}, ` +
          `there is room for ${formatSize(Math.max(below - parsed.kernelEnd, 0))}`,
      );
    view.setUint32(HDR.RAMDISK_IMAGE, at, true);
    view.setUint32(HDR.RAMDISK_SIZE, data.length, true);
    copies.push({ key: FW_CFG_KEY.INITRD_DATA, address: at, length: data.length });
    items.push(key('INITRD_ADDR', number(at)), key('INITRD_SIZE', number(data.length)), key('INITRD_DATA', data));
  }
  const payload = kernel.subarray(parsed.payload);
  items.push(
    key('KERNEL_ADDR', number(KERNEL_ADDRESS)),
    key('KERNEL_SIZE', number(payload.length)),
    key('KERNEL_DATA', payload),
    key('CMDLINE_ADDR', number(COMMAND_LINE_ADDRESS)),
    key('CMDLINE_SIZE', number(commandLine.length)),
    key('CMDLINE_DATA', commandLine),
    key('SETUP_ADDR', number(REAL_MODE_ADDRESS)),
    key('SETUP_SIZE', number(setup.length)),
    key('SETUP_DATA', setup),
  );
  copies.push(
    { key: FW_CFG_KEY.KERNEL_DATA, address: KERNEL_ADDRESS, length: payload.length },
    { key: FW_CFG_KEY.CMDLINE_DATA, address: COMMAND_LINE_ADDRESS, length: commandLine.length },
    { key: FW_CFG_KEY.SETUP_DATA, address: REAL_MODE_ADDRESS, length: setup.length },
  );
  items.push({ file: LINUX_ROM_FILE, data: linuxRom(copies, REAL_MODE_ADDRESS) });
  return items;
}
