import { FileError } from '../../iface/errno.js';
import type { ByteString, SharedFolder, SharedNode } from '../../iface/shared-folder.js';

/**
 * Looks many paths up (names with slashes between; '' is the root), each folder on the way only once. `visit` is told of
 * each in turn, with what is there, or undefined; the node is held only while it runs.
 */
export function walk(
  folder: SharedFolder,
  paths: readonly (ByteString | null)[],
  visit: (index: number, node: SharedNode | undefined) => void,
): void {
  const seen = new Map<ByteString, SharedNode | undefined>([['', folder.root]]);
  const find = (path: ByteString): SharedNode | undefined => {
    // From the longest part that is known, without recursion.
    let known = path;
    while (!seen.has(known)) known = known.slice(0, Math.max(0, known.lastIndexOf('/')));
    let node = seen.get(known);
    while (known !== path) {
      const from = known === '' ? 0 : known.length + 1;
      const slash = path.indexOf('/', from);
      const end = slash < 0 ? path.length : slash;
      node = node && lookup(folder, node, path.slice(from, end));
      known = path.slice(0, end);
      seen.set(known, node);
    }
    return node;
  };
  try {
    paths.forEach((path, index) => visit(index, path === null ? undefined : find(path)));
  } finally {
    seen.delete('');
    for (const node of seen.values()) if (node) folder.release(node);
  }
}

function lookup(folder: SharedFolder, at: SharedNode, name: ByteString): SharedNode | undefined {
  try {
    return folder.lookup(at, name)?.node;
  } catch (error) {
    if (error instanceof FileError) return undefined;
    throw error;
  }
}
