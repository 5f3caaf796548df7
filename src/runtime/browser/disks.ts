/**
 * The disks of a page's machine. Their images are files in the page's storage, files that the user chose, or on servers. All that needs an
 * event loop is done before the machine begins: its thread blocks.
 */
import { HostError, UsageError } from '../../base/errors.js';
import { ImageDisk } from '../../block/disk.js';
import { backingFormat, openImage, type ImageFormat, type Opener } from '../../block/open.js';
import { looksLikeQcow2 } from '../../block/probe.js';
import { createQcow2 } from '../../block/qcow2/create.js';
import { readHeader } from '../../block/qcow2/header.js';
import { TemporaryDisk } from '../../block/temporary.js';
import { ChosenDisk, StoredDisk } from '../../host/browser/disk-files.js';
import { findFile, listFiles, removeFile } from '../../host/browser/files.js';
import { HttpFile, isAddress } from '../../host/browser/http-file.js';
import { unpack, zstdReady } from '../../host/browser/unpack.js';
import type { BlockBackend } from '../../iface/block.js';
import type { HostFile } from '../../iface/file.js';
import type { DiskConfig } from '../../vmm/config.js';
import type { DiskSources, NewImage } from './protocol.js';

/** A folder of the page's storage for what is written to disks and thrown away. */
const SCRATCH = 'vitrine-scratch';
/** Images on images that are opened ahead; `openImage` refuses more. */
const MAX_DEPTH = 64;
/** `driver:name`, as QEMU writes what is not simply a file. */
const PROTOCOL = /^([a-z][a-z0-9+.-]*):/;

export class Disks {
  /** Open, and not asked for yet. */
  private readonly ready = new Map<string, HostFile[]>();
  private readonly stored: StoredDisk[] = [];
  private readonly scratch: string[] = [];
  private readonly opener: Opener;

  private readonly chosen: ReadonlyMap<string, Blob>;

  private constructor(
    chosen: Readonly<Record<string, Blob>>,
    private readonly warn: (text: string) => void,
  ) {
    this.chosen = new Map(Object.entries(chosen));
    this.opener = {
      unpack,
      store: {
        keyOf: (name) => name,
        resolve: (image, backing) => this.resolve(image, backing),
        open: (name) => {
          const file = this.ready.get(name)?.shift();
          if (!file) throw new HostError(`a page cannot open the disk ${name} while its machine runs`);
          return file;
        },
      },
    };
  }

  /** Opens what the disks of a machine stand on. Rejected with a one-line error, with nothing left open. */
  static async open(
    configs: readonly DiskConfig[],
    sources: DiskSources,
    warn: (text: string) => void,
  ): Promise<Disks> {
    const disks = new Disks(sources.files ?? {}, warn);
    const used = configs.filter(({ path }) => path !== '');
    if (used.length === 0) return disks;
    await zstdReady();
    try {
      for (const image of sources.images ?? []) await disks.make(image);
      for (const { path, format, readOnly, temporary } of used) {
        const thrownAway = disks.isThrownAway(path, readOnly, temporary);
        await disks.gather(path, format, !readOnly && !thrownAway, []);
        if (thrownAway) await disks.openScratch();
      }
      return disks;
    } catch (error) {
      disks.closeAll();
      throw error;
    }
  }

  /** What cannot be written takes writes for as long as the machine lives. */
  private isThrownAway(path: string, readOnly: boolean, temporary: boolean): boolean {
    return temporary || (!readOnly && (isAddress(path) || this.chosen.has(path)));
  }

  private async openOne(name: string, writable: boolean): Promise<HostFile> {
    if (isAddress(name)) return new HttpFile(name);
    const blob = this.chosen.get(name);
    if (blob) return new ChosenDisk(name, blob);
    const disk = await StoredDisk.open(name, { writable });
    this.stored.push(disk);
    return disk;
  }

  /** Opens a file, and those that it says it stands on. */
  private async gather(name: string, format: ImageFormat, writable: boolean, above: readonly string[]): Promise<void> {
    // `openImage` says what is wrong with these.
    if (above.includes(name) || above.length > MAX_DEPTH) return;
    const file = await this.openOne(name, writable);
    this.ready.set(name, [...(this.ready.get(name) ?? []), file]);
    if (format === 'raw') return;
    const start = new Uint8Array(8);
    file.read(0, start);
    if (format === 'auto' && !looksLikeQcow2(start)) return;
    const header = readHeader(file);
    if (header.backingName === undefined) return;
    const backing = this.resolve(name, header.backingName);
    await this.gather(backing, backingFormat(header, name), false, [...above, name]);
  }

