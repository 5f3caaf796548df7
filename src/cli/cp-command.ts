/** `vitrine cp`: files between this host and machines that run detached. */
import { lstat, stat } from 'node:fs/promises';
import path from 'node:path';
import { Command } from 'commander';
import type { ApiClient } from '../api/client.js';
import { ApiError } from '../api/errors.js';
import { UsageError } from '../base/errors.js';
import { archiveItems, guestItems, hostItems, join, type Item } from './copy-items.js';
import { ArchiveSink, GuestSink, HostSink, type Sink } from './copy-sinks.js';
import { ask, printJson } from './machine-client.js';

interface CopyOptions {
  readonly followLink?: boolean;
  readonly json?: boolean;
}

/** One side of a copy. */
export type Side =
  | { readonly kind: 'archive' }
  | { readonly kind: 'host'; readonly path: string }
  | { readonly kind: 'guest'; readonly machine: string; readonly path: string };

export function cpCommand(): Command {
  return new Command('cp')
    .description('copy files between this host and a machine')
    .argument('<from>', 'FILE, or MACHINE:FILE, or - for an archive (tar) from standard input')
    .argument('<to>', 'the same; - for an archive to standard output')
    .option('-L, --follow-link', 'where <from> is a symbolic link, copy what it leads to')
    .option('--json', 'print what was copied')
    .addHelpText(
      'after',
      `
As with docker cp: a folder is copied with all that is in it, into <to> where that is a folder, else
as <to>; FOLDER/. is what is in it alone. Permissions go along, owners only in archives. Paths of a
machine begin at its root. A file of this host whose name has a colon is written ./a:b.

Examples:
  vitrine cp page.html box:/srv/www/
  vitrine cp box:/var/log ./logs
  tar c . | vitrine cp - box:/srv
  vitrine cp box:/etc - | tar tv`,
    )
    .action(copy);
}

/** What is written for one side. Throws a UsageError. */
export function parseSide(text: string): Side {
  if (text === '-') return { kind: 'archive' };
  const at = text.indexOf(':');
  // As Docker has it: what begins with a dot or a slash is of this host.
  if (at < 1 || text.startsWith('.') || text.slice(0, at).includes('/')) {
    if (text === '') throw new UsageError('a file without a name cannot be copied');
    return { kind: 'host', path: text };
  }
  const inside = text.slice(at + 1);
  return { kind: 'guest', machine: text.slice(0, at), path: inside.startsWith('/') ? inside : `/${inside}` };
}

type Found = 'folder' | 'other' | undefined;

/** What is there already. */
async function lookAt(client: ApiClient, side: Side): Promise<Found> {
  if (side.kind === 'archive') return undefined;
  if (side.kind === 'host') {
    const status = await stat(side.path).catch(() => undefined);
    return status && (status.isDirectory() ? 'folder' : 'other');
  }
  try {
    return (await client.fileStatus(side.machine, side.path)).type === 'folder' ? 'folder' : 'other';
  } catch (error) {
    if (error instanceof ApiError && (error.code === 'ENOENT' || error.code === 'ENOTDIR')) return undefined;
    throw error;
  }
}

/** The last name of a path; undefined: it means what is in a folder, or the root. */
function lastName(file: string): string | undefined {
  const parts = file.split('/').filter((part) => part !== '');
  const last = parts.at(-1);
  return last === undefined || last === '.' || last === '..' ? undefined : last;
}

/** Where a copy begins, as docker cp has it. Throws a UsageError. */
export function destination(
  from: { readonly path: string; readonly folder: boolean },
  to: string,
  there: Found,
): string {
  const name = lastName(from.path);
  if (from.folder && there === 'other') throw new UsageError(`cannot copy a folder to ${to}: that is a file`);
  if (there === 'folder') return from.folder && name === undefined ? to : join(to, name ?? '');
  if (!from.folder && to.endsWith('/')) throw new UsageError(`there is no folder ${to}`);
  return to;
}

const writeOut = (bytes: Uint8Array): Promise<void> =>
  new Promise((resolve, reject) => process.stdout.write(bytes, (error) => (error ? reject(error) : resolve())));

function itemsOf(client: ApiClient, from: Side, at: string, follow: boolean): AsyncIterable<Item> {
  switch (from.kind) {
    case 'archive':
      return archiveItems(process.stdin);
    case 'host':
      return hostItems(from.path, at, follow);
    case 'guest':
      return guestItems({ client, name: from.machine }, from.path, at, follow);
  }
}

/** Whether what is copied is a folder. */
async function isFolder(client: ApiClient, from: Side, follow: boolean): Promise<boolean> {
  if (from.kind === 'archive') return true;
  if (from.kind === 'guest') return (await client.fileStatus(from.machine, from.path, { follow })).type === 'folder';
  const status = await (follow ? stat(from.path) : lstat(from.path)).catch(() => undefined);
  return status?.isDirectory() ?? false;
}

async function sinkFor(
  client: ApiClient,
  from: Side,
  to: Side,
  follow: boolean,
): Promise<{ sink: Sink; root: string }> {
  if (to.kind === 'archive') {
    const name = from.kind === 'archive' ? undefined : lastName(from.path);
    return { sink: new ArchiveSink(writeOut), root: name ?? '.' };
  }
  const there = await lookAt(client, to);
  const place = (): Promise<string> => {
    if (from.kind !== 'archive')
      return isFolder(client, from, follow).then((folder) => destination({ path: from.path, folder }, to.path, there));
    if (there !== 'folder') throw new UsageError(`an archive is unpacked in a folder, and ${to.path} is none`);
    return Promise.resolve(to.path);
  };
  const root = await place();
  const sink =
    to.kind === 'host' ? new HostSink(path.resolve(root)) : new GuestSink({ client, name: to.machine }, root);
  return { sink, root: '' };
}

async function copy(fromText: string, toText: string, { followLink = false, json }: CopyOptions): Promise<void> {
  const [from, to] = [parseSide(fromText), parseSide(toText)];
  if (from.kind !== 'guest' && to.kind !== 'guest')
    throw new UsageError('one of the two is a file of a machine: MACHINE:FILE');
  if (json && to.kind === 'archive') throw new UsageError('--json has no place where an archive is written');
  const machine = from.kind === 'guest' ? from.machine : to.kind === 'guest' ? to.machine : undefined;
  await ask(machine, async (client) => {
    // What ends with a slash means what a link leads to.
    const follow = followLink || (from.kind !== 'archive' && /\/\.?$/.test(from.path));
    const { sink, root } = await sinkFor(client, from, to, follow);
    let [files, bytes] = [0, 0];
    for await (const item of itemsOf(client, from, root, follow)) {
      await sink.put(item);
      files++;
      bytes += item.size;
    }
    await sink.end();
    if (json) printJson({ files, bytes });
  });
}
