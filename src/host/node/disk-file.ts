import { randomUUID } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { HostError, UsageError } from '../../base/errors.js';
import type { HostFile } from '../../iface/file.js';
import { alignedPart, DirectIo } from './direct-io.js';
import { lockImage } from './image-lock.js';
import { libc, type Libc } from './native/libc.js';
import { reasonOf } from './read-file.js';

/**
 * Bytes written one behind another that the host is then asked to store, without being waited for: its disk works while
 * the guest goes on, and less is left for the flush.
 */
const STORED_AHEAD = 0x80_0000;

/** lseek(2): there is no data from an offset on. */
const ENXIO = 6;

/** Moves data while its caller does something else. */
export interface FileTransfers {
  /** As in HostFile, for a descriptor of a file past the host's cache. */
  begin(fd: number, kind: 'read' | 'write', offset: number, bytes: Uint8Array, done: (ok: boolean) => void): boolean;
  /** Waits until nothing is under way. */
  wait(): void;
}

export interface DiskFileOptions {
  readonly writable: boolean;
  /** Others are kept from using it in ways that do not go together. */
  readonly lock: boolean;
  /** Past the host's cache. */
  readonly direct?: boolean;
  /** For a file past the cache; absent: everything is done at once. */
  readonly transfers?: FileTransfers | undefined;
  /** Called when there are no locks to be had. */
  readonly unlocked?: (name: string) => void;
}

interface FileIo {
  /** Bytes read: fewer at the end of the file only. */
  read(offset: number, into: Uint8Array): number;
  write(offset: number, from: Uint8Array): void;
}

interface Part {
  readonly io: FileIo;
  readonly part: Uint8Array;
}

/** A regular file of the host. */
export class DiskFile implements HostFile {
  readonly writable: boolean;
  readonly key: string;
  private canPunch = libc !== undefined;
  private closed = false;
  private readonly direct: DirectIo | undefined;
  private readonly transfers: FileTransfers | undefined;
  /** What was written one behind another, and is not being stored yet. */
  private run = { start: 0, end: 0 };
  /** Of a file that is not written: where the host stores something, or nothing. */
  private extent = { start: 0, end: 0, isHole: false };

  private constructor(
    readonly name: string,
    private readonly fd: number,
    options: { readonly writable: boolean; readonly direct?: DirectIo; readonly transfers?: FileTransfers | undefined },
    /** Of a file without a name. */
    private readonly folder?: string,
  ) {
    this.writable = options.writable;
    this.direct = options.direct;
    this.transfers = options.transfers;
    this.key = keyOf(fs.fstatSync(fd, { bigint: true }));
  }

  /** The `key` of a file. Throws a one-line error when there is none. */
  static keyOf(name: string): string {
    return attempt(name, () => keyOf(fs.statSync(name, { bigint: true })));
  }

  /** Throws a one-line error when it cannot be opened, or is in use. */
  static open(name: string, { writable, lock, direct, transfers, unlocked }: DiskFileOptions): DiskFile {
    const fd = attempt(name, () => {
      // A FIFO would wait for its other end.
      if (!fs.statSync(name).isFile()) throw new UsageError(`the disk ${name} is not a regular file`);
      return fs.openSync(name, writable ? 'r+' : 'r');
    });
    try {
      if (!fs.fstatSync(fd).isFile()) throw new UsageError(`the disk ${name} is not a regular file`);
      if (lock && lockImage(fd, name, writable) === 'unavailable') unlocked?.(name);
      return new DiskFile(name, fd, { writable, ...(direct && { direct: openDirect(name, fd, writable), transfers }) });
    } catch (error) {
      fs.closeSync(fd);
      throw error;
    }
  }

  /** A new file. Throws a one-line error when there is one of that name already. */
  static create(name: string): DiskFile {
    const fd = attempt(name, () => {
      if (fs.existsSync(name)) throw new UsageError(`there is a file ${name} already`);
      return fs.openSync(name, 'wx+', 0o644);
    });
    return new DiskFile(name, fd, { writable: true });
  }

  /** A file without a name, which is gone with this process. `folder`: where its contents are kept. */
  static temporary(name: string, folder: string): DiskFile {
    const place = path.join(folder, `vitrine-${process.pid}-${randomUUID()}`);
    const fd = attempt(place, () => fs.openSync(place, 'wx+', 0o600));
    fs.unlinkSync(place);
    return new DiskFile(name, fd, { writable: true }, folder);
  }

  get size(): number {
    return fs.fstatSync(this.fd).size;
  }

  /** Path, number, size and time of the last change: a file that was touched meanwhile is another one. */
  get identity(): string {
    const { mtimeMs, size, ino } = fs.fstatSync(this.fd);
    return `${path.resolve(this.name)}:${String(ino)}:${String(size)}:${String(mtimeMs)}`;
  }

  /** As the others, throws a one-line error (HostError) when the host fails. */
  read(offset: number, into: Uint8Array): number {
    try {
      let done = 0;
      for (const { io, part } of this.parts(offset, into)) {
        const count = io.read(offset + done, part);
        done += count;
        if (count < part.length) break;
      }
      return done;
    } catch (cause) {
      throw this.failure('read', cause);
    }
  }

