/** What a tenant may have, and what it has. */
import { ApiError } from '../api/errors.js';
import type { Limits } from '../api/schemas.js';

/** What a machine, a snapshot or an image takes. */
export interface Load {
  readonly machines: number;
  readonly cpus: number;
  /** MiB. */
  readonly memory: number;
  /** MiB. */
  readonly disk: number;
}

export const NOTHING: Load = { machines: 0, cpus: 0, memory: 0, disk: 0 };

const NAMES = {
  machines: (limit: number) => `${limit} machines`,
  cpus: (limit: number) => `${limit} virtual CPUs`,
  memory: (limit: number) => `${limit} MiB of memory`,
  disk: (limit: number) => `${limit} MiB of disk`,
} as const;

/** A part of what a tenant may have, until it is given back. */
export interface Share {
  readonly load: Load;
  /** It turns out to be less, or more that is there already. */
  change(load: Partial<Load>): void;
  release(): void;
}

export class Quota {
  private readonly shares = new Set<Share>();

  constructor(public limits: Limits) {}

  get used(): Load {
    const sum: { -readonly [K in keyof Load]: number } = { ...NOTHING };
    for (const { load } of this.shares) for (const key of Object.keys(NAMES) as (keyof Load)[]) sum[key] += load[key];
    return sum;
  }

  /** Throws an ApiError when that is more than the tenant may have, now or ever. */
  take(wanted: Partial<Load>): Share {
    const { used, limits } = this;
    for (const key of Object.keys(NAMES) as (keyof Load)[]) {
      const [limit, more] = [limits[key], wanted[key] ?? 0];
      if (limit === undefined || used[key] + more <= limit || more === 0) continue;
      const what = NAMES[key](limit);
      if (more > limit) throw new ApiError('forbidden', `that takes more than the ${what} that you may have`);
      throw new ApiError('limit', `there is no room for that: you may have ${what}, and have ${used[key]}`);
    }
    return this.hold(wanted);
  }

  /** What is there already counts, whatever the limits say. */
  hold(load: Partial<Load>): Share {
    let now: Load = { ...NOTHING, ...load };
    const share: Share = {
      get load() {
        return now;
      },
      change: (other) => (now = { ...now, ...other }),
      release: () => this.shares.delete(share),
    };
    this.shares.add(share);
    return share;
  }
}
