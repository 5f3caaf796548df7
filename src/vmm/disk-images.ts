/** The images that a machine stands on as long as it exists: the media of its drives, and its flash. */
import { HostError } from '../base/errors.js';
import type { BlockBackend, BlockStatus } from '../iface/block.js';
import type { BoardDisk } from '../machine/common/board.js';
import type { MediaDrive } from '../machine/common/disks.js';
import type { PcFlash } from '../machine/pc/flash.js';
import type { DiskConfig, MachineConfig } from './config.js';
import { flashChips, flashDisk } from './firmware-config.js';
import type { MachineImage } from './machine-snapshot.js';
import { changeMedia, diskId, type MediaRequest } from './media.js';

/** What the images of a machine are opened with, and who is told of the drives. */
interface DiskHost {
  openDisk(disk: DiskConfig): BlockBackend;
  trayMoved(disk: number, open: boolean): void;
}

export class DiskImages {
  /** Of the drives; undefined: it has none. */
  readonly media: (BlockBackend | undefined)[];
  readonly flash: PcFlash[];
  private readonly flashImages: readonly MachineImage[];
  private configs: readonly DiskConfig[];

  /** Opens all of them, or none. `changed`: the description of the drives is another one now. */
  constructor(
    { disks, firmware }: MachineConfig,
    private readonly host: DiskHost,
    private readonly changed: (disks: readonly DiskConfig[]) => void,
  ) {
    this.configs = disks;
    const chips = firmware?.flash ?? [];
    const opened = openAll([...disks, ...chips.map(flashDisk)], host);
    this.media = opened.slice(0, disks.length);
    const files = opened.slice(disks.length).filter((file) => file !== undefined);
    this.flash = flashChips(chips, files);
    this.flashImages = chips.map(({ path }, i) => ({ name: path, image: files[i] }));
  }

  /** Of drives, then of flash. */
  get all(): readonly MachineImage[] {
    return [...this.media.map((image, i) => ({ name: this.configs[i].path, image })), ...this.flashImages];
  }

  /** What a board gets of them. */
  boardDisks(): BoardDisk[] {
    return this.media.map((backend, i) => {
      const { attach, media, queues, serial } = this.configs[i];
      const trayMoved = (open: boolean): void => this.host.trayMoved(i, open);
      const drive = { backend, attach, media, trayMoved, serial: serial ?? backend?.serial ?? diskId(i) };
      return { ...drive, ...(queues !== undefined && { queues }) };
    });
  }

  /** Changes the medium in a drive. Throws a one-line error when that cannot be. */
  change(request: MediaRequest, drive: MediaDrive | undefined): void {
    const { disk } = request;
    changeMedia(request, {
      drive,
      config: this.configs[disk],
      open: (config) => this.host.openDisk(config),
      replaced: (config, medium) => {
        const old = this.media[disk];
        // The drive keeps its serial number, whatever is in it.
        const serial = config.serial ?? old?.serial ?? diskId(disk);
        this.media[disk] = medium;
        this.configs = this.configs.with(disk, { ...config, serial });
        this.changed(this.configs);
        old?.close();
      },
    });
  }
}

/** Those without a path are empty drives. */
function openAll(disks: readonly DiskConfig[], host: DiskHost): (BlockBackend | undefined)[] {
  const opened: (BlockBackend | undefined)[] = [];
  try {
    for (const disk of disks) opened.push(disk.path === '' ? undefined : host.openDisk(disk));
  } catch (error) {
    for (const disk of opened) disk?.close();
    throw error;
  }
  return opened;
}

/** Waits until all that guests have asked for is done. */
export function awaitRequests(images: readonly MachineImage[]): void {
  for (const { image } of images) image?.settle?.();
}

/** Makes images durable, so that what they are now is what a snapshot goes on with. */
export function settleAll(images: readonly MachineImage[]): void {
  awaitRequests(images);
  for (const { image, name } of images) {
    if (!image) continue;
    const answer: { status?: BlockStatus } = {};
    image.flush((status) => {
      answer.status = status;
    });
    if (answer.status !== 'ok') throw new HostError(`the machine cannot be saved: its disk ${name} failed`);
  }
}

/** One that fails, as on a full disk of the host's, keeps no other from being closed. Throws the first failure. */
export function closeAll(images: readonly MachineImage[]): void {
  const failures: unknown[] = [];
  for (const { image } of images) {
    try {
      image?.close();
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}
