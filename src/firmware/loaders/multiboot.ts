/**
 * Boots a multiboot 1 kernel (Multiboot Specification 0.6.96): ELF or with addresses in its header, with modules,
 * command line and memory map.
 */
import { PAGE_SIZE } from '../../base/units.js';
import { UsageError } from '../../base/errors.js';
import type { BootState } from '../../arch/x86/boot-state.js';
import { CR0, RFLAGS } from '../../arch/x86/control-registers.js';
import { ByteWriter, cstring } from '../bytes.js';
import { Placer, type GuestMemoryWriter } from '../guest-memory.js';
import { contiguousKib, multibootMemoryMap } from '../memory-map.js';
import { ELF_MACHINE, isElf, parseElf, type Elf, type ElfSegment } from './elf.js';
import { MULTIBOOT_FLAG, type MultibootAddresses, type MultibootHeader } from './multiboot-header.js';
import { flatProtectedMode } from './pvh.js';
import { checkLongMode, type KernelRequest } from './request.js';
import { placeSegments } from './segments.js';

/** What EAX holds at the entry. */
const BOOT_MAGIC = 0x2bad_b002n;
const LOADER_NAME = 'Vitrine';

/** Bits of the information structure's flags, §3.3. */
const INFO = {
  MEMORY: 1 << 0,
  COMMAND_LINE: 1 << 2,
  MODULES: 1 << 3,
  MEMORY_MAP: 1 << 6,
  LOADER_NAME: 1 << 9,
  FRAMEBUFFER: 1 << 12,
} as const;

/** Bytes of the information structure with the framebuffer fields. */
const INFO_SIZE = 116;

/** What follows the last `/` of a path. */
const baseName = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

/** First word the file's name, as the first multiboot loaders had it: kernels skip it unless they know the loader. */
const withName = (name: string, words: string): Uint8Array =>
  cstring(words === '' ? baseName(name) : `${baseName(name)} ${words}`);

/** The one segment that the header's addresses describe (§3.1.3). */
function addressedSegment(
  request: KernelRequest,
  image: Uint8Array,
  at: number,
  addresses: MultibootAddresses,
): ElfSegment {
  const fileOffset = at - (addresses.header - addresses.load);
  const loadEnd = addresses.loadEnd === 0 ? addresses.load + (image.length - fileOffset) : addresses.loadEnd;
  const fileSize = loadEnd - addresses.load;
  const memorySize = Math.max(addresses.bssEnd, loadEnd) - addresses.load;
  if (fileOffset < 0 || addresses.load > addresses.header || fileSize <= 0)
    throw new UsageError(`${request.name} has a multiboot header whose addresses make no sense`);
  if (fileOffset + fileSize > image.length)
    throw new UsageError(`${request.name} is truncated: its multiboot header announces ${fileOffset + fileSize} bytes`);
  return { fileOffset, fileSize, virtualAddress: BigInt(addresses.load), physicalAddress: addresses.load, memorySize };
}

/** The entry of an ELF file is a virtual address; paging is off, so it means the place in the segment it lies in. */
function physicalEntry(elf: Elf, name: string): number {
  const within = elf.segments.find(
    ({ virtualAddress, memorySize }) => elf.entry >= virtualAddress && elf.entry < virtualAddress + BigInt(memorySize),
  );
  if (within === undefined) throw new UsageError(`${name} has an entry that lies outside its segments`);
  return within.physicalAddress + Number(elf.entry - within.virtualAddress);
}

/** Puts the kernel, its modules and the information structure into memory. */
export function loadMultiboot(
  memory: GuestMemoryWriter,
  request: KernelRequest,
  image: Uint8Array,
  header: MultibootHeader,
): BootState {
  // Bits 0 … 15 that a loader does not understand forbid it to load the kernel.
  const known = MULTIBOOT_FLAG.PAGE_ALIGN | MULTIBOOT_FLAG.MEMORY_INFO | MULTIBOOT_FLAG.VIDEO_MODE;
  const unknown = header.flags & 0xffff & ~known;
  if (unknown !== 0)
    throw new UsageError(
      `${request.name} wants multiboot features that are not there (flags 0x${unknown.toString(16)})`,
    );

  const placer = new Placer(memory, request.memoryMap);
  let entry: number;
  if (header.addresses !== undefined) {
    entry = header.addresses.entry;
    placeSegments(placer, request.name, image, [addressedSegment(request, image, header.at, header.addresses)]);
  } else if (isElf(image)) {
    const elf = parseElf(image, request.name);
    checkLongMode(request, elf.machine === ELF_MACHINE.X86_64);
    placeSegments(placer, request.name, image, elf.segments);
    entry = physicalEntry(elf, request.name);
  } else throw new UsageError(`${request.name} has a multiboot header, but neither ELF headers nor load addresses`);

  // Behind the kernel, page-aligned whether or not the kernel asks for it.
  const modules = new ByteWriter();
  for (const module of request.modules) {
    const options = { align: PAGE_SIZE, from: 0x10_0000 };
    const start = placer.place(`the module ${module.name}`, module.data, options);
    const words = placer.place('the command lines', withName(module.name, module.arguments ?? ''), {});
    modules.u32(start, start + module.data.length, words, 0);
  }
  const modulesAt = request.modules.length > 0 ? placer.place('the module list', modules.finish(), {}) : 0;
  const commandLineAt = placer.place('the command line', withName(request.name, request.commandLine), {});
  const loaderNameAt = placer.place('the loader name', cstring(LOADER_NAME), {});
  const map = multibootMemoryMap(request.memoryMap);
  const mapAt = placer.place('the memory map', map, {});
  const { lower, upper } = contiguousKib(request.memoryMap);

  const flags = INFO.MEMORY | INFO.COMMAND_LINE | INFO.MODULES | INFO.MEMORY_MAP | INFO.LOADER_NAME;
  const info = new ByteWriter()
    .u32(flags | (request.vgaText ? INFO.FRAMEBUFFER : 0), lower, upper)
    .u32(0) // boot_device
    .u32(commandLineAt, request.modules.length, modulesAt)
    .zeros(16) // symbols
    .u32(map.length, mapAt)
    .u32(0, 0, 0) // drives, ROM configuration table
    .u32(loaderNameAt)
    .u32(0) // APM table
    .zeros(16); // VBE
  // A video mode that a kernel asks for is a wish (§3.1.4): it is told what there is, VGA text.
  if (request.vgaText) info.u64(0xb8000).u32(160, 80, 25).u8(16, 2);
  info.zeros(INFO_SIZE - info.length);
  const infoAt = placer.place('the multiboot information', info.finish(), {});

  return {
    gpr: { rax: BOOT_MAGIC, rbx: BigInt(infoAt), rdx: 0n },
    rip: BigInt(entry),
    rflags: BigInt(RFLAGS.FIXED),
    cr0: BigInt(CR0.PE | CR0.ET),
    cr3: 0n,
    cr4: 0n,
    efer: 0n,
    ...flatProtectedMode(),
  };
}
