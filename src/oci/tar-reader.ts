/**
 * Reads tar archives as they come: ustar, pax (POSIX.1-2017) and GNU tar's, sparse files of all its kinds, extended attributes as
 * star and Docker write them (SCHILY.xattr). Names, targets and attributes are bytes: they need not be UTF-8, and capabilities are
 * not, which is why no library of npm's serves.
 */
import type { ByteString, DataRange, Timestamp } from '../block/ext4/tree.js';
import { OciError } from './errors.js';
import { checksumMatches, latin1, numberField, paxNumber, paxRecords, paxTime, textField } from './tar-numbers.js';

export type TarKind = 'file' | 'folder' | 'link' | 'hard-link' | 'character-device' | 'block-device' | 'fifo';

export interface TarEntry {
  /** Of all entries, from 0. */
  readonly index: number;
  readonly kind: TarKind;
  /** As it stands there. */
  readonly path: ByteString;
  /** Of links of both kinds. */
  readonly target: ByteString;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: Timestamp;
  readonly major: number;
  readonly minor: number;
  /** Bytes of a file, holes among them. */
  readonly size: number;
  readonly data: readonly DataRange[];
  readonly xattrs: ReadonlyMap<ByteString, Uint8Array>;
}

export interface TarVisitor {
  /** `position`: where in the archive its data begins. */
  entry(entry: TarEntry, position: number): void;
  /** Bytes of the last file, at an offset in it. The array is the visitor's only until it returns. */
  content?(bytes: Uint8Array, offset: number): void;
}

const HEADER = 512;
/** Bytes of what stands before an entry's header and extends it: names, attributes, maps of sparse files. */
const MAX_EXTENSION = 4 * 2 ** 20;
/** Pieces of a sparse file. */
const MAX_RANGES = 2 ** 20;
/** Digits of a number in the map of a sparse file. */
const MAX_DIGITS = 16;

const damaged = (what: string): OciError => new OciError('damaged', `the archive is damaged: ${what}`);

const KINDS: Readonly<Record<string, TarKind>> = {
  '0': 'file',
  '\0': 'file',
  '7': 'file',
  S: 'file',
  '1': 'hard-link',
  '2': 'link',
  '3': 'character-device',
  '4': 'block-device',
  '5': 'folder',
  '6': 'fifo',
};

/** What headers before an entry's own say of it. */
interface Extension {
  path?: ByteString;
  target?: ByteString;
  pax: Map<string, Uint8Array>;
  /** GNU.sparse.offset and numbytes, which come as often as there are pieces. */
  sparse: number[];
}

type State =
  /** A header is awaited. */
  | { readonly kind: 'header' }
  /** Bytes are collected, then given to `done`. */
  | { readonly kind: 'collect'; readonly bytes: Uint8Array; filled: number; readonly done: (bytes: Uint8Array) => void }
  /** Data of a file: `ranges` says where it belongs. */
  | { readonly kind: 'content'; readonly ranges: readonly DataRange[]; range: number; within: number }
  | { readonly kind: 'skip' }
  | { readonly kind: 'end' };

export class TarReader {
  private state: State = { kind: 'header' };
  /** Bytes of data before the next header, and of padding behind them. */
  private left = 0;
  private padding = 0;
  private readonly header = new Uint8Array(HEADER);
  private filled = 0;
  private position = 0;
  private index = 0;
  private zeros = false;
  private extension: Extension = { pax: new Map(), sparse: [] };
  /** Bytes of all that extends the next entry. */
  private extended = 0;

  constructor(private readonly visitor: TarVisitor) {}

