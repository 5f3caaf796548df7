import type { Gpa } from '../../base/units.js';
import { UsageError } from '../../base/errors.js';
import type { MemoryMap } from '../memory-map.js';

/** A file given to boot with the kernel: an initrd, or a multiboot module. */
export interface BootModule {
  /** How messages call it: a path. */
  readonly name: string;
  readonly data: Uint8Array;
  /** Words after the file's name, for multiboot modules. */
  readonly arguments?: string;
}

/** A kernel to boot without firmware, and what it is to be told. */
export interface KernelRequest {
  /** How messages call it: a path. */
  readonly name: string;
  readonly kernel: Uint8Array;
  readonly commandLine: string;
  /** Linux takes one initrd; multiboot kernels any number of modules. */
  readonly modules: readonly BootModule[];
  readonly memoryMap: MemoryMap;
  /** Where the ACPI root pointer was put; undefined: the kernel looks for it itself, or there is none. */
  readonly acpiRsdp?: Gpa;
  /** Entropy for the kernel's random number generator, where its boot protocol has a place for it. */
  readonly randomSeed?: Uint8Array;
  /** Whether the CPU model has long mode. */
  readonly longMode: boolean;
  /** Whether there is a VGA display in text mode 3. */
  readonly vgaText: boolean;
  /** Unpacks gzip. Throws when the data is damaged. */
  gunzip(data: Uint8Array): Uint8Array;
}

/** The one initrd that Linux takes. */
export function onlyInitrd(request: KernelRequest): BootModule | undefined {
  if (request.modules.length > 1)
    throw new UsageError(`${request.name} takes one initrd, ${request.modules.length} were given`);
  return request.modules.at(0);
}

/** Modules must not be empty: an initrd of no bytes is a mistake that kernels report late, if at all. */
export function checkModules(request: KernelRequest): void {
  for (const { name, data } of request.modules) if (data.length === 0) throw new UsageError(`${name} is empty`);
}

/** A 64-bit kernel on a CPU that is not: it would stop before it can say so. */
export function checkLongMode({ name, longMode }: KernelRequest, kernel64: boolean): void {
  if (kernel64 && !longMode)
    throw new UsageError(`${name} is a 64-bit kernel, and the CPU model a 32-bit one; use --cpu x86-64-v2`);
}
