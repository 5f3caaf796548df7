/** Names of images, each in a file of its own. */
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import * as path from 'node:path';
import { publish, withTemporaryFolder } from '../host/node/cache.js';
import { platformName, type Descriptor, type Digest, type Platform } from './image.js';
import { withFileLock } from '../host/node/file-lock.js';
import { canonicalName, untaggedName, type ImageReference } from './reference.js';

/** An image in a list. */
export interface ImageRecord {
  /** As the cache knows it: `docker.io/library/alpine:latest`. */
  readonly name: string;
  readonly digest: Digest;
  readonly platform: string;
  /** Bytes of its blobs, packed. */
  readonly size: number;
  /** When it was pulled, in milliseconds since 1970. */
  readonly pulled: number;
  /** All that it consists of: manifest, configuration, layers. */
  readonly blobs: readonly { readonly digest: Digest; readonly size: number }[];
  /**
   * The image is untagged: this canonical name led to it until another image got it. It stays, since saved machines may have it as their
   * disk, and nobody knows where all of these are.
   */
  readonly formerly?: string;
}

/** `parts`: the manifest, the configuration, the layers. */
export function newRecord(
  reference: ImageReference,
  platform: Platform,
  parts: readonly Pick<Descriptor, 'digest' | 'size'>[],
): ImageRecord {
  const blobs = parts.map(({ digest, size }) => ({ digest, size }));
  return {
    name: canonicalName(reference),
    digest: blobs[0].digest,
    platform: platformName(platform),
    size: blobs.reduce((sum, { size }) => sum + size, 0),
    pulled: Date.now(),
    blobs,
  };
}

export class ImageRecords {
  constructor(
    private readonly cache: string,
    private readonly folder: string,
  ) {}

  private pathOf(name: string): string {
    return path.join(this.folder, `${createHash('sha256').update(name).digest('hex').slice(0, 32)}.json`);
  }

  /** The record of a canonical name; undefined when there is none. */
  read(name: string): Promise<ImageRecord | undefined> {
    return readRecord(this.pathOf(name));
  }

  /** All, by their names. */
  async list(): Promise<ImageRecord[]> {
    const records: ImageRecord[] = [];
    for (const file of await readdir(this.folder).catch(unlessMissing([]))) {
      const record = await readRecord(path.join(this.folder, file));
      if (record) records.push(record);
    }
    return records.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Gives an image its name. The one that had it before stays, untagged, unless it has other names. */
  async assign(record: ImageRecord): Promise<void> {
    await mkdir(path.dirname(this.folder), { recursive: true });
    // Two who give one name at once would lose what the first of them gave.
    await withFileLock(`${this.folder}.lock`, 'exclusive', undefined, async () => {
      const others = await this.list();
      const before = others.find(({ name }) => name === record.name);
      if (
        before &&
        before.digest !== record.digest &&
        others.every((one) => one === before || one.digest !== before.digest)
      )
        await this.write({ ...before, name: untaggedName(before.name, before.digest), formerly: before.name });
      await this.write(record);
      for (const { name, digest, formerly } of others)
        if (formerly !== undefined && digest === record.digest && name !== record.name) await this.remove(name);
    });
  }

  /** Takes a name away from its image, which stays, untagged, unless it has other names. */
  async untag(name: string): Promise<void> {
    await withFileLock(`${this.folder}.lock`, 'exclusive', undefined, async () => {
      const all = await this.list();
      const record = all.find((one) => one.name === name);
      if (!record || record.formerly !== undefined) return;
      if (all.every((one) => one === record || one.digest !== record.digest))
        await this.write({ ...record, name: untaggedName(name, record.digest), formerly: name });
      await this.remove(name);
    });
  }

  private async write(record: ImageRecord): Promise<void> {
    await withTemporaryFolder(this.cache, async (scratch) => {
      const file = path.join(scratch, 'record');
      await writeFile(file, `${JSON.stringify(record, undefined, 2)}\n`);
      await publish(file, this.pathOf(record.name));
    });
  }

  async remove(name: string): Promise<void> {
    await rm(this.pathOf(name), { force: true });
  }
}

/** Throws what the system says, but for a file that is not there: what cannot be read now must not count as gone. */
async function readRecord(file: string): Promise<ImageRecord | undefined> {
  const text = await readFile(file, 'utf8').catch(unlessMissing(undefined));
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as ImageRecord;
  } catch {
    return undefined;
  }
}

/** For failures: the value where there is no such file, otherwise the failure. */
const unlessMissing =
  <T>(value: T) =>
  (error: unknown): T => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return value;
    throw error;
  };
