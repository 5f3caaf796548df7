/**
 * Writes ext4 file systems: a tree becomes an image that Linux mounts and writes to, without mounting anything here and without
 * rights to anything. The image has a journal, extents and attributes, no checksums of metadata, and no indexed directories
 * (Linux indexes those that it makes itself).
 */
import type { HostFile } from '../../iface/file.js';
import { ImageError } from '../image.js';
import { directoryBlocks, writeDirectory, type DirectoryEntry } from './directory.js';
import { extentTree, type Extent } from './extents.js';
import {
  BLOCK,
  BLOCKS_PER_GROUP,
  COMPAT,
  DESCRIPTOR,
  DESCRIPTOR_SIZE,
  EXTENTS_FLAG,
  EXTRA_SIZE,
  GROUPS_PER_FLEX,
  hasBackup,
  INCOMPAT,
  INODE,
  INODE_SIZE,
  MAGIC,
  MAX_LINKS,
  NODE,
  RO_COMPAT,
  SUPER,
  TYPE,
} from './layout.js';
import { planExt4, type Plan, type Planned, type SpaceWanted } from './plan.js';
import { setBits } from './space.js';
import { bytesOf, type FsFile, type FsFolder, type Timestamp } from './tree.js';

export interface Ext4Options extends SpaceWanted {
  /** Sixteen bytes that tell it from others. */
  readonly uuid: Uint8Array;
  /** When it was made, in seconds since 1970. */
  readonly made: number;
  /** At most sixteen characters of ASCII. */
  readonly label?: string;
}

/** What the image is written to; whatever is not written must read as zeros. */
export type ImageSink = Pick<HostFile, 'write' | 'truncate'>;

/** Blocks of zeros are not written: the image has holes there. */
const BATCH = 256 * BLOCK;

/** A file system whose places are known; its metadata and its contents are written one after the other, in any order. */
export class Ext4Image {
  private readonly plan: Plan;

  /** Throws a one-line error (ImageError) when the tree cannot be a file system, or does not fit. */
  constructor(
    root: FsFolder,
    private readonly options: Ext4Options,
  ) {
    this.plan = planExt4(root, options);
  }

  /** Bytes. */
  get size(): number {
    return this.plan.space.blocks * BLOCK;
  }

  /**
   * Writes everything but the contents of files. Yields now and then, so that the caller can let others have a turn.
   */
  *writeMetadata(sink: ImageSink): Generator<void> {
    sink.truncate(this.size);
    const folders = new Map<number, number>();
    yield* this.writeInodes(sink, folders);
    this.writeJournal(sink);
    this.writeGroups(sink, folders);
  }

  /** Takes the contents of a file, in pieces in any order; what is never written reads as zeros. */
  contentWriter(file: FsFile, sink: ImageSink): (offset: number, bytes: Uint8Array) => void {
    const planned = this.plan.byNode.get(file);
    if (!planned) throw new ImageError('the file is not in this file system');
    const { extents } = planned;
    let current = 0;
    return (offset, bytes) => {
      for (let at = 0; at < bytes.length;) {
        const block = Math.floor((offset + at) / BLOCK);
        current = findExtent(extents, block, current);
        const extent = extents[current];
        if (extent === undefined || block < extent.logical)
          throw new ImageError('there is a hole where data was written');
        const within = offset + at - extent.logical * BLOCK;
        const length = Math.min(bytes.length - at, extent.length * BLOCK - within);
        sink.write(extent.physical * BLOCK + within, bytes.subarray(at, at + length));
        at += length;
      }
    };
  }

  private *writeInodes(sink: ImageSink, folders: Map<number, number>): Generator<void> {
    const { space, files, journal } = this.plan;
    const tables = new TableWriter(sink, (inode) => this.inodeOffset(inode));
    const nodes = [...files].sort((a, b) => a.inode - b.inode);
    let since = 0;
    let journaled = false;
    for (const file of nodes) {
      if (!journaled && file.inode > INODE.JOURNAL) {
        tables.put(INODE.JOURNAL, journalInode(journal));
        journaled = true;
      }
      tables.put(file.inode, inodeOf(file));
      for (const { block, bytes } of file.treeBlocks) sink.write(block * BLOCK, bytes);
      if (file.attributes.block) sink.write(file.attributeBlock * BLOCK, file.attributes.block);
      if (file.node.kind === 'link' && file.extents.length > 0)
        sink.write(file.extents[0].physical * BLOCK, bytesOf(file.node.target));
      if (file.node.kind === 'folder') {
        const group = Math.floor((file.inode - 1) / space.inodesPerGroup);
        folders.set(group, (folders.get(group) ?? 0) + 1);
        this.writeFolder(file, file.node, sink);
      }
      if (++since % 512 === 0) yield;
    }
    if (!journaled) tables.put(INODE.JOURNAL, journalInode(journal));
    tables.flush();
  }

