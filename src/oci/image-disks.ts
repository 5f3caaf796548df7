/** The disks that are made of images: one for each manifest, beside what its configuration says. */
import { mkdir, open, readFile, rm, stat, writeFile } from 'node:fs/promises';
import * as path from 'node:path';
import { publish, withTemporaryFolder } from '../host/node/cache.js';
import { withFileLock } from '../host/node/file-lock.js';
import { isImageUsed } from '../host/node/image-lock.js';
import type { BlobStore } from './blob-store.js';
import type { DiskLimits } from './build-disk.js';
import { buildDiskApart } from './build-thread.js';
import { OciError } from './errors.js';
import type { ImageRecord } from './image-records.js';
import { readConfig, readManifest, type Digest, type ImageConfig, type Manifest } from './image.js';
import { MAX_MANIFEST } from './registry.js';
import { resolveUser, type Accounts, type Credentials } from './users.js';

/** A disk, and what its image says of it. */
export interface ImageDisk {
  /** A raw image of an ext4 file system, not to be written to: machines put an overlay on it. */
  readonly rootDisk: string;
  /** Bytes of that disk; it takes as much room as what is in it. */
  readonly diskSize: number;
  readonly config: ImageConfig;
  /** Whom `config.user` means, after the image's own files. */
  readonly credentials: Credentials;
  /** These files, for whoever wants another user: see resolveUser. */
  readonly accounts: Accounts;
}

export interface DiskOptions {
  readonly signal: AbortSignal | undefined;
  /** Bytes of the layers that are read, and all of them. */
  readonly progress: (done: number, total: number) => void;
}

/** What else decides how a disk is made; to be raised when the same layers give another disk. */
const RECIPE = 1;
const MAX_CONFIG = 8 * 2 ** 20;
const DISK = 'disk.raw';
const INFO = 'image.json';

/** What is known of a disk that is ready; it stands beside it. */
type DiskInfo = Omit<ImageDisk, 'rootDisk'>;

export class ImageDisks {
  /** `root`: where images are kept, below `cache`. */
  constructor(
    private readonly cache: string,
    private readonly root: string,
    private readonly blobs: BlobStore,
    private readonly limits: DiskLimits,
  ) {}

  /** Where the disk of a manifest is. */
  folderOf(digest: Digest): string {
    return path.join(this.root, 'disks', `${digest.replace(':', '-')}-${RECIPE}`);
  }

  /** Whether a machine has the disk of a manifest open, where locks tell that. */
  async isUsed(digest: Digest): Promise<boolean> {
    const handle = await open(path.join(this.folderOf(digest), DISK)).catch(() => undefined);
    try {
      return handle !== undefined && isImageUsed(handle.fd);
    } finally {
      await handle?.close();
    }
  }

  /** Throws a one-line error (OciError) for a configuration that does not belong to the manifest. */
  async readConfig(manifest: Manifest): Promise<ReturnType<typeof readConfig>> {
    const document = readConfig(await this.blobs.read(manifest.config, MAX_CONFIG));
    if (document.diffIds.length !== manifest.layers.length)
      throw new OciError(
        'damaged',
        `the image has ${manifest.layers.length} layers, but its configuration tells of ${document.diffIds.length}`,
      );
    return document;
  }

  /** The disk of an image whose blobs are there, made if need be. Throws a one-line error (OciError). */
  async ensure(record: ImageRecord, options: DiskOptions): Promise<ImageDisk> {
    const folder = this.folderOf(record.digest);
    const info = (await readDisk(folder)) ?? (await this.make(record, folder, options));
    return { rootDisk: path.join(folder, DISK), ...info };
  }

  private async make(record: ImageRecord, folder: string, { signal, progress }: DiskOptions): Promise<DiskInfo> {
    await mkdir(path.dirname(folder), { recursive: true });
    return withFileLock(`${folder}.lock`, 'exclusive', signal, async () => {
      // Whoever had the lock before may have made it.
      const ready = await readDisk(folder);
      if (ready) return ready;
      const manifest = readManifest(await this.blobs.read(record.blobs[0], MAX_MANIFEST), undefined);
      if (!('layers' in manifest)) throw new OciError('damaged', `${record.digest} is no manifest`);
      const { config, diffIds } = await this.readConfig(manifest);
      const layers = manifest.layers.map(({ digest, size }, i) => ({
        path: this.blobs.pathOf(digest),
        size,
        diffId: diffIds[i],
      }));
      const total = layers.reduce((sum, { size }) => sum + size, 0);
      return withTemporaryFolder(this.cache, async (scratch) => {
        const made = path.join(scratch, 'image');
        await mkdir(made);
        const { size, contents } = await buildDiskApart(layers, path.join(made, DISK), {
          limits: this.limits,
          identity: record.digest,
          // A time in the future is none that a file system can have been made at.
          made: Math.min(config.created, Math.floor(Date.now() / 1000)),
          signal,
          progress: (fraction) => progress(Math.floor(fraction * total), total),
        });
        const text = (name: string): string => new TextDecoder().decode(contents.get(name) ?? new Uint8Array(0));
        const accounts: Accounts = { passwd: text('etc/passwd'), group: text('etc/group') };
        const credentials = resolveUser(config.user, accounts);
        const info: DiskInfo = { diskSize: size, config, credentials, accounts };
        await writeFile(path.join(made, INFO), `${JSON.stringify(info, undefined, 2)}\n`);
        // What is there is a part of one.
        await rm(folder, { recursive: true, force: true });
        await publish(made, folder);
        await rm(`${folder}.lock`, { force: true });
        return info;
      });
    });
  }
}

async function readDisk(folder: string): Promise<DiskInfo | undefined> {
  try {
    const info = JSON.parse(await readFile(path.join(folder, INFO), 'utf8')) as DiskInfo;
    const { size } = await stat(path.join(folder, DISK));
    return size === info.diskSize ? info : undefined;
  } catch {
    // Never made, or removed in part by whoever tidied the cache.
    return undefined;
  }
}
