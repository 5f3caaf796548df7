/** A tenant's container images. */
import { ApiError } from '../api/errors.js';
import type { ImageInfo } from '../api/schemas.js';
import { familiarName, hasTransport } from '../oci/index.js';
import { parseReference } from '../oci/reference.js';
import { ImageStore, type ImageRecord, type StoredImage } from '../sdk/index.js';
import type { Quota, Share } from './quota.js';

const MIB = 2 ** 20;
/** Registries that tenants pull from where nothing else is said. */
export const REGISTRIES: readonly string[] = ['docker.io'];

export interface PullHooks {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((text: string) => void) | undefined;
}

const infoOf = ({ name, digest, platform, size, pulled }: ImageRecord): ImageInfo => ({
  name: familiarName(name),
  digest,
  platform,
  size,
  pulled: new Date(pulled).toISOString(),
});

export class ImageShelf {
  private readonly store: ImageStore;
  private readonly shares = new Map<string, Share>();
  /** One pull at a time: how much room there is must be known. */
  private turn: Promise<unknown> = Promise.resolve();

  /**
   * `cache`: where they are; undefined: with those that the user has anyway. `registries`: whose images may be had; undefined: of any
   * registry, and files of the host.
   */
  constructor(
    private readonly cache: string | undefined,
    private readonly quota: Quota,
    private readonly registries: () => readonly string[] | undefined,
  ) {
    this.store = this.storeOf(undefined);
  }

  private storeOf(unpacked: number | undefined): ImageStore {
    return new ImageStore({
      ...(this.cache !== undefined && { cache: this.cache }),
      ...(unpacked !== undefined && { limits: { unpacked } }),
    });
  }

  /** Counts what is there. */
  async open(): Promise<void> {
    if (this.cache === undefined) return;
    await this.store.prune();
    for (const record of await this.store.list()) this.count(record);
  }

  private count({ name, size }: Pick<ImageRecord, 'name' | 'size'>, disk = size): void {
    if (this.cache === undefined) return;
    this.shares.get(name)?.release();
    // What was pulled, and the disk that was made of it.
    this.shares.set(name, this.quota.hold({ disk: Math.ceil((size + disk) / MIB) }));
  }

  async list(): Promise<ImageInfo[]> {
    return (await this.store.list()).map(infoOf);
  }

  /** Throws an ApiError for a name that the tenant may not use. */
  check(name: string): void {
    const allowed = this.registries();
    if (allowed === undefined) return;
    if (hasTransport(name) && !name.startsWith('docker://'))
      throw new ApiError('forbidden', `${name} is no image of a registry`);
    const reference = parseReference(name);
    if (reference.kind !== 'registry') throw new ApiError('forbidden', `${name} is no image of a registry`);
    if (!allowed.includes('*') && !allowed.includes(reference.registry))
      throw new ApiError(
        'forbidden',
        `images of ${reference.registry} are not allowed here: ${allowed.join(', ')} are`,
      );
  }

  /** The image, pulled unless it is here. Throws one-line errors. */
  async ensure(name: string, hooks: PullHooks): Promise<StoredImage> {
    this.check(name);
    return (await this.store.find(name, hooksOf(hooks))) ?? (await this.pull(name, hooks)).image;
  }

  /** Pulls an image, also where it is here. */
  async pull(name: string, hooks: PullHooks): Promise<{ readonly image: StoredImage; readonly info: ImageInfo }> {
    this.check(name);
    const before = this.turn;
    const work = before.catch(() => {}).then(() => this.pullNow(name, hooks));
    this.turn = work;
    return work;
  }

  private async pullNow(
    name: string,
    hooks: PullHooks,
  ): Promise<{ readonly image: StoredImage; readonly info: ImageInfo }> {
    hooks.signal?.throwIfAborted();
    const { limits, used } = this.quota;
    const room = this.cache === undefined || limits.disk === undefined ? undefined : (limits.disk - used.disk) * MIB;
    if (room !== undefined && room <= 0)
      throw new ApiError('limit', `there is no room for images: you may have ${limits.disk ?? 0} MiB of disk`);
    // Packed and as a disk.
    const image = await this.storeOf(room === undefined ? undefined : Math.floor(room / 2)).pull(name, hooksOf(hooks));
    const record = await this.store.lookUp(name);
    if (!record) throw new ApiError('failed', `the image ${name} is not there after it was pulled`);
    this.count(record);
    return { image, info: infoOf(record) };
  }

  /** Throws a one-line error. */
  async remove(name: string): Promise<void> {
    const record = await this.store.lookUp(name);
    if (!record) throw new ApiError('not-found', `there is no image ${name} here`);
    await this.store.remove(record.name);
    this.shares.get(record.name)?.release();
    this.shares.delete(record.name);
  }
}

function hooksOf({ signal, onProgress }: PullHooks): Parameters<ImageStore['pull']>[1] {
  return {
    ...(signal && { signal }),
    ...(onProgress && {
      onProgress: ({ phase, done, total }) =>
        onProgress(total > 0 ? `${phase} ${Math.floor((100 * done) / total)} %` : phase),
    }),
  };
}
