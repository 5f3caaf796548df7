/**
 * The header of a qcow2 image, versions 2 and 3: "qcow2.txt", the format's specification in QEMU's documentation
 * (docs/interop), sections "Header" and "Header extensions". Numbers are big-endian.
 */
import { KIB, MIB } from '../../base/units.js';
import type { HostFile } from '../../iface/file.js';
import { ImageError, SECTOR } from '../image.js';
import { QCOW_MAGIC } from '../probe.js';

/** Offsets of the header's fields. */
const FIELD = {
  MAGIC: 0,
  VERSION: 4,
  BACKING_OFFSET: 8,
  BACKING_SIZE: 16,
  CLUSTER_BITS: 20,
  SIZE: 24,
  CRYPT_METHOD: 32,
  L1_SIZE: 36,
  L1_OFFSET: 40,
  REFCOUNT_TABLE_OFFSET: 48,
  REFCOUNT_TABLE_CLUSTERS: 56,
  SNAPSHOT_COUNT: 60,
  SNAPSHOTS_OFFSET: 64,
  INCOMPATIBLE: 72,
  COMPATIBLE: 80,
  AUTOCLEAR: 88,
  REFCOUNT_ORDER: 96,
  HEADER_LENGTH: 100,
  COMPRESSION_TYPE: 104,
} as const;
const SIZE_V2 = 72;
const SIZE_V3 = 104;
const SIZE_WITH_COMPRESSION = 112;

export const INCOMPATIBLE = {
  DIRTY: 1n << 0n,
  CORRUPT: 1n << 1n,
  DATA_FILE: 1n << 2n,
  COMPRESSION: 1n << 3n,
  EXTENDED_L2: 1n << 4n,
} as const;
const COMPATIBLE = { LAZY_REFCOUNTS: 1n << 0n } as const;
export const AUTOCLEAR = { BITMAPS: 1n << 0n } as const;

const EXTENSION = { END: 0, BACKING_FORMAT: 0xe279_2aca, FEATURE_NAMES: 0x6803_f857, BITMAPS: 0x2385_2875 } as const;

/** QEMU's limits, which every image in the wild keeps to. */
const LIMIT = {
  MIN_CLUSTER_BITS: 9,
  MAX_CLUSTER_BITS: 21,
  L1_BYTES: 32 * MIB,
  REFCOUNT_TABLE_BYTES: 8 * MIB,
  SNAPSHOTS: 65536,
  BACKING_NAME: 1023,
} as const;

/** What no name of a backing file has: it is printed, and may be of people who mean no good. */
const CONTROL = /\p{Cc}/u;

export type Compression = 'zlib' | 'zstd';
const COMPRESSIONS: readonly Compression[] = ['zlib', 'zstd'];

/** The bitmaps extension. */
export interface BitmapsArea {
  readonly count: number;
  readonly directorySize: number;
  readonly directoryOffset: number;
}

/** A header in the terms of its fields. What changes while an image is written is not readonly. */
export interface Qcow2Header {
  readonly version: 2 | 3;
  readonly clusterBits: number;
  /** Bytes of the disk. */
  readonly size: number;
  readonly backingName: string | undefined;
  readonly backingFormat: string | undefined;
  /** Entries. */
  readonly l1Size: number;
  l1Offset: number;
  refcountTableOffset: number;
  refcountTableClusters: number;
  readonly snapshotCount: number;
  readonly snapshotsOffset: number;
  incompatible: bigint;
  readonly compatible: bigint;
  autoclear: bigint;
  /** Bits of a reference count: 1 << order. */
  readonly refcountOrder: number;
  readonly compression: Compression;
  readonly bitmaps: BitmapsArea | undefined;
}

export const lazyRefcounts = (header: Qcow2Header): boolean => (header.compatible & COMPATIBLE.LAZY_REFCOUNTS) !== 0n;

/** Whether entries of L2 tables have 16 bytes, with bits for 32 subclusters. */
export const extendedL2 = ({ incompatible }: Pick<Qcow2Header, 'incompatible'>): boolean =>
  (incompatible & INCOMPATIBLE.EXTENDED_L2) !== 0n;

/** Entries of an L1 table that a disk of that size needs. */
export function neededL1(size: number, header: Pick<Qcow2Header, 'clusterBits' | 'incompatible'>): number {
  const covered = 2 ** (2 * header.clusterBits - (extendedL2(header) ? 4 : 3));
  return Math.ceil(size / covered);
}

class HeaderReader {
  private readonly view: DataView;

