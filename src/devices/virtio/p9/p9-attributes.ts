/**
 * Extended attributes of 9P2000.L: a fid stands for the value of one, which is read and written as a file would be; clunking it ends that.
 */
import { FileError } from '../../../iface/errno.js';
import { MAX_ATTRIBUTE, type SharedAttributes } from '../../../iface/shared-folder.js';
import { nameList, whenSet } from '../attribute-words.js';
import type { Operation } from './p9-operations.js';
import type { Fid, FidAttribute, P9Session } from './p9-session.js';

function attributesOf({ folder }: P9Session): SharedAttributes {
  if (!folder.attributes) throw new FileError('EOPNOTSUPP');
  return folder.attributes;
}

/** Txattrwalk: fid[4] newfid[4] name[s]; without a name, all names. */
export const walkAttribute: Operation = ({ session, reader, reply }) => {
  const [from, to, name] = [reader.u32(), reader.u32(), reader.string()];
  const { uid } = session.fid(from);
  const node = session.node(from);
  session.checkFree(to);
  session.checkAttributes();
  const attributes = attributesOf(session);
  const value = name === '' ? nameList(attributes.list(node)) : attributes.get(node, name);
  session.folder.hold(node);
  session.add(to, node, uid);
  session.setAttribute(session.fid(to), { value, writing: undefined });
  reply.u64(BigInt(value.length));
};

/** Txattrcreate: fid[4] name[s] attr_size[8] flags[4]. The fid is no file's any more. */
export const createAttribute: Operation = ({ session, reader }) => {
  const number = reader.u32();
  const name = reader.string();
  const size = reader.extent();
  const when = whenSet(reader.u32());
  const fid = session.fid(number);
  session.node(number);
  attributesOf(session);
  if (fid.open >= 0 || fid.attribute) throw new FileError('EBADF');
  if (session.folder.readOnly) throw new FileError('EROFS');
  if (size > MAX_ATTRIBUTE) throw new FileError('E2BIG');
  session.setAttribute(fid, { value: new Uint8Array(size), writing: { name, when, have: 0 } });
};

export function readAttribute({ value, writing }: FidAttribute, offset: number, count: number): Uint8Array {
  if (writing) throw new FileError('EBADF');
  return value.subarray(Math.min(offset, value.length), Math.min(offset + count, value.length));
}

/** With its last byte it is set: what fails then is told to whoever wrote, which clunking does not do in older kernels. */
export function writeAttribute(session: P9Session, { node, attribute }: Fid, offset: number, data: Uint8Array): void {
  const writing = attribute?.writing;
  if (!node || !writing) throw new FileError('EBADF');
  const { value } = attribute;
  if (writing.have !== offset || data.length > value.length - offset) throw new FileError('EINVAL');
  value.set(data, offset);
  writing.have += data.length;
  if (writing.have < value.length || value.length === 0) return;
  writing.have = -1;
  attributesOf(session).set(node, writing.name, value, writing.when);
}

/** The fid is gone whether what it was for works or not. */
export const clunk: Operation = ({ session, reader }) => {
  const number = reader.u32();
  const { node, attribute } = session.fid(number);
  try {
    const writing = attribute?.writing;
    // One without a value has not been written. Linux removes an attribute by replacing it by nothing.
    if (!node || writing?.have !== 0 || attribute?.value.length !== 0) return;
    if (writing.when === 'present') attributesOf(session).remove(node, writing.name);
    else attributesOf(session).set(node, writing.name, attribute.value, writing.when);
  } finally {
    session.clunk(number);
  }
};
