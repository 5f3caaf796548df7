/** Operations on extended attributes. */
import { FileError } from '../../../iface/errno.js';
import { MAX_ATTRIBUTE, type SharedAttributes } from '../../../iface/shared-folder.js';
import { nameList, whenSet } from '../attribute-words.js';
import type { Reply } from './fuse-protocol.js';
import type { Operation, Request } from './fuse-request.js';

function attributesOf({ folder }: Request): SharedAttributes {
  // The kernel never asks again.
  if (!folder.attributes) throw new FileError('ENOSYS');
  return folder.attributes;
}

/** What there is, or where `room` is 0, how much. */
function answer(reply: Reply, room: number, value: Uint8Array): void {
  if (room === 0) {
    // struct fuse_getxattr_out
    reply.u32(value.length, 0);
    return;
  }
  if (value.length > room) throw new FileError('ERANGE');
  reply.data(value);
}

export const get: Operation = (request) => {
  const room = request.reader.u32();
  const name = request.reader.skip(4).name();
  answer(request.reply, room, attributesOf(request).get(request.node(), name));
};

export const list: Operation = (request) => {
  const room = request.reader.u32();
  const names = attributesOf(request).list(request.node());
  answer(request.reply, room, nameList(names));
};

/** struct fuse_setxattr_in without what FUSE_SETXATTR_EXT adds. */
export const set: Operation = (request) => {
  const { reader } = request;
  const [size, flags] = [reader.u32(), reader.u32()];
  const when = whenSet(flags);
  const name = reader.name();
  if (size > MAX_ATTRIBUTE) throw new FileError('E2BIG');
  attributesOf(request).set(request.node(), name, reader.data(size), when);
};

export const remove: Operation = (request) => {
  attributesOf(request).remove(request.node(), request.reader.name());
};
