/**
 * The images that this machine has, under `oci` in the cache: blobs as they came, a disk for each manifest, and the names that lead
 * to them. Processes may use it at the same time; what is there is whole.
 */
import { mkdir, stat } from 'node:fs/promises';
import * as path from 'node:path';
import { cacheRoot, publish, withTemporaryFolder } from '../host/node/cache.js';
import { withFileLock } from '../host/node/file-lock.js';
import { ArchiveTree } from './archive-index.js';
import { BlobStore, isSystemError, storageError } from './blob-store.js';
import { DEFAULT_LIMITS, type DiskLimits } from './build-disk.js';
import { allocated, collectGarbage } from './collect-garbage.js';
import { describeImage, type ImageSettings } from './describe-image.js';
import { OciError } from './errors.js';
import { writeArchive, writeFolder } from './folder-layer.js';
import { ImageDisks, type ImageDisk } from './image-disks.js';
import { ImageRecords, newRecord, type ImageRecord } from './image-records.js';
import { DEFAULT_PLATFORM, platformName, type Descriptor, type Digest, type Platform } from './image.js';
import {
  canonicalName,
  familiarName,
  hasTransport,
  parseReference,
  type FileReference,
  type ImageReference,
} from './reference.js';
import { resolveManifest } from './resolve-manifest.js';
import { DockerArchiveSource, folderSource, LayoutSource, RegistrySource, type ImageSource } from './source.js';
import { unpackLayer } from './unpack-layer.js';

/** One step of a pull. */
export interface PullProgress {
  /** `resolve`: asking for the manifest. `fetch`: layers on their way. `build`: the disk is being made. */
  readonly phase: 'resolve' | 'fetch' | 'build';
  /** Bytes that are there, and all; both 0 while that is not known. In `build`: of what is read, in bytes of the layers. */
  readonly done: number;
  readonly total: number;
}

/** How an image is fetched. */
export interface PullOptions {
  /** Told of each step, and of bytes as they come. */
  readonly onProgress?: ((progress: PullProgress) => void) | undefined;
  /** Ends the pull, which throws what the signal was aborted with; what has come is kept for the next one. */
  readonly signal?: AbortSignal | undefined;
  /** Default linux/amd64. */
  readonly platform?: Platform | undefined;
  /** Certificates are not checked, and HTTP without TLS will do. */
  readonly insecure?: boolean | undefined;
  /** The logins that Docker knows are not used: whoever asks is not the user whose they are. */
  readonly anonymous?: boolean | undefined;
}

/** An image that is built of a folder. */
export interface BuildOptions extends Omit<PullOptions, 'insecure' | 'anonymous'> {
  /** What it is called: NAME or NAME:TAG. */
  readonly name: string;
  readonly settings?: ImageSettings;
}

/** An image that is ready to be run. */
export interface StoredImage extends ImageDisk {
  /** As people write it: `alpine:latest`. */
  readonly name: string;
  /** Of the manifest: the same for the same image. */
  readonly digest: Digest;
}

/** Layers on their way at the same time. */
const AT_ONCE = 3;

/** Where the images are. */
export interface StoreOptions {
  /** Vitrine's cache folder. */
  readonly cache?: string;
  readonly limits?: Partial<DiskLimits>;
}

/** How an image is removed. */
export interface RemoveOptions {
  /** Also what is needed. */
  readonly force?: boolean;
  /** Who needs it, besides whoever has its disk open; undefined: nobody. */
  readonly neededBy?: (record: ImageRecord) => string | undefined;
}

/** The container images of a cache folder: pulled, built, listed, removed, and made into disks (docs/images.md). */
export class ImageStore {
  private readonly cache: string;
  private readonly root: string;
  private readonly blobs: BlobStore;
  private readonly records: ImageRecords;
  private readonly disks: ImageDisks;
  private readonly limits: DiskLimits;

  constructor({ cache = cacheRoot(), limits }: StoreOptions = {}) {
    this.cache = cache;
    this.root = path.join(cache, 'oci');
    this.blobs = new BlobStore(this.root);
    this.records = new ImageRecords(cache, path.join(this.root, 'names'));
    this.limits = { ...DEFAULT_LIMITS, ...limits };
    this.disks = new ImageDisks(cache, this.root, this.blobs, this.limits);
  }

  /**
   * Fetches an image by any of its names (see parseReference) unless all of it is there already, and makes its disk. Throws a one-line
   * error (OciError), or what the signal was aborted with; nothing is left half-made.
   */
  async pull(name: string, options: PullOptions = {}): Promise<StoredImage> {
    const reference = parseReference(name);
    options.signal?.throwIfAborted();
    return this.guarded(() =>
      this.locked('shared', options.signal, () =>
        withTemporaryFolder(this.cache, async (scratch) => {
          options.onProgress?.({ phase: 'resolve', done: 0, total: 0 });
          const source = await this.openSource(reference, scratch, options);
          try {
            return await this.pullFrom(source, reference, options);
          } finally {
            source.close();
          }
        }),
      ),
    );
  }

