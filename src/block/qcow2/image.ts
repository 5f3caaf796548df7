/** A qcow2 image as a disk. */
import type { HostFile } from '../../iface/file.js';
import type { DiskImage, FilePlace, Unpack } from '../image.js';
import type { ClusterMap, Entry, Unit } from './clusters.js';
import { unpackCluster } from './compressed.js';
import type { Metadata } from './metadata.js';
import type { Table } from './table.js';

/** Unpacked clusters that are kept, in bytes. */
const UNPACKED = 2 ** 21;

export interface Qcow2Parts {
  readonly metadata: Metadata;
  /** Bytes of the disk: those of the header, or of an internal snapshot. */
  readonly size: number;
  readonly readOnly: boolean;
  readonly backing: DiskImage | undefined;
  readonly unpack: Unpack;
}

/** The part of a request that falls into one cluster: where in it, where in the request, how long. */
interface Part {
  readonly cluster: number;
  readonly entry: Entry;
  readonly within: number;
  readonly at: number;
  readonly length: number;
}

/** What becomes of a cluster when a request has succeeded, and what it was before. */
interface Change {
  readonly table: Table;
  readonly at: number;
  readonly before: Entry;
  /** Where it is then, in the file. */
  readonly offset: number;
  readonly allocated: number;
  readonly zeros: number;
}

/** A write under way: what lies in one piece in the file is written in one call. */
class WriteRequest {
  readonly changes: Change[] = [];
  private runOffset = 0;
  private runAt = 0;
  private runLength = 0;

  constructor(
    private readonly metadata: Metadata,
    readonly from: Uint8Array,
  ) {}

  /** To be written at an offset in the file: so many bytes of the request. */
  add(offset: number, at: number, length: number): void {
    if (this.runLength > 0 && this.runOffset + this.runLength === offset && this.runAt + this.runLength === at) {
      this.runLength += length;
      return;
    }
    this.send();
    this.runOffset = offset;
    this.runAt = at;
    this.runLength = length;
  }

  send(): void {
    if (this.runLength > 0)
      this.metadata.file.write(this.runOffset, this.from.subarray(this.runAt, this.runAt + this.runLength));
    this.runLength = 0;
  }

  /** The request failed: the guest's clusters stay what they were. */
  giveUp(): void {
    for (const { before, offset } of this.changes)
      if (offset !== before.offset) this.metadata.refcounts.giveUp(offset / this.metadata.clusterSize);
  }
}

/**
 * A qcow2 image, versions 2 and 3. Nothing that is allocated is visible in the file before `flush` (or `close`): see
 * metadata.ts.
 */
export class Qcow2Image implements DiskImage {
  readonly format = 'qcow2';
  readonly size: number;
  readonly readOnly: boolean;
  private readonly metadata: Metadata;
  private readonly file: HostFile;
  private readonly clusterSize: number;
  private readonly map: ClusterMap;
  /** Unpacked clusters by their offset in the file, the least recently used first. */
  private readonly unpacked = new Map<number, Uint8Array>();

  constructor(private readonly parts: Qcow2Parts) {
    const { metadata, size, readOnly } = parts;
    this.metadata = metadata;
    this.file = metadata.file;
    this.size = size;
    this.readOnly = readOnly;
    this.clusterSize = metadata.clusterSize;
    this.map = metadata.map;
  }

  get identity(): string {
    const { backing } = this.parts;
    return `qcow2:${this.file.identity}${backing ? `|${backing.identity}` : ''}`;
  }

  get files(): readonly string[] {
    return [this.file.name, ...(this.parts.backing?.files ?? [])];
  }

  private entry(cluster: number): Entry {
    const { perTable } = this.map;
    return this.map.entry(this.metadata.table(Math.floor(cluster / perTable)), cluster % perTable);
  }

  /** A unit by its number from the beginning of the disk. */
  private lookUp(unit: number): Unit {
    const { units } = this.map;
    return this.map.unit(this.entry(Math.floor(unit / units)), unit % units);
  }

  // ---- reading ----

