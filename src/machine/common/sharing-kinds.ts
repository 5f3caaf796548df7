/** What there is to share by (sharing.ts), by name and number. */
export { MAX_PORTS } from '../../devices/virtio/console.js';

/** What carries a shared folder: a virtio file system device, or 9P over virtio. */
export const SHARE_DRIVERS = ['virtiofs', '9p'] as const;
/** What carries a shared folder. */
export type ShareDriver = (typeof SHARE_DRIVERS)[number];
