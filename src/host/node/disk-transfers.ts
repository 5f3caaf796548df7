/** Transfers between disks past the host's cache and memory that go on while the guest does something else. For one thread. */
import type { FileTransfers } from './disk-file.js';
import { openAsyncQueue, type AsyncQueue } from './native/async-io.js';

/** Transfers at a time. */
const MOST = 32;
/** Bytes from which on it pays. */
const LEAST = 0x1_0000;
/**
 * A guest that has nothing else to do goes to sleep and is woken, which takes it longer than to be held up for one transfer: after so many between whose beginnings and
 * ends no other began, they are done at once, but for one in so many, which finds out whether that is still so.
 */
const LONELY = { ENOUGH: 4, TRIAL: 32 } as const;
/** Nanoseconds between two looks at whatever else may have happened, while a thread waits for one. */
const LOOK = 250_000;

interface UnderWay {
  /** Nobody else may have it meanwhile. */
  readonly bytes: Uint8Array;
  readonly done: (ok: boolean) => void;
}

export class DiskTransfers implements FileTransfers {
  /** Undefined: not wanted yet. Null: there can be none, or no more. */
  private queue: AsyncQueue | null | undefined;
  /** By number. */
  private readonly underWay: (UnderWay | undefined)[] = new Array<undefined>(MOST).fill(undefined);
  private count = 0;
  /** How many have been alone, one after the other. */
  private lonely = 0;
  /** Of those that were alone, how many were done at once. */
  private held = 0;
  /** Of those that are done, and that nobody was told of. */
  private untold: (() => void)[] = [];

  begin(fd: number, kind: 'read' | 'write', offset: number, bytes: Uint8Array, done: (ok: boolean) => void): boolean {
    if (bytes.length < LEAST || this.isAlone()) return false;
    if (this.queue === undefined) this.queue = openAsyncQueue?.(MOST) ?? null;
    const { queue } = this;
    const number = this.underWay.indexOf(undefined);
    if (queue === null || number < 0 || queue.submit(number, { fd, kind, offset, bytes }) !== 0) return false;
    this.underWay[number] = { bytes, done };
    this.count++;
    if (this.count > 1) this.lonely = 0;
    else this.lonely++;
    return true;
  }

  /** Whether another transfer would be alone, as far as one can tell. */
  private isAlone(): boolean {
    return this.count === 0 && this.lonely >= LONELY.ENOUGH && ++this.held % LONELY.TRIAL !== 0;
  }

  /** Whether there is something to wait for or to tell of. */
  get areOpen(): boolean {
    return this.count > 0 || this.untold.length > 0;
  }

  private take(nanoseconds: number): void {
    this.queue?.take(nanoseconds, (number, result) => {
      const ended = this.underWay[number];
      if (!ended) return;
      this.underWay[number] = undefined;
      this.count--;
      this.untold.push(() => ended.done(result === ended.bytes.length));
    });
  }

  /** Waits until one is done, or for so many nanoseconds at most, or a moment. */
  sleep(nanoseconds: number): void {
    if (this.count > 0 && this.untold.length === 0) this.take(Math.min(nanoseconds, LOOK));
  }

  wait(): void {
    while (this.count > 0) this.take(1e9);
  }

  /** Tells of what is done. */
  collect(): void {
    if (this.count > 0) this.take(0);
    const { untold } = this;
    if (untold.length === 0) return;
    this.untold = [];
    for (const tell of untold) tell();
  }

  /** Waits until nothing is under way, nor begins when somebody is told that something is done. */
  settle(): void {
    while (this.areOpen) {
      this.wait();
      this.collect();
    }
  }

  /** Nobody is told of what is under way. */
  close(): void {
    this.wait();
    this.queue?.close();
    this.queue = null;
  }
}
