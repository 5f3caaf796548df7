/** Answers to what concerns files of guests. */
import type { FileAnswer, FileStatus } from '../../api/schemas.js';
import { ApiError } from '../../api/errors.js';
import type { FileStatus as GuestFileStatus } from '../../sdk/index.js';
import type { Answer, HttpCall, HttpHandlers } from '../call.js';
import { machineOf } from './machines.js';

/** Bytes of what a link leads to: PATH_MAX. */
const MOST_LINK = 4096;
/** Bytes of a list: some hundred thousand names. */
const MOST_LIST = 16 * 2 ** 20;
/** Bytes of a part that is asked for: it is kept as a whole. */
const MOST_PART = 64 * 2 ** 20;

const statusOf = ({ type, mode, uid, gid, links, size, modified }: GuestFileStatus): FileStatus => ({
  type,
  mode,
  uid,
  gid,
  links,
  size,
  // A guest's clock, and its files, may be set to anything.
  modified: Number.isFinite(modified.getTime()) ? modified.toISOString() : new Date(0).toISOString(),
});

const optionsOf = ({ query, signal }: HttpCall): { readonly user?: string; readonly signal: AbortSignal } => ({
  signal,
  ...(query['user'] !== undefined && { user: query['user'] }),
});

async function readContent(call: HttpCall): Promise<Answer | undefined> {
  const { guest } = machineOf(call);
  const { path, offset, length } = call.query;
  if (offset !== undefined || length !== undefined) {
    if (length === undefined || Number(length) > MOST_PART)
      throw new ApiError('invalid', `give a length of ${MOST_PART} at most with an offset`);
    call.held.add(Number(length));
    const part = { offset: Number(offset ?? 0), length: Number(length) };
    return {
      bytes: await guest.fs.read(path, { ...part, ...optionsOf(call) }),
      contentType: 'application/octet-stream',
    };
  }
  await guest.fs.readTo(path, (bytes) => call.send(bytes), optionsOf(call));
  // An empty file has sent nothing.
  return { bytes: new Uint8Array(0) };
}

async function read(call: HttpCall): Promise<Answer | undefined> {
  const { path, what = 'content' } = call.query;
  if (what === 'content') return readContent(call);
  const { guest } = machineOf(call);
  const options = optionsOf(call);
  const answer = async (): Promise<FileAnswer> => {
    switch (what) {
      case 'list': {
        // A guest can make folders that never end: what they take in memory is many times what it says.
        const leave = await call.tenant.lists.enter(call.tenant, call.signal);
        try {
          const entries = await guest.fs.list(path, { ...options, maxBytes: MOST_LIST });
          return { entries: entries.map((entry) => ({ name: entry.name, ...statusOf(entry) })) };
        } finally {
          leave();
        }
      }
      case 'link':
        return { target: await guest.fs.readlink(path, options) };
      default:
        return { status: statusOf(await guest.fs.stat(path, { ...options, follow: what === 'status' })) };
    }
  };
  return { json: await answer() };
}

async function textOf(bytes: AsyncIterable<Uint8Array>, most: number): Promise<string> {
  let text = '';
  const decoder = new TextDecoder();
  for await (const part of bytes) {
    text += decoder.decode(part, { stream: true });
    if (text.length > most) throw new ApiError('too-large', `that is longer than ${most} bytes`);
  }
  return text + decoder.decode();
}

async function write(call: HttpCall): Promise<undefined> {
  const { guest } = machineOf(call);
  const { path, as = 'file', mode, how, parents } = call.query;
  const options = { ...optionsOf(call), ...(mode !== undefined && { mode: parseInt(mode, 8) }) };
  switch (as) {
    case 'folder':
      await guest.fs.mkdir(path, { ...options, parents: parents === 'true' });
      break;
    case 'link': {
      const target = await textOf(call.bytes, MOST_LINK);
      if (target === '') throw new ApiError('invalid', 'say in the body where the link leads');
      await guest.fs.symlink(target, path, optionsOf(call));
      break;
    }
    default:
      await guest.fs.write(path, call.bytes, {
        ...options,
        ...(how !== undefined && { how: how as 'replace' | 'append' | 'create' }),
      });
  }
  return undefined;
}

export const fileHandlers: HttpHandlers = {
  readFile: read,
  writeFile: write,
  deleteFile: async (call) => {
    const { path, recursive } = call.query;
    await machineOf(call).guest.fs.remove(path, { ...optionsOf(call), recursive: recursive === 'true' });
    return undefined;
  },
};
