import type { Gpa } from '../../base/units.js';
import {
  backingPieces,
  movePieces,
  type BackingMemory,
  type Dma,
  type MemorySlot,
  type Pieces,
} from '../../iface/guest-memory.js';
import { bulkMemory, type BulkMemory } from './bulk-memory.js';

/** Bytes from which on it pays to ask where they lie. */
const LEAST = 1024;

/** What a SlotDma has to do with. */
export interface SlotMemory extends BackingMemory {
  /** The backing is a part of it. */
  readonly memory: WebAssembly.Memory;
  /** Is told of every range of the backing that a device changed. */
  readonly written: (offset: number, length: number) => void;
  /** Of another thread, where that sets them. */
  readonly slots?: () => readonly MemorySlot[];
}

/** Device access to guest memory through the slots, with decoded code kept right. */
export class SlotDma implements Dma {
  private ownSlots: readonly MemorySlot[] = [];
  private readonly word = new Int32Array(new SharedArrayBuffer(4));
  private readonly scratch = new Uint8Array(8);
  private readonly scratchView = new DataView(this.scratch.buffer);
  private readonly view: DataView;
  private readonly backing: Uint8Array;
  private readonly written: SlotMemory['written'];
  /** The whole memory, and where the backing begins in it. */
  private readonly buffer: ArrayBufferLike;
  private readonly base: number;
  private bulkOperations: BulkMemory | undefined;
  /** Where the last address was, unless another thread may change the slots. */
  private lastSlot: MemorySlot | undefined;
  /** What was last copied from or to, and where it begins in the memory; negative: it is no part of that. */
  private last: { readonly bytes: Uint8Array; readonly at: number } | undefined;

  constructor(private readonly parts: SlotMemory) {
    const { backing, written } = parts;
    this.backing = backing;
    this.written = written;
    this.buffer = backing.buffer;
    this.base = backing.byteOffset;
    this.view = new DataView(backing.buffer, backing.byteOffset, backing.length);
  }

  setSlots(slots: readonly MemorySlot[]): void {
    this.ownSlots = slots;
    this.lastSlot = undefined;
  }

  private get slots(): readonly MemorySlot[] {
    return this.parts.slots?.() ?? this.ownSlots;
  }

  private slotAt(address: number): MemorySlot | undefined {
    const last = this.lastSlot;
    if (last !== undefined && address >= last.start && address < last.start + last.size) return last;
    const found = this.slots.find(({ start, size }) => address >= start && address < start + size);
    if (!this.parts.slots) this.lastSlot = found;
    return found;
  }

  /** Where a range lies in the backing if all of it does, in one slot of that kind or any: nearly always. Negative: it does not. */
  private nearAt(from: number, length: number, kind?: 'ram'): number {
    const slot = this.slotAt(from);
    if (slot === undefined || from + length > slot.start + slot.size || (kind ?? slot.kind) !== slot.kind) return -1;
    const offset = slot.offset + (from - slot.start);
    return offset + length <= this.backing.length ? offset : -1;
  }

  /** Calls `visit` for each piece of a range: in a slot, or outside all (undefined). False when any part was outside. */
  private walk(
    from: number,
    length: number,
    visit: (done: number, count: number, slot: MemorySlot | undefined, offset: number) => void,
  ): boolean {
    let complete = true;
    for (let done = 0; done < length;) {
      const address = from + done;
      const slot = this.slotAt(address);
      if (slot === undefined) {
        const next = Math.min(
          ...this.slots.map((s) => s.start as number).filter((start) => start > address),
          from + length,
        );
        visit(done, next - address, undefined, 0);
        done = next - from;
        complete = false;
        continue;
      }
      const count = Math.min(length - done, slot.start + slot.size - address);
      visit(done, count, slot, slot.offset + (address - slot.start));
      done += count;
    }
    return complete;
  }

  /** Where bytes that are worth the question begin in the memory; negative: elsewhere. Most often they are those of the time before. */
  private placeOf(bytes: Uint8Array, length: number): number {
    if (length < LEAST) return -1;
    if (this.last?.bytes !== bytes) this.last = { bytes, at: bytes.buffer === this.buffer ? bytes.byteOffset : -1 };
    return this.last.at;
  }

