/** How Linux says what it wants with extended attributes, which FUSE and 9P pass on as it is. */
import { FileError } from '../../iface/errno.js';
import type { AttributeSet, ByteString } from '../../iface/shared-folder.js';

/** Flags of setxattr(2). */
const XATTR = { CREATE: 1, REPLACE: 2 } as const;

export function whenSet(flags: number): AttributeSet {
  if (flags === 0) return 'always';
  if (flags === XATTR.CREATE) return 'absent';
  if (flags === XATTR.REPLACE) return 'present';
  throw new FileError('EINVAL');
}

/** Names of extended attributes as listxattr(2) gives them: each with a NUL behind it. */
export const nameList = (names: readonly ByteString[]): Uint8Array =>
  Uint8Array.from(names.map((name) => `${name}\0`).join(''), (character) => character.charCodeAt(0));
