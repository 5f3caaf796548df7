/** Random file systems, for whatever writes them. */
import type { DataRange, FsAttributes, FsFile, FsFolder, FsNode } from '../block/ext4/tree.js';
import { RandomSource } from './random-source.js';

/** A tree, and the contents of its files. */
export interface RandomTree {
  readonly root: FsFolder;
  readonly contents: ReadonlyMap<FsFile, Uint8Array>;
}

/** A tree of about `count` files and folders, of all kinds that there are. Everything follows from the seed. */
export function randomTree(seed: number, count: number): RandomTree {
  const random = new RandomSource(seed);
  const upTo = (limit: number): number => random.below(limit);
  const contents = new Map<FsFile, Uint8Array>();
  interface Folder extends FsFolder {
    readonly children: Map<string, FsNode>;
  }
  const bytes = (length: number): Uint8Array => Uint8Array.from({ length }, () => upTo(256));

  const attributes = (): FsAttributes => {
    const xattrs = new Map<string, Uint8Array>();
    if (upTo(6) === 0) {
      // Small ones go into the inode, others into a block.
      for (let i = upTo(4); i >= 0; i--)
        xattrs.set(`user.${'n'.repeat(1 + upTo(20))}${i}`, bytes(upTo(upTo(2) === 0 ? 20 : 400)));
      if (upTo(2) === 0) xattrs.set('security.capability', bytes(20));
    }
    return {
      mode: upTo(0o10000),
      uid: upTo(4) === 0 ? upTo(2 ** 32 - 1) : upTo(1000),
      gid: upTo(4) === 0 ? upTo(2 ** 32 - 1) : upTo(1000),
      mtime: { seconds: upTo(8) === 0 ? upTo(2 ** 33) - 2 ** 31 : 1_600_000_000 + upTo(1e8), nanoseconds: upTo(1e9) },
      xattrs,
    };
  };
  const folder = (): Folder => ({ kind: 'folder', ...attributes(), children: new Map() });
  const file = (): FsFile => {
    const size = [0, upTo(100), upTo(5000), upTo(100_000), upTo(3_000_000)][upTo(5)];
    const data: DataRange[] = [];
    if (size > 0 && upTo(5) === 0) {
      // With holes, at its ends too, some of them within a block.
      for (let at = upTo(20_000); at < size; at += 1 + upTo(60_000)) {
        const length = Math.min(1 + upTo(30_000), size - at);
        data.push({ offset: at, length });
        at += length;
      }
    } else if (size > 0) data.push({ offset: 0, length: size });
    const made: FsFile = { kind: 'file', ...attributes(), size, data };
    const content = new Uint8Array(size);
    for (const { offset, length } of data) content.fill(1 + upTo(255), offset, offset + length);
    for (let i = 0; i < Math.min(size, 50) && data.length > 0; i++) {
      const range = data[upTo(data.length)];
      content[range.offset + upTo(range.length)] = upTo(256);
    }
    contents.set(made, content);
    return made;
  };
  const other = (): FsNode => {
    switch (upTo(5)) {
      case 0:
        return { kind: 'character-device', ...attributes(), major: upTo(4096), minor: upTo(2 ** 20) };
      case 1:
        return { kind: 'block-device', ...attributes(), major: upTo(256), minor: upTo(256) };
      case 2:
        return { kind: 'fifo', ...attributes() };
      case 3:
        return { kind: 'socket', ...attributes() };
      default:
        return { kind: 'link', ...attributes(), target: 'x'.repeat([1 + upTo(59), 59, 60, 61 + upTo(4000)][upTo(4)]) };
    }
  };
  const root = folder();
  const folders = [root];
  const files: FsNode[] = [];
  const name = (i: number): string => {
    const text = `${i}-${'n'.repeat(upTo(10) === 0 ? 200 + upTo(40) : upTo(12))}`;
    return upTo(10) === 0 ? `${text} \u00e4\u00ff'"\\` : text;
  };
  for (let i = 0; i < count; i++) {
    const { children } = folders[upTo(folders.length)];
    const kind = upTo(10);
    if (kind < 2) {
      const made = folder();
      folders.push(made);
      children.set(name(i), made);
    } else if (kind < 8) {
      const made = file();
      files.push(made);
      children.set(name(i), made);
    } else if (kind < 9 || files.length === 0) {
      const made = other();
      files.push(made);
      children.set(name(i), made);
    } else children.set(name(i), files[upTo(files.length)]);
  }
  return { root, contents };
}
