/**
 * The snapshot file: named sections, each with a version of its own and a checksum. Numbers are little-endian.
 *
 * | where                | what                                                                                       |
 * | -------------------- | ------------------------------------------------------------------------------------------ |
 * | 0                    | header, 40 bytes: magic (8), container version (u32), u32 0, offset and length of the      |
 * |                      | section table (u64 each), CRC-32 of the table (u32), CRC-32 of the 36 bytes before (u32)   |
 * | 4096 …               | sections; one of memory begins at a multiple of 4096                                       |
 * | behind the sections  | section table: plain data (see plain-encoding.ts), `tableSchema`                           |
 *
 * A section of plain data is its encoding, compressed. A section of memory is the compressed pages of each chunk of
 * 1 MiB, one behind the other, without pages of zeros; which pages there are stands in a plain section `<name>.index`. Or it
 * is memory as it is, to be mapped instead of being read, with holes where it is zero and no checksums: then `<name>.map`
 * says which pages there are. The header is written last, so a file that was not finished is none.
 *
 * Whoever reads checks everything against what it says of itself: a file comes from anywhere.
 */
import { assert } from '../base/assert.js';
import { MIB, PAGE_SIZE } from '../base/units.js';
import { isZero } from '../base/zeros.js';
import { decodePlain, encodePlain } from './plain-encoding.js';
import { array, bytes, int, range, SchemaError, str, struct, u32, type Infer, type Plain } from './schema.js';
import { SnapshotError } from './snapshot-error.js';

/** "VITRINE" and an end of file for terminals (Ctrl-Z), so that nobody's text is a snapshot. */
const MAGIC = Uint8Array.of(0x56, 0x49, 0x54, 0x52, 0x49, 0x4e, 0x45, 0x1a);
/** Counts changes of the container's form. */
export const CONTAINER_VERSION = 1;
const HEADER_SIZE = 40;
const FIRST_SECTION = PAGE_SIZE;
const CHUNK_SIZE = MIB;
const CHUNK_PAGES = CHUNK_SIZE / PAGE_SIZE;
/** Of plain data in one section, unpacked: more than any kernel with its initrd. */
const MAX_PLAIN = 1024 * MIB;
const MAX_SECTIONS = 4096;

/** Where a snapshot is written: a file, or a buffer. */
export interface SnapshotTarget {
  write(offset: number, bytes: Uint8Array): void;
}

/** Where a snapshot is read. */
export interface SnapshotSource {
  /** How messages call it. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** Exactly `length` bytes, which lie within `size`. */
  read(offset: number, length: number): Uint8Array;
  /**
   * Puts whole pages of the file in the place of memory, which from then on has copies of its own of what is written; the
   * file must never change. False: that cannot be had here.
   */
  map?(offset: number, into: Uint8Array): boolean;
}

/** A lossless compression: zlib's deflate wherever there is one. */
export interface Codec {
  readonly name: string;
  compress(data: Uint8Array): Uint8Array;
  /** Exactly `length` bytes; throws when the data gives anything else. Must never allocate much more than that. */
  decompress(data: Uint8Array, length: number): Uint8Array;
  /** CRC-32 (ISO 3309) by the fastest way there is, unsigned. */
  readonly crc32: (data: Uint8Array) => number;
}

/** What is read again by the same process is not compressed; its checksums are a codec's. */
export const uncompressed = ({ crc32 }: Codec): Codec => ({
  name: 'none',
  compress: (data) => data,
  decompress: (data, length) => {
    if (data.length !== length) throw new Error(`it has ${data.length} bytes, not ${length}`);
    return data;
  },
  crc32,
});

const sectionSchema = struct({
  name: str,
  version: u32,
  offset: int,
  /** Bytes in the file, and unpacked. */
  stored: int,
  length: int,
  /** Of the bytes in the file; 0 for memory, whose chunks have their own. */
  checksum: u32,
});
type Section = Infer<typeof sectionSchema>;