  private get bulk(): BulkMemory {
    return (this.bulkOperations ??= bulkMemory(this.parts.memory));
  }

  read(from: Gpa, bytes: Uint8Array, begin = 0, length = bytes.length - begin): boolean {
    const near = this.nearAt(from, length);
    if (near >= 0) {
      const place = this.placeOf(bytes, length);
      if (place >= 0) this.bulk.copy(place + begin, this.base + near, length);
      else bytes.set(this.backing.subarray(near, near + length), begin);
      return true;
    }
    const into = bytes.subarray(begin, begin + length);
    return this.walk(from, length, (done, count, slot, offset) => {
      if (!slot) into.fill(0xff, done, done + count);
      else if (offset < this.backing.length) into.set(this.backing.subarray(offset, offset + count), done);
      else {
        let at = done;
        for (const piece of backingPieces(this.parts, offset, count)) {
          into.set(piece, at);
          at += piece.length;
        }
      }
    });
  }

  write(to: Gpa, all: Uint8Array, begin = 0, length = all.length - begin): boolean {
    const near = this.nearAt(to, length, 'ram');
    if (near >= 0) {
      const place = this.placeOf(all, length);
      if (place >= 0) this.bulk.copy(this.base + near, place + begin, length);
      else this.backing.set(length === all.length ? all : all.subarray(begin, begin + length), near);
      this.written(near, length);
      return true;
    }
    const bytes = all.subarray(begin, begin + length);
    return this.walk(to, length, (done, count, slot, offset) => {
      if (slot?.kind !== 'ram') return;
      if (offset < this.backing.length) this.backing.set(bytes.subarray(done, done + count), offset);
      else {
        let at = done;
        for (const piece of backingPieces(this.parts, offset, count)) {
          piece.set(bytes.subarray(at, at + piece.length));
          at += piece.length;
        }
      }
      this.written(offset, count);
    });
  }

  zero(at: Gpa, length: number): boolean {
    const near = this.nearAt(at, length, 'ram');
    if (near < 0) return this.write(at, new Uint8Array(length));
    this.bulk.fill(this.base + near, 0, length);
    this.written(near, length);
    return true;
  }

  readPieces(from: Pieces, offset: number, into: Uint8Array): boolean {
    return movePieces(from, offset, into.length, (at, begin, count) => this.read(at, into, begin, count));
  }

  writePieces(to: Pieces, offset: number, bytes: Uint8Array): boolean {
    return movePieces(to, offset, bytes.length, (at, begin, count) => this.write(at, bytes, begin, count));
  }

  zeroPieces(pieces: Pieces, offset: number, length: number): boolean {
    return movePieces(pieces, offset, length, (at, _, count) => this.zero(at, count));
  }

  /** Little-endian bytes at the beginning of what it answers. */
  private fetch(from: Gpa, length: number): DataView {
    this.read(from, this.scratch.subarray(0, length));
    return this.scratchView;
  }

  readU16(from: Gpa): number {
    const near = this.nearAt(from, 2);
    return near >= 0 ? this.view.getUint16(near, true) : this.fetch(from, 2).getUint16(0, true);
  }
  readU32(from: Gpa): number {
    const near = this.nearAt(from, 4);
    return near >= 0 ? this.view.getUint32(near, true) : this.fetch(from, 4).getUint32(0, true);
  }
  readU64(from: Gpa): bigint {
    const near = this.nearAt(from, 8);
    return near >= 0 ? this.view.getBigUint64(near, true) : this.fetch(from, 8).getBigUint64(0, true);
  }
  writeU16(to: Gpa, value: number): void {
    this.scratchView.setUint16(0, value, true);
    this.write(to, this.scratch.subarray(0, 2));
  }
  writeU32(to: Gpa, value: number): void {
    this.scratchView.setUint32(0, value, true);
    this.write(to, this.scratch.subarray(0, 4));
  }
  writeU64(to: Gpa, value: bigint): void {
    this.scratchView.setBigUint64(0, value, true);
    this.write(to, this.scratch.subarray(0, 8));
  }

  fence(): void {
    // An atomic access is one.
    Atomics.or(this.word, 0, 0);
  }
}
