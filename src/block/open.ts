/** Opens images of any format, with all that they stand on. */
import type { HostFile } from '../iface/file.js';
import { ImageError, type DiskImage, type Unpack } from './image.js';
import { probeFormat } from './probe.js';
import { readHeader, type Qcow2Header } from './qcow2/header.js';
import { openQcow2 } from './qcow2/open.js';
import { RawImage } from './raw.js';

/** Backing files of an image: more than anybody stacks. */
const MAX_DEPTH = 64;

/** How an image is read: `auto` looks at what is in it. */
export type ImageFormat = 'auto' | 'raw' | 'qcow2';

/** Where the files of images are. */
export interface ImageStore {
  /** What the `key` of a file will be once it is open. Throws a one-line error when there is no such file. */
  keyOf(name: string): string;
  /** Opens a file. Throws a one-line error. */
  open(name: string, writable: boolean): HostFile;
  /**
   * The name of a backing file, which an image may give relative to its own place. Throws a one-line error when the image may
   * not name such a file.
   */
  resolve(image: string, backing: string): string;
}

export interface OpenRequest {
  readonly name: string;
  readonly format: ImageFormat;
  readonly readOnly: boolean;
  /** An internal snapshot of a qcow2 image, instead of its present contents. */
  readonly internal?: string | undefined;
}

export interface Opener {
  readonly store: ImageStore;
  readonly unpack: Unpack;
}

/** Opens an image. Throws a one-line error, with nothing left open. */
export function openImage(request: OpenRequest, opener: Opener): DiskImage {
  return openAbove(request, opener, []);
}

/** `above`: the files that stand on this one. */
function openAbove(request: OpenRequest, opener: Opener, above: readonly string[]): DiskImage {
  const { name, readOnly, internal } = request;
  // Before it is opened: it may be locked, by ourselves.
  if (above.includes(opener.store.keyOf(name)))
    throw new ImageError(`the disk ${name} stands on itself: its backing files make a loop`);
  if (above.length > MAX_DEPTH) throw new ImageError(`more than ${MAX_DEPTH} images stand on the disk ${name}`);
  const file = opener.store.open(name, !readOnly);
  const opened: { close(): void }[] = [file];
  try {
    const guessed = request.format === 'auto';
    const format = guessed ? probeFormat(file) : request.format;
    if (format === 'raw') {
      if (internal !== undefined) throw new ImageError(`the disk ${name} has no snapshots: it is raw`);
      return new RawImage(file, { readOnly, guessed });
    }
    const header = readHeader(file);
    const backing = openBacking(header, name, opener, [...above, file.key]);
    if (backing) opened.push(backing);
    return openQcow2(file, { header, readOnly, internal, backing, unpack: opener.unpack });
  } catch (error) {
    for (const one of opened) one.close();
    throw error;
  }
}

/** The format that an image says its backing file has. */
export function backingFormat(header: Qcow2Header, name: string): ImageFormat {
  const { backingFormat: format } = header;
  if (format === undefined) return 'auto';
  if (format === 'raw' || format === 'qcow2') return format;
  // What QEMU calls a plain file, whatever is in it.
  if (format === 'file') return 'raw';
  throw new ImageError(`the disk ${name} stands on a file of the format ${format}, which is not known here`);
}

function openBacking(
  header: Qcow2Header,
  name: string,
  opener: Opener,
  above: readonly string[],
): DiskImage | undefined {
  if (header.backingName === undefined) return undefined;
  const backing = opener.store.resolve(name, header.backingName);
  const format = backingFormat(header, name);
  return openAbove({ name: backing, format, readOnly: true }, opener, above);
}
