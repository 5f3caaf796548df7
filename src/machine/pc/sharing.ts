/** What a guest shares with its host on a PC: folders. */
import { Virtio9p } from '../../devices/virtio/p9/virtio-9p.js';
import { VirtioFs } from '../../devices/virtio/fs/virtio-fs.js';
import type { SharedFolder } from '../../iface/shared-folder.js';
import type { CardSlots } from './card-slots.js';

/** What carries a shared folder: a virtio file system device, or 9P over virtio. */
export const SHARE_DRIVERS = ['virtiofs', '9p'] as const;
export type ShareDriver = (typeof SHARE_DRIVERS)[number];

export interface PcShare {
  /** What the guest mounts it by. */
  readonly tag: string;
  readonly driver: ShareDriver;
  readonly folder: SharedFolder;
}

export interface PcSharing {
  readonly shares: readonly PcShare[];
}

/** Attaches a card for each, in the order given. */
export function attachSharing({ shares }: PcSharing, cards: CardSlots): void {
  for (const [i, { tag, folder, driver }] of shares.entries())
    cards.attachVirtio(
      driver === 'virtiofs'
        ? new VirtioFs({ id: `virtio-fs${i}`, tag, folder })
        : new Virtio9p({ id: `virtio-9p${i}`, tag, folder }),
    );
}