  private writeFolder(file: Planned, folder: FsFolder, sink: ImageSink): void {
    const entries: DirectoryEntry[] = [
      { name: '.', inode: file.inode, type: TYPE.folder.entry },
      { name: '..', inode: file.parent, type: TYPE.folder.entry },
    ];
    for (const [name, node] of folder.children) {
      const planned = this.plan.byNode.get(node);
      if (planned) entries.push({ name, inode: planned.inode, type: TYPE[node.kind].entry });
    }
    const bytes = writeDirectory(entries, directoryBlocks(folder.children.keys()));
    for (const { logical, physical, length } of file.extents)
      sink.write(physical * BLOCK, bytes.subarray(logical * BLOCK, (logical + length) * BLOCK));
  }

  private inodeOffset(inode: number): number {
    const { space } = this.plan;
    const group = Math.floor((inode - 1) / space.inodesPerGroup);
    const index = (inode - 1) % space.inodesPerGroup;
    return space.groups[group].inodeTable * BLOCK + index * INODE_SIZE;
  }

  /** The journal's superblock, big-endian: Linux's include/linux/jbd2.h. The rest of it is zeros. */
  private writeJournal(sink: ImageSink): void {
    const { journal } = this.plan;
    const block = new Uint8Array(BLOCK);
    const view = new DataView(block.buffer);
    const length = journal.reduce((sum, extent) => sum + extent.length, 0);
    view.setUint32(0x00, 0xc03b3998);
    // A superblock of version 2.
    view.setUint32(0x04, 4);
    view.setUint32(0x0c, BLOCK);
    view.setUint32(0x10, length);
    // The log begins behind it, with transaction 1, and is empty.
    view.setUint32(0x14, 1);
    view.setUint32(0x18, 1);
    // It has one user.
    view.setUint32(0x40, 1);
    sink.write(journal[0].physical * BLOCK, block);
  }

  private writeGroups(sink: ImageSink, folders: ReadonlyMap<number, number>): void {
    const { space, files } = this.plan;
    const { groups, inodesPerGroup } = space;
    const descriptors = new Uint8Array(space.descriptorBlocks * BLOCK);
    const view = new DataView(descriptors.buffer);
    const usedInodes = INODE.FIRST - 1 + files.length - 1;
    let freeBlocks = 0;
    let group = 0;
    for (const { bitmap, free } of space.bitmaps()) {
      const places = groups[group];
      sink.write(places.blockBitmap * BLOCK, bitmap);
      const used = Math.max(0, Math.min(inodesPerGroup, usedInodes - group * inodesPerGroup));
      const inodes = new Uint8Array(BLOCK);
      setBits(inodes, 0, used);
      // Bits that stand for no inode are set.
      setBits(inodes, inodesPerGroup, BLOCKS_PER_GROUP);
      sink.write(places.inodeBitmap * BLOCK, inodes);
      const at = group * DESCRIPTOR_SIZE;
      view.setUint32(at + DESCRIPTOR.BLOCK_BITMAP, places.blockBitmap, true);
      view.setUint32(at + DESCRIPTOR.INODE_BITMAP, places.inodeBitmap, true);
      view.setUint32(at + DESCRIPTOR.INODE_TABLE, places.inodeTable, true);
      view.setUint16(at + DESCRIPTOR.FREE_BLOCKS, free, true);
      view.setUint16(at + DESCRIPTOR.FREE_INODES, inodesPerGroup - used, true);
      view.setUint16(at + DESCRIPTOR.FOLDERS, folders.get(group) ?? 0, true);
      freeBlocks += free;
      group++;
    }
    for (group = groups.length - 1; group >= 0; group--) {
      if (!hasBackup(group)) continue;
      const start = group * BLOCKS_PER_GROUP * BLOCK;
      sink.write(start + BLOCK, descriptors);
      const block = this.superblock(group, { freeBlocks, freeInodes: space.inodes - usedInodes });
      sink.write(start + (group === 0 ? SUPER.AT : 0), block);
    }
  }

