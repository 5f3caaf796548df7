import * as fs from 'node:fs';
import { HostError } from '../../base/errors.js';
import { reasonOf } from './read-file.js';

/** A file that is written while a machine runs, and left as it was when the machine cannot start. */
export class LogFile {
  private readonly fd: number;
  private readonly isNew: boolean;
  private begun = false;

  /** Throws a one-line error when it cannot be written. `what` is what messages call it. */
  constructor(
    private readonly file: string,
    private readonly what: string,
  ) {
    this.isNew = !fs.existsSync(file);
    const { O_WRONLY, O_CREAT } = fs.constants;
    this.fd = this.attempt(() => fs.openSync(file, O_WRONLY | O_CREAT));
  }

  private attempt<T>(work: () => T): T {
    try {
      return work();
    } catch (cause) {
      throw new HostError(`cannot write the ${this.what} ${this.file}: ${reasonOf(cause)}`, { cause });
    }
  }

  /** From now on it is this run's. */
  begin(): void {
    if (this.begun) return;
    this.begun = true;
    // Pipes and devices have no length.
    if (fs.fstatSync(this.fd).isFile()) fs.ftruncateSync(this.fd);
  }

  write(bytes: Uint8Array): void {
    this.begin();
    for (let at = 0; at < bytes.length;) at += this.attempt(() => fs.writeSync(this.fd, bytes, at));
  }

  /** Without anything written, a file that was not there is gone again. */
  close(): void {
    fs.closeSync(this.fd);
    if (this.isNew && !this.begun) fs.rmSync(this.file, { force: true });
  }
}
