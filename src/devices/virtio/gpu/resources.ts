/** Pictures that a driver keeps on the host, VIRTIO 1.2 §5.7.6.8: each with pages of the guest that it is filled from. */
import { gpa, type Gpa } from '../../../base/units.js';
import { array, bytes, int, range, struct, u32, type Infer } from '../../../snapshot/schema.js';
import type { PixelFormat } from '../../../iface/display.js';
import { FORMATS } from './protocol.js';

/** At most so much, in bytes, for all of a device's pictures, and so many of them. */
const MOST_BYTES = 256 << 20;
const MOST_RESOURCES = 4096;
/** Pixels across and down. */
const MOST_SIDE = 8192;
/** Pieces of guest memory: of one picture, and of all. */
export const MOST_ENTRIES = 16_384;
const MOST_ENTRIES_IN_ALL = 1 << 18;
const PIXEL = 4;

export interface Piece {
  readonly address: number;
  readonly length: number;
}

export interface Resource {
  readonly id: number;
  /** As the driver named it. */
  readonly formatNumber: number;
  readonly format: PixelFormat;
  readonly width: number;
  readonly height: number;
  readonly pixels: Uint8Array;
  pieces: readonly Piece[];
}

export const resourceState = struct({
  id: u32,
  format: u32,
  width: range(1, MOST_SIDE),
  height: range(1, MOST_SIDE),
  pixels: bytes(),
  pieces: array(struct({ address: int, length: u32 }), { max: MOST_ENTRIES }),
});
export const resourcesState = array(resourceState, { max: MOST_RESOURCES });

/** Where a picture is filled, in its pixels. */
export interface Area {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

export class Resources {
  private readonly all = new Map<number, Resource>();
  private used = 0;
  private entries = 0;

  get(id: number): Resource | undefined {
    return this.all.get(id);
  }

  /** Undefined when there is no memory for it; the other arguments have been checked. */
  create(id: number, formatNumber: number, width: number, height: number): Resource | undefined {
    const format = FORMATS.get(formatNumber);
    const size = width * height * PIXEL;
    if (!format || this.all.size >= MOST_RESOURCES || this.used + size > MOST_BYTES) return undefined;
    const resource = { id, formatNumber, format, width, height, pixels: new Uint8Array(size), pieces: [] };
    this.all.set(id, resource);
    this.used += size;
    return resource;
  }

  static fits(width: number, height: number): boolean {
    return width > 0 && height > 0 && width <= MOST_SIDE && height <= MOST_SIDE;
  }

  remove(resource: Resource): void {
    this.attach(resource, []);
    this.all.delete(resource.id);
    this.used -= resource.pixels.length;
  }

  /** False: too many pieces. */
  attach(resource: Resource, pieces: readonly Piece[]): boolean {
    const entries = this.entries - resource.pieces.length + pieces.length;
    if (entries > MOST_ENTRIES_IN_ALL) return false;
    this.entries = entries;
    resource.pieces = pieces;
    return true;
  }

  clear(): void {
    this.all.clear();
    this.used = 0;
    this.entries = 0;
  }

  save(): Infer<typeof resourcesState> {
    return [...this.all.values()].map(({ id, formatNumber, width, height, pixels, pieces }) => ({
      id,
      format: formatNumber,
      width,
      height,
      pixels: pixels.slice(),
      pieces: pieces.map((piece) => ({ ...piece })),
    }));
  }

  restore(state: Infer<typeof resourcesState>): void {
    this.clear();
    for (const { id, format, width, height, pixels, pieces } of state) {
      const resource = this.all.has(id) ? undefined : this.create(id, format, width, height);
      if (!resource) throw new RangeError('pictures that no device has');
      resource.pixels.set(pixels.subarray(0, resource.pixels.length));
      this.attach(resource, pieces);
    }
  }
}

/** Whether an area lies within a picture. */
export const within = ({ x, y, width, height }: Area, of: Pick<Resource, 'width' | 'height'>): boolean =>
  x + width <= of.width && y + height <= of.height;

/** Reads guest memory; false: it is none. */
type Read = (from: Gpa, into: Uint8Array) => boolean;

/** Reads guest memory that lies in pieces, from lower offsets to higher ones. */
class PieceReader {
  private index = 0;
  /** Where the piece begins. */
  private base = 0;

  constructor(
    private readonly pieces: readonly Piece[],
    private readonly from: Read,
  ) {}

  /** Copies `into.length` bytes from `offset` on. What is missing stays as it was. */
  read(offset: number, into: Uint8Array): void {
    for (let done = 0; done < into.length && this.index < this.pieces.length;) {
      const { address, length } = this.pieces[this.index];
      const skip = offset + done - this.base;
      if (skip >= length) {
        this.base += length;
        this.index++;
        continue;
      }
      const count = Math.min(length - skip, into.length - done);
      this.from(gpa(address + skip), into.subarray(done, done + count));
      done += count;
    }
  }
}

/** Fills an area from guest memory, in which the picture's rows follow each other; the area begins at `offset` there. */
export function fill({ width, pixels, pieces }: Resource, area: Area, offset: number, read: Read): void {
  const pitch = width * PIXEL;
  const reader = new PieceReader(pieces, read);
  if (area.width === width) {
    reader.read(offset, pixels.subarray(area.y * pitch, (area.y + area.height) * pitch));
    return;
  }
  for (let row = 0; row < area.height; row++) {
    const at = (area.y + row) * pitch + area.x * PIXEL;
    reader.read(offset + row * pitch, pixels.subarray(at, at + area.width * PIXEL));
  }
}
