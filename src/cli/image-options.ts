/** `vitrine run IMAGE`: which images there are to run, and how their program is changed. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import type { Command } from 'commander';
import { UsageError } from '../base/errors.js';
import { hasTransport, ImageStore, pullProgress, type StoredImage } from '../oci/index.js';
import {
  addProgramOptions,
  checkWorkdir,
  readVariables,
  TERMINAL_HELP,
  type ProgramOptions,
} from './program-options.js';
import { interruptibleProgress } from './progress-line.js';
import { addVolumeOptions, parsePublish, readVolumes, type VolumeOptions } from './volume-options.js';

export interface ImageOptions extends ProgramOptions, VolumeOptions {
  readonly entrypoint?: string;
  readonly insecure?: boolean;
  readonly rm?: boolean;
}

/** Options of images, which mean nothing otherwise. */
export function addImageOptions(command: Command): Command {
  command
    .optionsGroup('A container image:')
    .option('--entrypoint <program>', "run this instead of the image's own program");
  return addVolumeOptions(addProgramOptions(command))
    .option('--insecure', 'a registry without TLS, or with a certificate that nobody vouches for')
    .option('--rm', 'leave nothing behind of a machine that has ended, as all do that run on a terminal');
}

export const IMAGE_HELP = `
A container image is named as Docker and skopeo name it; it is pulled the first time (see
vitrine image), and what the guest writes goes with the machine:
  oci:NAME[:TAG]         from a registry: oci:debian:12, oci:localhost:5000/app
  oci:FOLDER[:TAG]       an OCI image layout
  oci-archive:FILE, docker-archive:FILE   its archive; what "docker save" writes
  FOLDER                 as ./root: a layout, or a root file system
What stands behind -- is given to its program, and the exit code is the program's: 127 when
there is no such program, 126 when it cannot be executed, 125 when the machine has not come as far.
${TERMINAL_HELP.trim()}
A third Ctrl-C ends the machine. With --save-on-exit or --clock virtual the program runs on the
guest's serial console instead.`;

/** Whether a name is an image's rather than a guest's. */
export function isImageName(name: string): boolean {
  return hasTransport(name) || /^\.{0,2}\//.test(name) || name === '.' || name === '..';
}

const NEED_AN_IMAGE = [
  ...(['entrypoint', 'env', 'envFile', 'user', 'workdir', 'tty', 'interactive'] as const),
  ...(['volume', 'publish', 'insecure', 'rm'] as const),
];

/** An option as it is written. */
export const optionName = (key: string): string => `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;

/** Checks that nothing was said of a container image where there is none. */
export function refuseImageOptions(options: ImageOptions, command: readonly string[]): void {
  const given = NEED_AN_IMAGE.find((key) => options[key] !== undefined);
  if (given !== undefined) throw new UsageError(`${optionName(given)} needs a container image to run: oci:NAME`);
  if (command.length > 0)
    throw new UsageError(`only a container image is given a program to run, such as ${command[0]}`);
}

/** What can be wrong with them is said before anything is fetched. Throws a one-line error. */
export function checkImageOptions(options: ImageOptions): void {
  checkWorkdir(options.workdir);
  readVariables(options);
  readVolumes(options);
  for (const text of options.publish ?? []) parsePublish(text);
}

/** An image that is ready to be run, pulled or made if need be, with progress on stderr. Throws a one-line error. */
export async function findImage(name: string, insecure: boolean | undefined): Promise<StoredImage> {
  const { progress, done } = interruptibleProgress();
  const onProgress = pullProgress(name, progress);
  const store = new ImageStore();
  try {
    if (/^\.{0,2}\//.test(name) && !isFolder(name))
      throw new UsageError(`there is no folder ${name}; an image of a registry is named oci:NAME`);
    if (!isFolder(name)) return await store.ensure(name, { insecure, onProgress });
    if (fs.existsSync(path.join(name, 'oci-layout'))) return await store.pull(`oci:${name}`, { onProgress });
    progress({ text: `reading ${name}` });
    return await store.build(name, { name: folderName(name), settings: { Cmd: ['/bin/sh'] }, onProgress });
  } finally {
    done();
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
