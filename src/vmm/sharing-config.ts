/** What a machine shares with its host: plain data, as the rest of its description. */
import { UsageError } from '../base/errors.js';
import type { SharedFolder } from '../iface/shared-folder.js';
import { SHARE_DRIVERS, type PcSharing, type ShareDriver } from '../machine/pc/sharing.js';
import { array, bool, oneOf, str, struct, type Plain } from '../snapshot/schema.js';

export interface ShareConfig {
  /** A folder of the host. */
  readonly path: string;
  /** What the guest mounts it by: 1 … 36 bytes of UTF-8. */
  readonly tag: string;
  readonly readOnly: boolean;
  readonly driver: ShareDriver;
}

export interface SharingConfig {
  readonly shares: readonly ShareConfig[];
}

export const sharingSchema = struct({
  shares: array(struct({ path: str, tag: str, readOnly: bool, driver: oneOf(...SHARE_DRIVERS) }), { max: 24 }),
});

export const saveSharing = (sharing: SharingConfig | undefined): Plain =>
  sharing ? { shares: sharing.shares.map((share) => ({ ...share })) } : null;

/** What a host gives a machine to share. */
export interface SharingHost {
  /** Throws a one-line error when there is no such folder. */
  openFolder(share: ShareConfig): SharedFolder;
}

/** Opens all of it once, for all the machine's boards. Throws a one-line error when something cannot be had. */
export function openSharing(config: SharingConfig | undefined, host: SharingHost | undefined): PcSharing {
  const { shares = [] } = config ?? {};
  if (shares.length > 0 && !host) throw new UsageError('folders of the host cannot be shared here');
  return {
    shares: shares.flatMap((share) =>
      host ? [{ tag: share.tag, driver: share.driver, folder: host.openFolder(share) }] : [],
    ),
  };
}