const tableSchema = struct({ codec: str, sections: array(sectionSchema, { max: MAX_SECTIONS }) });

const memoryIndexSchema = struct({
  size: int,
  chunks: array(
    struct({
      /** Place in memory, in chunks. */
      chunk: int,
      /** A bit for each page that is there. */
      pages: bytes(CHUNK_PAGES / 8),
      stored: range(0, 2 * CHUNK_SIZE),
      checksum: u32,
    }),
    { max: 2 ** 24 },
  ),
});
type MemoryIndex = Infer<typeof memoryIndexSchema>;

/** Of memory that is in the file as it is: a bit for each page that is there. */
const memoryMapSchema = struct({ size: int, pages: bytes() });

const indexName = (name: string): string => `${name}.index`;
const mapName = (name: string): string => `${name}.map`;
const hasPage = (pages: Uint8Array, page: number): boolean => ((pages[page >> 3] >> (page & 7)) & 1) !== 0;

export class SnapshotWriter {
  private readonly sections: Section[] = [];
  private end = FIRST_SECTION;

  constructor(
    private readonly target: SnapshotTarget,
    private readonly codec: Codec,
  ) {}

  private append(data: Uint8Array): void {
    this.target.write(this.end, data);
    this.end += data.length;
  }

  /** Adds a section of plain data. Names are unique; the version is that of the data's shape. */
  add(name: string, version: number, value: Plain): void {
    assert(!this.sections.some((section) => section.name === name), `two parts of the machine are called ${name}`);
    const data = encodePlain(value);
    const packed = this.codec.compress(data);
    const section = { name, version, offset: this.end, stored: packed.length, length: data.length };
    this.sections.push({ ...section, checksum: this.codec.crc32(packed) });
    this.append(packed);
  }

  /** Adds memory, whose size is a multiple of the page size. */
  addMemory(name: string, version: number, memory: Uint8Array): void {
    assert(memory.length % PAGE_SIZE === 0, 'memory is whole pages');
    this.end = Math.ceil(this.end / PAGE_SIZE) * PAGE_SIZE;
    const offset = this.end;
    const chunks: MemoryIndex['chunks'] = [];
    const buffer = new Uint8Array(CHUNK_SIZE);
    for (let chunk = 0; chunk * CHUNK_SIZE < memory.length; chunk++) {
      const pages = new Uint8Array(CHUNK_PAGES / 8);
      const start = chunk * CHUNK_SIZE;
      const used = gatherPages(memory.subarray(start, start + CHUNK_SIZE), buffer, pages);
      if (used === 0) continue;
      const packed = this.codec.compress(buffer.subarray(0, used));
      chunks.push({ chunk, pages, stored: packed.length, checksum: this.codec.crc32(packed) });
      this.append(packed);
    }
    this.sections.push({ name, version, offset, stored: this.end - offset, length: memory.length, checksum: 0 });
    this.add(indexName(name), version, { size: memory.length, chunks });
  }

  /** Adds memory as it is, for whoever maps it. */
  addMappedMemory(name: string, version: number, memory: Uint8Array): void {
    assert(memory.length % PAGE_SIZE === 0, 'memory is whole pages');
    this.end = Math.ceil(this.end / PAGE_SIZE) * PAGE_SIZE;
    const offset = this.end;
    const count = memory.length / PAGE_SIZE;
    const pages = new Uint8Array(Math.ceil(count / 8));
    for (let page = 0, start = 0; page <= count; page++) {
      const there = page < count && !isZero(memory.subarray(page * PAGE_SIZE, (page + 1) * PAGE_SIZE));
      if (there) {
        pages[page >> 3] |= 1 << (page & 7);
        continue;
      }
      if (page > start)
        this.target.write(offset + start * PAGE_SIZE, memory.subarray(start * PAGE_SIZE, page * PAGE_SIZE));
      start = page + 1;
    }
    this.end += memory.length;
    this.sections.push({ name, version, offset, stored: memory.length, length: memory.length, checksum: 0 });
    this.add(mapName(name), version, { size: memory.length, pages });
  }