  /** Gives it the next bytes of the archive. Throws a one-line error (OciError) when they are not an archive's. */
  push(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length && this.state.kind !== 'end') {
      if (this.left > 0) at += this.takeData(chunk.subarray(at, at + Math.min(this.left, chunk.length - at)));
      else if (this.padding > 0) {
        const count = Math.min(this.padding, chunk.length - at);
        this.padding -= count;
        this.position += count;
        at += count;
      } else at += this.takeHeader(chunk.subarray(at));
    }
  }

  /** There are no more. */
  end(): void {
    if (this.state.kind === 'end') return;
    // Two blocks of zeros end an archive; some programs write none.
    if (this.left > 0 || this.filled > 0 || this.hasExtension()) throw damaged('it ends in the middle');
  }

  private hasExtension(): boolean {
    const { path, target, pax } = this.extension;
    return path !== undefined || target !== undefined || pax.size > 0;
  }

  private takeHeader(bytes: Uint8Array): number {
    const count = Math.min(bytes.length, HEADER - this.filled);
    this.header.set(bytes.subarray(0, count), this.filled);
    this.filled += count;
    this.position += count;
    if (this.filled === HEADER) {
      this.filled = 0;
      this.readHeader(this.header);
    }
    return count;
  }

  private takeData(bytes: Uint8Array): number {
    this.left -= bytes.length;
    this.position += bytes.length;
    const { state } = this;
    if (state.kind === 'collect') {
      state.bytes.set(bytes, state.filled);
      state.filled += bytes.length;
      if (state.filled === state.bytes.length) {
        this.state = { kind: 'header' };
        state.done(state.bytes);
      }
    } else if (state.kind === 'content') this.giveContent(state, bytes);
    return bytes.length;
  }

  private giveContent(state: State & { readonly kind: 'content' }, bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      const range = state.ranges[state.range];
      // More data than the map of a sparse file tells of.
      if (range === undefined) return;
      const count = Math.min(bytes.length - at, range.length - state.within);
      this.visitor.content?.(bytes.subarray(at, at + count), range.offset + state.within);
      at += count;
      state.within += count;
      if (state.within === range.length) {
        state.range++;
        state.within = 0;
      }
    }
  }

  /** The next bytes of data go to `done`; they are within the `size` of the entry. */
  private collect(size: number, done: (bytes: Uint8Array) => void): void {
    this.left = size;
    this.padding = -size & (HEADER - 1);
    if (size === 0) done(new Uint8Array(0));
    else this.state = { kind: 'collect', bytes: new Uint8Array(size), filled: 0, done };
  }

  private readHeader(header: Uint8Array): void {
    if (header.every((byte) => byte === 0)) {
      this.state = this.zeros ? { kind: 'end' } : { kind: 'header' };
      this.zeros = true;
      return;
    }
    if (this.zeros) throw damaged('something stands behind its end');
    if (!checksumMatches(header)) throw damaged('the sum of a header is wrong');
    const type = String.fromCharCode(header[156]);
    const size = numberField(header, 124, 12);
    if (size < 0) throw damaged('a size in it is negative');
    if ('xgLK'.includes(type)) this.extended += size;
    if (this.extended > MAX_EXTENSION) throw damaged('an extended header is too large');
    switch (type) {
      case 'x':
        this.collect(size, (bytes) => this.readPax(bytes));
        break;
      case 'L':
        this.collect(size, (bytes) => (this.extension.path = upToNul(bytes)));
        break;
      case 'K':
        this.collect(size, (bytes) => (this.extension.target = upToNul(bytes)));
        break;
      case 'g':
        // What holds for all that follows: comments of git's, as a rule; Docker does not heed them either.
        this.collect(size, () => {});
        break;
      default:
        this.readEntry(header, type);
    }
  }

  private readPax(bytes: Uint8Array): void {
    const { pax, sparse } = this.extension;
    for (const [key, value] of paxRecords(bytes)) {
      if (key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes') sparse.push(paxNumber(value));
      // An empty value takes back what was said.
      else if (value.length === 0 && !key.startsWith('SCHILY.xattr.')) pax.delete(key);
      else pax.set(key, value);
    }
  }

  private readEntry(header: Uint8Array, type: string): void {
    const { extension } = this;
    this.extension = { pax: new Map(), sparse: [] };
    this.extended = 0;
    const { pax } = extension;
    const number = (key: string, at: number, length: number): number => {
      const value = pax.get(key);
      return value ? paxNumber(value) : numberField(header, at, length);
    };
    const text = (key: string): ByteString | undefined => {
      const value = pax.get(key);
      return value && latin1(value);
    };
    const path = text('GNU.sparse.name') ?? text('path') ?? extension.path ?? pathField(header);
    const target = text('linkpath') ?? extension.target ?? textField(header, 157, 100);
    const size = number('size', 124, 12);
    const mtime = pax.get('mtime');
    const kind = KINDS[type];
    if (path.includes('\0') || target.includes('\0')) throw damaged('a name in it has a NUL');
    const common = {
      path,
      target,
      mode: numberField(header, 100, 8) & 0o7777,
      uid: id(number('uid', 108, 8)),
      gid: id(number('gid', 116, 8)),
      mtime: mtime ? paxTime(mtime) : { seconds: numberField(header, 136, 12), nanoseconds: 0 },
      major: kind?.endsWith('device') ? numberField(header, 329, 8) : 0,
      minor: kind?.endsWith('device') ? numberField(header, 337, 8) : 0,
      xattrs: xattrsOf(pax),
    };
    if (kind === undefined) {
      this.skip(size);
      return;
    }
    // Before there were folders' types, a slash marked them.
    const old = kind === 'file' && path.endsWith('/');
    if (kind !== 'file' || old) {
      this.report({ ...common, kind: old ? 'folder' : kind, size: 0, data: [] }, []);
      // A size in the header of a link or a device means nothing: Go's archive/tar, with which Docker reads, has no data there.
      this.skip(old ? size : 0);
      return;
    }
    this.readFile(common, { header, type, size, extension });
  }

  private skip(size: number): void {
    this.state = { kind: 'skip' };
    this.left = size;
    this.padding = -size & (HEADER - 1);
  }

  private report(entry: Omit<TarEntry, 'index'>, ranges: readonly DataRange[]): void {
    this.visitor.entry({ ...entry, index: this.index++ }, this.position);
    this.state = { kind: 'content', ranges, range: 0, within: 0 };
  }

  private readFile(
    common: Omit<TarEntry, 'index' | 'kind' | 'size' | 'data'>,
    stored: {
      readonly header: Uint8Array;
      readonly type: string;
      readonly size: number;
      readonly extension: Extension;
    },
  ): void {
    const { header, type, size, extension } = stored;
    const { pax, sparse } = extension;
    const finish = (real: number, pairs: readonly number[], left: number): void => {
      const data = rangesOf(pairs, real, left);
      this.report({ ...common, kind: 'file', size: real, data }, data);
      this.left = left;
      this.padding = -size & (HEADER - 1);
    };
    const realSize = pax.get('GNU.sparse.realsize') ?? pax.get('GNU.sparse.size');
    const map = pax.get('GNU.sparse.map');
    if (type === 'S') {
      this.readOldMap(header, size, finish);
    } else if (pax.has('GNU.sparse.major') && realSize) {
      if (latin1(pax.get('GNU.sparse.major') ?? new Uint8Array(0)) !== '1')
        throw damaged('a sparse file of unknown kind');
      this.readMapInData(size, (pairs, left) => finish(paxNumber(realSize), pairs, left));
    } else if (map && realSize) {
      const numbers = latin1(map).split(',').filter(Boolean);
      if (numbers.length > 2 * MAX_RANGES) throw damaged('a sparse file has too many pieces');
      finish(
        paxNumber(realSize),
        numbers.map((text) => paxNumber(Buffer.from(text, 'latin1'))),
        size,
      );
    } else if (sparse.length > 0 && realSize) finish(paxNumber(realSize), sparse, size);
    else finish(size, size > 0 ? [0, size] : [], size);
  }

  /** GNU tar's old kind: pieces in the header, and in blocks behind it while each says that there is one more. */
  private readOldMap(
    header: Uint8Array,
    size: number,
    finish: (real: number, pairs: readonly number[], left: number) => void,
  ): void {
    const real = numberField(header, 483, 12);
    const pairs: number[] = [];
    const add = (block: Uint8Array, at: number, count: number): void => {
      for (let i = 0; i < count; i++) {
        const entry = at + 24 * i;
        if (block[entry] === 0) return;
        pairs.push(numberField(block, entry, 12), numberField(block, entry + 12, 12));
      }
    };
    add(header, 386, 4);
    const next = (more: boolean): void => {
      if (!more) {
        finish(real, pairs, size);
        return;
      }
      if (pairs.length > 2 * MAX_RANGES) throw damaged('a sparse file has too many pieces');
      this.collect(HEADER, (block) => {
        add(block, 0, 21);
        next(block[504] !== 0);
      });
    };
    next(header[482] !== 0);
  }

  /** Format 1.0: before the data, blocks with a count of pieces and their numbers, one on each line. */
  private readMapInData(size: number, finish: (pairs: readonly number[], left: number) => void): void {
    const numbers: number[] = [];
    let text = '';
    let read = 0;
    const next = (): void => {
      read += HEADER;
      if (read > size || read > MAX_EXTENSION * 8) throw damaged('the map of a sparse file is not there');
      this.collect(HEADER, (block) => {
        text += latin1(block);
        const lines = text.split('\n');
        // Behind the last number there are zeros to the end of the block.
        text = lines.pop() ?? '';
        for (const line of lines) {
          if (numbers.length > 0 && numbers.length === 1 + 2 * numbers[0]) break;
          numbers.push(paxNumber(Buffer.from(line, 'latin1')));
          if (numbers[0] > MAX_RANGES) throw damaged('a sparse file has too many pieces');
        }
        if (numbers.length > 0 && numbers.length === 1 + 2 * numbers[0]) finish(numbers.slice(1), size - read);
        else if (text.length > MAX_DIGITS) throw damaged('the map of a sparse file is none');
        else next();
      });
    };
    next();
  }
}