  /** An image that is there, without asking anybody; undefined when it has to be pulled. */
  async find(
    name: string,
    { signal, platform = DEFAULT_PLATFORM, onProgress }: PullOptions = {},
  ): Promise<StoredImage | undefined> {
    const reference = parseReference(name);
    // What a file holds now is known only by looking.
    if (reference.kind !== 'registry') return undefined;
    const record = await this.records.read(canonicalName(reference));
    if (record?.platform !== platformName(platform)) return undefined;
    return this.guarded(() =>
      this.locked('shared', signal, async () => {
        for (const blob of record.blobs) if (!(await this.blobs.has(blob))) return undefined;
        return this.finish(record, { signal, onProgress });
      }),
    );
  }

  /** The image that is there, else pulls it. */
  async ensure(name: string, options: PullOptions = {}): Promise<StoredImage> {
    return (await this.find(name, options)) ?? (await this.pull(name, options));
  }

  /**
   * Makes an image of a folder's files, or of an archive's (tar, packed or not), with one layer. Throws a one-line error (OciError), or
   * what the signal was aborted with.
   */
  async build(from: string, options: BuildOptions): Promise<StoredImage> {
    const { signal, onProgress, platform = DEFAULT_PLATFORM, name, settings = {} } = options;
    const reference = parseReference(name);
    if (reference.kind !== 'registry' || reference.digest !== undefined || hasTransport(name))
      throw new OciError('name', `${JSON.stringify(name)} is no name for a new image: NAME or NAME:TAG is`);
    const found = await stat(from).catch((cause: unknown) => {
      throw storageError(`read ${from}`, cause);
    });
    // To tar nothing at all is an archive; here somebody's program has failed.
    if (found.isFile() && found.size === 0) throw new OciError('damaged', `${from} is empty`);
    return this.guarded(() =>
      this.locked('shared', signal, () =>
        withTemporaryFolder(this.cache, async (scratch) => {
          const file = path.join(scratch, 'layer.tar');
          const layer = found.isDirectory()
            ? await writeFolder(from, file, signal)
            : await writeArchive(unpackLayer(from, { limit: this.limits.unpacked, signal }), file);
          await publish(file, this.blobs.pathOf(layer.digest));
          const { config, manifest } = describeImage(layer, platform, settings);
          for (const { digest, bytes } of [config, manifest]) await this.blobs.put(digest, bytes, signal);
          const parts = [manifest, config].map(({ digest, bytes }) => ({ digest, size: bytes.length }));
          const record = newRecord(reference, platform, [...parts, layer]);
          const image = await this.finish(record, { signal, onProgress });
          await this.records.assign(record);
          return image;
        }),
      ),
    );
  }

  /** All that have names, by these. */
  list(): Promise<ImageRecord[]> {
    return this.records.list();
  }

  /** The record of a name; undefined when there is none. */
  async lookUp(name: string): Promise<ImageRecord | undefined> {
    const wanted = canonicalName(parseReference(name));
    return (await this.records.read(wanted)) ?? (await this.byDigest(name));
  }

  /** An image by its record, its disk made if need be. Throws a one-line error (OciError) where parts of it are gone. */
  async open(record: ImageRecord, options: PullOptions = {}): Promise<StoredImage> {
    return this.guarded(() => this.locked('shared', options.signal, () => this.finish(record, options)));
  }

  /** Bytes of the host's disk that an image takes: what was pulled, and the disk that was made of it. */
  async spaceOf({ digest, size }: Pick<ImageRecord, 'digest' | 'size'>): Promise<number> {
    return size + (await allocated(this.disks.folderOf(digest)));
  }

  private async byDigest(text: string): Promise<ImageRecord | undefined> {
    if (!/^(sha256:)?[0-9a-f]{12,64}$/.test(text)) return undefined;
    const hex = text.replace(/^sha256:/, '');
    const all = (await this.list()).filter(({ digest }) => digest.startsWith(`sha256:${hex}`));
    return all.length === 1 ? all[0] : undefined;
  }

  /**
   * Removes a name, and whatever no other name leads to. The only name of an image that something needs is not removed; with `force` it is, and the image stays,
   * untagged. Returns the bytes that this freed. Throws a one-line error (OciError).
   */
  async remove(name: string, { force = false, neededBy }: RemoveOptions = {}): Promise<number> {
    const record = await this.lookUp(name);
    if (record === undefined) throw new OciError('not-found', `there is no image ${name} here`);
    return this.alone(async () => {
      const { digest } = record;
      const isLast = (await this.list()).every((one) => one.digest !== digest || one.name === record.name);
      const user = isLast ? (neededBy?.(record) ?? (await this.runningFrom(digest))) : undefined;
      if (user === undefined) await this.records.remove(record.name);
      else if (force) await this.records.untag(record.name);
      else throw new OciError('in-use', `${user} needs the image ${name}`);
    });
  }

  private async runningFrom(digest: Digest): Promise<string | undefined> {
    return (await this.disks.isUsed(digest)) ? 'a machine that runs' : undefined;
  }

