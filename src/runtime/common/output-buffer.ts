import type { CharSink } from '../../iface/lines.js';
import type { OutputChannel } from './commands.js';

export interface OutputEnvironment {
  post(channel: OutputChannel, bytes: Uint8Array): void;
  /** Bytes that were posted and have left the process, modulo 2**32. */
  written(): number;
  /** Waits until `written` is no longer what it was, or some time has passed. False: wait no more. */
  wait(seen: number): boolean;
}

/** Bytes that are collected before they are posted without being asked to. */
const PIECE = 0x4000;
/** Bytes that may be under way: beyond, the machine stands still until its reader has caught up. */
const MOST_UNDER_WAY = 0x10_0000;

/** Collects the output of character devices and hands it on in pieces, without ever losing any or growing without bound. */
export class OutputBuffer {
  private readonly buffer = new Uint8Array(PIECE);
  private length = 0;
  private channel: OutputChannel = 'serial';
  /** Modulo 2**32. */
  private posted = 0;

  constructor(private readonly environment: OutputEnvironment) {}

  sink(channel: OutputChannel): CharSink {
    return { write: (bytes) => this.write(channel, bytes) };
  }

  /** Too much is under way: the machine should not run until its reader has caught up. */
  get isBehind(): boolean {
    return (this.posted - this.environment.written()) >>> 0 > MOST_UNDER_WAY;
  }

  private write(channel: OutputChannel, bytes: Uint8Array): void {
    // One buffer for all, so that what goes to the same place stays in order.
    if (channel !== this.channel) {
      this.flush();
      this.channel = channel;
    }
    for (let at = 0; at < bytes.length;) {
      const part = bytes.subarray(at, at + PIECE - this.length);
      this.buffer.set(part, this.length);
      this.length += part.length;
      at += part.length;
      if (this.length === PIECE) this.flush();
    }
  }

  /** Hands on what there is; waits while too much is under way. */
  flush(): void {
    if (this.length === 0) return;
    const bytes = this.buffer.slice(0, this.length);
    this.length = 0;
    for (;;) {
      const seen = this.environment.written();
      if ((this.posted - seen) >>> 0 <= MOST_UNDER_WAY || !this.environment.wait(seen)) break;
    }
    this.posted = (this.posted + bytes.length) >>> 0;
    this.environment.post(this.channel, bytes);
  }
}
