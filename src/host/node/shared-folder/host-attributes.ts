/**
 * Extended attributes of a shared folder's files: the users' own, `user.*`, and file capabilities, which a guest sees and can take away. It
 * cannot give any: like set-user-ID bits they would be the host's as well. All others (labels, access lists, trusted ones) are not there.
 */
import { ERRNO, FileError, type ErrnoName } from '../../../iface/errno.js';
import {
  FILE_TYPE,
  MAX_ATTRIBUTE,
  type AttributeSet,
  type ByteString,
  type SharedAttributes,
  type SharedNode,
} from '../../../iface/shared-folder.js';
import { attributeCalls, type AttributeCalls } from '../native/xattr.js';

const USER = 'user.';
const CAPABILITY = 'security.capability';
const MAX_NAME = 255;
/** Of setxattr(2): XATTR_CREATE, XATTR_REPLACE. */
const FLAGS: Readonly<Record<AttributeSet, number>> = { always: 0, absent: 1, present: 2 };

const NAMES = new Map<number, ErrnoName>(Object.entries(ERRNO).map(([name, number]) => [number, name as ErrnoName]));

const failure = (errno: number): FileError => new FileError(NAMES.get(errno) ?? 'EIO');

const isShown = (name: ByteString): boolean => name.startsWith(USER) || name === CAPABILITY;

/** Only these have attributes of users, and capabilities (xattr(7)). */
const has = ({ type }: SharedNode): boolean => type === FILE_TYPE.REGULAR || type === FILE_TYPE.FOLDER;

function nameBytes(name: ByteString): Uint8Array {
  if (name === '' || name.length > MAX_NAME) throw new FileError('ERANGE');
  if (!isShown(name)) throw new FileError('EOPNOTSUPP');
  if (name.includes('\0')) throw new FileError('EINVAL');
  return Buffer.from(`${name}\0`, 'latin1');
}

class HostAttributes implements SharedAttributes {
  /** `pathOf`: a path that leads to this very file. */
  constructor(
    private readonly calls: AttributeCalls,
    private readonly readOnly: boolean,
    private readonly pathOf: (node: SharedNode) => string,
  ) {}

  get(node: SharedNode, name: ByteString): Uint8Array {
    const bytes = nameBytes(name);
    if (!has(node)) throw new FileError('ENODATA');
    const value = this.calls.get(this.pathOf(node), bytes);
    if (typeof value === 'number') throw failure(value);
    return value;
  }

  set(node: SharedNode, name: ByteString, value: Uint8Array, when: AttributeSet): void {
    const path = this.changeable(node, name);
    if (name === CAPABILITY) throw new FileError('EPERM');
    if (value.length > MAX_ATTRIBUTE) throw new FileError('E2BIG');
    this.done(this.calls.set(path, nameBytes(name), value, FLAGS[when]));
  }

  list(node: SharedNode): readonly ByteString[] {
    if (!has(node)) return [];
    const names = this.calls.list(this.pathOf(node));
    if (typeof names === 'number') throw failure(names);
    return Buffer.from(names).toString('latin1').split('\0').filter(isShown);
  }

  remove(node: SharedNode, name: ByteString): void {
    const path = this.changeable(node, name);
    this.done(this.calls.remove(path, nameBytes(name)));
  }

  private changeable(node: SharedNode, name: ByteString): string {
    if (this.readOnly) throw new FileError('EROFS');
    nameBytes(name);
    if (!has(node)) throw new FileError('EPERM');
    return this.pathOf(node);
  }

  private done(errno: number): void {
    if (errno !== 0) throw failure(errno);
  }
}

/** Undefined: this host has none, or no way to them. */
export function openAttributes(readOnly: boolean, pathOf: (node: SharedNode) => string): SharedAttributes | undefined {
  const calls = attributeCalls();
  return calls && new HostAttributes(calls, readOnly, pathOf);
}
