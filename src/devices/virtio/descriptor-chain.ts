import type { Dma, Pieces } from '../../iface/guest-memory.js';

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
    private readonly readable: Pieces,
    /** Where the device writes. */
    readonly writable: Pieces,
  ) {
    this.readLength = lengthOf(readable);
    this.writeLength = lengthOf(writable);
  }

  /** Copies from the readable part. False: it ends before, or some of it is not in RAM. */
  read(offset: number, into: Uint8Array): boolean {
    return this.dma.readPieces(this.readable, offset, into);
  }

  /** Copies to the writable part. False: it ends before, or some of it is not in RAM. */
  write(offset: number, bytes: Uint8Array): boolean {
    return this.dma.writePieces(this.writable, offset, bytes);
  }

  /** Puts zeros into the writable part. False: as of `write`. */
  zero(offset: number, length: number): boolean {
    return this.dma.zeroPieces(this.writable, offset, length);
  }
}

const lengthOf = ({ lengths }: Pieces): number => lengths.reduce((sum, length) => sum + length, 0);
