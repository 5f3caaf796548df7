/** Changes of the media in drives of a machine that runs. The messages of errors are QEMU's: monitors and their clients know them. */
import { UsageError } from '../base/errors.js';
import type { BlockBackend } from '../iface/block.js';
import type { MediaDrive } from '../machine/common/disks.js';
import type { DiskConfig, DiskFormat } from './config.js';

export const READ_ONLY_MODES = ['retain', 'read-only', 'read-write'] as const;

/** `disk`: its number. `force`: even if the guest has locked the drive. */
export type MediaRequest =
  | { readonly action: 'open-tray' | 'eject'; readonly disk: number; readonly force: boolean }
  | { readonly action: 'close-tray' | 'remove'; readonly disk: number }
  | {
      readonly action: 'change';
      readonly disk: number;
      readonly force: boolean;
      readonly path: string;
      readonly format: DiskFormat;
      readonly readOnly: (typeof READ_ONLY_MODES)[number];
    };

/** What a machine gives for it. */
export interface MediaBay {
  readonly drive: MediaDrive | undefined;
  readonly config: DiskConfig;
  open(config: DiskConfig): BlockBackend;
  /** The drive has this medium now; lets go of the old one. Throws what the host refuses then. */
  replaced(config: DiskConfig, medium: BlockBackend | undefined): void;
}

/** As monitors call a disk. */
export const diskId = (disk: number): string => `disk${disk}`;

/** Throws a one-line error when it cannot be done. */
export function changeMedia(request: MediaRequest, bay: MediaBay): void {
  const { drive } = bay;
  const id = diskId(request.disk);
  if (!drive) throw new UsageError(`Device '${id}' is not removable`);
  switch (request.action) {
    case 'open-tray':
      if (!drive.tray) throw new UsageError(`Device '${id}' does not have a tray`);
      openTray(drive, request, id);
      break;
    case 'close-tray':
      if (!drive.tray) throw new UsageError(`Device '${id}' does not have a tray`);
      drive.moveTray(false);
      break;
    case 'remove':
      if (drive.tray && !drive.tray.open) throw new UsageError(`Tray of device '${id}' is not open`);
      take(drive, bay);
      break;
    case 'eject':
      openTray(drive, request, id);
      take(drive, bay);
      break;
    case 'change': {
      const { path, format, readOnly } = request;
      const keeps = readOnly === 'retain' ? bay.config.readOnly : readOnly === 'read-only';
      const config = { ...bay.config, path, format, readOnly: bay.config.media === 'cdrom' || keeps, internal: null };
      // First: what cannot be opened changes nothing.
      const medium = bay.open(config);
      try {
        openTray(drive, request, id);
        drive.change(medium);
      } catch (error) {
        medium.close();
        throw error;
      }
      drive.moveTray(false);
      bay.replaced(config, medium);
      break;
    }
  }
}

function openTray(drive: MediaDrive, { force }: { readonly force: boolean }, id: string): void {
  const { tray } = drive;
  if (!tray || tray.open) return;
  if (tray.locked) drive.requestEject();
  if (tray.locked && !force)
    throw new UsageError(`Device '${id}' is locked and force was not specified, wait for tray to open and try again`);
  drive.moveTray(true);
}

function take(drive: MediaDrive, bay: MediaBay): void {
  drive.change(undefined);
  if (bay.config.path !== '') bay.replaced({ ...bay.config, path: '', internal: null }, undefined);
}