  /** A backing file is named relative to the image that stands on it. */
  private resolve(image: string, backing: string): string {
    // What comes from a server must not reach for files of this page.
    if (isAddress(image)) {
      const target = URL.canParse(backing, image) ? new URL(backing, image).href : '';
      if (isAddress(target)) return target;
      throw new UsageError(`the disk ${image} stands on ${backing}, which is not on a server`);
    }
    if (isAddress(backing) || this.chosen.has(backing)) return backing;
    const [, protocol] = PROTOCOL.exec(backing) ?? [];
    const name = protocol === 'file' ? backing.slice('file:'.length) : backing;
    if (protocol !== undefined && protocol !== 'file')
      throw new UsageError(`the disk ${image} stands on ${backing}, which is not a file`);
    const file = name.split('/').at(-1) ?? '';
    // Its folder is one of the host that the image came from.
    if (this.chosen.has(file)) return file;
    return name.startsWith('/') ? name.slice(1) : [...image.split('/').slice(0, -1), name].join('/');
  }

  /** Makes an image, whole or not at all, unless there is one of its name. */
  private async make({ name, size, base, format = 'auto' }: NewImage): Promise<void> {
    if (await findFile(name)) return;
    const part = `${name}.part`;
    let bytes = size;
    let backing: { name: string; format: string } | undefined;
    if (base !== undefined) {
      const place = this.resolve(name, base);
      await this.gather(place, format, false, []);
      const image = openImage({ name: place, format, readOnly: true }, this.opener);
      backing = { name: base, format: image.format };
      bytes ??= image.size;
      image.close();
    }
    if (bytes === undefined) throw new UsageError(`the disk ${name} is new: it needs a size, or a base`);
    const file = await StoredDisk.open(part, { writable: true, create: true });
    try {
      file.truncate(0);
      createQcow2(file, { size: bytes, ...(backing && { backing }) });
      file.flush();
      file.close();
      const handle = await findFile(part);
      if (!handle?.move) throw new HostError('this browser cannot rename files');
      await handle.move(name.split('/').at(-1) ?? name);
    } catch (error) {
      file.close();
      await removeFile(part).catch(() => undefined);
      throw error;
    }
  }

  private async openScratch(): Promise<void> {
    if (this.scratch.length === 0) await sweep();
    const name = `${SCRATCH}/${crypto.randomUUID()}`;
    const file = await StoredDisk.open(name, { writable: true, create: true });
    this.scratch.push(name);
    this.ready.set(SCRATCH, [...(this.ready.get(SCRATCH) ?? []), file]);
  }

  /** Throws a one-line error when the image cannot be a disk. */
  openDisk({ path, format, serial, internal, readOnly, temporary }: DiskConfig): BlockBackend {
    const thrownAway = this.isThrownAway(path, readOnly, temporary);
    const request = { name: path, format, readOnly: readOnly || thrownAway, internal: internal ?? undefined };
    const image = openImage(request, this.opener);
    const file = thrownAway ? this.ready.get(SCRATCH)?.shift() : undefined;
    const overlay = file && new TemporaryDisk(image, file, unpack);
    return new ImageDisk(overlay ?? image, {
      writes: overlay,
      serial: serial ?? serialOf(path),
      failed: (error) =>
        this.warn(`the disk ${path} failed: ${error instanceof Error ? error.message : String(error)}`),
    });
  }

  /** Finds out what the images are now, when all that was written to them is durable: for a machine that is saved. */
  async settle(): Promise<void> {
    for (const disk of this.stored) await disk.settle();
  }

  private closeAll(): void {
    for (const files of this.ready.values()) for (const file of files) file.close();
    this.ready.clear();
  }

  /** The machine has closed its disks: what was thrown away goes. */
  async end(): Promise<void> {
    this.closeAll();
    for (const name of this.scratch) await removeFile(name).catch(() => undefined);
  }
}

/** Removes what pages have left behind that were closed. */
async function sweep(): Promise<void> {
  // What is in use stays.
  for (const { name } of await listFiles(SCRATCH)) await removeFile(`${SCRATCH}/${name}`).catch(() => undefined);
}

/** Up to 20 characters of the file's name. */
function serialOf(name: string): string {
  const [file] = (name.split('/').at(-1) ?? '').split(/[?#]/, 1);
  return file.replace(/[^\x21-\x7e]/g, '_').slice(0, 20);
}
