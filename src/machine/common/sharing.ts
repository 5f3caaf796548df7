/** What a guest shares with its host: folders, sockets, ports of its console. */
import type { VirtioDevice } from '../../devices/virtio/device.js';
import { Virtio9p } from '../../devices/virtio/p9/virtio-9p.js';
import { VirtioFs } from '../../devices/virtio/fs/virtio-fs.js';
import type { ConsolePorts } from '../../devices/virtio/console.js';
import { VirtioVsock } from '../../devices/virtio/vsock/virtio-vsock.js';
import type { SharedFolder } from '../../iface/shared-folder.js';
import type { Streams } from '../../iface/streams.js';
import type { ShareDriver } from './sharing-kinds.js';
import type { VirtioSlots } from './virtio-slots.js';

export interface BoardShare {
  /** What the guest mounts it by. */
  readonly tag: string;
  readonly driver: ShareDriver;
  readonly folder: SharedFolder;
}

export interface BoardSharing {
  readonly shares: readonly BoardShare[];
  readonly vsock?: { readonly cid: number; readonly streams: Streams };
  /** Of the console, besides the console itself. */
  readonly ports?: ConsolePorts;
  /** A memory balloon; `giveBack` lets the host have memory, which is zeros then; false when it cannot. */
  readonly balloon?: { readonly giveBack: (bytes: Uint8Array) => boolean };
}

/** The device that a folder is shared by. */
export const shareDevice = (id: string, { tag, folder, driver }: BoardShare): VirtioDevice =>
  driver === 'virtiofs' ? new VirtioFs({ id, tag, folder }) : new Virtio9p({ id, tag, folder });

/** Attaches a device for each, in the order given. */
export function attachSharing({ shares, vsock }: BoardSharing, slots: VirtioSlots): void {
  for (const [i, share] of shares.entries())
    slots.attachVirtio(shareDevice(`virtio-${share.driver === 'virtiofs' ? 'fs' : '9p'}${i}`, share));
  if (vsock) slots.attachVirtio(new VirtioVsock({ id: 'virtio-vsock0', ...vsock }));
}
