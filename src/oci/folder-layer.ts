/** A folder of the host as a layer: an archive that is the same for the same files. */
import { createHash } from 'node:crypto';
import type { BigIntStats } from 'node:fs';
import { lstat, open, readdir, readlink, type FileHandle } from 'node:fs/promises';
import * as path from 'node:path';
import { storageError } from './blob-store.js';
import { OciError } from './errors.js';
import type { TarKind } from './tar-reader.js';
import { TAR_END, tarHeader, tarPadding, type TarMember } from './tar-writer.js';

export interface WrittenLayer {
  readonly digest: string;
  /** Bytes. */
  readonly size: number;
}

const PIECE = 1 << 20;

/** Writes bytes to a file, and knows their digest. */
class HashedFile {
  private readonly hash = createHash('sha256');
  size = 0;

  constructor(private readonly handle: FileHandle) {}

  async write(bytes: Uint8Array): Promise<void> {
    this.hash.update(bytes);
    for (let at = 0; at < bytes.length;)
      at += (await this.handle.write(bytes, at, bytes.length - at, this.size + at)).bytesWritten;
    this.size += bytes.length;
  }

  digest(): string {
    return `sha256:${this.hash.digest('hex')}`;
  }
}

/** Copies an archive that is there already. */
export async function writeArchive(from: AsyncIterable<Uint8Array>, file: string): Promise<WrittenLayer> {
  const handle = await open(file, 'wx', 0o600);
  try {
    const target = new HashedFile(handle);
    for await (const chunk of from) await target.write(chunk);
    await handle.datasync();
    return { digest: target.digest(), size: target.size };
  } finally {
    await handle.close();
  }
}

/**
 * Writes a folder's files. What belongs to whoever runs this belongs to root in the archive, since it is they who put it there; other
 * owners stay. Extended attributes are left out, and so are sockets. Throws a one-line error (OciError) for what cannot be read.
 */
export async function writeFolder(folder: string, file: string, signal?: AbortSignal): Promise<WrittenLayer> {
  const handle = await open(file, 'wx', 0o600);
  try {
    const target = new HashedFile(handle);
    const seen = new Map<string, string>();
    const left = [''];
    for (let name = left.pop(); name !== undefined; name = left.pop()) {
      signal?.throwIfAborted();
      const place = path.join(folder, name);
      try {
        const found = await lstat(place, { bigint: true });
        // Archives within the folder that is archived would grow for ever.
        if (found.isDirectory())
          for (const one of (await readdir(place)).sort().reverse()) left.push(path.join(name, one));
        await writeMember(target, place, { name, found, seen });
      } catch (error) {
        throw error instanceof OciError ? error : storageError(`read ${place}`, error);
      }
    }
    await target.write(TAR_END);
    await handle.datasync();
    return { digest: target.digest(), size: target.size };
  } finally {
    await handle.close();
  }
}

const latin1 = (text: string): string => Buffer.from(text).toString('latin1');

function kindOf(found: BigIntStats): TarKind | undefined {
  if (found.isFile()) return 'file';
  if (found.isDirectory()) return 'folder';
  if (found.isSymbolicLink()) return 'link';
  if (found.isCharacterDevice()) return 'character-device';
  if (found.isBlockDevice()) return 'block-device';
  return found.isFIFO() ? 'fifo' : undefined;
}

async function writeMember(
  target: HashedFile,
  place: string,
  { name, found, seen }: { readonly name: string; readonly found: BigIntStats; readonly seen: Map<string, string> },
): Promise<void> {
  const kind = kindOf(found);
  if (kind === undefined) return;
  const mine = (id: bigint, own: number | undefined): number => (Number(id) === own ? 0 : Number(id));
  const rdev = found.rdev;
  const member: TarMember = {
    kind,
    path: name === '' ? './' : latin1(kind === 'folder' ? `${name}/` : name),
    mode: Number(found.mode & 0o7777n),
    uid: mine(found.uid, process.getuid?.()),
    gid: mine(found.gid, process.getgid?.()),
    mtime: { seconds: Number(found.mtimeNs / 1_000_000_000n), nanoseconds: Number(found.mtimeNs % 1_000_000_000n) },
    // gnu_dev_major and gnu_dev_minor of glibc's sys/sysmacros.h
    major: Number(((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xfffff000n)),
    minor: Number((rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n)),
  };
  const key = `${found.dev}:${found.ino}`;
  const first = kind === 'folder' || found.nlink === 1n ? undefined : seen.get(key);
  if (first !== undefined) {
    await target.write(tarHeader({ ...member, kind: 'hard-link', target: first }));
    return;
  }
  if (found.nlink > 1n) seen.set(key, member.path);
  if (kind === 'link') await target.write(tarHeader({ ...member, target: await readlink(place, 'latin1') }));
  else if (kind === 'file') await writeFile(target, place, { ...member, size: Number(found.size) });
  else await target.write(tarHeader(member));
}

async function writeFile(
  target: HashedFile,
  place: string,
  member: TarMember & { readonly size: number },
): Promise<void> {
  await target.write(tarHeader(member));
  const handle = await open(place, 'r');
  try {
    const piece = new Uint8Array(PIECE);
    for (let left = member.size; left > 0;) {
      const { bytesRead } = await handle.read(piece, 0, Math.min(left, piece.length));
      if (bytesRead === 0) throw new OciError('storage', `${place} became shorter while it was read`);
      await target.write(piece.subarray(0, bytesRead));
      left -= bytesRead;
    }
  } finally {
    await handle.close();
  }
  await target.write(tarPadding(member.size));
}
