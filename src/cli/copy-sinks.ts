/** Where `vitrine cp` copies to: this host, a guest, an archive. */
import { constants } from 'node:fs';
import { chmod, lstat, mkdir, open, symlink, unlink } from 'node:fs/promises';
import path from 'node:path';
import { ApiError } from '../api/errors.js';
import { HostError } from '../base/errors.js';
import { orFileError } from '../host/node/read-file.js';
import { TAR_END, tarHeader, tarPadding } from '../oci/tar-writer.js';
import { join, type Guest, type Item } from './copy-items.js';

export interface Sink {
  put(item: Item): Promise<void>;
  /** Behind the last item. */
  end(): Promise<void>;
}

/** Permissions with which a folder can be written to while it is filled. */
const WHILE_FILLED = 0o700;

/**
 * Below a place of this host. Whatever the items say, nothing is written outside of it: links are made last, and none that is there
 * is followed.
 */
export class HostSink implements Sink {
  private readonly links: (readonly [string, string])[] = [];
  private readonly folders: (readonly [string, number])[] = [];

  constructor(private readonly root: string) {}

  async put(item: Item): Promise<void> {
    const to = item.path === '' ? this.root : path.join(this.root, item.path);
    const mode = item.mode & 0o777;
    if (item.type === 'folder') {
      const there = await lstat(to).catch(() => undefined);
      if (!there) {
        await orFileError('make the folder', to, mkdir(to, { mode: mode | WHILE_FILLED }));
        this.folders.push([to, mode]);
      } else if (!there.isDirectory()) throw new HostError(`cannot write the folder ${to}: a file has its place`);
    } else if (item.type === 'file') await this.write(to, mode, item.contents());
    else if (item.type === 'link') this.links.push([item.target, to]);
  }

  private async write(to: string, mode: number, contents: AsyncIterable<Uint8Array>): Promise<void> {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;
    const handle = await orFileError('write', to, open(to, flags, mode));
    try {
      for await (const bytes of contents) await orFileError('write', to, handle.writeFile(bytes));
      await orFileError('write', to, handle.chmod(mode));
    } finally {
      await handle.close();
    }
  }

  async end(): Promise<void> {
    for (const [target, at] of this.links) {
      const there = await lstat(at).catch(() => undefined);
      if (there && !there.isDirectory()) await orFileError('replace', at, unlink(at));
      await orFileError('make the link', at, symlink(target, at));
    }
    // Innermost first: what is above may be closed to its owner.
    for (const [folder, mode] of this.folders.reverse()) await orFileError('change', folder, chmod(folder, mode));
  }
}

/** Below a place of a guest. */
export class GuestSink implements Sink {
  constructor(
    private readonly guest: Guest,
    private readonly root: string,
  ) {}

  private place(item: string): string {
    return item === '' ? this.root : join(this.root, item);
  }

  async put({ path: at, type, mode, target, contents }: Item): Promise<void> {
    const { client, name } = this.guest;
    const to = this.place(at);
    switch (type) {
      case 'folder':
        await client.makeFolder(name, to, { mode, parents: true });
        break;
      case 'file':
        await client.writeFile(name, to, contents(), { mode });
        break;
      case 'link':
        await this.link(target, to);
        break;
      case 'hard-link':
        // A second file with the same contents: what is promised is a copy.
        await client.writeFile(name, to, await client.readFile(name, this.place(target)), { mode });
        break;
    }
  }

  private async link(target: string, to: string): Promise<void> {
    const { client, name } = this.guest;
    try {
      await client.makeLink(name, target, to);
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== 'EEXIST') throw error;
      await client.removeFile(name, to);
      await client.makeLink(name, target, to);
    }
  }

  async end(): Promise<void> {
    // Nothing is left to be done.
  }
}

/** An archive (tar). */
export class ArchiveSink implements Sink {
  constructor(private readonly write: (bytes: Uint8Array) => Promise<void>) {}

  async put(item: Item): Promise<void> {
    const { type, path: at, target, mode, uid, gid, modified, size } = item;
    const bytes = (text: string): string => Buffer.from(text).toString('latin1');
    await this.write(
      tarHeader({
        kind: type,
        path: bytes(type === 'folder' ? `${at}/` : at),
        target: bytes(target),
        mode,
        uid,
        gid,
        mtime: { seconds: modified, nanoseconds: 0 },
        size,
      }),
    );
    if (type !== 'file') return;
    // It has as many bytes as its header says, even if the file has grown or shrunk meanwhile.
    let left = size;
    for await (const part of item.contents()) {
      await this.write(part.subarray(0, left));
      left -= Math.min(left, part.length);
    }
    for (; left > 0; left -= Math.min(left, 65536)) await this.write(new Uint8Array(Math.min(left, 65536)));
    await this.write(tarPadding(size));
  }

  async end(): Promise<void> {
    await this.write(TAR_END);
  }
}