  /**
   * Removes what no name leads to: what pulls have left that were given up or failed, and of untagged images those that `drop` says are
   * needed no more, none unless given, and that no machine runs from. Returns the bytes that this freed.
   */
  prune(drop: (untagged: ImageRecord) => boolean = () => false): Promise<number> {
    return this.alone(async () => {
      for (const record of await this.list())
        if (record.formerly !== undefined && drop(record) && !(await this.disks.isUsed(record.digest)))
          await this.records.remove(record.name);
    });
  }

  /** Does something while nobody else uses the store, and removes what no name leads to then. */
  private alone(work: () => Promise<void>): Promise<number> {
    return this.guarded(() =>
      this.locked('exclusive', undefined, async () => {
        await work();
        return collectGarbage(this.root, {
          records: await this.list(),
          diskOf: (digest) => this.disks.folderOf(digest),
        });
      }),
    );
  }

  private async openSource(
    reference: ImageReference,
    scratch: string,
    { signal, insecure, anonymous }: PullOptions,
  ): Promise<ImageSource> {
    if (reference.kind === 'registry') return new RegistrySource(reference, { insecure, signal, anonymous });
    await mustExist(reference);
    if (reference.kind === 'layout') return folderSource(reference);
    const tree = await ArchiveTree.open(reference.path, scratch, this.limits.unpacked, signal);
    return reference.kind === 'docker-archive'
      ? new DockerArchiveSource(tree, reference, signal)
      : new LayoutSource(tree, reference);
  }

  private async pullFrom(source: ImageSource, reference: ImageReference, options: PullOptions): Promise<StoredImage> {
    const { signal, platform = DEFAULT_PLATFORM } = options;
    const { fetched, manifest } = await resolveManifest(source, platform);
    const { digest } = fetched;
    const parts: Pick<Descriptor, 'digest' | 'size'>[] = [manifest.config, ...manifest.layers];
    await this.blobs.put(digest, fetched.bytes, signal);
    await this.fetchAll(source, parts, options);
    const { config } = await this.disks.readConfig(manifest);
    // What an index says of its manifests is not what the image must be.
    if (config.platform.os !== platform.os || config.platform.architecture !== platform.architecture)
      throw new OciError(
        'not-found',
        `the image is for ${platformName(config.platform)}, not for ${platformName(platform)}`,
      );
    const record = newRecord(reference, platform, [{ digest, size: fetched.bytes.length }, ...parts]);
    const image = await this.finish(record, options);
    await this.records.assign(record);
    return image;
  }

  private async fetchAll(
    source: ImageSource,
    parts: readonly Pick<Descriptor, 'digest' | 'size'>[],
    { signal, onProgress }: PullOptions,
  ): Promise<void> {
    // An image may have the same layer twice.
    const left = [...new Map(parts.map((part) => [part.digest, part])).values()];
    const total = left.reduce((sum, { size }) => sum + size, 0);
    if (total > this.limits.unpacked)
      throw new OciError('too-large', `the image has ${total} bytes; ${this.limits.unpacked} are allowed`);
    const there = new Map<Digest, number>();
    const failed = new AbortController();
    const all = signal ? AbortSignal.any([signal, failed.signal]) : failed.signal;
    const work = async (): Promise<void> => {
      for (let part = left.shift(); part !== undefined && !all.aborted; part = left.shift()) {
        const { digest } = part;
        await this.blobs.fetch(part, source.blob(digest), {
          signal: all,
          progress: (bytes) => {
            there.set(digest, bytes);
            onProgress?.({ phase: 'fetch', done: [...there.values()].reduce((sum, one) => sum + one, 0), total });
          },
        });
      }
    };
    const results = await Promise.allSettled(
      Array.from({ length: AT_ONCE }, () =>
        work().catch((error: unknown) => {
          // The others are of no use then.
          failed.abort(error);
          throw error;
        }),
      ),
    );
    signal?.throwIfAborted();
    if (results.some(({ status }) => status === 'rejected')) throw failed.signal.reason;
  }

  /** What an image is, its disk made if need be; its blobs are there. */
  private async finish(record: ImageRecord, { signal, onProgress }: PullOptions): Promise<StoredImage> {
    const disk = await this.disks.ensure(record, {
      signal,
      progress: (done, total) => onProgress?.({ phase: 'build', done, total }),
    });
    return { name: familiarName(record.name), digest: record.digest, ...disk };
  }

  /** Whoever adds holds it together with others, whoever removes alone. */
  private async locked<T>(
    mode: 'shared' | 'exclusive',
    signal: AbortSignal | undefined,
    work: () => Promise<T>,
  ): Promise<T> {
    await mkdir(this.root, { recursive: true });
    return withFileLock(path.join(this.root, 'lock'), mode, signal, work);
  }

  /** What the host refuses is one line, too. */
  private async guarded<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw isSystemError(error) ? storageError(`use the cache ${this.root}`, error) : error;
    }
  }
}

async function mustExist({ path: place }: FileReference): Promise<void> {
  await stat(place).catch((cause: unknown) => {
    throw storageError(`read ${place}`, cause);
  });
}
