/** What a disk can hang on: a virtio device, the ICH9's AHCI, a PIIX3 IDE function, the floppy controller. */
export const DISK_ATTACHMENTS = ['virtio', 'sata', 'ide', 'floppy'] as const;
export type DiskAttachment = (typeof DISK_ATTACHMENTS)[number];

/** What the guest sees: a disk, or a drive with a CD in it. */
export const DISK_MEDIA = ['disk', 'cdrom'] as const;
export type DiskMedia = (typeof DISK_MEDIA)[number];
