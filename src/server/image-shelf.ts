/** A tenant's container images. */
import { ApiError } from '../api/errors.js';
import type { ImageInfo } from '../api/schemas.js';
import { familiarName, hasTransport } from '../oci/index.js';
import { canonicalName, parseReference } from '../oci/reference.js';
import { ImageStore, type ImageRecord, type PullOptions, type StoredImage } from '../sdk/index.js';
import { Gate } from './gate.js';
import type { Quota, Share } from './quota.js';

const MIB = 2 ** 20;
/** Files and folders of a tenant's image: their names are in memory while its disk is made. */
const MOST_FILES = 1_000_000;
/** Registries that tenants pull from where nothing else is said. */
export const REGISTRIES: readonly string[] = ['docker.io'];

export interface PullHooks {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((text: string) => void) | undefined;
}

/** A machine, saved or not, and what it was made of. */
export interface ImageUser {
  readonly kind: 'machine' | 'snapshot';
  readonly name: string;
  /** As it was asked for. */
  readonly image?: string | undefined;
  /** Absent where it is not known yet, or was not kept at the time. */
  readonly digest?: string | undefined;
}

const needs = ({ image, digest }: ImageUser, record: ImageRecord): boolean => {
  if (digest !== undefined) return digest === record.digest;
  const name = image === undefined ? undefined : nameOf(image);
  return name !== undefined && (name === record.name || name === record.formerly);
};

function infoOf(record: ImageRecord, users: readonly ImageUser[]): ImageInfo {
  const { name, digest, platform, size, pulled, formerly } = record;
  const neededBy = users.filter((user) => needs(user, record)).map(({ kind, name }) => ({ kind, name }));
  return {
    name: familiarName(name),
    digest,
    platform,
    size,
    pulled: new Date(pulled).toISOString(),
    ...(formerly !== undefined && { untagged: true }),
    ...(neededBy.length > 0 && { neededBy }),
  };
}

/** As the store knows it. A disk of the user's own is none of its images. */
function nameOf(image: string): string | undefined {
  try {
    return canonicalName(parseReference(image));
  } catch {
    return undefined;
  }
}

export class ImageShelf {
  private readonly store: ImageStore;
  /** Of each image that is here, by its name. */
  private readonly kept = new Map<string, { readonly record: ImageRecord; readonly share: Share }>();
  /** One pull at a time: how much room there is must be known. */
  private readonly turns = new Gate(1);

  /**
   * `cache`: where they are; undefined: with those that the user has anyway. `registries`: whose images may be had; undefined: of any
   * registry, and files of the host. `users`: machines and snapshots that may need an image.
   */
  constructor(
    private readonly cache: string | undefined,
    private readonly quota: Quota,
    private readonly registries: () => readonly string[] | undefined,
    private readonly users: () => readonly ImageUser[],
  ) {
    this.store = this.storeOf(undefined);
  }

  private storeOf(unpacked: number | undefined): ImageStore {
    return new ImageStore({
      ...(this.cache !== undefined && { cache: this.cache }),
      ...(this.cache !== undefined && {
        limits: { entries: MOST_FILES, ...(unpacked !== undefined && { unpacked }) },
      }),
    });
  }

  /** Removes what nobody needs, and counts what is there. */
  async open(): Promise<void> {
    if (this.cache === undefined) return;
    await this.prune();
    await this.count();
  }

  private async prune(): Promise<void> {
    await this.store.prune((record) => !this.users().some((user) => needs(user, record)));
  }

  private async count(): Promise<void> {
    const records = await this.store.list();
    for (const [name, { share }] of this.kept) {
      if (records.some((record) => record.name === name)) continue;
      share.release();
      this.kept.delete(name);
    }
    for (const record of records) {
      const disk = Math.ceil((await this.store.spaceOf(record)) / MIB);
      this.kept.get(record.name)?.share.release();
      this.kept.set(record.name, { record, share: this.quota.hold({ disk }) });
    }
  }

  private hooks({ signal, onProgress }: PullHooks): PullOptions {
    return {
      // The logins of whoever runs the server are not its tenants'.
      anonymous: this.cache !== undefined,
      ...(signal && { signal }),
      ...(onProgress && {
        onProgress: ({ phase, done, total }) =>
          onProgress(total > 0 ? `${phase} ${Math.floor((100 * done) / total)} %` : phase),
      }),
    };
  }

  async list(): Promise<ImageInfo[]> {
    const users = this.users();
    return (await this.store.list()).map((record) => infoOf(record, users));
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
    return (await this.store.find(name, this.hooks(hooks))) ?? (await this.pull(name, hooks)).image;
  }

  /** Pulls an image, also where it is here. */
  async pull(name: string, hooks: PullHooks): Promise<{ readonly image: StoredImage; readonly info: ImageInfo }> {
    this.check(name);
    return this.inTurn(hooks.signal, async () => {
      try {
        return await this.pullNow(name, hooks);
      } finally {
        await this.tidy();
      }
    });
  }

  /** What a pull that failed has left, and untagged images that nobody needs, take no room and are counted nowhere. */
  private async tidy(): Promise<void> {
    if (this.cache === undefined) return;
    await this.prune().catch(() => {
      // The next pull, or the next start, may do better.
    });
    await this.count();
  }

  /** A machine or a snapshot is gone: what nobody needs now goes, too, when no pull is under way. */
  async unused(): Promise<void> {
    if ([...this.kept.values()].every(({ record }) => record.formerly === undefined)) return;
    await this.inTurn(undefined, () => this.tidy());
  }

  private async inTurn<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    const done = await this.turns.enter(this, signal);
    try {
      return await work();
    } finally {
      done();
    }
  }

  private async pullNow(
    name: string,
    hooks: PullHooks,
  ): Promise<{ readonly image: StoredImage; readonly info: ImageInfo }> {
    const { limits, used } = this.quota;
    const room = this.cache === undefined || limits.disk === undefined ? undefined : (limits.disk - used.disk) * MIB;
    if (room !== undefined && room <= 0)
      throw new ApiError('limit', `there is no room for images: you may have ${limits.disk ?? 0} MiB of disk`);
    // Packed and as a disk.
    const image = await this.storeOf(room === undefined ? undefined : Math.floor(room / 2)).pull(
      name,
      this.hooks(hooks),
    );
    const record = await this.store.lookUp(name);
    if (!record) throw new ApiError('failed', `the image ${name} is not there after it was pulled`);
    return { image, info: infoOf(record, this.users()) };
  }

  /** What a machine or a snapshot needs is not removed; with `force` it loses its name. Throws a one-line error. */
  async remove(name: string, force: boolean): Promise<void> {
    const record = await this.store.lookUp(name);
    if (!record) throw new ApiError('not-found', `there is no image ${name} here`);
    await this.inTurn(undefined, async () => {
      const neededBy = (one: ImageRecord): string | undefined => {
        const user = this.users().find((each) => needs(each, one));
        return user && `the ${user.kind} ${user.name}`;
      };
      await this.store.remove(record.name, { force, neededBy });
      if (this.cache !== undefined) await this.count();
    });
  }
}
