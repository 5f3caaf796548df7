/**
 * Boots a Linux bzImage by its 64-bit or 32-bit entry (Documentation/arch/x86/boot.rst, protocol 2.15, and zero-page.rst).
 */
import { GIB, KIB, MIB } from '../../base/units.js';
import { UsageError } from '../../base/errors.js';
import type { BootState } from '../../arch/x86/boot-state.js';
import { descriptor, flatSegment, SEGMENT_ATTRIBUTES } from '../../arch/x86/boot-state.js';
import { CR0, CR4, RFLAGS } from '../../arch/x86/control-registers.js';
import { EFER } from '../../arch/x86/msrs.js';
import { ByteWriter, cstring, viewOf } from '../bytes.js';
import { formatSize, Placer, type GuestMemoryWriter } from '../guest-memory.js';
import { contiguousKib, e820 } from '../memory-map.js';
import { CAN_USE_HEAP, HDR, LOAD_ADDRESS, readSetup, TYPE_OF_LOADER, type Setup } from './linux-setup.js';
import { checkLongMode, onlyInitrd, type KernelRequest } from './request.js';

/** Fields of the zero page that are not in the setup header. */
const ZERO_PAGE = {
  SCREEN_MODE: 0x06,
  SCREEN_COLUMNS: 0x07,
  SCREEN_LINES: 0x0e,
  SCREEN_IS_VGA: 0x0f,
  SCREEN_POINTS: 0x10,
  ACPI_RSDP: 0x70,
  ALT_MEM_K: 0x1e0,
  E820_ENTRIES: 0x1e8,
  HEADER: 0x1f1,
  E820_TABLE: 0x2d0,
  SIZE: 4096,
} as const;

const E820_MAX_ENTRIES = 128;
/** setup_data type that seeds the random number generator. */
const SETUP_RNG_SEED = 9;
/** Selectors that the boot protocol names __BOOT_CS and __BOOT_DS. */
const BOOT_CS = 0x10;
const BOOT_DS = 0x18;

/** Puts kernel, initrd, zero page and command line into memory. */
export function loadBzImage(memory: GuestMemoryWriter, request: KernelRequest, image: Uint8Array): BootState {
  const { name } = request;
  const setup = readSetup(image, name);
  checkLongMode(request, setup.has64BitEntry);
  const placer = new Placer(memory, request.memoryMap);
  if (setup.kernelEnd > placer.lowRamEnd)
    throw new UsageError(
      `the machine's memory is too small: ${name} needs ${formatSize(setup.kernelEnd)} to start, ` +
        `there are ${formatSize(placer.lowRamEnd)}`,
    );
  const kernel = image.subarray(setup.payload);
  placer.claim(LOAD_ADDRESS, setup.kernelEnd - LOAD_ADDRESS, name);
  placer.write(LOAD_ADDRESS, kernel);

  const commandLine = cstring(request.commandLine);
  if (commandLine.length - 1 > setup.commandLineMax)
    throw new UsageError(
      `the kernel command line is too long: ${commandLine.length - 1} bytes, at most ${setup.commandLineMax}`,
    );
  const commandLineAt = placer.place('the command line', commandLine, { from: 0x2_0000, below: 640 * KIB });

  const zeroPage = new Uint8Array(ZERO_PAGE.SIZE);
  zeroPage.set(image.subarray(ZERO_PAGE.HEADER, Math.min(setup.headerEnd, 0x290)), ZERO_PAGE.HEADER);
  const view = viewOf(zeroPage);
  const loadflags = view.getUint8(HDR.LOADFLAGS);
  view.setUint8(HDR.TYPE_OF_LOADER, TYPE_OF_LOADER);
  view.setUint8(HDR.LOADFLAGS, loadflags & ~CAN_USE_HEAP);
  view.setUint32(HDR.CODE32_START, LOAD_ADDRESS, true);
  view.setUint32(HDR.CMD_LINE_PTR, commandLineAt, true);
  placeInitrd(placer, request, setup, view);

  const entries = e820(request.memoryMap.slice(0, E820_MAX_ENTRIES));
  zeroPage.set(entries, ZERO_PAGE.E820_TABLE);
  view.setUint8(ZERO_PAGE.E820_ENTRIES, entries.length / 20);
  view.setUint32(ZERO_PAGE.ALT_MEM_K, contiguousKib(request.memoryMap).upper, true);
  view.setBigUint64(ZERO_PAGE.ACPI_RSDP, BigInt(request.acpiRsdp ?? 0), true);
  if (request.vgaText) {
    view.setUint8(ZERO_PAGE.SCREEN_MODE, 3);
    view.setUint8(ZERO_PAGE.SCREEN_COLUMNS, 80);
    view.setUint8(ZERO_PAGE.SCREEN_LINES, 25);
    view.setUint8(ZERO_PAGE.SCREEN_IS_VGA, 1);
    view.setUint16(ZERO_PAGE.SCREEN_POINTS, 16, true);
  }
  if (request.randomSeed !== undefined && setup.version >= 0x209) {
    const seed = new ByteWriter().u64(0).u32(SETUP_RNG_SEED, request.randomSeed.length).bytes(request.randomSeed);
    view.setBigUint64(HDR.SETUP_DATA, BigInt(placer.place('the random seed', seed.finish(), {})), true);
  }
  const zeroPageAt = placer.place('the zero page', zeroPage, { align: 4096, below: 640 * KIB });
  return setup.has64BitEntry ? enter64(placer, zeroPageAt) : enter32(placer, zeroPageAt);
}

