/** Extended attributes on disk: in the inode where they fit, else in a block. ext4 documentation, "Extended Attributes". */
import { ImageError } from '../image.js';
import { BLOCK, INODE_SIZE, NODE } from './layout.js';
import { bytesOf, readable, type ByteString } from './tree.js';

const MAGIC = 0xea020000;
/** Prefixes that a number stands for; the longest that fits is taken. */
const PREFIXES: readonly (readonly [string, number])[] = [
  ['system.posix_acl_access', 2],
  ['system.posix_acl_default', 3],
  ['user.', 1],
  ['trusted.', 4],
  ['security.', 6],
  ['system.', 7],
];
/** Bytes of the header in a block, of that in an inode, and of an entry without its name. */
const BLOCK_HEADER = 32;
const INODE_HEADER = 4;
const ENTRY = 16;
/** Ends the list of entries. */
const END = 4;
const MAX_NAME = 255;

const padded = (length: number): number => (length + 3) & ~3;

interface Attribute {
  readonly index: number;
  readonly name: Uint8Array;
  readonly value: Uint8Array;
}

/** Attributes as they are written. */
export interface PackedAttributes {
  /** For the end of the inode. */
  readonly inode?: Uint8Array;
  /** For a block of their own. */
  readonly block?: Uint8Array;
}

/** Throws a one-line error when they cannot be stored. */
export function packAttributes(xattrs: ReadonlyMap<ByteString, Uint8Array>): PackedAttributes {
  if (xattrs.size === 0) return {};
  const attributes = [...xattrs].map(([name, value]) => attribute(name, value));
  // In a block they are in this order, by which Linux finds them.
  attributes.sort((a, b) => a.index - b.index || a.name.length - b.name.length || compare(a.name, b.name));
  const bytes = attributes.reduce(
    (sum, { name, value }) => sum + padded(ENTRY + name.length) + padded(value.length),
    END,
  );
  if (INODE_HEADER + bytes <= INODE_SIZE - NODE.XATTRS) {
    const inode = new Uint8Array(INODE_SIZE - NODE.XATTRS);
    new DataView(inode.buffer).setUint32(0, MAGIC, true);
    // Values are counted from the first entry here, and from the block's begin there.
    write(inode, attributes, { first: INODE_HEADER, origin: INODE_HEADER, hashed: false });
    return { inode };
  }
  if (BLOCK_HEADER + bytes > BLOCK)
    throw new ImageError(`extended attributes of ${bytes} bytes are more than ext4 stores with a file`);
  const block = new Uint8Array(BLOCK);
  const hashes = write(block, attributes, { first: BLOCK_HEADER, origin: 0, hashed: true });
  const view = new DataView(block.buffer);
  view.setUint32(0, MAGIC, true);
  // One inode refers to it, and it is one block.
  view.setUint32(4, 1, true);
  view.setUint32(8, 1, true);
  view.setUint32(
    12,
    hashes.reduce((sum, hash) => ((sum << 16) ^ (sum >>> 16) ^ hash) >>> 0, 0),
    true,
  );
  return { block };
}

function attribute(name: ByteString, value: Uint8Array): Attribute {
  const [prefix, index] = PREFIXES.find(([text]) => name.startsWith(text)) ?? ['', 0];
  const rest = bytesOf(name.slice(prefix.length));
  const acl = index === 2 || index === 3;
  if (index === 0 || rest.length > MAX_NAME || acl !== (rest.length === 0))
    throw new ImageError(`ext4 does not store an extended attribute of the name ${readable(name)}`);
  return { index, name: rest, value: acl ? packAcl(value) : value };
}

function compare(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i] - b[i];
  return 0;
}

/** Values go from the end towards the entries. Returns the entries' hashes. */
function write(
  into: Uint8Array,
  attributes: readonly Attribute[],
  { first, origin, hashed }: { readonly first: number; readonly origin: number; readonly hashed: boolean },
): number[] {
  const view = new DataView(into.buffer);
  let at = first;
  let end = into.length;
  return attributes.map(({ index, name, value }) => {
    end -= padded(value.length);
    into.set(value, end);
    view.setUint8(at, name.length);
    view.setUint8(at + 1, index);
    view.setUint16(at + 2, value.length > 0 ? end - origin : 0, true);
    view.setUint32(at + 8, value.length, true);
    // Linux hashes in blocks only, where equal ones are shared.
    const hash = hashed ? entryHash(name, into.subarray(end, end + padded(value.length))) : 0;
    view.setUint32(at + 12, hash, true);
    into.set(name, at + ENTRY);
    at += padded(ENTRY + name.length);
    return hash;
  });
}

/** ext4_xattr_hash_entry of Linux 6.1: `value` is padded with zeros. */
function entryHash(name: Uint8Array, value: Uint8Array): number {
  let hash = 0;
  for (const byte of name) hash = ((hash << 5) ^ (hash >>> 27) ^ byte) >>> 0;
  const view = new DataView(value.buffer, value.byteOffset, value.length);
  for (let at = 0; at < value.length; at += 4) hash = ((hash << 16) ^ (hash >>> 16) ^ view.getUint32(at, true)) >>> 0;
  return hash;
}

/** Tags of POSIX ACLs that name a user or a group, and all of them: linux/posix_acl.h. */
const NAMING = [0x02, 0x08];
const TAGS = [0x01, 0x02, 0x04, 0x08, 0x10, 0x20];

/** An ACL as getxattr(2) gives it (version 2, 8 bytes an entry) as ext4 stores it (version 1, ids only where they mean something). */
function packAcl(value: Uint8Array): Uint8Array {
  const view = new DataView(value.buffer, value.byteOffset, value.length);
  if (value.length < 4 || value.length % 8 !== 4 || view.getUint32(0, true) !== 2)
    throw new ImageError('an access control list is damaged');
  const packed = new Uint8Array(value.length);
  const out = new DataView(packed.buffer);
  out.setUint32(0, 1, true);
  let length = 4;
  for (let at = 4; at < value.length; at += 8) {
    const tag = view.getUint16(at, true);
    if (!TAGS.includes(tag)) throw new ImageError('an access control list is damaged');
    out.setUint16(length, tag, true);
    out.setUint16(length + 2, view.getUint16(at + 2, true), true);
    length += 4;
    if (!NAMING.includes(tag)) continue;
    out.setUint32(length, view.getUint32(at + 4, true), true);
    length += 4;
  }
  return packed.subarray(0, length);
}
