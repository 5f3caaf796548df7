import { createHash } from 'node:crypto';
import { copyFile, lstat, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { HostError, UsageError } from '../base/errors.js';
import { Apt, type FetchedPackage } from './apt.js';
import { publish, withTemporaryFolder } from '../host/node/cache.js';
import { unpackPackages, type ToolOptions } from './debian-tools.js';
import { buildInitramfs, GUEST_MODULES, INITRAMFS_RECIPE } from './initramfs.js';
import { extractVmlinux } from './kernel-image.js';
import { readModules } from './kernel-modules.js';
import { targets, type FilesTarget, type GuestTarget, type LinuxTarget } from './targets.js';

/** A guest whose files are in the cache. */
export interface PreparedGuest {
  readonly name: string;
  /** The version of the package that it is made from. */
  readonly version: string;
  readonly folder: string;
  /** False: by another version of Vitrine, which makes something else of the same packages. */
  readonly isCurrent: boolean;
  /** Its files by name; a Linux guest has `vmlinuz`, `vmlinux` and `initrd`. */
  readonly files: Readonly<Record<string, string>>;
}

/** Beside a guest's files: what they are made from. Its presence is what makes a folder a prepared guest. */
interface GuestInfo {
  readonly version: string;
  readonly packages: readonly { readonly name: string; readonly version: string }[];
  readonly files: readonly string[];
}

const INFO = 'guest.json';
/** Names the folder of the newest preparation of a guest. */
const CURRENT = 'current';

export function findTarget(name: string): GuestTarget {
  const target = targets.find((one) => one.name === name);
  if (target !== undefined) return target;
  throw new UsageError(`unknown guest ${name}; there are ${targets.map((one) => one.name).join(', ')}`);
}

/** The newest preparation of a guest that the cache has, without asking any network. */
export async function findGuest(name: string, { cache }: ToolOptions): Promise<PreparedGuest | undefined> {
  const target = findTarget(name);
  const home = path.join(cache, 'guests', name);
  try {
    const folder = path.join(home, (await readFile(path.join(home, CURRENT), 'utf8')).trim());
    return await readGuest(target, folder);
  } catch {
    // Never prepared, or removed in part by whoever tidied the cache: to be prepared (again).
    return undefined;
  }
}

async function readGuest(target: GuestTarget, folder: string): Promise<PreparedGuest> {
  const { version, packages, files: names } = JSON.parse(await readFile(path.join(folder, INFO), 'utf8')) as GuestInfo;
  const files = Object.fromEntries(names.map((file) => [file, path.join(folder, file)]));
  for (const file of Object.values(files)) await stat(file);
  const isCurrent = path.basename(folder) === placeOf(target, packages);
  return { name: target.name, version, folder, isCurrent, files };
}

/** What decides the result besides the packages. */
function recipeOf(target: GuestTarget): string {
  if (target.kind === 'linux') return INITRAMFS_RECIPE;
  return target.files.map((file) => `${file.match.source} ${file.name ?? ''} ${file.gunzip ?? ''}`).join('\n');
}

/** The name of its folder, by all that goes in: a guest that is there is as it is to be. */
function placeOf(target: GuestTarget, packages: GuestInfo['packages']): string {
  const identity = createHash('sha256')
    .update(JSON.stringify([packages, recipeOf(target)]))
    .digest('hex')
    .slice(0, 12);
  return `${packages[0].version.replaceAll(':', '_')}-${identity}`;
}

/** Prepares the newest version of a guest, unless the cache has it. */
export async function fetchGuest(name: string, options: ToolOptions): Promise<PreparedGuest> {
  const target = findTarget(name);
  try {
    return target.kind === 'linux' ? await prepareLinux(target, options) : await prepareFiles(target, options);
  } catch (error) {
    // Errors of the system have a code: a full disk, a folder that may not be written to.
    if (!(error instanceof HostError) && !(error instanceof Error && 'code' in error)) throw error;
    const advice =
      'instead, boot a kernel of your own (vitrine run --kernel FILE --initrd FILE) or the guest that needs no ' +
      'download (vitrine run demo)';
    throw new HostError(`cannot prepare guest ${name}: ${error.message}; ${advice}`, { cause: error });
  }
}

/** The guest that the cache has, else prepares it. One that another version of Vitrine has made is used where there can be no other. */
export async function ensureGuest(name: string, options: ToolOptions): Promise<PreparedGuest> {
  const found = await findGuest(name, options);
  if (found?.isCurrent) return found;
  try {
    return await fetchGuest(name, options);
  } catch (error) {
    if (!found || !(error instanceof HostError)) throw error;
    options.progress?.({ text: `guest ${name} stays as another version of Vitrine made it: ${error.message}` });
    return found;
  }
}

interface Ingredients {
  readonly target: GuestTarget;
  readonly packages: readonly FetchedPackage[];
}

/** Prepares a guest in a temporary folder, and puts it in place whole, so that two runs that prepare the same do not disturb each other. */
async function prepare(
  { target, packages }: Ingredients,
  options: ToolOptions,
  make: (made: string, tree: string, scratch: string) => Promise<void>,
): Promise<PreparedGuest> {
  const contents = packages.map(({ name, version }) => ({ name, version }));
  const version = contents[0].version;
  const home = path.join(options.cache, 'guests', target.name);
  const place = path.join(home, placeOf(target, contents));
  const ready = await readGuest(target, place).catch(() => undefined);
  if (ready === undefined) {
    await withTemporaryFolder(options.cache, async (folder) => {
      const [made, tree, scratch] = ['made', 'tree', 'scratch'].map((name) => path.join(folder, name));
      await mkdir(made);
      await mkdir(scratch);
      options.progress?.({ text: `unpacking ${contents.map(({ name }) => name).join(' and ')}` });
      const files = packages.map(({ file }) => file);
      await unpackPackages(files, tree);
      await make(made, tree, scratch);
      const info: GuestInfo = { version, packages: contents, files: (await readdir(made)).sort() };
      await writeFile(path.join(made, INFO), `${JSON.stringify(info, undefined, 2)}\n`);
      await publish(made, place);
    });
  }
  await withTemporaryFolder(options.cache, async (folder) => {
    const pointer = path.join(folder, CURRENT);
    await writeFile(pointer, `${path.basename(place)}\n`);
    await publish(pointer, path.join(home, CURRENT));
  });
  return readGuest(target, place);
}

async function prepareLinux(target: LinuxTarget, options: ToolOptions): Promise<PreparedGuest> {
  const apt = new Apt({ ...options, suite: target.suite, architecture: target.architecture });
  const [meta] = await apt.fetch(target.metaPackage);
  const kernelName = /linux-image-\d[^ ,]*/.exec(meta.depends)?.[0];
  if (kernelName === undefined) throw new HostError(`package ${target.metaPackage} names no kernel`);
  const packages = await apt.fetch(kernelName, 'busybox-static');

  return prepare({ target, packages }, options, async (made, tree, scratch) => {
    const boot = await readdir(path.join(tree, 'boot'));
    const image = boot.find((name) => name.startsWith('vmlinuz-'));
    if (image === undefined) throw new HostError(`package ${kernelName} holds no kernel`);
    const release = image.slice('vmlinuz-'.length);
    await copyFile(path.join(tree, 'boot', image), path.join(made, 'vmlinuz'));
    options.progress?.({ text: 'unpacking the kernel' });
    await extractVmlinux(path.join(made, 'vmlinuz'), path.join(made, 'vmlinux'), scratch, options);

    options.progress?.({ text: 'making the initial file system' });
    const moduleFolder = await firstThatExists([
      path.join(tree, 'lib/modules', release),
      path.join(tree, 'usr/lib/modules', release),
    ]);
    const busybox = await firstThatExists([path.join(tree, 'bin/busybox'), path.join(tree, 'usr/bin/busybox')]);
    const modules = await readModules(moduleFolder, GUEST_MODULES, scratch, options);
    const initramfs = buildInitramfs({ busybox: await readFile(busybox), release, modules });
    await writeFile(path.join(made, 'initrd'), initramfs);
  });
}

/** Newer releases of Debian keep under /usr what older ones keep beside it. */
async function firstThatExists(places: readonly string[]): Promise<string> {
  for (const place of places) {
    const there = await stat(place).then(
      () => true,
      () => false,
    );
    if (there) return place;
  }
  throw new HostError(`the packages hold no ${path.basename(places[0])}`);
}

async function prepareFiles(target: FilesTarget, options: ToolOptions): Promise<PreparedGuest> {
  const apt = new Apt({ ...options, suite: target.suite, architecture: target.architecture });
  const name = typeof target.package === 'string' ? target.package : newest(await apt.search(target.package.pattern));
  if (name === undefined) throw new HostError(`Debian ${target.suite} has no package for it`);
  const packages = await apt.fetch(name);
  return prepare({ target, packages }, options, async (made, tree) => {
    for (const file of (await readdir(tree, { recursive: true })).sort()) {
      const from = path.join(tree, file);
      const wanted = target.files.find(({ match }) => match.test(file));
      if (wanted === undefined || !(await lstat(from)).isFile()) continue;
      await copyFile(from, path.join(made, wanted.name ?? path.basename(file)));
      if (wanted.gunzip !== undefined)
        await writeFile(path.join(made, wanted.gunzip), gunzipSync(await readFile(from)));
    }
    if ((await readdir(made)).length === 0) throw new HostError(`package ${name} does not hold what was expected`);
  });
}

/** The name with the highest numbers in it. */
function newest(names: readonly string[]): string | undefined {
  return [...names].sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1);
}
