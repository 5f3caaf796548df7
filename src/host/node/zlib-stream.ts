import { constants, createDeflate, type Deflate } from 'node:zlib';

/** A zlib stream whose pieces are complete each: compressed on threads of Node's own. */
export class ZlibStream {
  private readonly stream: Deflate = createDeflate({ level: 3 });
  private pieces: Buffer[] = [];

  constructor() {
    this.stream.on('data', (piece: Buffer) => this.pieces.push(piece));
    // Closed in the middle of its work.
    this.stream.on('error', () => {});
  }

  /** The compressed piece, which can be unpacked without what follows. One at a time; rejected after `close`. */
  deflate(data: Uint8Array): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      const { stream } = this;
      if (stream.destroyed) {
        reject(new Error('the stream is closed'));
        return;
      }
      const closed = (): void => reject(new Error('the stream was closed'));
      stream.once('close', closed);
      stream.write(data);
      stream.flush(constants.Z_SYNC_FLUSH, () => {
        stream.off('close', closed);
        const { pieces } = this;
        this.pieces = [];
        resolve(new Uint8Array(Buffer.concat(pieces)));
      });
    });
  }

  close(): void {
    this.stream.destroy();
  }
}