  private superblock(
    group: number,
    { freeBlocks, freeInodes }: { readonly freeBlocks: number; readonly freeInodes: number },
  ): Uint8Array {
    const { space, journal } = this.plan;
    const { uuid, made, label = '' } = this.options;
    const bytes = new Uint8Array(SUPER.SIZE);
    const view = new DataView(bytes.buffer);
    const u32 = (at: number, value: number): void => view.setUint32(at, value, true);
    const u16 = (at: number, value: number): void => view.setUint16(at, value, true);
    u32(SUPER.INODES, space.inodes);
    u32(SUPER.BLOCKS, space.blocks);
    u32(SUPER.FREE_BLOCKS, freeBlocks);
    u32(SUPER.FREE_INODES, freeInodes);
    // 1024 shifted by two is 4096.
    u32(SUPER.LOG_BLOCK, 2);
    u32(SUPER.LOG_CLUSTER, 2);
    u32(SUPER.BLOCKS_PER_GROUP, BLOCKS_PER_GROUP);
    u32(SUPER.CLUSTERS_PER_GROUP, BLOCKS_PER_GROUP);
    u32(SUPER.INODES_PER_GROUP, space.inodesPerGroup);
    u32(SUPER.WRITTEN, made);
    // No check after so many mounts.
    u16(SUPER.MAX_MOUNTS, 0xffff);
    u16(SUPER.MAGIC, MAGIC);
    // Cleanly unmounted; go on after errors.
    u16(SUPER.STATE, 1);
    u16(SUPER.ERRORS, 1);
    u32(SUPER.CHECKED, made);
    u32(SUPER.REVISION, 1);
    u32(SUPER.FIRST_INODE, INODE.FIRST);
    u16(SUPER.INODE_SIZE, INODE_SIZE);
    u16(SUPER.GROUP, group);
    u32(SUPER.COMPAT, all(COMPAT));
    u32(SUPER.INCOMPAT, all(INCOMPAT));
    u32(SUPER.RO_COMPAT, all(RO_COMPAT));
    bytes.set(uuid, SUPER.UUID);
    bytes.set(bytesOf(label.slice(0, 16)), SUPER.LABEL);
    u32(SUPER.JOURNAL_INODE, INODE.JOURNAL);
    // For names in the directories that Linux indexes: half-MD4, with any seed.
    bytes.set(uuid, SUPER.HASH_SEED);
    view.setUint8(SUPER.HASH_VERSION, 1);
    // Attributes and access control lists are on.
    u32(SUPER.MOUNT_OPTIONS, 0x4 | 0x8);
    u32(SUPER.MADE, made);
    // A copy of the journal's inode: its content, then the halves of its size.
    view.setUint8(SUPER.JOURNAL_BACKUP, 1);
    const journalNode = journalInode(journal);
    bytes.set(journalNode.subarray(NODE.CONTENT, NODE.CONTENT + 60), SUPER.JOURNAL_BLOCKS);
    bytes.set(journalNode.subarray(NODE.SIZE, NODE.SIZE + 4), SUPER.JOURNAL_BLOCKS + 64);
    u16(SUPER.MIN_EXTRA, EXTRA_SIZE);
    u16(SUPER.WANT_EXTRA, EXTRA_SIZE);
    // Names are hashed as signed characters.
    u32(SUPER.FLAGS, 1);
    view.setUint8(SUPER.LOG_FLEX, Math.log2(GROUPS_PER_FLEX));
    return bytes;
  }
}

const all = (features: Readonly<Record<string, number>>): number =>
  Object.values(features).reduce((sum, one) => sum | one, 0);

/** The extent of a block, or the next behind it; looked for from the last one on, then everywhere. */
function findExtent(extents: readonly Extent[], block: number, from: number): number {
  let i = from < extents.length && extents[from].logical <= block ? from : 0;
  while (i < extents.length && extents[i].logical + extents[i].length <= block) i++;
  return i;
}

/** Collects inodes that lie side by side. */
class TableWriter {
  private start = 0;
  private length = 0;
  private readonly bytes = new Uint8Array(BATCH);

  constructor(
    private readonly sink: ImageSink,
    private readonly offsetOf: (inode: number) => number,
  ) {}

