/** Disks of the PC: what each is, and where it is attached. */
import { UsageError } from '../../base/errors.js';
import { VirtioBlock } from '../../devices/virtio/block.js';
import type { BlockBackend } from '../../iface/block.js';
import type { CardSlots } from './card-slots.js';

/** What a disk can hang on: a virtio card, the ICH9's AHCI, a PIIX3 IDE function, the floppy controller. */
export const DISK_ATTACHMENTS = ['virtio', 'sata', 'ide', 'floppy'] as const;
export type DiskAttachment = (typeof DISK_ATTACHMENTS)[number];

/** What the guest sees: a disk, or a drive with a CD in it. */
export const DISK_MEDIA = ['disk', 'cdrom'] as const;
export type DiskMedia = (typeof DISK_MEDIA)[number];

export interface PcDisk {
  readonly backend: BlockBackend;
  readonly attach: DiskAttachment;
  readonly media: DiskMedia;
}

/** Throws a one-line error when there is no place for a disk. */
export function attachDisks(disks: readonly PcDisk[], cards: CardSlots): void {
  for (const [i, { backend, attach }] of disks.entries()) {
    if (attach !== 'virtio') throw new UsageError(`disks on ${attach} are not available yet; there is if=virtio`);
    cards.attachVirtio(new VirtioBlock({ id: `virtio-blk${i}`, backend }));
  }
}
