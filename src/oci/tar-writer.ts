/** Headers of tar archives, in the format of POSIX.1-2017 ("pax"). */
import { bytesOf, type ByteString, type Timestamp } from '../block/ext4/tree.js';
import type { TarKind } from './tar-reader.js';

export interface TarMember {
  readonly kind: TarKind;
  readonly path: ByteString;
  /** Of links of both kinds. */
  readonly target?: ByteString;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: Timestamp;
  /** Bytes of a file. */
  readonly size?: number;
  readonly major?: number;
  readonly minor?: number;
  readonly xattrs?: ReadonlyMap<ByteString, Uint8Array>;
}

const BLOCK = 512;
const TYPES: Readonly<Record<TarKind, string>> = {
  file: '0',
  'hard-link': '1',
  link: '2',
  'character-device': '3',
  'block-device': '4',
  folder: '5',
  fifo: '6',
};

/** Behind the last member. */
export const TAR_END = new Uint8Array(2 * BLOCK);

/** Zeros between so many bytes of a file and the next header. */
export const tarPadding = (size: number): Uint8Array => new Uint8Array(-size & (BLOCK - 1));

/** What stands before a member's data: its header, behind one with what does not fit into it. */
export function tarHeader(member: TarMember): Uint8Array {
  const { path, target = '', uid, gid, mtime, size = 0, xattrs = new Map<ByteString, Uint8Array>() } = member;
  const records: Uint8Array[] = [];
  const text = (key: string, value: ByteString): void => void records.push(record(key, bytesOf(value)));
  if (path.length > 100 || !isAscii(path)) text('path', path);
  if (target.length > 100 || !isAscii(target)) text('linkpath', target);
  if (size >= 8 ** 11) text('size', String(size));
  if (uid >= 8 ** 7) text('uid', String(uid));
  if (gid >= 8 ** 7) text('gid', String(gid));
  if (mtime.nanoseconds !== 0 || mtime.seconds < 0 || mtime.seconds >= 8 ** 11) text('mtime', timeText(mtime));
  for (const [name, value] of xattrs) records.push(record(`SCHILY.xattr.${name}`, value));
  if (records.length === 0) return ustar(member);
  const body = Buffer.concat(records);
  const extended = ustar({ ...member, kind: 'file', path: 'PaxHeaders/x', target: '', size: body.length }, 'x');
  return Buffer.concat([extended, body, tarPadding(body.length), ustar(member)]);
}

// eslint-disable-next-line no-control-regex -- what is not ASCII is meant, control characters included
const isAscii = (value: ByteString): boolean => /^[\x01-\x7f]*$/.test(value);

/** The length counts its own digits. */
function record(key: string, value: Uint8Array): Uint8Array {
  const rest = key.length + value.length + 3;
  let length = rest + String(rest).length;
  if (String(length).length !== String(rest).length) length = rest + String(length).length;
  return Buffer.concat([Buffer.from(`${length} ${key}=`, 'latin1'), value, Buffer.from('\n')]);
}

function timeText({ seconds, nanoseconds }: Timestamp): string {
  // Nanoseconds count upwards from the second before.
  const [whole, rest] = seconds < 0 && nanoseconds > 0 ? [seconds + 1, 1e9 - nanoseconds] : [seconds, nanoseconds];
  const sign = seconds < 0 ? '-' : '';
  const fraction = rest > 0 ? `.${String(rest).padStart(9, '0')}` : '';
  return `${sign}${Math.abs(whole)}${fraction}`;
}

function ustar(
  { kind, path, target = '', mode, uid, gid, mtime, size = 0, major = 0, minor = 0 }: TarMember,
  type = TYPES[kind],
): Uint8Array {
  const header = Buffer.alloc(BLOCK);
  const octal = (at: number, width: number, value: number): void => {
    // What does not fit stands in the header before this one.
    const fits = value >= 0 && value < 8 ** (width - 1) ? value : 0;
    header.write(fits.toString(8).padStart(width - 1, '0'), at, 'latin1');
  };
  header.write(path.slice(0, 100), 0, 'latin1');
  octal(100, 8, mode & 0o7777);
  octal(108, 8, uid);
  octal(116, 8, gid);
  octal(124, 12, kind === 'file' ? size : 0);
  octal(136, 12, mtime.seconds);
  header.write(type, 156, 'latin1');
  header.write(target.slice(0, 100), 157, 'latin1');
  header.write('ustar\x0000', 257, 'latin1');
  octal(329, 8, major);
  octal(337, 8, minor);
  header.fill(' ', 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return header;
}