function placeInitrd(placer: Placer, request: KernelRequest, setup: Setup, view: DataView): void {
  const initrd = onlyInitrd(request);
  if (initrd === undefined) return;
  const below = Math.min(setup.initrdMax + 1, placer.lowRamEnd);
  const size = initrd.data.length;
  if (setup.kernelEnd + size > below)
    throw new UsageError(
      `the initrd ${initrd.name} is too large: ${formatSize(size)}, ` +
        `there is room for ${formatSize(Math.max(below - setup.kernelEnd, 0))} between the kernel and ${formatSize(below)}`,
    );
  const at = placer.place(`the initrd ${initrd.name}`, initrd.data, { align: 4096, from: MIB, below, fromTop: true });
  view.setUint32(HDR.RAMDISK_IMAGE, at, true);
  view.setUint32(HDR.RAMDISK_SIZE, size, true);
}

/** The GDT of the boot protocol: null, null, __BOOT_CS, __BOOT_DS. */
function placeGdt(placer: Placer, code: number): Pick<BootState, 'gdtr' | 'segments'> {
  const cs = flatSegment(BOOT_CS, code);
  const ds = flatSegment(BOOT_DS, SEGMENT_ATTRIBUTES.DATA32);
  const gdt = new ByteWriter().u64(0, 0, descriptor(cs), descriptor(ds)).finish();
  const base = placer.place('the GDT', gdt, { below: 640 * KIB });
  return { gdtr: { base: BigInt(base), limit: gdt.length - 1 }, segments: { cs, ds, es: ds, ss: ds, fs: ds, gs: ds } };
}

/** The 32-bit entry: flat protected mode without paging, ESI at the zero page, EBP, EDI and EBX 0. */
function enter32(placer: Placer, zeroPage: number): BootState {
  return {
    gpr: { rsi: BigInt(zeroPage), rdx: 0n },
    rip: BigInt(LOAD_ADDRESS),
    rflags: BigInt(RFLAGS.FIXED),
    cr0: BigInt(CR0.PE | CR0.ET),
    cr3: 0n,
    cr4: 0n,
    efer: 0n,
    ...placeGdt(placer, SEGMENT_ATTRIBUTES.CODE32),
    idtr: { base: 0n, limit: 0 },
  };
}

/** Page table bits, SDM vol. 3 §4.5. */
const PAGE = { PRESENT: 1, WRITE: 2, LARGE: 1 << 7 } as const;

/** Page tables that map the first 4 GiB to themselves with 2 MiB pages: PML4, PDPT and four page directories. */
function placeIdentityMap(placer: Placer): number {
  const at = placer.find('the page tables', 6 * 4096, { align: 4096, below: 640 * KIB });
  const link = PAGE.PRESENT | PAGE.WRITE;
  const tables = new ByteWriter().u64((at + 4096) | link).align(4096);
  for (let i = 0; i < 4; i++) tables.u64(at + (2 + i) * 4096 + link);
  tables.align(4096);
  for (let page = 0; page < 4 * GIB; page += 2 * MIB) tables.u64(page + (link | PAGE.LARGE));
  placer.write(at, tables.finish());
  return at;
}

/** The 64-bit entry: long mode, the first 4 GiB identity-mapped, RSI at the zero page. */
function enter64(placer: Placer, zeroPage: number): BootState {
  return {
    gpr: { rsi: BigInt(zeroPage), rdx: 0n },
    rip: BigInt(LOAD_ADDRESS + 0x200),
    rflags: BigInt(RFLAGS.FIXED),
    cr0: BigInt(CR0.PE | CR0.ET) | BigInt(CR0.PG),
    cr3: BigInt(placeIdentityMap(placer)),
    cr4: BigInt(CR4.PAE),
    efer: BigInt(EFER.LME | EFER.LMA),
    ...placeGdt(placer, SEGMENT_ATTRIBUTES.CODE64),
    idtr: { base: 0n, limit: 0 },
  };
}
