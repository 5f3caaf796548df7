/** Files that pass between this host and a guest, with the folders that they are in. */
import { constants, type Stats } from 'node:fs';
import { lstat, mkdir, open, readdir, readlink, rm, stat, symlink } from 'node:fs/promises';
import path from 'node:path';
import { HostError } from '../../base/errors.js';
import { orFileError } from '../../host/node/read-file.js';
import { GuestFileError } from '../errors.js';
import { checkText } from '../kinds.js';
import { GuestFiles, type FileOptions, type FolderEntry } from '../files.js';

/** Bytes that are read of a file at a time. */
const PIECE = 256 * 1024;

async function* contentsOf(file: string): AsyncGenerator<Uint8Array> {
  const handle = await orFileError('read', file, open(file, 'r'));
  try {
    for (;;) {
      const piece = new Uint8Array(PIECE);
      const { bytesRead } = await orFileError('read', file, handle.read(piece, 0, PIECE, null));
      if (bytesRead === 0) return;
      yield piece.subarray(0, bytesRead);
    }
  } finally {
    await handle.close();
  }
}

/** Files of a guest on this host's side: `vm.fs`. */
export class HostGuestFiles extends GuestFiles {
  /**
   * Copies a file or a folder with all that is in it to the guest, in place of files that are there. Permissions go along, owners do
   * not. Symbolic links stay what they are, but for `from` itself, which is followed. Rejected at sockets and devices.
   */
  async upload(from: string, to: string, options: FileOptions = {}): Promise<void> {
    checkText(from, 'a file');
    const status = await orFileError('read', from, stat(from));
    if (status.isDirectory()) await this.uploadFolder(from, to, status.mode & 0o7777, options);
    else await this.uploadFile(from, to, status, options);
  }

  private async uploadFile(from: string, to: string, status: Stats, options: FileOptions): Promise<void> {
    if (!status.isFile()) throw new HostError(`cannot upload ${from}: it is no file`);
    await this.write(to, contentsOf(from), { ...options, mode: status.mode & 0o7777 });
  }

  private async uploadFolder(from: string, to: string, mode: number, options: FileOptions): Promise<void> {
    await this.mkdir(to, { ...options, mode, parents: true });
    for (const name of await orFileError('read', from, readdir(from))) {
      options.signal?.throwIfAborted();
      const [source, target] = [path.join(from, name), `${to.replace(/\/+$/, '')}/${name}`];
      const status = await orFileError('read', source, lstat(source));
      if (status.isDirectory()) await this.uploadFolder(source, target, status.mode & 0o7777, options);
      else if (status.isSymbolicLink())
        await this.replaceLink(await orFileError('read', source, readlink(source)), target, options);
      else await this.uploadFile(source, target, status, options);
    }
  }

  private async replaceLink(target: string, at: string, options: FileOptions): Promise<void> {
    try {
      await this.symlink(target, at, options);
    } catch (error) {
      if (!(error instanceof GuestFileError) || error.code !== 'EEXIST') throw error;
      await this.remove(at, options);
      await this.symlink(target, at, options);
    }
  }

  /**
   * Copies a file or a folder with all that is in it from the guest, in place of files that are there. Whatever the guest says, nothing is
   * written outside `to`: links are made last, and none that is there is followed. Devices, pipes and sockets are left out. What is given up or
   * fails leaves no part of a file.
   */
  async download(from: string, to: string, options: FileOptions = {}): Promise<void> {
    checkText(to, 'a file');
    const status = await this.stat(from, options);
    const links: (readonly [string, string])[] = [];
    if (status.type === 'folder') await this.downloadFolder(from, to, links, options);
    else await this.downloadFile(from, to, status.mode, options);
    for (const [target, at] of links) {
      const there = await lstat(at).catch(() => undefined);
      if (there?.isSymbolicLink() || there?.isFile()) await orFileError('replace', at, rm(at));
      await orFileError('make the link', at, symlink(target, at));
    }
  }

  private async downloadFile(from: string, to: string, mode: number, options: FileOptions): Promise<void> {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;
    const handle = await orFileError('write', to, open(to, flags, mode & 0o777));
    try {
      await this.readTo(from, (bytes) => orFileError('write', to, handle.writeFile(bytes)), options);
    } catch (error) {
      // A part would look like the whole; a device is left alone.
      if ((await handle.stat()).isFile()) await rm(to, { force: true });
      throw error;
    } finally {
      await handle.close();
    }
  }

  private async downloadFolder(
    from: string,
    to: string,
    links: (readonly [string, string])[],
    options: FileOptions,
  ): Promise<void> {
    const there = await lstat(to).catch(() => undefined);
    if (!there) await orFileError('make the folder', to, mkdir(to));
    else if (!there.isDirectory()) throw new HostError(`cannot download to ${to}: it is no folder`);
    for (const entry of await this.list(from, options)) {
      options.signal?.throwIfAborted();
      // What is one name to Linux may be a path to another system: `a\b`, `C:a`.
      if (path.basename(entry.name) !== entry.name)
        throw new HostError(`cannot download ${entry.name}: this host has no such names`);
      await this.downloadEntry(
        entry,
        `${from.replace(/\/+$/, '')}/${entry.name}`,
        path.join(to, entry.name),
        links,
        options,
      );
    }
  }

  private async downloadEntry(
    { type, mode }: FolderEntry,
    from: string,
    to: string,
    links: (readonly [string, string])[],
    options: FileOptions,
  ): Promise<void> {
    if (type === 'folder') await this.downloadFolder(from, to, links, options);
    else if (type === 'link') links.push([await this.readlink(from, options), to]);
    else if (type === 'file') await this.downloadFile(from, to, mode, options);
  }
}