  isZero(offset: number, length: number): boolean {
    const { unitSize } = this.map;
    const { backing } = this.parts;
    for (let unit = Math.floor(offset / unitSize); unit * unitSize < offset + length; unit++) {
      const { kind } = this.lookUp(unit);
      if (kind === 'zero' || (kind === 'unallocated' && !backing)) continue;
      if (kind !== 'unallocated' || !backing) return false;
      const start = Math.max(offset, unit * unitSize);
      // What lies beyond its end reads as zeros.
      const there = Math.min(offset + length, (unit + 1) * unitSize, backing.size) - start;
      if (there > 0 && backing.isZero?.(start, there) !== true) return false;
    }
    return true;
  }

  read(offset: number, into: Uint8Array): void {
    const { unitSize } = this.map;
    for (let at = 0; at < into.length;) {
      const place = offset + at;
      const unit = Math.floor(place / unitSize);
      const within = place % unitSize;
      const found = this.lookUp(unit);
      let length = Math.min(unitSize - within, into.length - at);
      // What goes on as it began is read at once.
      for (let next = unit + 1; at + length < into.length && this.goesOn(found, next, next - unit); next++)
        length = Math.min(length + unitSize, into.length - at);
      this.readPiece(found, place, within, into.subarray(at, at + length));
      at += length;
    }
  }

  locate(offset: number, length: number, writing: boolean): FilePlace | undefined {
    const { unitSize } = this.map;
    const first = Math.floor(offset / unitSize);
    const found = this.lookUp(first);
    if (found.kind !== 'data') return undefined;
    const last = Math.floor((offset + length - 1) / unitSize);
    for (let unit = first + 1; unit <= last; unit++) if (!this.goesOn(found, unit, unit - first)) return undefined;
    if (writing && !this.isOwn(offset, length)) return undefined;
    return { file: this.file, offset: found.offset + (offset % unitSize) };
  }

  /** Whether clusters that are allocated are this image's alone, and can be written where they are. */
  private isOwn(offset: number, length: number): boolean {
    this.metadata.checkUsable();
    for (let cluster = Math.floor(offset / this.clusterSize); cluster * this.clusterSize < offset + length; cluster++) {
      const entry = this.entry(cluster);
      if (!entry.own) return false;
      this.checkData(entry.offset);
    }
    return true;
  }

  /** Whether a unit, so many behind one that was found, is its continuation. */
  private goesOn(found: Unit, unit: number, distance: number): boolean {
    if (found.kind === 'compressed' || found.kind === 'invalid') return false;
    const next = this.lookUp(unit);
    if (next.kind !== found.kind) return false;
    return found.kind !== 'data' || (next as typeof found).offset === found.offset + distance * this.map.unitSize;
  }

  private readPiece(found: Unit, place: number, within: number, into: Uint8Array): void {
    switch (found.kind) {
      case 'unallocated':
        this.readBacking(place, into);
        break;
      case 'zero':
        into.fill(0);
        break;
      case 'data': {
        // What the file does not reach was never written.
        const count = this.file.read(found.offset + within, into);
        into.fill(0, count);
        break;
      }
      case 'compressed': {
        const start = place % this.clusterSize;
        into.set(this.unpack(found).subarray(start, start + into.length));
        break;
      }
      case 'invalid':
        throw this.metadata.damaged('an L2 entry leads nowhere');
    }
  }

  private readBacking(place: number, into: Uint8Array): void {
    const { backing } = this.parts;
    const there = backing ? Math.max(0, Math.min(into.length, backing.size - place)) : 0;
    if (there > 0) backing?.read(place, into.subarray(0, there));
    into.fill(0, there);
  }

  private unpack({ offset, length }: { readonly offset: number; readonly length: number }): Uint8Array {
    const known = this.unpacked.get(offset);
    if (known) return known;
    const data = new Uint8Array(length);
    const count = this.file.read(offset, data);
    const { compression } = this.metadata.header;
    let cluster: Uint8Array;
    try {
      const { clusterSize, parts } = this;
      cluster = unpackCluster(data.subarray(0, count), { compression, clusterSize, unpack: parts.unpack });
    } catch {
      throw this.metadata.damaged(`a compressed cluster at ${offset} cannot be unpacked`);
    }
    for (const [old] of this.unpacked) {
      if ((this.unpacked.size + 1) * this.clusterSize <= UNPACKED) break;
      this.unpacked.delete(old);
    }
    this.unpacked.set(offset, cluster);
    return cluster;
  }

