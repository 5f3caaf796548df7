import { gpa, type Gpa } from '../../base/units.js';
import type { Dma } from '../../iface/guest-memory.js';

/** A piece of guest memory. */
export interface Segment {
  readonly address: Gpa;
  /** Bytes. */
  readonly length: number;
}

/**
 * A buffer that the driver has made available: a part that the device reads, then a part that it writes, each as one
 * run of bytes whatever its segments (VIRTIO 1.2 §2.7.4.1: devices make no assumption about framing).
 */
export class DescriptorChain {
  readonly readLength: number;
  readonly writeLength: number;

  constructor(
    /** What the used ring names the chain by. */
    readonly head: number,
    private readonly dma: Dma,
    private readonly readable: readonly Segment[],
    /** Where the device writes. */
    readonly writableSegments: readonly Segment[],
  ) {
    this.readLength = lengthOf(readable);
    this.writeLength = lengthOf(writableSegments);
  }

  /** Copies from the readable part. False: it ends before, or some of it is not in RAM. */
  read(offset: number, into: Uint8Array): boolean {
    return this.transfer(this.readable, offset, into.length, (at, begin, count) =>
      this.dma.read(at, into, begin, count),
    );
  }

  /** Copies to the writable part. False: it ends before, or some of it is not in RAM. */
  write(offset: number, bytes: Uint8Array): boolean {
    return this.transfer(this.writableSegments, offset, bytes.length, (at, begin, count) =>
      this.dma.write(at, bytes, begin, count),
    );
  }

  /** Puts zeros into the writable part. False: as of `write`. */
  zero(offset: number, length: number): boolean {
    return this.transfer(this.writableSegments, offset, length, (at, _, count) => this.dma.zero(at, count));
  }

  private transfer(
    segments: readonly Segment[],
    offset: number,
    total: number,
    move: (at: Gpa, begin: number, count: number) => boolean,
  ): boolean {
    let [skip, done, ok] = [offset, 0, true];
    for (const { address, length } of segments) {
      if (done === total) break;
      if (skip >= length) {
        skip -= length;
        continue;
      }
      const count = Math.min(length - skip, total - done);
      if (!move(gpa(address + skip), done, count)) ok = false;
      skip = 0;
      done += count;
    }
    return ok && done === total;
  }
}

const lengthOf = (segments: readonly Segment[]): number => segments.reduce((sum, { length }) => sum + length, 0);
