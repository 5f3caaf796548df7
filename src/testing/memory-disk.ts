import type { BlockBackend, BlockStatus } from '../iface/block.js';

type Done = (status: BlockStatus) => void;

/** A disk in memory that notes what it is asked. With `later`, answers wait until `answer` is called. */
export class MemoryDisk implements BlockBackend {
  readonly format = 'raw';
  readonly bytes: Uint8Array;
  readonly identity = 'memory';
  readonly files = ['memory'];
  readonly serial = 'SERIAL-1';
  readonly log: string[] = [];
  readonly waiting: (() => void)[] = [];
  later = false;
  fails = false;

  constructor(
    readonly size = 64 * 512,
    readonly readOnly = false,
  ) {
    this.bytes = new Uint8Array(size);
    for (let i = 0; i < size; i++) this.bytes[i] = (i >> 9) + i;
  }

  /** How many buffers there are, and those that nobody has. */
  readonly scratch = { made: 0, free: [] as Uint8Array[] };
  readonly buffers: BlockBackend['buffers'] = {
    take: () => this.scratch.free.pop() ?? new Uint8Array(0x10_0000).fill(++this.scratch.made),
    give: (buffer) => this.scratch.free.push(buffer),
  };

  private do(what: string, from: number, length: number, act: () => void, done: Done): void {
    if (from < 0 || from + length > this.size || from % 512 !== 0 || length % 512 !== 0)
      throw new Error(`${what}: not whole sectors of the disk`);
    this.log.push(what);
    const run = (): void => {
      if (!this.fails) act();
      done(this.fails ? 'io-error' : 'ok');
    };
    if (this.later) this.waiting.push(run);
    else run();
  }

  /** Answers a request, the oldest one. */
  answer(index = 0): void {
    this.waiting.splice(index, 1)[0]();
  }

  answerAll(): void {
    while (this.waiting.length > 0) this.answer();
  }

  read(offset: number, into: Uint8Array, done: Done): void {
    const copy = (): void => into.set(this.bytes.subarray(offset, offset + into.length));
    this.do(`read ${offset} ${into.length}`, offset, into.length, copy, done);
  }

  write(offset: number, from: Uint8Array, done: Done): void {
    this.do(`write ${offset} ${from.length}`, offset, from.length, () => this.bytes.set(from, offset), done);
  }

  flush(done: Done): void {
    this.do('flush', 0, 0, () => undefined, done);
  }

  discard(offset: number, length: number, done: Done): void {
    this.do(`discard ${offset} ${length}`, offset, length, () => undefined, done);
  }

  writeZeroes(offset: number, length: number, done: Done): void {
    this.do(`zero ${offset} ${length}`, offset, length, () => this.bytes.fill(0, offset, offset + length), done);
  }

  close(): void {}
}
