/**
 * Boots an ELF kernel by its PVH entry: docs/misc/pvh.pandoc and xen/include/public/arch-x86/hvm/start_info.h of Xen
 * 4.17, version 1 of the structure.
 */
import { UsageError } from '../../base/errors.js';
import type { BootState } from '../../arch/x86/boot-state.js';
import { flatSegment, SEGMENT_ATTRIBUTES } from '../../arch/x86/boot-state.js';
import { CR0, RFLAGS } from '../../arch/x86/control-registers.js';
import { ByteWriter, cstring } from '../bytes.js';
import { Placer, type GuestMemoryWriter } from '../guest-memory.js';
import { hvmMemoryMap } from '../memory-map.js';
import { MEMORY_RANGE_SIZE, START_INFO_SIZE, START_MAGIC } from './pvh-layout.js';
import { ELF_MACHINE, type Elf } from './elf.js';
import { placeSegments } from './segments.js';
import { checkLongMode, onlyInitrd, type KernelRequest } from './request.js';

/** Linux reads no more of its command line (COMMAND_LINE_SIZE with the terminator), and cuts the rest off silently. */
const MAX_COMMAND_LINE = 2047;

/** Puts the kernel and its start info into memory. */
export function loadPvh(
  memory: GuestMemoryWriter,
  request: KernelRequest,
  image: Uint8Array,
  elf: Elf,
  entry: number,
): BootState {
  checkLongMode(request, elf.machine === ELF_MACHINE.X86_64);
  const placer = new Placer(memory, request.memoryMap);
  placeSegments(placer, request.name, image, elf.segments);

  const commandLine = cstring(request.commandLine);
  if (commandLine.length - 1 > MAX_COMMAND_LINE)
    throw new UsageError(
      `the kernel command line is too long: ${commandLine.length - 1} bytes, at most ${MAX_COMMAND_LINE}`,
    );

  const initrd = onlyInitrd(request);
  const initrdAt =
    initrd && placer.place(`the initrd ${initrd.name}`, initrd.data, { align: 4096, from: 0x10_0000, fromTop: true });
  const commandLineAt = placer.place('the command line', commandLine, {});
  const map = hvmMemoryMap(request.memoryMap);
  const mapAt = placer.place('the memory map', map, {});
  let moduleListAt = 0;
  if (initrd && initrdAt !== undefined) {
    // struct hvm_modlist_entry: paddr, size, cmdline_paddr, reserved.
    const entryBytes = new ByteWriter().u64(initrdAt, initrd.data.length, 0, 0).finish();
    moduleListAt = placer.place('the module list', entryBytes, {});
  }
  const startInfo = new ByteWriter()
    .u32(START_MAGIC, 1, 0, initrd ? 1 : 0)
    .u64(moduleListAt, commandLineAt, request.acpiRsdp ?? 0, mapAt)
    .u32(map.length / MEMORY_RANGE_SIZE, 0)
    .finish();
  if (startInfo.length !== START_INFO_SIZE) throw new RangeError('hvm_start_info has 56 bytes');
  const startInfoAt = placer.place('the start info', startInfo, {});

  return {
    gpr: { rbx: BigInt(startInfoAt), rdx: 0n },
    rip: BigInt(entry),
    rflags: BigInt(RFLAGS.FIXED),
    cr0: BigInt(CR0.PE | CR0.ET),
    cr3: 0n,
    cr4: 0n,
    efer: 0n,
    ...flatProtectedMode(),
  };
}

/** Flat 32-bit segments without a GDT behind them: kernels entered so load their own. */
export function flatProtectedMode(): Pick<BootState, 'segments'> {
  const data = flatSegment(0x10, SEGMENT_ATTRIBUTES.DATA32);
  return {
    segments: {
      cs: flatSegment(0x08, SEGMENT_ATTRIBUTES.CODE32),
      ds: data,
      es: data,
      ss: data,
      fs: data,
      gs: data,
      tr: { selector: 0, base: 0n, limit: 0x67, attributes: SEGMENT_ATTRIBUTES.TSS32_BUSY },
    },
  };
}
