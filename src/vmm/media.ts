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
      // Neither a drive without a tray nor one that the guest has still to let go of is an error: an event tells when it opens.
      if (mayOpen(drive, request.force)) drive.moveTray(true);
      break;
    case 'close-tray':
      if (drive.tray) drive.moveTray(false);
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

/** Whether a closed tray may be opened now; the guest is asked to let go of one that it has locked. */
function mayOpen(drive: MediaDrive, force: boolean): boolean {
  if (!drive.tray || drive.tray.open) return false;
  if (drive.tray.locked) drive.requestEject();
  return !drive.tray.locked || force;
}

function openTray(drive: MediaDrive, { force }: { readonly force: boolean }, id: string): void {
  if (mayOpen(drive, force)) drive.moveTray(true);
  else if (drive.tray?.open === false)
    throw new UsageError(`Device '${id}' is locked and force was not specified, wait for tray to open and try again`);
}

function take(drive: MediaDrive, bay: MediaBay): void {
  drive.change(undefined);
  if (bay.config.path !== '') bay.replaced({ ...bay.config, path: '', internal: null }, undefined);
}