  constructor(
    private readonly bytes: Uint8Array,
    private readonly name: string,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  fail(text: string): never {
    throw new ImageError(`the disk ${this.name} is not a sound qcow2 image: ${text}`);
  }

  unsupported(text: string): never {
    throw new ImageError(`the disk ${this.name} ${text}`);
  }

  u32(offset: number): number {
    return this.view.getUint32(offset);
  }

  u64(offset: number): bigint {
    return this.view.getBigUint64(offset);
  }

  /** A number of 64 bits that a double must hold. */
  number(offset: number, what: string): number {
    const value = this.u64(offset);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) this.fail(`${what} is out of range`);
    return Number(value);
  }

  text(offset: number, length: number): string {
    if (offset + length > this.bytes.length) this.fail('a text in its header is truncated');
    return new TextDecoder().decode(this.bytes.subarray(offset, offset + length));
  }

  get length(): number {
    return this.bytes.length;
  }
}

interface Extensions {
  backingFormat?: string;
  bitmaps?: BitmapsArea;
  /** Names of incompatible features by bit. */
  readonly names: Map<number, string>;
}

function readExtensions(reader: HeaderReader, from: number, end: number): Extensions {
  const found: Extensions = { names: new Map() };
  for (let at = from; at + 8 <= end;) {
    const [type, length] = [reader.u32(at), reader.u32(at + 4)];
    const data = at + 8;
    if (type === EXTENSION.END) break;
    if (length > end - data) reader.fail('a header extension is longer than the header');
    // One that is not known is told.
    if (type === EXTENSION.BACKING_FORMAT)
      found.backingFormat = reader.text(data, length).replace(/[^\x20-\x7e]/g, '?');
    if (type === EXTENSION.FEATURE_NAMES)
      for (let entry = data; entry + 48 <= data + length; entry += 48) {
        const [kind, bit] = [reader.u32(entry) >>> 24, (reader.u32(entry) >>> 16) & 0xff];
        // Printable ASCII alone: it goes to a terminal.
        const name = reader.text(entry + 2, 46).replace(/[^\x20-\x7e]/g, '');
        if (kind === 0) found.names.set(bit, name);
      }
    if (type === EXTENSION.BITMAPS) {
      if (length < 24) reader.fail('its bitmaps extension is truncated');
      found.bitmaps = {
        count: reader.u32(data),
        directorySize: reader.number(data + 8, 'the size of its bitmap directory'),
        directoryOffset: reader.number(data + 16, 'the place of its bitmap directory'),
      };
    }
    at = data + Math.ceil(length / 8) * 8;
  }
  return found;
}

/** Bits of incompatible features that this reader does not know, by name where the image has names. */
function refuseUnknown(reader: HeaderReader, bits: bigint, names: ReadonlyMap<number, string>): void {
  if (bits & INCOMPATIBLE.DATA_FILE)
    reader.unsupported('keeps its data in an external data file, which is not supported');
  const unknown: string[] = [];
  for (let bit = 5; bit < 64; bit++) if ((bits >> BigInt(bit)) & 1n) unknown.push(names.get(bit) ?? `bit ${bit}`);
  if (unknown.length > 0) reader.unsupported(`needs features that are not known here: ${unknown.join(', ')}`);
}

function readCompression(reader: HeaderReader, incompatible: bigint, headerLength: number): Compression {
  const type = headerLength > FIELD.COMPRESSION_TYPE ? reader.u32(FIELD.COMPRESSION_TYPE) >>> 24 : 0;
  if (((incompatible & INCOMPATIBLE.COMPRESSION) !== 0n) !== (type !== 0))
    reader.fail('its compression type and its feature bit disagree');
  if (type >= COMPRESSIONS.length) reader.unsupported(`is compressed in a way that is not known here (type ${type})`);
  return COMPRESSIONS[type];
}

function readBackingName(reader: HeaderReader, clusterSize: number): string | undefined {
  const offset = reader.number(FIELD.BACKING_OFFSET, 'the place of its backing file name');
  if (offset === 0) return undefined;
  const size = reader.u32(FIELD.BACKING_SIZE);
  if (size > LIMIT.BACKING_NAME || offset + size > clusterSize) reader.fail('its backing file name is too long');
  const name = reader.text(offset, size);
  if (CONTROL.test(name)) reader.fail('its backing file name has control characters');
  return name === '' ? undefined : name;
}

