import { createHash } from 'node:crypto';
import { access, mkdir, readdir } from 'node:fs/promises';
import path from 'node:path';
import { HostError } from '../base/errors.js';
import { Apt, hostDebian } from './apt.js';
import { publish, withTemporaryFolder } from '../host/node/cache.js';
import { findProgram, runChecked } from './command.js';
import type { Progress } from './progress.js';

export interface ToolOptions {
  /** Vitrine's cache folder; see cacheRoot. */
  readonly cache: string;
  readonly progress?: Progress;
}

/** A program that can be run: of this machine, or unpacked from a Debian package into the cache. */
export interface Tool {
  readonly path: string;
  /** Variables that the program needs in its environment to find its own libraries and data. */
  readonly env: Readonly<Record<string, string>>;
}

/** Unpacks packages into a folder. No maintainer script runs, so this suits what works as soon as its files are there. */
export async function unpackPackages(files: readonly string[], folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const file of files) {
    await runChecked(`cannot unpack ${path.basename(file)}`, 'dpkg-deb', ['--extract', file, folder]);
  }
}

/**
 * The tree of a package of this machine's own Debian release, with whatever it depends on that is not installed, in a
 * folder of the cache. Nothing is installed.
 */
export async function unpackedTree(packageName: string, options: ToolOptions): Promise<string> {
  const host = await hostDebian();
  if (host === undefined) throw new HostError(`package ${packageName} needs a Debian machine to be unpacked on`);
  const parent = path.join(options.cache, 'tools', `${packageName}-${host.suite}-${host.architecture}`);
  // Any complete tree will do: these are tools, of a stable release.
  const present = await readdir(parent).catch(() => []);
  const tree = present.at(0);
  if (tree !== undefined) return path.join(parent, tree);

  const apt = new Apt({ ...options, ...host });
  const missing = await apt.missingOnHost([packageName]);
  // Installed already means that its files are the machine's own; then the package alone gives the tree asked for.
  const names = missing.length === 0 ? [packageName] : missing;
  const files = (await apt.fetch(...names)).map(({ file }) => file);
  const identity = createHash('sha256').update(files.map((file) => path.basename(file)).join('\n'));
  const place = path.join(parent, identity.digest('hex').slice(0, 16));
  await withTemporaryFolder(options.cache, async (folder) => {
    options.progress?.({ text: `unpacking ${packageName}` });
    const made = path.join(folder, 'tree');
    await unpackPackages(files, made);
    await publish(made, place);
  });
  return place;
}

/** A program by its name: this machine's, else unpacked from the Debian package that holds it. */
export async function debianTool(program: string, packageName: string, options: ToolOptions): Promise<Tool> {
  const own = await findProgram(program);
  if (own !== undefined) return { path: own, env: {} };
  const tree = await unpackedTree(packageName, options);
  for (const folder of ['usr/bin', 'bin', 'usr/sbin', 'sbin']) {
    const file = path.join(tree, folder, program);
    if (await exists(file)) return { path: file, env: await environmentOf(tree) };
  }
  throw new HostError(`package ${packageName} holds no program ${program}`);
}

/** Lets programs of an unpacked tree find the tree's libraries before the machine's. */
async function environmentOf(tree: string): Promise<Record<string, string>> {
  const folders = await libraryFolders(tree);
  if (folders.length === 0) return {};
  const inherited = process.env['LD_LIBRARY_PATH'];
  return { LD_LIBRARY_PATH: [...folders, ...(inherited ? [inherited] : [])].join(path.delimiter) };
}

/** Where an unpacked tree has its libraries. */
export async function libraryFolders(tree: string): Promise<string[]> {
  const [folders, nested]: [string[], string[]] = [[], []];
  for (const base of ['usr/lib', 'lib']) {
    // Debian keeps an architecture's libraries in a folder named by its triplet.
    for (const name of await foldersIn(path.join(tree, base))) {
      if (!/^[^/]+-linux-gnu/.test(name)) continue;
      const folder = path.join(tree, base, name);
      folders.push(folder);
      // Parts of one library lie below, where that looks by an absolute path: libpulse in TRIPLET/pulseaudio.
      for (const inner of await foldersIn(folder)) nested.push(path.join(folder, inner));
    }
  }
  for (const folder of nested) if (await holdsLibraries(folder)) folders.push(folder);
  return folders;
}

async function foldersIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
}

const holdsLibraries = async (folder: string): Promise<boolean> =>
  (await readdir(folder)).some((name) => /^lib.+\.so(\.|$)/.test(name));

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}

/** The path of a file of a package of this machine's release, such as a firmware image: the machine's own, else unpacked. */
export async function debianFile(file: string, packageName: string, options: ToolOptions): Promise<string> {
  if (await exists(file)) return file;
  const unpacked = path.join(await unpackedTree(packageName, options), file);
  if (!(await exists(unpacked))) throw new HostError(`package ${packageName} holds no file ${file}`);
  return unpacked;
}