function id(value: number): number {
  if (value < 0 || value >= 2 ** 32) throw damaged('an owner in it is no number of 32 bits');
  return value;
}

function upToNul(bytes: Uint8Array): ByteString {
  return textField(bytes, 0, bytes.length);
}

/** The name, behind the prefix where the header is POSIX's: GNU tar's has other things there. */
function pathField(header: Uint8Array): ByteString {
  const name = textField(header, 0, 100);
  const posix = latin1(header.subarray(257, 263)) === 'ustar\0';
  const prefix = posix ? textField(header, 345, 155) : '';
  return prefix === '' ? name : `${prefix}/${name}`;
}

const XATTR = 'SCHILY.xattr.';

function xattrsOf(pax: ReadonlyMap<string, Uint8Array>): Map<ByteString, Uint8Array> {
  const xattrs = new Map<ByteString, Uint8Array>();
  for (const [key, value] of pax) if (key.startsWith(XATTR)) xattrs.set(key.slice(XATTR.length), value);
  return xattrs;
}

/** Pieces in pairs of offset and length, which must hold `stored` bytes. */
function rangesOf(pairs: readonly number[], size: number, stored: number): DataRange[] {
  const ranges: DataRange[] = [];
  let end = 0;
  let sum = 0;
  for (let i = 0; i + 1 < pairs.length; i += 2) {
    const [offset, length] = [pairs[i], pairs[i + 1]];
    if (offset < end || length < 0 || offset + length > size) throw damaged('the pieces of a sparse file overlap');
    end = offset + length;
    sum += length;
    // The last piece may be an empty one at the end of the file.
    if (length > 0) ranges.push({ offset, length });
  }
  if (sum !== stored || size < 0) throw damaged('a sparse file does not hold what it says');
  return ranges;
}
