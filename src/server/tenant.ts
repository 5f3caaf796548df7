/** Whoever uses a server: its machines, snapshots and images, and how much it may have. */
import { ApiError } from '../api/errors.js';
import type { EventMessage } from '../api/schemas.js';
import { Gate } from './gate.js';
import { HeldBytes } from './held-bytes.js';
import type { HostedMachine } from './hosted-machine.js';
import type { ImageShelf, ImageUser } from './image-shelf.js';
import type { Quota } from './quota.js';
import type { SnapshotShelf } from './snapshot-shelf.js';
import type { TenantSettings } from './tenant-config.js';

/** The tenant of a user's own supervisor. */
export const LOCAL = 'local';
/** Machines that have ended and are still listed, per tenant. */
const ENDED_KEPT = 100;
/** Bytes of a tenant's requests and answers in memory at a time. */
const MOST_HELD = 256 * 2 ** 20;
/** Lists of guests' folders that are read at a time, each of which may be long. */
const LISTS = 4;
/** Requests and WebSockets of a tenant at a time. */
export const MOST_CALLS = 1024;

export type TenantPolicy = Omit<TenantSettings, 'tokens' | 'limits'>;

export interface TenantParts {
  readonly name: string;
  /** The user who runs the server: may name files of its host. */
  readonly local: boolean;
  readonly settings: TenantSettings;
  readonly snapshots: SnapshotShelf;
  readonly images: ImageShelf;
  readonly quota: Quota;
}

export class Tenant {
  readonly name: string;
  readonly local: boolean;
  readonly quota: Quota;
  readonly snapshots: SnapshotShelf;
  readonly images: ImageShelf;
  readonly machines = new Map<string, HostedMachine>();
  policy: TenantPolicy;
  /** Requests that are being answered, WebSockets included. */
  calls = 0;
  readonly held = new HeldBytes(MOST_HELD);
  readonly lists = new Gate(LISTS);
  private readonly listeners = new Set<(event: EventMessage) => void>();

  constructor({ name, local, settings, snapshots, images, quota }: TenantParts) {
    this.name = name;
    this.local = local;
    this.policy = settings;
    this.quota = quota;
    this.snapshots = snapshots;
    this.images = images;
  }

  /** The configuration has changed. What runs goes on. */
  configure(settings: TenantSettings): void {
    this.policy = settings;
    this.quota.limits = settings.limits ?? {};
    this.balance();
  }

  /** Throws an ApiError. */
  machine(name: string): HostedMachine {
    const machine = this.machines.get(name);
    if (!machine) throw new ApiError('not-found', `there is no machine ${name}`);
    return machine;
  }

  tell(event: EventMessage): void {
    for (const listener of this.listeners) listener(event);
  }

  /** Ends when the function that it gives is called. */
  listen(listener: (event: EventMessage) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Machines that take processor time. */
  get active(): HostedMachine[] {
    return [...this.machines.values()].filter(({ state }) => state !== 'ended');
  }

  /** Machines that run or are saved. */
  get imageUsers(): ImageUser[] {
    const running = this.active.map(({ name, description: { image }, digest }): ImageUser => ({
      kind: 'machine',
      name,
      image,
      digest,
    }));
    return [...running, ...this.snapshots.list().map((saved): ImageUser => ({ kind: 'snapshot', ...saved }))];
  }

  forget(machine: HostedMachine): void {
    if (this.machines.get(machine.name) !== machine) return;
    this.machines.delete(machine.name);
    this.tell({ type: 'machine-removed', name: machine.name });
  }

  /** Those that ended first are forgotten when there are too many. */
  trim(): void {
    const ended = [...this.machines.values()].filter(({ state }) => state === 'ended');
    for (const machine of ended.slice(0, Math.max(0, ended.length - ENDED_KEPT))) this.forget(machine);
  }

  /** Deals the tenant's processor time out to its machines, by the shares that they asked for. */
  balance(): void {
    const { active } = this;
    const { cpuShares, cpuCap } = this.quota.limits;
    const sum = active.reduce((all, { description }) => all + description.shares, 0);
    for (const machine of active) {
      const { shares, cap } = machine.description;
      const part = shares / Math.max(1, sum);
      const most = cpuCap === undefined ? undefined : Math.max(1, Math.min(1600, cpuCap * part));
      machine.limit(
        cpuShares === undefined ? shares : Math.min(262_144, Math.max(2, Math.round(cpuShares * part))),
        most === undefined ? cap : Math.min(most, cap ?? most),
      );
    }
  }
}
