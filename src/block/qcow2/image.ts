/** A qcow2 image as a disk. */
import type { HostFile } from '../../iface/file.js';
import { type DiskImage, type Unpack } from '../image.js';
import { clusterOf, type Cluster } from './clusters.js';
import { unpackCluster } from './compressed.js';
import type { Metadata } from './metadata.js';
import { COPIED_HIGH, ZERO_LOW, type Table } from './table.js';

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
  readonly found: Cluster;
  readonly within: number;
  readonly at: number;
  readonly length: number;
}

/** A cluster that a request has taken, and what the guest's cluster was before. */
interface Allocated {
  readonly table: Table;
  readonly entry: number;
  readonly host: number;
  readonly found: Cluster;
}

/** A write under way: what lies in one piece in the file is written in one call. */
class WriteRequest {
  readonly allocated: Allocated[] = [];
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
    for (const { host } of this.allocated) this.metadata.refcounts.release(host);
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
  private readonly clusterBits: number;
  private readonly perTable: number;
  /** Unpacked clusters by their offset in the file, the least recently used first. */
  private readonly unpacked = new Map<number, Uint8Array>();

  constructor(private readonly parts: Qcow2Parts) {
    const { metadata, size, readOnly } = parts;
    this.metadata = metadata;
    this.file = metadata.file;
    this.size = size;
    this.readOnly = readOnly;
    this.clusterSize = metadata.clusterSize;
    this.clusterBits = metadata.header.clusterBits;
    this.perTable = this.clusterSize / 8;
  }

  get identity(): string {
    const { backing } = this.parts;
    return `qcow2:${this.file.identity}${backing ? `|${backing.identity}` : ''}`;
  }

  private lookUp(cluster: number): Cluster {
    const table = this.metadata.table(Math.floor(cluster / this.perTable));
    return clusterOf(table, cluster % this.perTable, this.clusterBits, this.metadata.header.version);
  }

  // ---- reading ----

  read(offset: number, into: Uint8Array): void {
    for (let at = 0; at < into.length;) {
      const place = offset + at;
      const cluster = Math.floor(place / this.clusterSize);
      const within = place % this.clusterSize;
      const found = this.lookUp(cluster);
      let length = Math.min(this.clusterSize - within, into.length - at);
      // What goes on as it began is read at once.
      for (let next = cluster + 1; at + length < into.length && this.goesOn(found, next, next - cluster); next++)
        length = Math.min(length + this.clusterSize, into.length - at);
      this.readPiece(found, place, within, into.subarray(at, at + length));
      at += length;
    }
  }

  /** Whether a cluster, so many behind one that was found, is its continuation. */
  private goesOn(found: Cluster, cluster: number, distance: number): boolean {
    if (found.kind === 'compressed' || found.kind === 'invalid') return false;
    const next = this.lookUp(cluster);
    if (next.kind !== found.kind) return false;
    return found.kind !== 'data' || (next as typeof found).offset === found.offset + distance * this.clusterSize;
  }

  private readPiece(found: Cluster, place: number, within: number, into: Uint8Array): void {
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
      case 'compressed':
        into.set(this.unpack(found).subarray(within, within + into.length));
        break;
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
        const found = this.lookUp(cluster);
        if (found.kind === 'data' && found.own) {
          this.checkData(found.offset);
          request.add(found.offset + within, at, length);
        } else this.allocate(request, { cluster, found, within, at, length });
        at += length;
      }
      request.send();
    } catch (error) {
      request.giveUp();
      throw error;
    }
    for (const { table, entry, host } of request.allocated)
      table.setOffset(entry, COPIED_HIGH, host * this.clusterSize);
    // Last: it may find that the image lies about what is in use.
    for (const { found } of request.allocated) this.releaseOld(found);
    this.commitWhenFull();
  }

  /** Data must not be written over a table, whatever the tables say. */
  private checkData(offset: number): void {
    if (this.metadata.isTable(offset / this.clusterSize))
      throw this.metadata.damaged('a cluster of data is one of its tables');
    if (offset >= this.metadata.refcounts.high * this.clusterSize)
      throw this.metadata.damaged('a cluster of data lies behind the end of the file');
  }

  /** Finds a cluster a place of its own, for a part of a request. */
  private allocate(request: WriteRequest, part: Part): void {
    const { cluster, found, within, at, length } = part;
    const table = this.metadata.tableForWrite(Math.floor(cluster / this.perTable));
    const whole = length === this.clusterSize;
    const old = whole || this.readsZero(found, cluster) ? undefined : this.readCluster(found, cluster);
    const { cluster: host, zero } = this.metadata.refcounts.allocate('data');
    request.allocated.push({ table, entry: cluster % this.perTable, host, found });
    const offset = host * this.clusterSize;
    if (whole || (zero && !old)) request.add(offset + within, at, length);
    else {
      const all = old ?? new Uint8Array(this.clusterSize);
      all.set(request.from.subarray(at, at + length), within);
      this.file.write(offset, all);
    }
  }

  /** Whether a cluster is known to read as zeros. */
  private readsZero(found: Cluster, cluster: number): boolean {
    if (found.kind === 'zero') return true;
    return found.kind === 'unallocated' && cluster * this.clusterSize >= (this.parts.backing?.size ?? 0);
  }

  private readCluster(found: Cluster, cluster: number): Uint8Array {
    const all = new Uint8Array(this.clusterSize);
    const place = cluster * this.clusterSize;
    // The disk may end within its last cluster.
    this.readPiece(found, place, 0, all.subarray(0, Math.min(this.clusterSize, this.size - place)));
    return all;
  }

  private releaseOld(found: Cluster): void {
    const { refcounts } = this.metadata;
    if ((found.kind === 'data' || found.kind === 'zero') && found.offset !== 0)
      refcounts.release(found.offset / this.clusterSize);
    if (found.kind !== 'compressed') return;
    this.unpacked.delete(found.offset);
    const last = Math.floor((found.offset + found.length - 1) / this.clusterSize);
    for (let host = Math.floor(found.offset / this.clusterSize); host <= last; host++) refcounts.release(host);
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
    for (let at = from; at < end;) {
      const cluster = Math.floor(at / this.clusterSize);
      const stop = Math.min(end, (cluster + 1) * this.clusterSize);
      if (!this.readsZero(this.lookUp(cluster), cluster)) this.write(at, new Uint8Array(stop - at));
      at = stop;
    }
  }

  /** Makes whole clusters read as zeros, and gives their places away. */
  private clear(first: number, end: number): void {
    const backed = this.parts.backing?.size ?? 0;
    for (let cluster = first; cluster < end;) {
      const index = Math.floor(cluster / this.perTable);
      const stop = Math.min(end, (index + 1) * this.perTable);
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
      const found = this.lookUp(cluster);
      const hides = cluster * this.clusterSize < backed;
      if (hides ? found.kind === 'zero' && found.offset === 0 : found.kind === 'unallocated') continue;
      table ??= this.metadata.tableForWrite(index);
      this.releaseOld(found);
      table.set(cluster % this.perTable, 0, hides ? ZERO_LOW : 0);
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