  // ---- writing ----

  write(offset: number, from: Uint8Array): void {
    this.metadata.checkUsable();
    const request = new WriteRequest(this.metadata, from);
    try {
      for (let at = 0; at < from.length;) {
        const place = offset + at;
        const within = place % this.clusterSize;
        const length = Math.min(this.clusterSize - within, from.length - at);
        const cluster = Math.floor(place / this.clusterSize);
        this.writePart(request, { cluster, entry: this.entry(cluster), within, at, length });
        at += length;
      }
      request.send();
    } catch (error) {
      request.giveUp();
      throw error;
    }
    for (const { table, at, offset: host, allocated, zeros } of request.changes)
      this.map.set(table, at, host, allocated, zeros);
    // Last: it may find that the image lies about what is in use.
    for (const { before, offset: host } of request.changes) if (host !== before.offset) this.releaseOld(before);
    this.commitWhenFull();
  }

  /** Data must not be written over a table, whatever the tables say. */
  private checkData(offset: number): void {
    if (this.metadata.isTable(offset / this.clusterSize))
      throw this.metadata.damaged('a cluster of data is one of its tables');
    if (offset >= this.metadata.refcounts.high * this.clusterSize)
      throw this.metadata.damaged('a cluster of data lies behind the end of the file');
  }

  /** Writes a part over what is there already, or into units that come to be with it. */
  private writePart(request: WriteRequest, part: Part): void {
    const { cluster, entry, within, at, length } = part;
    const { map } = this;
    if (entry.invalid) throw this.metadata.damaged('an L2 entry leads nowhere');
    const inPlace = entry.offset !== 0 && entry.own;
    if (inPlace) this.checkData(entry.offset);
    const [first, last] = [Math.floor(within / map.unitSize), Math.floor((within + length - 1) / map.unitSize)];
    const touched = map.bits(first, last);
    if (inPlace && (touched & ~entry.allocated) === 0) {
      request.add(entry.offset + within, at, length);
      return;
    }
    this.metadata.ensureRoom();
    const table = this.metadata.tableForWrite(Math.floor(cluster / map.perTable));
    const fresh = inPlace ? undefined : this.metadata.refcounts.allocate('data');
    const offset = fresh ? fresh.cluster * this.clusterSize : entry.offset;
    request.changes.push({
      table,
      at: cluster % map.perTable,
      before: entry,
      offset,
      allocated: entry.compressed ? map.all : (entry.allocated | touched) >>> 0,
      zeros: entry.compressed ? 0 : (entry.zeros & ~touched) >>> 0,
    });
    // Whole units are written, unless what is around the part is there, or is zeros in the file as well.
    const [from, end] = entry.compressed
      ? [0, this.clusterSize]
      : [
          inPlace && entry.allocated & map.bits(first, first) ? within : first * map.unitSize,
          inPlace && entry.allocated & map.bits(last, last) ? within + length : (last + 1) * map.unitSize,
        ];
    const around = this.readsZero(cluster, entry, first) && this.readsZero(cluster, entry, last);
    if ((from === within && end === within + length) || (fresh?.zero && around))
      request.add(offset + within, at, length);
    else {
      const bytes = new Uint8Array(end - from);
      this.readOld(cluster, from, bytes.subarray(0, within - from));
      this.readOld(cluster, within + length, bytes.subarray(within + length - from));
      bytes.set(request.from.subarray(at, at + length), within - from);
      this.file.write(offset + from, bytes);
    }
    // Others of a cluster that was shared come along.
    if (fresh) this.copyUnits(cluster, (entry.allocated & ~touched) >>> 0, offset);
  }

  private copyUnits(cluster: number, which: number, offset: number): void {
    // Nearly always: a buffer for nothing would cost more than the write.
    if (which === 0) return;
    const { units, unitSize } = this.map;
    const bytes = new Uint8Array(unitSize);
    for (let unit = 0; unit < units && which >>> unit !== 0; unit++) {
      if (!((which >>> unit) & 1)) continue;
      bytes.fill(0);
      this.readOld(cluster, unit * unitSize, bytes);
      this.file.write(offset + unit * unitSize, bytes);
    }
  }