/** Reads a header and checks all that can be checked without the rest of the file. Throws a one-line error. */
export function readHeader(file: HostFile): Qcow2Header {
  const start = new Uint8Array(64 * KIB);
  const first: HeaderReader = new HeaderReader(start.subarray(0, file.read(0, start)), file.name);
  if (first.length < SIZE_V2 || first.u32(FIELD.MAGIC) !== QCOW_MAGIC) first.unsupported('is not a qcow2 image');
  const version = first.u32(FIELD.VERSION);
  if (version !== 2 && version !== 3) first.unsupported(`is a qcow image of version ${version}; there are 2 and 3`);
  if (version === 3 && first.length < SIZE_V3) first.fail('its header is truncated');
  const clusterBits = first.u32(FIELD.CLUSTER_BITS);
  if (clusterBits < LIMIT.MIN_CLUSTER_BITS || clusterBits > LIMIT.MAX_CLUSTER_BITS)
    first.fail(`its clusters cannot have 2^${clusterBits} bytes`);
  const clusterSize = 2 ** clusterBits;
  // All of the header with its extensions and the name of the backing file lies in the first cluster.
  const whole = new Uint8Array(Math.max(clusterSize, SIZE_WITH_COMPRESSION));
  file.read(0, whole);
  return interpret(new HeaderReader(whole, file.name), version, clusterBits);
}

function interpret(reader: HeaderReader, version: 2 | 3, clusterBits: number): Qcow2Header {
  const v3 = version === 3;
  const clusterSize = 2 ** clusterBits;
  const headerLength = v3 ? reader.u32(FIELD.HEADER_LENGTH) : SIZE_V2;
  if (v3 && (headerLength < SIZE_V3 || headerLength % 8 !== 0 || headerLength > clusterSize))
    reader.fail(`its header cannot be ${headerLength} bytes long`);
  const backingName = readBackingName(reader, clusterSize);
  const nameAt = backingName === undefined ? clusterSize : Number(reader.u64(FIELD.BACKING_OFFSET));
  const extensions = readExtensions(reader, headerLength, Math.max(headerLength, nameAt));
  const incompatible = v3 ? reader.u64(FIELD.INCOMPATIBLE) : 0n;
  refuseUnknown(reader, incompatible, extensions.names);
  // A subcluster has a sector at least.
  if (incompatible & INCOMPATIBLE.EXTENDED_L2 && clusterBits < 14)
    reader.fail(`clusters of ${clusterSize} bytes are too small to have subclusters`);
  if (reader.u32(FIELD.CRYPT_METHOD) !== 0) reader.unsupported('is encrypted, which is not supported');
  const refcountOrder = v3 ? reader.u32(FIELD.REFCOUNT_ORDER) : 4;
  if (refcountOrder > 6) reader.fail(`its reference counts cannot have 2^${refcountOrder} bits`);
  const header: Qcow2Header = {
    version,
    clusterBits,
    size: reader.number(FIELD.SIZE, 'its size'),
    backingName,
    backingFormat: extensions.backingFormat,
    l1Size: reader.u32(FIELD.L1_SIZE),
    l1Offset: reader.number(FIELD.L1_OFFSET, 'the place of its L1 table'),
    refcountTableOffset: reader.number(FIELD.REFCOUNT_TABLE_OFFSET, 'the place of its refcount table'),
    refcountTableClusters: reader.u32(FIELD.REFCOUNT_TABLE_CLUSTERS),
    snapshotCount: reader.u32(FIELD.SNAPSHOT_COUNT),
    snapshotsOffset: reader.number(FIELD.SNAPSHOTS_OFFSET, 'the place of its snapshots'),
    incompatible,
    compatible: v3 ? reader.u64(FIELD.COMPATIBLE) : 0n,
    autoclear: v3 ? reader.u64(FIELD.AUTOCLEAR) : 0n,
    refcountOrder,
    compression: readCompression(reader, incompatible, headerLength),
    bitmaps: extensions.bitmaps,
  };
  checkPlaces(reader, header);
  return header;
}

function checkPlaces(reader: HeaderReader, header: Qcow2Header): void {
  const clusterSize = 2 ** header.clusterBits;
  const aligned = (offset: number, what: string): void => {
    if (offset % clusterSize !== 0 || offset === 0) reader.fail(`${what} is not where a cluster begins`);
  };
  if (header.size === 0) throw new ImageError('the disk is empty');
  if (header.size % SECTOR !== 0) reader.fail('its size is not a whole number of 512-byte sectors');
  if (header.l1Size * 8 > LIMIT.L1_BYTES) reader.fail('its L1 table is too large');
  if (header.l1Size < neededL1(header.size, header)) reader.fail('its L1 table is too small');
  aligned(header.l1Offset, 'its L1 table');
  aligned(header.refcountTableOffset, 'its refcount table');
  if (header.refcountTableClusters === 0) reader.fail('it has no refcount table');
  if (header.refcountTableClusters * clusterSize > LIMIT.REFCOUNT_TABLE_BYTES)
    reader.fail('its refcount table is too large');
  if (header.snapshotCount > LIMIT.SNAPSHOTS) reader.fail('it has too many snapshots');
  if (header.snapshotCount > 0) aligned(header.snapshotsOffset, 'its table of snapshots');
}

/** Where the part of a header that changes begins; it is written in one piece, so that a file has the old or the new one. */
export const CHANGING_FROM = FIELD.L1_SIZE;

