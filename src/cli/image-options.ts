/** `vitrine run IMAGE`: which images there are to run, and how their program is changed. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { Command } from 'commander';
import { UsageError } from '../base/errors.js';
import { cacheRoot, DEFAULT_GUEST, ensureGuest } from '../guests/index.js';
import { imageInit, ROOT_DISK_SERIAL } from '../guests/image-init.js';
import { readWholeFile } from '../host/node/read-file.js';
import type { BootSource } from '../machine/common/board.js';
import { hasTransport, ImageStore, pullProgress, resolveUser, type StoredImage } from '../oci/index.js';
import { COMMAND_LINE } from './images.js';
import type { DiskConfig } from '../vmm/config.js';
import { exitOnSignals } from './guest-command.js';

import { progressLine } from './progress-line.js';

export interface ImageOptions {
  readonly entrypoint?: string;
  readonly env?: readonly string[];
  readonly user?: string;
  readonly workdir?: string;
  readonly insecure?: boolean;
}

const collect = (value: string, before: readonly string[] = []): string[] => [...before, value];

/** Options of images, which mean nothing otherwise. */
export function addImageOptions(command: Command): Command {
  return command
    .optionsGroup('A container image:')
    .option('--entrypoint <program>', "run this instead of the image's own program")
    .option('-e, --env <name=value>', 'a variable for the program', collect)
    .option('--user <user[:group]>', 'whom it runs as: names of the image, or numbers')
    .option('--workdir <folder>', 'where it runs')
    .option('--insecure', 'a registry without TLS, or with a certificate that nobody vouches for');
}

export const IMAGE_HELP = `
A container image is named as Docker and skopeo name it; it is pulled the first time (see
vitrine image), and what the guest writes goes with the machine:
  oci:NAME[:TAG]         from a registry: oci:debian:12, oci:localhost:5000/app
  oci:FOLDER[:TAG]       an OCI image layout
  oci-archive:FILE, docker-archive:FILE   its archive; what "docker save" writes
  FOLDER                 as ./root: a layout, or a root file system
Its program runs on the serial console, what stands behind -- is given to it, and the exit
code is the program's.`;

/** Whether a name is an image's rather than a guest's. */
export function isImageName(name: string): boolean {
  return hasTransport(name) || /^\.{0,2}\//.test(name) || name === '.' || name === '..';
}

/** Checks that nothing was said of a container image where there is none. */
export function refuseImageOptions(options: ImageOptions, command: readonly string[]): void {
  const given = (['entrypoint', 'env', 'user', 'workdir', 'insecure'] as const).find(
    (key) => options[key] !== undefined,
  );
  if (given !== undefined) throw new UsageError(`--${given} needs a container image to run: oci:NAME`);
  if (command.length > 0)
    throw new UsageError(`only a container image is given a program to run, such as ${command[0]}`);
}

async function findImage(name: string, insecure: boolean | undefined): Promise<StoredImage> {
  const stop = exitOnSignals();
  const { progress, done } = progressLine(process.stderr);
  const onProgress = pullProgress(name, progress);
  const store = new ImageStore();
  try {
    if (!isFolder(name)) return await store.ensure(name, { insecure, onProgress });
    if (fs.existsSync(path.join(name, 'oci-layout'))) return await store.pull(`oci:${name}`, { onProgress });
    progress({ text: `reading ${name}` });
    return await store.build(name, { name: folderName(name), settings: { Cmd: ['/bin/sh'] }, onProgress });
  } finally {
    done();
    stop();
  }
}

/** What the image of a folder is called: the newest takes the place of the one before. */
function folderName(folder: string): string {
  const words =
    path
      .resolve(folder)
      .toLowerCase()
      .match(/[a-z0-9]+/g) ?? [];
  return `folder/${words.slice(-8).join('-') || 'root'}`;
}

function isFolder(name: string): boolean {
  return fs.statSync(name, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

/** What boots an image. */
export interface ImageBoot {
  readonly boot: BootSource;
  readonly disk: DiskConfig;
}

/** Pulls an image unless it is there, and puts together what boots it. Throws a one-line error. */
export async function configureImage(
  name: string,
  command: readonly string[],
  options: ImageOptions,
  append?: string,
): Promise<ImageBoot> {
  for (const pair of options.env ?? [])
    if (!/^[^=]+=/.test(pair)) throw new UsageError(`--env ${pair} is not NAME=VALUE`);
  const image = await findImage(name, options.insecure);
  const { config } = image;
  const entrypoint = options.entrypoint === undefined ? config.entrypoint : [options.entrypoint];
  const rest = command.length > 0 ? command : options.entrypoint === undefined ? config.cmd : [];
  const argv = [...entrypoint, ...rest];
  if (argv.length === 0)
    throw new UsageError(`the image ${image.name} names no program; say which, as in: vitrine run ${name} -- /bin/sh`);
  const credentials = options.user === undefined ? image.credentials : resolveUser(options.user, image.accounts);
  const byName = new Map(
    [...config.env, ...(options.env ?? [])].map((pair) => [pair.slice(0, pair.indexOf('=')), pair]),
  );
  const init = imageInit({
    argv,
    env: [...byName.values()],
    workdir: options.workdir ?? config.workdir,
    ...credentials,
  });
  const { files } = await guestFiles();
  const initrd = readWholeFile(files['initrd'], 'initrd');
  return {
    boot: {
      kernel: {
        name: files['vmlinux'],
        data: readWholeFile(files['vmlinux'], 'kernel'),
        commandLine: append ?? `${COMMAND_LINE} loglevel=1`,
        // Linux unpacks archives one behind the other, each at a multiple of four bytes.
        modules: [{ name: 'initrd', data: Buffer.concat([initrd, new Uint8Array(-initrd.length & 3), init]) }],
      },
    },
    disk: {
      path: image.rootDisk,
      format: 'raw',
      readOnly: false,
      temporary: true,
      attach: 'virtio',
      media: 'disk',
      serial: ROOT_DISK_SERIAL,
      internal: null,
    },
  };
}

async function guestFiles(): ReturnType<typeof ensureGuest> {
  const stop = exitOnSignals();
  const { progress, done } = progressLine(process.stderr);
  try {
    return await ensureGuest(DEFAULT_GUEST, { cache: cacheRoot(), progress });
  } finally {
    done();
    stop();
  }
}
