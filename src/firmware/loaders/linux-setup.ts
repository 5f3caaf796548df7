/** The setup header of a Linux kernel (Documentation/arch/x86/boot.rst, protocol 2.15). */
import { MIB } from '../../base/units.js';
import { UsageError } from '../../base/errors.js';
import { viewOf } from '../bytes.js';

/** Fields of the setup header: offsets in the file and in the zero page alike. */
export const HDR = {
  SETUP_SECTS: 0x1f1,
  SYSSIZE: 0x1f4,
  VIDEO_MODE: 0x1fa,
  BOOT_FLAG: 0x1fe,
  JUMP: 0x200,
  VERSION: 0x206,
  TYPE_OF_LOADER: 0x210,
  LOADFLAGS: 0x211,
  CODE32_START: 0x214,
  RAMDISK_IMAGE: 0x218,
  RAMDISK_SIZE: 0x21c,
  HEAP_END_PTR: 0x224,
  CMD_LINE_PTR: 0x228,
  INITRD_ADDR_MAX: 0x22c,
  RELOCATABLE: 0x234,
  XLOADFLAGS: 0x236,
  CMDLINE_SIZE: 0x238,
  SETUP_DATA: 0x250,
  PREF_ADDRESS: 0x258,
  INIT_SIZE: 0x260,
} as const;

const LOADED_HIGH = 1 << 0;
export const CAN_USE_HEAP = 1 << 7;
/** xloadflags: the kernel has the 64-bit entry at 200h. */
const XLF_KERNEL_64 = 1 << 0;
/** "Undefined" boot loader: no number is registered. */
export const TYPE_OF_LOADER = 0xff;
/** Where a bzImage is loaded; it moves itself from there. */
export const LOAD_ADDRESS = 1 * MIB;

/** What the setup header says. */
export interface Setup {
  readonly headerEnd: number;
  /** File offset of the protected-mode kernel. */
  readonly payload: number;
  readonly version: number;
  readonly initrdMax: number;
  readonly commandLineMax: number;
  /** End of the memory that the kernel needs until it has read the memory map. */
  readonly kernelEnd: number;
  readonly has64BitEntry: boolean;
}

/** Reads the header and checks that the file is whole. `name` is how messages call it. */
export function readSetup(image: Uint8Array, name: string): Setup {
  const view = viewOf(image);
  const truncated = (): UsageError => new UsageError(`${name} is truncated: the kernel is longer than the file`);
  if (image.length < 0x268) throw truncated();
  const version = view.getUint16(HDR.VERSION, true);
  const loadedHigh = (view.getUint8(HDR.LOADFLAGS) & LOADED_HIGH) !== 0;
  if (version < 0x202 || !loadedHigh)
    throw new UsageError(`${name} is too old: a Linux kernel needs boot protocol 2.02 or newer and must load high`);
  // 0 means 4, for kernels older than any here.
  const sectors = view.getUint8(HDR.SETUP_SECTS) || 4;
  const payload = (sectors + 1) * 512;
  const size = view.getUint32(HDR.SYSSIZE, true) * 16;
  // syssize counts paragraphs, rounded up.
  if (payload + size - 15 > image.length || payload >= image.length) throw truncated();
  const relocatable = version >= 0x205 && view.getUint8(HDR.RELOCATABLE) !== 0;
  const initSize = version >= 0x20a ? view.getUint32(HDR.INIT_SIZE, true) : 3 * size;
  const preferred = version >= 0x20a ? Number(view.getBigUint64(HDR.PREF_ADDRESS, true)) : LOAD_ADDRESS;
  // A relocatable kernel runs no lower than its preferred address; so does any other.
  const runsAt = relocatable ? Math.max(LOAD_ADDRESS, preferred) : preferred;
  return {
    headerEnd: 0x202 + view.getUint8(HDR.JUMP + 1),
    payload,
    version,
    initrdMax: version >= 0x203 ? view.getUint32(HDR.INITRD_ADDR_MAX, true) : 0x37ff_ffff,
    commandLineMax: version >= 0x206 ? view.getUint32(HDR.CMDLINE_SIZE, true) : 255,
    kernelEnd: Math.max(runsAt + initSize, LOAD_ADDRESS + image.length - payload),
    has64BitEntry: version >= 0x20c && (view.getUint16(HDR.XLOADFLAGS, true) & XLF_KERNEL_64) !== 0,
  };
}