/** That part. */
export function changingPart(header: Qcow2Header): Uint8Array {
  const bytes = new Uint8Array((header.version === 3 ? FIELD.REFCOUNT_ORDER : SIZE_V2) - CHANGING_FROM);
  fillChanging(new DataView(bytes.buffer), -CHANGING_FROM, header);
  return bytes;
}

function fillChanging(view: DataView, base: number, header: Qcow2Header): void {
  view.setUint32(base + FIELD.L1_SIZE, header.l1Size);
  view.setBigUint64(base + FIELD.L1_OFFSET, BigInt(header.l1Offset));
  view.setBigUint64(base + FIELD.REFCOUNT_TABLE_OFFSET, BigInt(header.refcountTableOffset));
  view.setUint32(base + FIELD.REFCOUNT_TABLE_CLUSTERS, header.refcountTableClusters);
  view.setUint32(base + FIELD.SNAPSHOT_COUNT, header.snapshotCount);
  view.setBigUint64(base + FIELD.SNAPSHOTS_OFFSET, BigInt(header.snapshotsOffset));
  if (header.version !== 3) return;
  view.setBigUint64(base + FIELD.INCOMPATIBLE, header.incompatible);
  view.setBigUint64(base + FIELD.COMPATIBLE, header.compatible);
  view.setBigUint64(base + FIELD.AUTOCLEAR, header.autoclear);
}

/** Names of the features by kind and bit, for programs that do not know them. */
const FEATURE_NAMES: readonly (readonly [kind: number, bit: number, name: string])[] = [
  [0, 0, 'dirty bit'],
  [0, 1, 'corrupt bit'],
  [0, 2, 'external data file'],
  [0, 3, 'compression type'],
  [0, 4, 'extended L2 entries'],
  [1, 0, 'lazy refcounts'],
  [2, 0, 'bitmaps'],
  [2, 1, 'raw external data'],
];

function extension(type: number, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(8 + Math.ceil(data.length / 8) * 8);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type);
  view.setUint32(4, data.length);
  bytes.set(data, 8);
  return bytes;
}

function featureNames(): Uint8Array {
  const bytes = new Uint8Array(48 * FEATURE_NAMES.length);
  for (const [i, [kind, bit, name]] of FEATURE_NAMES.entries()) {
    bytes.set([kind, bit], i * 48);
    bytes.set(new TextEncoder().encode(name), i * 48 + 2);
  }
  return bytes;
}

/** The first cluster of a new image of version 3. Throws a one-line error when the name of the backing file cannot be stored. */
export function newHeaderCluster(header: Qcow2Header): Uint8Array {
  const clusterSize = 2 ** header.clusterBits;
  const encoder = new TextEncoder();
  const name = encoder.encode(header.backingName ?? '');
  // Nobody could open the image.
  if (CONTROL.test(header.backingName ?? ''))
    throw new ImageError('the name of the backing file has control characters, which an image cannot hold');
  const parts: Uint8Array[] = [];
  if (header.backingFormat !== undefined)
    parts.push(extension(EXTENSION.BACKING_FORMAT, encoder.encode(header.backingFormat)));
  // Clusters of 512 bytes have no room for the table, which is for people only.
  if (clusterSize > 1024) parts.push(extension(EXTENSION.FEATURE_NAMES, featureNames()));
  parts.push(new Uint8Array(8));
  const extensionsSize = parts.reduce((sum, part) => sum + part.length, 0);
  const nameAt = SIZE_WITH_COMPRESSION + extensionsSize;
  if (name.length > LIMIT.BACKING_NAME || nameAt + name.length > clusterSize)
    throw new ImageError(`the name of the backing file ${header.backingName ?? ''} is too long`);
  const bytes = new Uint8Array(clusterSize);
  const view = new DataView(bytes.buffer);
  view.setUint32(FIELD.MAGIC, QCOW_MAGIC);
  view.setUint32(FIELD.VERSION, 3);
  view.setUint32(FIELD.CLUSTER_BITS, header.clusterBits);
  view.setBigUint64(FIELD.SIZE, BigInt(header.size));
  view.setUint32(FIELD.REFCOUNT_ORDER, header.refcountOrder);
  view.setUint32(FIELD.HEADER_LENGTH, SIZE_WITH_COMPRESSION);
  view.setUint8(FIELD.COMPRESSION_TYPE, COMPRESSIONS.indexOf(header.compression));
  if (name.length > 0) {
    view.setBigUint64(FIELD.BACKING_OFFSET, BigInt(nameAt));
    view.setUint32(FIELD.BACKING_SIZE, name.length);
    bytes.set(name, nameAt);
  }
  fillChanging(view, 0, header);
  let at: number = SIZE_WITH_COMPRESSION;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
