/** Where the members of a tar archive are: of `docker save` and of skopeo's oci-archive. */
import * as fs from 'node:fs';
import { open, writeFile } from 'node:fs/promises';
import * as path from 'node:path';
import { OciError } from './errors.js';
import { TarReader } from './tar-reader.js';
import { packingOf, unpackLayer } from './unpack-layer.js';

interface Member {
  readonly offset: number;
  readonly size: number;
}

/** Members of an archive, and links among them. */
const MAX_MEMBERS = 100_000;
/** Bytes of a member's name: a digest and a few words. What has longer ones is nothing that anybody looks for. */
const MAX_NAME = 1024;
/** Links from one member to the next. */
const MAX_LINKS = 8;

/** Files by their names, from a folder or from an archive. */
export interface FileTree {
  /** Bytes of a file; undefined where there is none. */
  size(name: string): Promise<number | undefined>;
  /** From an offset on. Throws a one-line error (OciError) where there is no such file. */
  open(name: string, offset?: number): AsyncIterable<Uint8Array>;
}

export async function readAll(tree: FileTree, name: string, limit: number): Promise<Uint8Array | undefined> {
  const size = await tree.size(name);
  if (size === undefined) return undefined;
  if (size > limit) throw new OciError('too-large', `${name} has ${size} bytes; ${limit} are allowed`);
  const parts: Uint8Array[] = [];
  for await (const part of tree.open(name)) parts.push(part);
  return Buffer.concat(parts);
}

async function* readRange(file: string, { offset, size }: Member): AsyncGenerator<Uint8Array> {
  // Less than nothing: what is to be gone on with is shorter than what is there of it.
  if (size <= 0) return;
  const stream = fs.createReadStream(file, { start: offset, end: offset + size - 1, highWaterMark: 256 * 1024 });
  for await (const chunk of stream as AsyncIterable<Uint8Array>) yield chunk;
}

/** A folder. Names lead to regular files within it. */
export class FolderTree implements FileTree {
  constructor(private readonly folder: string) {}

  private place(name: string): string {
    return path.join(this.folder, name);
  }

  async size(name: string): Promise<number | undefined> {
    const found = await fs.promises.stat(this.place(name)).catch(() => undefined);
    return found?.isFile() ? found.size : undefined;
  }

  async *open(name: string, offset = 0): AsyncGenerator<Uint8Array> {
    const size = await this.size(name);
    if (size === undefined) throw new OciError('damaged', `${this.folder} has no ${name}`);
    yield* readRange(this.place(name), { offset, size: size - offset });
  }
}

export class ArchiveTree implements FileTree {
  private constructor(
    private readonly name: string,
    private readonly file: string,
    private readonly members: ReadonlyMap<string, Member>,
    private readonly links: ReadonlyMap<string, string>,
  ) {}

  /** `scratch`: a folder for what an archive that is packed unpacks to. Throws a one-line error (OciError). */
  static async open(file: string, scratch: string, limit: number, signal?: AbortSignal): Promise<ArchiveTree> {
    const plain = await unpacked(file, scratch, limit, signal);
    const members = new Map<string, Member>();
    const links = new Map<string, string>();
    const reader = new TarReader({
      entry: ({ kind, path: name, target, size, data }, offset) => {
        if (name.length > MAX_NAME || target.length > MAX_NAME) return;
        const clean = path.posix.normalize(name).replace(/^\/+/, '');
        if (members.size + links.size >= MAX_MEMBERS)
          throw new OciError('too-large', `${file} has more than ${MAX_MEMBERS} files`);
        // A sparse member is stored in pieces.
        if (kind === 'file' && (size === 0 || (data.length === 1 && data[0].length === size)))
          members.set(clean, { offset, size });
        // Docker wrote links to layers that several images had.
        else if (kind === 'link') links.set(clean, path.posix.join(path.posix.dirname(clean), target));
        else if (kind === 'hard-link') links.set(clean, path.posix.normalize(target).replace(/^\/+/, ''));
      },
    });
    for await (const chunk of unpackLayer(plain, { limit, signal })) reader.push(chunk);
    reader.end();
    return new ArchiveTree(file, plain, members, links);
  }

  private member(name: string): Member | undefined {
    let at = path.posix.normalize(name);
    for (let i = 0; i < MAX_LINKS; i++) {
      const found = this.members.get(at);
      if (found) return found;
      const next = this.links.get(at);
      if (next === undefined) return undefined;
      at = next;
    }
    return undefined;
  }

  size(name: string): Promise<number | undefined> {
    return Promise.resolve(this.member(name)?.size);
  }

  async *open(name: string, from = 0): AsyncGenerator<Uint8Array> {
    const member = this.member(name);
    if (member === undefined) throw new OciError('damaged', `${this.name} has no ${name}`);
    yield* readRange(this.file, { offset: member.offset + from, size: member.size - from });
  }
}

/** `docker save | gzip` is usual: such a file is unpacked first, so that its members can be read in any order. */
async function unpacked(file: string, scratch: string, limit: number, signal?: AbortSignal): Promise<string> {
  const start = new Uint8Array(4);
  const handle = await open(file);
  try {
    await handle.read(start, 0, start.length, 0);
  } finally {
    await handle.close();
  }
  if (packingOf(start) === 'none') return file;
  const plain = path.join(scratch, 'archive.tar');
  await writeFile(plain, unpackLayer(file, { limit, signal }), { mode: 0o600 });
  return plain;
}
