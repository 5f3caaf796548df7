/**
 * What a file given as a kernel is. Everything that cannot be booted gets one line that says why.
 */
import { assertNever } from '../../base/assert.js';
import { UsageError } from '../../base/errors.js';
import { viewOf } from '../bytes.js';
import { isElf, parseElf, type Elf } from './elf.js';
import { findMultibootHeader, type MultibootHeader } from './multiboot-header.js';
import { findPvhEntry } from './pvh-entry.js';

/** A bootable kernel, unpacked. */
export type KernelImage =
  | { readonly kind: 'bzimage'; readonly image: Uint8Array }
  | { readonly kind: 'multiboot'; readonly image: Uint8Array; readonly header: MultibootHeader }
  | { readonly kind: 'pvh'; readonly image: Uint8Array; readonly elf: Elf; readonly entry: number };

const MAGICS: readonly { readonly at: number; readonly bytes: readonly number[]; readonly reason: string }[] = [
  { at: 0, bytes: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00], reason: 'is compressed with xz; unpack it first' },
  { at: 0, bytes: [0x28, 0xb5, 0x2f, 0xfd], reason: 'is compressed with zstd; unpack it first' },
  { at: 0, bytes: [0x42, 0x5a, 0x68], reason: 'is compressed with bzip2; unpack it first' },
  { at: 0, bytes: [0x04, 0x22, 0x4d, 0x18], reason: 'is compressed with lz4; unpack it first' },
  { at: 0, bytes: [0x02, 0x21, 0x4c, 0x18], reason: 'is compressed with lz4; unpack it first' },
  { at: 0x38, bytes: [0x41, 0x52, 0x4d, 0x64], reason: 'is for another architecture (AArch64), this machine is x86' },
  { at: 0x38, bytes: [0x52, 0x53, 0x43, 0x05], reason: 'is for another architecture (RISC-V), this machine is x86' },
  {
    at: 0x30,
    bytes: [0x52, 0x49, 0x53, 0x43, 0x56],
    reason: 'is for another architecture (RISC-V), this machine is x86',
  },
  {
    at: 0x24,
    bytes: [0x18, 0x28, 0x6f, 0x01],
    reason: 'is for another architecture (32-bit ARM), this machine is x86',
  },
  { at: 0, bytes: [0x27, 0x05, 0x19, 0x56], reason: 'is a U-Boot image; extract the kernel from it first' },
  {
    at: 4,
    bytes: [0x7a, 0x69, 0x6d, 0x67],
    reason: 'is a compressed EFI application; extract the kernel from it first',
  },
  { at: 0, bytes: [0x4d, 0x5a], reason: 'is an EFI application without a Linux boot header; it needs UEFI firmware' },
  { at: 0, bytes: [0x51, 0x46, 0x49, 0xfb], reason: 'is a qcow2 disk image, not a kernel' },
  { at: 0x8001, bytes: [0x43, 0x44, 0x30, 0x30, 0x31], reason: 'is a CD-ROM image, not a kernel' },
  { at: 510, bytes: [0x55, 0xaa], reason: 'is a boot sector or disk image, not a kernel' },
];

const matches = (file: Uint8Array, at: number, bytes: readonly number[]): boolean =>
  bytes.every((byte, i) => file[at + i] === byte);

/** Whether a file has a Linux boot header (Documentation/arch/x86/boot.rst: "HdrS" at 202h, from protocol 2.00). */
export const isBzImage = (file: Uint8Array): boolean =>
  file.length > 0x206 &&
  matches(file, 0x202, [0x48, 0x64, 0x72, 0x53]) &&
  viewOf(file).getUint16(0x1fe, true) === 0xaa55;

const isGzip = (file: Uint8Array): boolean => matches(file, 0, [0x1f, 0x8b, 0x08]);

/** Finds out what a file is and unpacks it. `name` is how messages call it. */
export function detectKernel(file: Uint8Array, name: string, gunzip: (data: Uint8Array) => Uint8Array): KernelImage {
  if (file.length === 0) throw new UsageError(`${name} is empty`);
  let image = file;
  if (isGzip(file)) {
    try {
      image = gunzip(file);
    } catch (cause) {
      throw new UsageError(`${name} is damaged or truncated: it does not unpack with gzip`, { cause });
    }
    if (image.length === 0) throw new UsageError(`${name} is empty inside its gzip wrapping`);
  }
  if (isBzImage(image)) return { kind: 'bzimage', image };
  const header = findMultibootHeader(image);
  if (header !== undefined) return { kind: 'multiboot', image, header };
  if (isElf(image)) {
    const elf = parseElf(image, name);
    const entry = findPvhEntry(elf);
    if (entry !== undefined) return { kind: 'pvh', image, elf, entry };
    throw new UsageError(
      `${name} is a ${elf.bits}-bit ELF file with neither a PVH entry nor a multiboot header; ` +
        'for Linux, give its bzImage (vmlinuz) instead',
    );
  }
  for (const magic of MAGICS)
    if (matches(image, magic.at, magic.bytes)) throw new UsageError(`${name} ${magic.reason}`);
  if (image.length < 1024)
    throw new UsageError(`${name} is truncated, or not a kernel: it has only ${image.length} bytes`);
  throw new UsageError(`${name} is not a kernel: it is neither a bzImage nor a PVH or multiboot kernel`);
}

/** What a kernel is, in a word or two for people. */
export function describeKernel(image: KernelImage): string {
  switch (image.kind) {
    case 'bzimage':
      return 'Linux bzImage';
    case 'multiboot':
      return 'multiboot kernel';
    case 'pvh':
      return 'PVH kernel';
    default:
      return assertNever(image);
  }
}