  /** Writes the table and the header: from now on the file is a snapshot. */
  finish(): void {
    const table = encodePlain({ codec: this.codec.name, sections: this.sections });
    const header = new Uint8Array(HEADER_SIZE);
    const view = new DataView(header.buffer);
    header.set(MAGIC);
    view.setUint32(8, CONTAINER_VERSION, true);
    view.setBigUint64(16, BigInt(this.end), true);
    view.setBigUint64(24, BigInt(table.length), true);
    view.setUint32(32, this.codec.crc32(table), true);
    view.setUint32(36, this.codec.crc32(header.subarray(0, 36)), true);
    this.append(table);
    this.target.write(0, header);
  }
}

/** Copies the pages that are not all zeros behind each other, and marks them. Returns how many bytes those are. */
function gatherPages(memory: Uint8Array, into: Uint8Array, pages: Uint8Array): number {
  let used = 0;
  for (let page = 0; page * PAGE_SIZE < memory.length; page++) {
    const bytes = memory.subarray(page * PAGE_SIZE, (page + 1) * PAGE_SIZE);
    if (isZero(bytes)) continue;
    pages[page >> 3] |= 1 << (page & 7);
    into.set(bytes, used);
    used += PAGE_SIZE;
  }
  return used;
}

export class SnapshotReader {
  private readonly sections: ReadonlyMap<string, Section>;
  private readonly codec: Codec;

  /** With the compression that is known. Throws a `SnapshotError` of one line when the file is no snapshot that can be read. */
  constructor(
    private readonly source: SnapshotSource,
    private readonly known: Codec,
  ) {
    const { sections, codec } = this.guard(() => this.readTable());
    this.codec = this.guard(() => {
      const found = [known, uncompressed(known)].find(({ name }) => name === codec);
      if (!found) throw new SchemaError(`it is compressed with ${codec}`);
      return found;
    });
    this.sections = new Map(sections.map((section) => [section.name, section]));
  }

  /** Names the file in whatever is wrong with it. */
  private guard<T>(work: () => T): T {
    try {
      return work();
    } catch (cause) {
      if (!(cause instanceof SchemaError)) throw cause;
      throw new SnapshotError(`the snapshot ${this.source.name} is damaged: ${cause.message}`, { cause });
    }
  }

  private readTable(): Infer<typeof tableSchema> {
    const { name, size } = this.source;
    if (size === 0) throw new SnapshotError(`the snapshot ${name} is empty`);
    const header = size < HEADER_SIZE ? undefined : this.source.read(0, HEADER_SIZE);
    if (!header || !MAGIC.every((byte, i) => header[i] === byte))
      throw new SnapshotError(`${name} is not a snapshot of a machine`);
    const view = new DataView(header.buffer, header.byteOffset, header.length);
    const version = view.getUint32(8, true);
    if (version > CONTAINER_VERSION)
      throw new SnapshotError(
        `the snapshot ${name} is of a newer version than this Vitrine reads (${version}; at most ${CONTAINER_VERSION})`,
      );
    if (view.getUint32(36, true) !== this.known.crc32(header.subarray(0, 36)))
      throw new SchemaError('its header is wrong');
    const offset = Number(view.getBigUint64(16, true));
    const length = Number(view.getBigUint64(24, true));
    if (offset + length > size)
      throw new SnapshotError(`the snapshot ${name} is truncated: it has ${size} of ${offset + length} bytes`);
    if (offset + length < size) throw new SchemaError('something follows its end');
    const data = this.source.read(offset, length);
    if (this.known.crc32(data) !== view.getUint32(32, true)) throw new SchemaError('its table of contents is wrong');
    const table = tableSchema.check(decodePlain(data), 'contents');
    for (const section of table.sections) this.checkSection(section);
    if (new Set(table.sections.map((section) => section.name)).size !== table.sections.length)
      throw new SchemaError('a section is there twice');
    return table;
  }

