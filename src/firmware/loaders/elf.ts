/**
 * As much of ELF as kernels need (System V gABI, chapters 4 and 5): program headers and notes of 32-bit and 64-bit
 * little-endian files.
 */
import { UsageError } from '../../base/errors.js';
import { viewOf } from '../bytes.js';

export const ELF_MACHINE = { I386: 3, ARM: 40, X86_64: 62, AARCH64: 183, RISCV: 243 } as const;
const PT = { LOAD: 1, NOTE: 4 } as const;
const SHT_NOTE = 7;

const MACHINE_NAMES: Readonly<Record<number, string>> = {
  2: 'SPARC',
  8: 'MIPS',
  20: 'PowerPC',
  21: '64-bit PowerPC',
  22: 'S/390',
  [ELF_MACHINE.ARM]: '32-bit ARM',
  [ELF_MACHINE.AARCH64]: 'AArch64',
  [ELF_MACHINE.RISCV]: 'RISC-V',
  258: 'LoongArch',
};

/** What an ELF file is for, in words. */
export const machineName = (machine: number): string => MACHINE_NAMES[machine] ?? `machine ${machine}`;

export interface ElfSegment {
  readonly fileOffset: number;
  readonly fileSize: number;
  readonly virtualAddress: bigint;
  readonly physicalAddress: number;
  readonly memorySize: number;
}

export interface ElfNote {
  readonly name: string;
  readonly type: number;
  readonly description: Uint8Array;
}

export interface Elf {
  readonly bits: 32 | 64;
  readonly machine: number;
  /** Entry address; virtual, as the file has it. */
  readonly entry: bigint;
  /** PT_LOAD segments that take memory, in file order. */
  readonly segments: readonly ElfSegment[];
  readonly notes: readonly ElfNote[];
}

export const isElf = (file: Uint8Array): boolean =>
  file.length >= 4 && file[0] === 0x7f && file[1] === 0x45 && file[2] === 0x4c && file[3] === 0x46;

function parseNotes(bytes: Uint8Array, notes: ElfNote[]): void {
  const view = viewOf(bytes);
  const padded = (size: number): number => Math.ceil(size / 4) * 4;
  let at = 0;
  while (at + 12 <= bytes.length) {
    const nameSize = view.getUint32(at, true);
    const descriptionSize = view.getUint32(at + 4, true);
    const nameAt = at + 12;
    const descriptionAt = nameAt + padded(nameSize);
    if (descriptionAt + descriptionSize > bytes.length) return;
    const name = String.fromCharCode(...bytes.subarray(nameAt, nameAt + Math.max(Math.min(nameSize, 64) - 1, 0)));
    notes.push({
      name,
      type: view.getUint32(at + 8, true),
      description: bytes.subarray(descriptionAt, descriptionAt + descriptionSize),
    });
    at = descriptionAt + padded(descriptionSize);
  }
}

/** Reads an ELF file for x86. `name` is how messages call it. */
export function parseElf(file: Uint8Array, name: string): Elf {
  const truncated = (): UsageError =>
    new UsageError(`${name} is truncated: its ELF headers or segments are incomplete`);
  if (file.length < 52) throw truncated();
  const view = viewOf(file);
  const bits = file[4] === 2 ? 64 : 32;
  if ((file[4] !== 1 && file[4] !== 2) || file[5] > 2 || file[5] === 0)
    throw new UsageError(`${name} is a damaged ELF file`);
  const machine = view.getUint16(18, file[5] === 1);
  if (file[5] === 2 || (machine !== ELF_MACHINE.I386 && machine !== ELF_MACHINE.X86_64)) {
    throw new UsageError(`${name} is for another architecture (${machineName(machine)}), this machine is x86`);
  }
  if (bits === 64 && file.length < 64) throw truncated();
  const word = (at: number): number => {
    if (bits === 32) return view.getUint32(at, true);
    const value = view.getBigUint64(at, true);
    return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : Infinity;
  };
  const layout =
    bits === 64 ? { entry: 24, phoff: 32, shoff: 40, sizes: 54 } : { entry: 24, phoff: 28, shoff: 32, sizes: 42 };
  const phoff = word(layout.phoff);
  const shoff = word(layout.shoff);
  const phentsize = view.getUint16(layout.sizes, true);
  const phnum = view.getUint16(layout.sizes + 2, true);
  const shentsize = view.getUint16(layout.sizes + 4, true);
  const shnum = view.getUint16(layout.sizes + 6, true);
  if (phentsize < (bits === 64 ? 56 : 32) || phoff + phnum * phentsize > file.length) throw truncated();

  const segments: ElfSegment[] = [];
  const notes: ElfNote[] = [];
  for (let i = 0; i < phnum; i++) {
    const at = phoff + i * phentsize;
    const type = view.getUint32(at, true);
    const [fileOffset, physicalAddress, fileSize, memorySize] =
      bits === 64
        ? [word(at + 8), word(at + 24), word(at + 32), word(at + 40)]
        : [word(at + 4), word(at + 12), word(at + 16), word(at + 20)];
    if ((type === PT.LOAD && memorySize > 0) || type === PT.NOTE) {
      if (fileOffset + fileSize > file.length) throw truncated();
      if (type === PT.NOTE) parseNotes(file.subarray(fileOffset, fileOffset + fileSize), notes);
      else {
        const virtualAddress = bits === 64 ? view.getBigUint64(at + 16, true) : BigInt(view.getUint32(at + 8, true));
        segments.push({
          fileOffset,
          fileSize: Math.min(fileSize, memorySize),
          virtualAddress,
          physicalAddress,
          memorySize,
        });
      }
    }
  }
  // Some kernels have their notes in sections only.
  if (notes.length === 0 && shentsize >= (bits === 64 ? 64 : 40) && shoff + shnum * shentsize <= file.length)
    for (let i = 0; i < shnum; i++) {
      const at = shoff + i * shentsize;
      if (view.getUint32(at + 4, true) !== SHT_NOTE) continue;
      const [offset, size] = bits === 64 ? [word(at + 24), word(at + 32)] : [word(at + 16), word(at + 20)];
      if (offset + size <= file.length) parseNotes(file.subarray(offset, offset + size), notes);
    }
  if (segments.length === 0) throw new UsageError(`${name} is an ELF file with nothing to load`);
  const entry = bits === 64 ? view.getBigUint64(layout.entry, true) : BigInt(view.getUint32(layout.entry, true));
  return { bits, machine, entry, segments, notes };
}
