import * as fs from 'node:fs';
import * as path from 'node:path';
import { HostError, UsageError } from '../../base/errors.js';
import type { BlockBackend, BlockStatus } from '../../iface/block.js';
import { reasonOf } from './read-file.js';

const SECTOR = 512;
const ZEROES = new Uint8Array(1024 * 1024);

type Done = (status: BlockStatus) => void;

/** A raw disk image in a file. Requests complete before the call returns; flush is fdatasync. */
export class RawFile implements BlockBackend {
  readonly size: number;
  readonly serial: string;
  private readonly fd: number;

  /** Throws a one-line error when the file cannot be a disk. */
  constructor(
    readonly path: string,
    readonly readOnly: boolean,
  ) {
    try {
      this.fd = fs.openSync(path, readOnly ? 'r' : 'r+');
    } catch (cause) {
      throw new HostError(`cannot open the disk ${path}: ${reasonOf(cause)}`, { cause });
    }
    const stat = fs.fstatSync(this.fd);
    const problem = !stat.isFile() ? 'is not a regular file' : stat.size === 0 ? 'is empty' : undefined;
    if (problem !== undefined || stat.size % SECTOR !== 0) {
      fs.closeSync(this.fd);
      throw new UsageError(`the disk ${path} ${problem ?? 'is not a whole number of 512-byte sectors long'}`);
    }
    this.size = stat.size;
    this.serial = serialOf(path);
  }

  /** Path, size and time of the last change: a file that was touched meanwhile is another one. */
  get identity(): string {
    const { mtimeMs, size, ino } = fs.fstatSync(this.fd);
    return `raw:${path.resolve(this.path)}:${String(ino)}:${String(size)}:${String(mtimeMs)}`;
  }

  read(offset: number, into: Uint8Array, done: Done): void {
    this.attempt(done, () => {
      for (let at = 0; at < into.length;) {
        const count = fs.readSync(this.fd, into, at, into.length - at, offset + at);
        if (count === 0) throw new Error('unexpected end of file');
        at += count;
      }
    });
  }

  write(offset: number, from: Uint8Array, done: Done): void {
    this.attempt(done, () => {
      this.writeAll(offset, from);
    });
  }

  private writeAll(offset: number, from: Uint8Array): void {
    for (let at = 0; at < from.length;) at += fs.writeSync(this.fd, from, at, from.length - at, offset + at);
  }

  flush(done: Done): void {
    this.attempt(done, () => {
      fs.fdatasyncSync(this.fd);
    });
  }

  /** Discarding is a hint: a raw file keeps its bytes. */
  discard(_offset: number, _length: number, done: Done): void {
    done('ok');
  }

  writeZeroes(offset: number, length: number, done: Done): void {
    this.attempt(done, () => {
      for (let at = 0; at < length; at += ZEROES.length)
        this.writeAll(offset + at, ZEROES.subarray(0, Math.min(ZEROES.length, length - at)));
    });
  }

  close(): void {
    fs.closeSync(this.fd);
  }

  /** A host error becomes the guest's I/O error: the guest decides what it means. */
  private attempt(done: Done, work: () => void): void {
    try {
      work();
    } catch {
      done('io-error');
      return;
    }
    done('ok');
  }
}

/** Up to 20 characters of the file's name. */
function serialOf(file: string): string {
  const name = path.basename(file).replace(/[^\x21-\x7e]/g, '_');
  return name.slice(0, 20);
}