  put(inode: number, bytes: Uint8Array): void {
    const offset = this.offsetOf(inode);
    if (offset !== this.start + this.length || this.length + bytes.length > BATCH) {
      this.flush();
      this.start = offset;
    }
    this.bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  flush(): void {
    if (this.length > 0) this.sink.write(this.start, this.bytes.subarray(0, this.length));
    this.length = 0;
  }
}

/** What an inode says besides its attributes. */
interface InodeFields {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly links: number;
  readonly blocks: number;
  readonly flags: number;
  readonly mtime: Timestamp;
  readonly content: Uint8Array;
}

function inode(fields: InodeFields): { readonly bytes: Uint8Array; readonly view: DataView } {
  const bytes = new Uint8Array(INODE_SIZE);
  const view = new DataView(bytes.buffer);
  const u32 = (at: number, value: number): void => view.setUint32(at, value, true);
  const u16 = (at: number, value: number): void => view.setUint16(at, value, true);
  const sectors = fields.blocks * (BLOCK / 512);
  u16(NODE.MODE, fields.mode);
  u16(NODE.UID, fields.uid & 0xffff);
  u16(NODE.UID_HIGH, fields.uid >>> 16);
  u16(NODE.GID, fields.gid & 0xffff);
  u16(NODE.GID_HIGH, fields.gid >>> 16);
  u32(NODE.SIZE, fields.size % 2 ** 32);
  u32(NODE.SIZE_HIGH, Math.floor(fields.size / 2 ** 32));
  u16(NODE.LINKS, fields.links);
  u32(NODE.SECTORS, sectors % 2 ** 32);
  u16(NODE.SECTORS_HIGH, Math.floor(sectors / 2 ** 32));
  u32(NODE.FLAGS, fields.flags);
  bytes.set(fields.content, NODE.CONTENT);
  u16(NODE.EXTRA_SIZE, EXTRA_SIZE);
  const { low, extra } = timeFields(fields.mtime);
  for (const at of [NODE.ATIME, NODE.CTIME, NODE.MTIME, NODE.CRTIME]) u32(at, low);
  for (const at of [NODE.ATIME_EXTRA, NODE.CTIME_EXTRA, NODE.MTIME_EXTRA, NODE.CRTIME_EXTRA]) u32(at, extra);
  return { bytes, view };
}

/** Signed 32 bits of seconds, two bits that count how often these ran over, and nanoseconds. ext4 documentation, "Inode Timestamps". */
function timeFields({ seconds, nanoseconds }: Timestamp): { readonly low: number; readonly extra: number } {
  const MIN = -(2 ** 31);
  const clamped = Math.min(Math.max(Math.floor(seconds), MIN), MIN + 2 ** 34 - 1);
  const epoch = Math.floor((clamped - MIN) / 2 ** 32);
  return { low: (clamped - epoch * 2 ** 32) >>> 0, extra: ((nanoseconds << 2) | epoch) >>> 0 };
}

function inodeOf(file: Planned): Uint8Array {
  const { node, links, extents, treeBlocks, attributes, attributeBlock, content } = file;
  const data = extents.reduce((sum, { length }) => sum + length, 0);
  const folder = node.kind === 'folder';
  const treeOfExtents = folder || node.kind === 'file' || (node.kind === 'link' && extents.length > 0);
  const { bytes, view } = inode({
    mode: TYPE[node.kind].mode | (node.mode & 0o7777),
    uid: node.uid,
    gid: node.gid,
    size: folder ? data * BLOCK : node.kind === 'file' ? node.size : node.kind === 'link' ? node.target.length : 0,
    links: folder && links > MAX_LINKS ? 1 : links,
    blocks: data + treeBlocks.length + (attributes.block ? 1 : 0),
    flags: treeOfExtents ? EXTENTS_FLAG : 0,
    mtime: node.mtime,
    content,
  });
  view.setUint32(NODE.ACL, attributeBlock, true);
  if (attributes.inode) bytes.set(attributes.inode, NODE.XATTRS);
  return bytes;
}

function journalInode(extents: readonly Extent[]): Uint8Array {
  const blocks = extents.reduce((sum, { length }) => sum + length, 0);
  const { root } = extentTree(extents, () => {
    throw new ImageError('the journal is in too many pieces');
  });
  const mtime = { seconds: 0, nanoseconds: 0 };
  const fields = { mode: TYPE.file.mode | 0o600, uid: 0, gid: 0, size: blocks * BLOCK, links: 1, mtime };
  return inode({ ...fields, blocks, flags: EXTENTS_FLAG, content: root }).bytes;
}
