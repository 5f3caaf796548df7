/** Functions of the C library that Node does not have, called by the package koffi. */
import { createRequire } from 'node:module';
import type * as Koffi from 'koffi';
import { keepKoffiMemory } from './koffi-memory.js';
import { loading } from './loading.js';

/** `async`: on another thread; the last argument is called when it is done. */
export type NativeCall = ((...args: unknown[]) => number) & { async: (...args: unknown[]) => void };

export interface CLibrary {
  readonly koffi: typeof Koffi;
  readonly library: Koffi.LibraryHandle;
  /** A function by its declaration in C. */
  readonly func: (declaration: string) => NativeCall;
}

/** Not imported: what is, a bundle loads before it does anything. Throws where the package is missing, or has no binary for this system. */
export function cLibrary(): CLibrary {
  const koffi = createRequire(import.meta.url)('koffi') as typeof Koffi;
  const library = koffi.load(null);
  keepKoffiMemory(koffi, library);
  return { koffi, library, func: (declaration) => library.func(declaration) as NativeCall };
}

/** What is made of it on Linux, on the processors that are named; undefined where it is not to be had. */
export function onLinux<T>(
  make: (library: CLibrary) => T | undefined,
  architectures?: readonly string[],
): T | undefined {
  if (process.platform !== 'linux' || architectures?.includes(process.arch) === false) return undefined;
  try {
    return loading(() => make(cLibrary()));
  } catch {
    return undefined;
  }
}
