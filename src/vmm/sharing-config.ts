/** What a machine shares with its host: plain data, as the rest of its description. */
import { UsageError } from '../base/errors.js';
import type { SharedFolder } from '../iface/shared-folder.js';
import type { BoardSharing } from '../machine/common/sharing.js';
import { MAX_PORTS, SHARE_DRIVERS, type ShareDriver } from '../machine/common/sharing-kinds.js';
import type { Streams } from '../iface/streams.js';
import { array, bool, nullable, oneOf, range, str, struct, type Infer, type Plain } from '../snapshot/schema.js';

/** A folder that a machine shares with its host. */
export interface ShareConfig {
  /** A folder of the host. */
  readonly path: string;
  /** What the guest mounts it by: 1 … 36 bytes of UTF-8. */
  readonly tag: string;
  readonly readOnly: boolean;
  readonly driver: ShareDriver;
}

/** Sockets between guest and host (vsock). */
export interface VsockConfig {
  /** A Unix socket: `CONNECT port` there reaches the guest; the guest's connections go to `path_port`. */
  readonly path: string;
  /** The guest's context identifier, 3 … 2**32 - 2. */
  readonly cid: number;
}

/** A port of the virtio console, besides the console itself. */
export interface PortConfig {
  /** The guest has it as /dev/virtio-ports/NAME. */
  readonly name: string;
  /** A Unix socket that leads to it; null: the machine's owner alone. */
  readonly path: string | null;
}

/** What a machine shares with its host (docs/sharing.md). */
export interface SharingConfig {
  readonly shares?: readonly ShareConfig[];
  readonly vsock?: VsockConfig;
  readonly ports?: readonly PortConfig[];
  /** A memory balloon. */
  readonly balloon?: boolean;
}

export const sharingSchema = nullable(
  struct({
    shares: array(struct({ path: str, tag: str, readOnly: bool, driver: oneOf(...SHARE_DRIVERS) }), { max: 24 }),
    vsock: nullable(struct({ path: str, cid: range(3, 2 ** 32 - 2) })),
    ports: array(struct({ name: str, path: nullable(str) }), { max: MAX_PORTS }),
    balloon: bool,
  }),
);

export const saveSharing = (sharing: SharingConfig | undefined): Plain =>
  sharing
    ? {
        shares: (sharing.shares ?? []).map((share) => ({ ...share })),
        vsock: sharing.vsock ? { ...sharing.vsock } : null,
        ports: (sharing.ports ?? []).map((port) => ({ ...port })),
        balloon: sharing.balloon ?? false,
      }
    : null;

export function restoreSharing(saved: Infer<typeof sharingSchema>): SharingConfig | undefined {
  if (!saved) return undefined;
  const { vsock, ...rest } = saved;
  return { ...rest, ...(vsock && { vsock }) };
}

/** What a host gives a machine to share. */
export interface SharingHost {
  /** Throws a one-line error when there is no such folder. */
  openFolder(share: ShareConfig): SharedFolder;
  /** To sockets of the host. */
  readonly streams: Streams;
  /** Lets the host have memory of the machine, which is zeros then. False: it cannot. */
  giveBack(bytes: Uint8Array): boolean;
}

const NOTHING: BoardSharing = { shares: [] };

/** Opens all of it once, for all the machine's boards. Throws a one-line error when something cannot be had. */
export function openSharing(config: SharingConfig | undefined, host: SharingHost | undefined): BoardSharing {
  if (!config) return NOTHING;
  if (!host) throw new UsageError('nothing of the host can be shared here');
  const { shares = [], vsock, ports = [], balloon = false } = config;
  return {
    shares: shares.map((share) => ({ tag: share.tag, driver: share.driver, folder: host.openFolder(share) })),
    ...(balloon && { balloon: { giveBack: (bytes) => host.giveBack(bytes) } }),
    ...(vsock && { vsock: { cid: vsock.cid, streams: host.streams } }),
    ...(ports.length > 0 && { ports: { names: ports.map(({ name }) => name), streams: host.streams } }),
  };
}