  begin(kind: 'read' | 'write', offset: number, bytes: Uint8Array, done: (ok: boolean) => void): boolean {
    const { direct, transfers } = this;
    if (!direct || !transfers || !direct.takesWhole(offset, bytes)) return false;
    return transfers.begin(direct.fd, kind, offset, bytes, done);
  }

  write(offset: number, from: Uint8Array): void {
    // What is under way may be for a place that is another one's by now.
    this.transfers?.wait();
    try {
      let done = 0;
      for (const { io, part } of this.parts(offset, from)) {
        io.write(offset + done, part);
        done += part.length;
      }
    } catch (cause) {
      throw this.failure('write to', cause);
    }
    if (this.folder === undefined && !this.direct) this.storeAhead(offset, offset + from.length);
  }

  /** The parts of a transfer one behind the other: past the cache what is aligned, through it what is not. */
  private parts(offset: number, bytes: Uint8Array): readonly Part[] {
    const { cached, direct } = this;
    // Its descriptor may be another file's by now: a transfer that failed is tried again, maybe after the medium has gone.
    if (this.closed) throw new Error('it is closed');
    if (!direct) return [{ io: cached, part: bytes }];
    const { start, end } = alignedPart(offset, bytes.length);
    if (start === end) return [{ io: cached, part: bytes }];
    return [
      { io: cached, part: bytes.subarray(0, start - offset) },
      { io: direct, part: bytes.subarray(start - offset, end - offset) },
      { io: cached, part: bytes.subarray(end - offset) },
    ].filter(({ part }) => part.length > 0);
  }

  private readonly cached: FileIo = {
    read: (offset, into) => {
      let at = 0;
      while (at < into.length) {
        const count = fs.readSync(this.fd, into, at, into.length - at, offset + at);
        if (count === 0) break;
        at += count;
      }
      return at;
    },
    write: (offset, from) => {
      for (let at = 0; at < from.length;) at += fs.writeSync(this.fd, from, at, from.length - at, offset + at);
    },
  };

  private storeAhead(start: number, end: number): void {
    const { run } = this;
    if (start !== run.end) run.start = start;
    run.end = end;
    if (end - run.start < STORED_AHEAD) return;
    // A hint: what goes wrong with the disk, the next flush tells.
    libc?.beginStoring(this.fd, run.start, end - run.start);
    run.start = end;
  }

  flush(): void {
    try {
      fs.fdatasyncSync(this.fd);
    } catch (cause) {
      throw this.failure('write to', cause);
    }
  }

  truncate(size: number): void {
    this.transfers?.wait();
    try {
      fs.ftruncateSync(this.fd, size);
    } catch (cause) {
      throw this.failure('write to', cause);
    }
  }

  private failure(verb: string, cause: unknown): HostError {
    const { name, folder } = this;
    const { code } = cause as NodeJS.ErrnoException;
    // What is read is too large for memory; what is written, for its file system, or for what ulimit lets the process have.
    const reason = code === 'EFBIG' ? 'files cannot be so large here' : reasonOf(cause);
    const text =
      folder === undefined
        ? `cannot ${verb} ${name}: ${reason}`
        : `cannot keep ${name} in ${folder}: ${reason} (TMPDIR names another folder)`;
    return new HostError(text, { cause });
  }

  isHole(offset: number, length: number): boolean {
    // While a file is written, and transfers go on, what the host says may be old before it is used.
    if (this.writable || !libc) return false;
    const { start, end } = this.extent;
    if (offset < start || offset >= end) this.extent = this.extentAt(offset, libc);
    return this.extent.isHole && offset + length <= this.extent.end;
  }

  private extentAt(start: number, c: Libc): { start: number; end: number; isHole: boolean } {
    const data = c.next('data', this.fd, start);
    if (data > start) return { start, end: data, isHole: true };
    if (data === -ENXIO) return { start, end: this.size, isHole: true };
    return { start, end: c.next('hole', this.fd, start), isHole: false };
  }

  punch(offset: number, length: number): boolean {
    this.transfers?.wait();
    if (!this.canPunch || libc?.punchHole(this.fd, offset, length) !== 0) this.canPunch = false;
    return this.canPunch;
  }

  close(): void {
    if (!this.closed) {
      this.transfers?.wait();
      this.direct?.close();
      fs.closeSync(this.fd);
    }
    this.closed = true;
  }
}

const keyOf = ({ dev, ino }: fs.BigIntStats): string => `${dev}:${ino}`;

function openDirect(name: string, fd: number, writable: boolean): DirectIo {
  try {
    return DirectIo.of(fd, writable);
  } catch (cause) {
    throw new UsageError(
      `the disk ${name} cannot be used with cache=none: the host, or the file system it is on, does not pass its cache by`,
      { cause },
    );
  }
}

function attempt<T>(name: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (cause instanceof UsageError) throw cause;
    throw new HostError(`cannot open the disk ${name}: ${reasonOf(cause)}`, { cause });
  }
}