  /** What a cluster holds from some byte of it on. The disk may end within its last cluster. */
  private readOld(cluster: number, from: number, into: Uint8Array): void {
    const place = cluster * this.clusterSize + from;
    const there = Math.max(0, Math.min(into.length, this.size - place));
    if (there > 0) this.read(place, into.subarray(0, there));
  }

  /** Whether a unit is known to read as zeros. */
  private readsZero(cluster: number, entry: Entry, unit: number): boolean {
    const { kind } = this.map.unit(entry, unit);
    const place = cluster * this.clusterSize + unit * this.map.unitSize;
    return kind === 'zero' || (kind === 'unallocated' && place >= (this.parts.backing?.size ?? 0));
  }

  private releaseOld({ offset, compressed }: Entry): void {
    const { refcounts } = this.metadata;
    if (offset !== 0) refcounts.release(offset / this.clusterSize);
    if (!compressed) return;
    this.unpacked.delete(compressed.offset);
    const last = Math.floor((compressed.offset + compressed.length - 1) / this.clusterSize);
    for (let host = Math.floor(compressed.offset / this.clusterSize); host <= last; host++) refcounts.release(host);
  }

  private commitWhenFull(): void {
    if (this.metadata.full) this.metadata.commit();
  }

  // ---- giving up ----

  discard(offset: number, length: number): void {
    // Version 2 cannot say that a cluster hides what the backing file has.
    if (this.metadata.header.version === 2 && this.parts.backing) return;
    const first = Math.ceil(offset / this.clusterSize);
    this.clear(first, this.endCluster(offset + length));
    this.commitWhenFull();
  }

  writeZeroes(offset: number, length: number): void {
    const end = offset + length;
    const first = Math.ceil(offset / this.clusterSize);
    const last = this.endCluster(end);
    if (first >= last || (this.metadata.header.version === 2 && this.parts.backing)) {
      this.zeroPart(offset, end);
      return;
    }
    this.zeroPart(offset, first * this.clusterSize);
    this.clear(first, last);
    this.zeroPart(last * this.clusterSize, end);
    this.commitWhenFull();
  }

  /** The first cluster that does not lie wholly before an offset; the last of the disk may be short. */
  private endCluster(end: number): number {
    return end === this.size ? Math.ceil(end / this.clusterSize) : Math.floor(end / this.clusterSize);
  }

  /** Writes zeros where something else is. */
  private zeroPart(from: number, end: number): void {
    const { unitSize, units } = this.map;
    for (let at = from; at < end;) {
      const unit = Math.floor(at / unitSize);
      const cluster = Math.floor(unit / units);
      const stop = Math.min(end, (unit + 1) * unitSize);
      if (!this.readsZero(cluster, this.entry(cluster), unit % units)) this.write(at, new Uint8Array(stop - at));
      at = stop;
    }
  }

  /** Makes whole clusters read as zeros, and gives their places away. */
  private clear(first: number, end: number): void {
    const backed = this.parts.backing?.size ?? 0;
    for (let cluster = first; cluster < end;) {
      const index = Math.floor(cluster / this.map.perTable);
      const stop = Math.min(end, (index + 1) * this.map.perTable);
      const hides = cluster * this.clusterSize < backed;
      // Where there is no table, and nothing to hide, all is zeros already.
      if (hides || this.metadata.table(index)) this.clearInTable(index, cluster, stop);
      cluster = stop;
    }
  }

  private clearInTable(index: number, first: number, end: number): void {
    let table: Table | undefined;
    const backed = this.parts.backing?.size ?? 0;
    for (let cluster = first; cluster < end; cluster++) {
      const entry = this.entry(cluster);
      const zeros = cluster * this.clusterSize < backed ? this.map.all : 0;
      const { offset, compressed, invalid } = entry;
      if (offset === 0 && !compressed && !invalid && entry.zeros === zeros) continue;
      table ??= this.metadata.tableForWrite(index);
      this.releaseOld(entry);
      this.map.set(table, cluster % this.map.perTable, 0, 0, zeros);
    }
  }

  flush(): void {
    if (this.metadata.dirty) this.metadata.commit();
    else this.metadata.sync();
  }

  close(): void {
    try {
      if (!this.readOnly && this.metadata.dirty) this.metadata.commit();
    } finally {
      this.file.close();
      this.parts.backing?.close();
    }
  }
}
