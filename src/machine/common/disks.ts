/** What a disk can hang on: a virtio device, the ICH9's AHCI, a PIIX3 IDE function, the floppy controller. */
import { assert } from '../../base/assert.js';
import type { BlockBackend } from '../../iface/block.js';
export const DISK_ATTACHMENTS = ['virtio', 'sata', 'ide', 'floppy'] as const;
/** What a disk hangs on. */
export type DiskAttachment = (typeof DISK_ATTACHMENTS)[number];

/** What the guest sees: a disk, or a drive with a CD in it. */
export const DISK_MEDIA = ['disk', 'cdrom'] as const;
/** A disk, or a drive with a CD in it. */
export type DiskMedia = (typeof DISK_MEDIA)[number];

/** A drive whose medium can be changed while the machine runs. */
export interface MediaDrive {
  /** Undefined: it has none. */
  readonly tray: { readonly open: boolean; readonly locked: boolean } | undefined;
  /** Asks the guest to eject, which has locked the drive. */
  requestEject(): void;
  moveTray(open: boolean): void;
  /** Throws a one-line error when the drive does not take such a medium; the old one is in it then. */
  change(medium: BlockBackend | undefined): void;
}

/** What cannot be taken out of its drive is always there. */
export function fixedDisk(backend: BlockBackend | undefined): BlockBackend {
  assert(backend !== undefined, 'only drives for CDs and floppies can be empty');
  return backend;
}
