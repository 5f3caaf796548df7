/** Warm templates: machines that were saved when they had started, one for each configuration, which others begin with. */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, utimesSync } from 'node:fs';
import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { HostError, UsageError, VitrineError } from '../../base/errors.js';
import { MIB } from '../../base/units.js';
import { cacheRoot, DEFAULT_GUEST, findGuest, readAgent } from '../../guests/index.js';
import { isAlive } from '../../host/node/processes.js';
import { reasonOf } from '../../host/node/read-file.js';
import type { RootImage, VmOptions } from './launch.js';

/** With the image where it is. */
type Located = Omit<VmOptions, 'image'> & { readonly image?: RootImage };

/** Templates that are kept: those used last, of all who share the cache, such as the tenants of a server. */
const KEPT = 8;
/** Bytes of the disk that they take at most, all together. */
const MOST_BYTES = 4096 * MIB;
const TEMPLATE = '.template';

const folder = (): string => path.join(cacheRoot(), 'templates');

/** A file as it is now. */
async function fileIdentity(file: string | undefined): Promise<string> {
  if (file === undefined) return '';
  const { ino, size, mtimeMs } = await stat(file).catch(() => ({ ino: 0, size: 0, mtimeMs: 0 }));
  return [path.resolve(file), ino, size, mtimeMs].join(':');
}

/** Throws a UsageError where a machine cannot begin with what another has done. */
function check(options: Located): void {
  if (options.keepWrites) throw new UsageError('a warm machine cannot keep what is written to its image (keepWrites)');
  for (const disk of options.disks ?? [])
    if (typeof disk === 'string' || !(disk.readOnly || disk.temporary))
      throw new UsageError('the disks of a warm machine are read-only or temporary');
}

/** Where the template of a configuration lies. It changes with everything that the machine is made of. */
export async function templateFile(options: Located, version: string): Promise<string> {
  check(options);
  const { image, guest = DEFAULT_GUEST, kernel, initrd, disks = [], mounts = {} } = options;
  const { onProgress: _, ...plain } = options;
  const parts = [
    version,
    JSON.stringify(plain),
    kernel === undefined ? (await findGuest(guest, { cache: cacheRoot() }))?.folder : '',
    ...(await Promise.all([image?.disk, kernel, initrd].map(fileIdentity))),
    ...(await Promise.all(disks.map((disk) => fileIdentity(typeof disk === 'string' ? disk : disk.path)))),
    // By their places on this host: what was given may count from the folder that the process is in.
    ...Object.values(mounts).map((from) => path.resolve(typeof from === 'string' ? from : from.path)),
    ...(await Promise.all((['amd64', 'i386'] as const).map((name) => readAgent(name)))),
  ];
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part ?? '').update('\0');
  return path.join(folder(), `${hash.digest('hex').slice(0, 32)}${TEMPLATE}`);
}

/** Whether it is there; if so, it is one of those used last. */
export function hasTemplate(file: string): boolean {
  if (!existsSync(file)) return false;
  const now = new Date();
  try {
    utimesSync(file, now, now);
  } catch {
    // The cache may be one that can only be read; or another process has made room meanwhile.
    return existsSync(file);
  }
  return true;
}

/** Makes a place for templates, and room for one more. A file that is removed stays for the machines that run from it. */
export async function makeRoom(): Promise<void> {
  await mkdir(folder(), { recursive: true, mode: 0o700 });
  await keepTemplates({ count: KEPT - 1, bytes: MOST_BYTES });
}

/** A template is there. Throws a HostError, and it is there no more, when it alone is larger than all may be. */
export async function settleTemplate(file: string, bytes = MOST_BYTES): Promise<void> {
  await keepTemplates({ count: KEPT, bytes });
  if (!existsSync(file))
    throw new HostError(`the template is too large: it takes more than ${Math.floor(bytes / MIB)} MiB`);
}

/** Removes templates but for those used last, `count` at most, which take at most `bytes` of the disk. */
async function keepTemplates({ count, bytes }: { readonly count: number; readonly bytes: number }): Promise<void> {
  const files = await Promise.all(
    (await readdir(folder())).map(async (name) => {
      const file = path.join(folder(), name);
      const found = await stat(file).catch(() => undefined);
      return { file, used: found?.mtimeMs ?? 0, size: (found?.blocks ?? 0) * 512 };
    }),
  );
  files.sort((a, b) => b.used - a.used);
  // Besides there are templates that are being written, and files of forks that begin at this moment.
  const whole = files.filter(({ file }) => file.endsWith(TEMPLATE));
  let [left, room] = [count, bytes];
  for (const { file, size } of whole) {
    left--;
    room -= size;
    if (left < 0 || room < 0) await rm(file, { force: true });
  }
  for (const { file } of files) {
    const writer = /\.(\d+)\.tmp$/.exec(file)?.[1];
    if (writer !== undefined && !isAlive(Number(writer))) await rm(file, { force: true });
  }
}

/** Why one could not be kept, without its place, which tenants of a server are not told. */
export function templateTrouble(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error instanceof VitrineError ? error.message.replace(/^.*: /s, '') : reasonOf(error);
}

/** A place for a file that lives for a moment. */
export async function momentaryFile(): Promise<string> {
  await mkdir(folder(), { recursive: true, mode: 0o700 });
  return path.join(folder(), `fork-${process.pid}-${randomBytes(8).toString('hex')}`);
}
