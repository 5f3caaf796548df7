import * as fs from 'node:fs';
import { HostError } from '../../base/errors.js';
import { reasonOf } from './read-file.js';

/** Characters that are collected before they are written. */
const PIECE = 0x1_0000;

/** Writes many short lines to a file. */
export class LineWriter {
  private readonly fd: number;
  private waiting: string[] = [];
  private length = 0;

  /** Begins the file anew. `what` is what messages call it. */
  constructor(
    private readonly file: string,
    private readonly what: string,
  ) {
    this.fd = this.attempt(() => fs.openSync(file, 'w'));
  }

  private attempt<T>(work: () => T): T {
    try {
      return work();
    } catch (cause) {
      throw new HostError(`cannot write the ${this.what} ${this.file}: ${reasonOf(cause)}`, { cause });
    }
  }

  line(text: string): void {
    this.waiting.push(text, '\n');
    this.length += text.length + 1;
    if (this.length >= PIECE) this.flush();
  }

  flush(): void {
    const text = this.waiting.join('');
    this.waiting = [];
    this.length = 0;
    const bytes = Buffer.from(text);
    for (let done = 0; done < bytes.length;) done += this.attempt(() => fs.writeSync(this.fd, bytes, done));
  }

  close(): void {
    this.flush();
    fs.closeSync(this.fd);
  }
}