  private checkSection({ name, offset, stored, length }: Section): void {
    if (offset < FIRST_SECTION || stored < 0 || length < 0 || offset + stored > this.source.size)
      throw new SchemaError(`the section ${name} lies outside`);
  }

  /** Names of all sections of plain data and memory, in the order they were written. */
  get names(): readonly string[] {
    return [...this.sections.keys()];
  }

  /** A section of plain data; undefined when there is none of that name. */
  find(name: string): { readonly version: number; readonly value: Plain } | undefined {
    return this.guard(() => {
      const section = this.sections.get(name);
      if (section === undefined) return undefined;
      if (section.length > MAX_PLAIN) throw new SchemaError(`the section ${name} is too large`);
      const data = this.unpack(name, section, section.length);
      return { version: section.version, value: decodePlain(data) };
    });
  }

  private unpack(
    name: string,
    place: { readonly offset: number; readonly stored: number; readonly checksum: number },
    length: number,
  ): Uint8Array {
    const packed = this.source.read(place.offset, place.stored);
    if (this.codec.crc32(packed) !== place.checksum) throw new SchemaError(`the checksum of ${name} is wrong`);
    try {
      return this.codec.decompress(packed, length);
    } catch (cause) {
      throw new SchemaError(`${name} does not unpack`, { cause });
    }
  }

  /** Bytes of a section of memory, as it says; undefined when there is none of that name. */
  memorySize(name: string): number | undefined {
    return this.sections.has(indexName(name)) || this.sections.has(mapName(name))
      ? this.sections.get(name)?.length
      : undefined;
  }

  /** Fills memory of exactly the size that was saved, and which is all zeros. Returns the section's version. */
  readMemory(name: string, into: Uint8Array): number {
    return this.guard(() => {
      const section = this.sections.get(name);
      const map = this.find(mapName(name));
      if (section !== undefined && map !== undefined) return this.readMapped(section, map.value, into);
      const found = this.find(indexName(name));
      if (section === undefined || found === undefined) throw new SchemaError(`there is no ${name}`);
      const index = memoryIndexSchema.check(found.value, indexName(name));
      if (index.size !== into.length || section.length !== into.length)
        throw new SchemaError(`${name} has ${index.size} bytes, not ${into.length}`);
      let { offset } = section;
      let last = -1;
      for (const { chunk, pages, stored, checksum } of index.chunks) {
        const memory = into.subarray(chunk * CHUNK_SIZE, (chunk + 1) * CHUNK_SIZE);
        const present = Array.from({ length: CHUNK_PAGES }, (_, page) => page).filter((page) => hasPage(pages, page));
        const beyond = (present.at(-1) ?? 0) * PAGE_SIZE >= memory.length;
        if (chunk <= last || beyond || offset + stored > section.offset + section.stored)
          throw new SchemaError(`the pages of ${name} are not as they should be`);
        const data = this.unpack(name, { offset, stored, checksum }, present.length * PAGE_SIZE);
        present.forEach((page, i) => memory.set(data.subarray(i * PAGE_SIZE, (i + 1) * PAGE_SIZE), page * PAGE_SIZE));
        offset += stored;
        last = chunk;
      }
      return section.version;
    });
  }

  private readMapped(section: Section, value: Plain, into: Uint8Array): number {
    const { size, pages } = memoryMapSchema.check(value, mapName(section.name));
    const count = size / PAGE_SIZE;
    if (
      size !== into.length ||
      section.length !== size ||
      section.stored !== size ||
      pages.length !== Math.ceil(count / 8)
    )
      throw new SchemaError(`${section.name} has ${size} bytes, not ${into.length}`);
    if (this.source.map?.(section.offset, into) === true) return section.version;
    for (let page = 0, start = 0; page <= count; page++) {
      if (page < count && hasPage(pages, page)) continue;
      const length = (page - start) * PAGE_SIZE;
      if (length > 0) into.set(this.source.read(section.offset + start * PAGE_SIZE, length), start * PAGE_SIZE);
      start = page + 1;
    }
    return section.version;
  }
}
