/**
 * Whether a file given as initrd is whole, and for this architecture. Linux takes archives one behind the other, in cpio's
 * "newc" format, each packed or not (Documentation/driver-api/early-userspace/buffer-format.rst); it also takes the image of a
 * file system, so what is not recognised passes.
 */
import { UsageError } from '../../base/errors.js';
import { viewOf } from '../bytes.js';
import { ELF_MACHINE, isElf, machineName } from './elf.js';

const CPIO = { HEADER: 110, FILE_SIZE: 54, NAME_SIZE: 94 } as const;
const TRAILER = 'TRAILER!!!';
/** Programs that an initramfs starts with: what is elsewhere may be meant for other processors, such as firmware. */
const PROGRAM = /^\.?\/?(init|(usr\/)?s?bin\/[^/]+)$/;

const ZSTD_MAGIC = 0xfd2f_b528;
const LZ4_LEGACY_MAGIC = 0x184c_2102;
/** The first four bytes of six. */
const XZ_MAGIC = 0x587a_37fd;
const GZIP_MAGIC = 0x8b1f;

const latin1 = (bytes: Uint8Array): string => String.fromCharCode(...bytes);

/** A file that ends too early. */
class Truncated extends Error {}

/** Reads a file front to back. */
class Cursor {
  at = 0;
  private readonly view: DataView;

  constructor(
    readonly bytes: Uint8Array,
    private readonly name: string,
  ) {
    this.view = viewOf(bytes);
  }

  get left(): number {
    return this.bytes.length - this.at;
  }

  skip(count: number): number {
    const { at } = this;
    if (count > this.left) throw new Truncated();
    this.at += count;
    return at;
  }

  u8(): number {
    return this.view.getUint8(this.skip(1));
  }

  u16(): number {
    return this.view.getUint16(this.skip(2), true);
  }

  u32(): number {
    return this.view.getUint32(this.skip(4), true);
  }

  /** What comes next, without taking it; 0 at the end. */
  peek32(): number {
    return this.left >= 4 ? this.view.getUint32(this.at, true) : 0;
  }

  /** An archive, to the end of its trailer. */
  cpio(): void {
    for (;;) {
      const header = latin1(this.bytes.subarray(this.at, this.at + CPIO.HEADER));
      this.skip(CPIO.HEADER);
      const field = (at: number): number => Number.parseInt(header.slice(at, at + 8), 16);
      const size = field(CPIO.FILE_SIZE);
      const nameSize = field(CPIO.NAME_SIZE);
      if (!/^07070[12]/.test(header) || Number.isNaN(size) || Number.isNaN(nameSize) || nameSize > 4096)
        throw new UsageError(`the initrd ${this.name} is damaged: its archive has a header that makes no sense`);
      const nameAt = this.skip(nameSize);
      const path = latin1(this.bytes.subarray(nameAt, nameAt + nameSize - 1));
      if (path === TRAILER) return;
      this.align();
      const dataAt = this.skip(size);
      if (PROGRAM.test(path)) this.checkProgram(this.bytes.subarray(dataAt, dataAt + size), path);
      this.align();
    }
  }

  private align(): void {
    this.at = Math.min(Math.ceil(this.at / 4) * 4, this.bytes.length);
  }

  private checkProgram(file: Uint8Array, path: string): void {
    if (!isElf(file) || file.length < 20) return;
    const machine = viewOf(file).getUint16(18, file[5] === 1);
    if (machine === ELF_MACHINE.I386 || machine === ELF_MACHINE.X86_64) return;
    throw new UsageError(
      `the initrd ${this.name} is for another architecture (its ${path}: ${machineName(machine)}), this machine is x86`,
    );
  }

  /** RFC 8878 §3.1.1: a frame, whose blocks say how long they are. */
  zstd(): void {
    this.skip(4);
    const descriptor = this.u8();
    const single = (descriptor & 0x20) !== 0;
    const contentSize = [single ? 1 : 0, 2, 4, 8][descriptor >> 6];
    this.skip((single ? 0 : 1) + [0, 1, 2, 4][descriptor & 3] + contentSize);
    for (let last = false; !last;) {
      const header = this.u8() | (this.u16() << 8);
      last = (header & 1) !== 0;
      // A run of one byte says how often, and has it once.
      this.skip(((header >> 1) & 3) === 1 ? 1 : header >> 3);
    }
    if ((descriptor & 4) !== 0) this.skip(4);
  }

  /** lz4's legacy format, the one that Linux reads: blocks with their sizes, to the end. */
  lz4(): void {
    this.skip(4);
    while (this.left >= 4 && this.peek32() !== LZ4_LEGACY_MAGIC && this.peek32() !== 0) this.skip(this.u32());
  }

  /** xz, of which only the end is looked at: the footer's magic (xz file format 1.2.1 §2.1.2.4), or another archive. */
  xz(): void {
    let end = this.bytes.length;
    while (this.bytes[end - 1] === 0) end--;
    const tail = latin1(this.bytes.subarray(Math.max(end - 1024, 0), end));
    if (!tail.endsWith('YZ') && !tail.includes(TRAILER)) throw new Truncated();
  }

  /** Bytes of zeros between archives. */
  padding(): void {
    while (this.left > 0 && this.bytes[this.at] === 0) this.at++;
  }
}

function walk(cursor: Cursor, name: string, gunzip: (data: Uint8Array) => Uint8Array): void {
  for (;;) {
    cursor.padding();
    if (cursor.left === 0) return;
    const magic = cursor.peek32();
    if (latin1(cursor.bytes.subarray(cursor.at, cursor.at + 5)) === '07070') cursor.cpio();
    else if (magic === ZSTD_MAGIC) cursor.zstd();
    else if (magic === LZ4_LEGACY_MAGIC) cursor.lz4();
    else {
      if (magic === XZ_MAGIC) cursor.xz();
      if ((magic & 0xffff) === GZIP_MAGIC) walkGzip(cursor.bytes.subarray(cursor.at), name, gunzip);
      return;
    }
  }
}

function walkGzip(packed: Uint8Array, name: string, gunzip: (data: Uint8Array) => Uint8Array): void {
  let unpacked;
  try {
    unpacked = gunzip(packed);
  } catch (cause) {
    throw new UsageError(`the initrd ${name} is damaged or truncated: it does not unpack with gzip`, { cause });
  }
  walk(new Cursor(unpacked, name), name, gunzip);
}

/** Throws a `UsageError` of one line when an initrd is cut off, or its programs are not for x86. */
export function checkInitrd(data: Uint8Array, name: string, gunzip: (data: Uint8Array) => Uint8Array): void {
  try {
    walk(new Cursor(data, name), name, gunzip);
  } catch (error) {
    if (!(error instanceof Truncated)) throw error;
    throw new UsageError(`the initrd ${name} is truncated: it ends in the middle of an archive`, { cause: error });
  }
}
