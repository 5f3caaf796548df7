import { GSO, type FrameInfo, type Gso } from '../iface/net.js';

/** 32-bit words at the start of a ring. */
const WORD = {
  /** Bytes written and read so far, modulo 2**32. */
  HEAD: 0,
  TAIL: 4,
  /** Not 0: the reader sleeps, and is to be woken by the writer. */
  READER_SLEEPS: 8,
  /** Not 0: the writer waits for room. */
  WRITER_WAITS: 12,
  /** What the reader takes, for the writer to know: `OFFLOAD`. */
  OFFLOADS: 13,
  /** Bytes of data behind these words begin here. */
  COUNT: 16,
} as const;

/** Bits of the offloads that a reader takes. */
export const OFFLOAD = { CHECKSUM: 1, TCP4: 2, TCP6: 4 } as const;

/** A record: length, gso | segment size << 16, checksum start | offset << 16; then the frame, padded to 16 bytes. */
const RECORD = 16;
/** In place of a length: the rest of the ring is unused. */
const SKIP = 0xffff_ffff;

const BYTES_OF_WORDS = WORD.COUNT * 4;

const padded = (length: number): number => RECORD + ((length + 15) & ~15);

/**
 * A ring of frames in shared memory, with one writer and one reader on different threads. A frame lies in one piece, so
 * that it is copied once by who sends it and read in place by who receives it.
 */
export class FrameRing {
  private readonly words: Int32Array;
  private readonly data: Uint8Array;
  private readonly view: DataView;
  private readonly size: number;
  private reservedAt = 0;
  private reservedLength = 0;
  private takenLength = 0;

  /** `shared` was made by `create`. */
  constructor(readonly shared: SharedArrayBuffer) {
    this.words = new Int32Array(shared, 0, WORD.COUNT);
    this.data = new Uint8Array(shared, BYTES_OF_WORDS);
    this.view = new DataView(shared, BYTES_OF_WORDS);
    this.size = this.data.length;
  }

  /** `size` in bytes, a power of two, several times the longest frame. */
  static create(size: number): FrameRing {
    return new FrameRing(new SharedArrayBuffer(BYTES_OF_WORDS + size));
  }

  // ---- the writer ----

  /** Room for a frame, to be filled and committed; undefined: there is none. */
  reserve(length: number): Uint8Array | undefined {
    const head = Atomics.load(this.words, WORD.HEAD) >>> 0;
    const at = head & (this.size - 1);
    const need = padded(length);
    const skip = at + need > this.size ? this.size - at : 0;
    const used = (head - (Atomics.load(this.words, WORD.TAIL) >>> 0)) >>> 0;
    if (used + skip + need > this.size) return undefined;
    if (skip > 0) {
      this.view.setUint32(at, SKIP, true);
      Atomics.store(this.words, WORD.HEAD, (head + skip) | 0);
    }
    this.reservedAt = skip > 0 ? 0 : at;
    this.reservedLength = length;
    return this.data.subarray(this.reservedAt + RECORD, this.reservedAt + RECORD + length);
  }

  commit(info: FrameInfo): void {
    const { view, reservedAt: at, reservedLength: length } = this;
    view.setUint32(at, length, true);
    view.setUint32(at + 4, (info.gso | (info.segmentSize << 16)) >>> 0, true);
    view.setUint32(at + 8, (info.checksumStart | (info.checksumOffset << 16)) >>> 0, true);
    Atomics.add(this.words, WORD.HEAD, padded(length));
  }

  /** Whether the reader sleeps and is to be woken; then it counts as awake. */
  takeSleeper(): boolean {
    return (
      Atomics.load(this.words, WORD.READER_SLEEPS) !== 0 && Atomics.exchange(this.words, WORD.READER_SLEEPS, 0) !== 0
    );
  }

  /** The writer found no room and wants to be told. Look again afterwards. */
  waitForRoom(): void {
    Atomics.store(this.words, WORD.WRITER_WAITS, 1);
  }

  /** What the reader takes. */
  get offloads(): number {
    return Atomics.load(this.words, WORD.OFFLOADS);
  }

  // ---- the reader ----

  get isEmpty(): boolean {
    return Atomics.load(this.words, WORD.HEAD) === Atomics.load(this.words, WORD.TAIL);
  }

  /** The next frame, valid until `release`. */
  peek(): { readonly frame: Uint8Array; readonly info: FrameInfo } | undefined {
    for (;;) {
      const tail = Atomics.load(this.words, WORD.TAIL) >>> 0;
      if (tail === Atomics.load(this.words, WORD.HEAD) >>> 0) return undefined;
      const at = tail & (this.size - 1);
      const length = this.view.getUint32(at, true);
      if (length === SKIP) {
        Atomics.store(this.words, WORD.TAIL, (tail + this.size - at) | 0);
        continue;
      }
      const segmentation = this.view.getUint32(at + 4, true);
      const checksum = this.view.getUint32(at + 8, true);
      this.takenLength = padded(length);
      const gso = segmentation & 0xffff;
      return {
        frame: this.data.subarray(at + RECORD, at + RECORD + length),
        info: {
          gso: gso === GSO.TCP4 || gso === GSO.TCP6 ? (gso satisfies Gso) : GSO.NONE,
          segmentSize: segmentation >>> 16,
          checksumStart: checksum & 0xffff,
          checksumOffset: checksum >>> 16,
        },
      };
    }
  }

  release(): void {
    Atomics.add(this.words, WORD.TAIL, this.takenLength);
  }

  /** Whether the writer waits for room, of which there is plenty again; then it counts as told. */
  takeWaiter(): boolean {
    if (Atomics.load(this.words, WORD.WRITER_WAITS) === 0) return false;
    const used = (Atomics.load(this.words, WORD.HEAD) - Atomics.load(this.words, WORD.TAIL)) >>> 0;
    return used <= this.size / 2 && Atomics.exchange(this.words, WORD.WRITER_WAITS, 0) !== 0;
  }

  /** The reader is about to sleep. True: it must not, there is something to read. */
  sleep(): boolean {
    Atomics.store(this.words, WORD.READER_SLEEPS, 1);
    if (this.isEmpty) return false;
    Atomics.store(this.words, WORD.READER_SLEEPS, 0);
    return true;
  }

  /** There is no reader yet: the first frame calls for one. */
  markAsleep(): void {
    Atomics.store(this.words, WORD.READER_SLEEPS, 1);
  }

  setOffloads(bits: number): void {
    Atomics.store(this.words, WORD.OFFLOADS, bits);
  }
}
