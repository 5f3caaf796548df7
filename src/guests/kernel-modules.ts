import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { decompressFile } from './kernel-image.js';
import type { ToolOptions } from './debian-tools.js';

/** A loadable module of the guest's kernel. */
export interface KernelModule {
  /** With underscores, as the kernel writes it; file names may have dashes. */
  readonly name: string;
  readonly data: Uint8Array;
  /** Modules that must be loaded before. */
  readonly depends: readonly string[];
  /** Patterns of the devices and services that it is for; see modules.alias(5). */
  readonly aliases: readonly string[];
}

/** What a module says of itself: the `.modinfo` section, `name=value` strings that end with NUL. */
export function readModuleInfo(data: Uint8Array): { depends: string[]; aliases: string[] } {
  const depends: string[] = [];
  const aliases: string[] = [];
  for (const text of Buffer.from(data.buffer, data.byteOffset, data.length).toString('latin1').split('\0')) {
    if (text.startsWith('alias=')) aliases.push(text.slice('alias='.length));
    if (text.startsWith('depends=')) {
      depends.push(...text.slice('depends='.length).split(',').filter(Boolean).map(canonical));
    }
  }
  return { depends, aliases };
}

const canonical = (name: string): string => name.replaceAll('-', '_');

/**
 * Reads modules and all that they depend on from a kernel's module folder, dependencies first. A name that is no module
 * here is left out: what is a module in one kernel is built into another.
 */
export async function readModules(
  folder: string,
  names: readonly string[],
  scratch: string,
  options: ToolOptions,
): Promise<KernelModule[]> {
  const files = new Map<string, string>();
  for (const file of await readdir(path.join(folder, 'kernel'), { recursive: true })) {
    const name = /([^/]+)\.ko(\.xz|\.zst)?$/.exec(file)?.at(1);
    if (name !== undefined) files.set(canonical(name), path.join(folder, 'kernel', file));
  }
  const result = new Map<string, KernelModule>();
  const add = async (name: string): Promise<void> => {
    const file = files.get(name);
    if (file === undefined || result.has(name)) return;
    const data = await readModule(file, path.join(scratch, `${name}.ko`), options);
    const { depends, aliases } = readModuleInfo(data);
    for (const needed of depends) await add(needed);
    result.set(name, { name, data, depends: depends.filter((needed) => files.has(needed)), aliases });
  };
  for (const name of names) await add(name);
  return [...result.values()];
}

async function readModule(file: string, unpacked: string, options: ToolOptions): Promise<Uint8Array> {
  if (file.endsWith('.ko')) return readFile(file);
  await decompressFile(file.endsWith('.xz') ? 'xz' : 'zstd', file, unpacked, options);
  return readFile(unpacked);
}

/** The files that modprobe reads, for modules that lie side by side in one folder. */
export function moduleIndex(modules: readonly KernelModule[]): { dependencies: string; aliases: string } {
  const byName = new Map(modules.map((module) => [module.name, module]));
  // Each line lists the whole chain, what to load first at its end.
  const chain = (module: KernelModule): string[] => {
    const seen = new Set<string>();
    const visit = (one: KernelModule): void => {
      for (const name of one.depends) {
        const needed = byName.get(name);
        if (needed === undefined || seen.has(name)) continue;
        visit(needed);
        seen.add(name);
      }
    };
    visit(module);
    return [...seen].reverse();
  };
  const line = (module: KernelModule): string =>
    `${module.name}.ko:${chain(module)
      .map((name) => ` ${name}.ko`)
      .join('')}\n`;
  return {
    dependencies: modules.map(line).join(''),
    aliases: modules.flatMap(({ name, aliases }) => aliases.map((alias) => `alias ${alias} ${name}\n`)).join(''),
  };
}
