/** A client's conversation with a server, step by step as bytes come: what clients of either kind have in common (RFC 6143). */
import { ByteQueue } from './byte-queue.js';
import { NATIVE, PIXEL_FORMAT_SIZE, writePixelFormat } from './pixel-format.js';
import { FROM_CLIENT } from './protocol.js';

/** Takes what it can; false: not all of it has come, or it is over. */
export type Step = () => boolean;

export class Conversation {
  readonly input = new ByteQueue();
  step: Step;
  over = false;

  /** `failed` is told once why it cannot go on, in a few words. */
  constructor(
    first: Step,
    private readonly failed: (reason: string) => void,
  ) {
    this.step = first;
  }

  receive(bytes: Uint8Array): void {
    if (this.over) return;
    this.input.push(bytes);
    while (!this.over && this.step());
  }

  fail(reason: string): false {
    if (!this.over) this.failed(reason);
    this.over = true;
    return false;
  }

  /** Takes bytes when that many have come. */
  take(count: number): Uint8Array | undefined {
    return this.input.length < count ? undefined : this.input.take(count);
  }

  next(step: Step): true {
    this.step = step;
    return true;
  }
}

/** SetPixelFormat, to our own format, and SetEncodings, the best first: §7.5.1 and §7.5.2. */
export function preferences(encodings: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(4 + PIXEL_FORMAT_SIZE + 4 + 4 * encodings.length);
  bytes[0] = FROM_CLIENT.SET_PIXEL_FORMAT;
  bytes.set(writePixelFormat(NATIVE), 4);
  const view = new DataView(bytes.buffer, 4 + PIXEL_FORMAT_SIZE);
  view.setUint8(0, FROM_CLIENT.SET_ENCODINGS);
  view.setUint16(2, encodings.length);
  encodings.forEach((encoding, i) => view.setInt32(4 + 4 * i, encoding));
  return bytes;
}
