/**
 * The layout of ext4 on disk: "ext4 Data Structures and Algorithms" in Linux's Documentation/filesystems/ext4 (6.1), chapters
 * "Super Block", "Block Group Descriptors", "Index Nodes" and "Directory Entries". All numbers are little-endian unless said.
 */

/** Bytes of a block: the only size that is written here. */
export const BLOCK = 4096;
/** As many blocks as the bits of a block, which is the group's bitmap. */
export const BLOCKS_PER_GROUP = 8 * BLOCK;
export const INODE_SIZE = 256;
export const INODES_PER_BLOCK = BLOCK / INODE_SIZE;
/** A bitmap of inodes has one block, too. */
export const MAX_INODES_PER_GROUP = 8 * BLOCK;
/** Groups whose bitmaps and tables lie together. */
export const GROUPS_PER_FLEX = 16;
export const DESCRIPTOR_SIZE = 32;

/** Inodes with a purpose of their own. */
export const INODE = { ROOT: 2, JOURNAL: 8, FIRST: 11 } as const;

/** Offsets in the superblock, which is at byte 1024. */
export const SUPER = {
  AT: 1024,
  SIZE: 1024,
  INODES: 0x00,
  BLOCKS: 0x04,
  FREE_BLOCKS: 0x0c,
  FREE_INODES: 0x10,
  LOG_BLOCK: 0x18,
  LOG_CLUSTER: 0x1c,
  BLOCKS_PER_GROUP: 0x20,
  CLUSTERS_PER_GROUP: 0x24,
  INODES_PER_GROUP: 0x28,
  WRITTEN: 0x30,
  MAX_MOUNTS: 0x36,
  MAGIC: 0x38,
  STATE: 0x3a,
  ERRORS: 0x3c,
  CHECKED: 0x40,
  REVISION: 0x4c,
  FIRST_INODE: 0x54,
  INODE_SIZE: 0x58,
  GROUP: 0x5a,
  COMPAT: 0x5c,
  INCOMPAT: 0x60,
  RO_COMPAT: 0x64,
  UUID: 0x68,
  LABEL: 0x78,
  JOURNAL_INODE: 0xe0,
  HASH_SEED: 0xec,
  HASH_VERSION: 0xfc,
  JOURNAL_BACKUP: 0xfd,
  MOUNT_OPTIONS: 0x100,
  MADE: 0x108,
  JOURNAL_BLOCKS: 0x10c,
  MIN_EXTRA: 0x15c,
  WANT_EXTRA: 0x15e,
  FLAGS: 0x160,
  LOG_FLEX: 0x174,
} as const;

export const MAGIC = 0xef53;

export const COMPAT = { HAS_JOURNAL: 0x4, EXT_ATTR: 0x8, DIR_INDEX: 0x20 } as const;
export const INCOMPAT = { FILETYPE: 0x2, EXTENTS: 0x40, FLEX_BG: 0x200 } as const;
export const RO_COMPAT = {
  SPARSE_SUPER: 0x1,
  LARGE_FILE: 0x2,
  HUGE_FILE: 0x8,
  DIR_NLINK: 0x20,
  EXTRA_ISIZE: 0x40,
} as const;

/** Offsets in a group's descriptor. */
export const DESCRIPTOR = {
  BLOCK_BITMAP: 0x0,
  INODE_BITMAP: 0x4,
  INODE_TABLE: 0x8,
  FREE_BLOCKS: 0xc,
  FREE_INODES: 0xe,
  FOLDERS: 0x10,
} as const;

/** Offsets in an inode. */
export const NODE = {
  MODE: 0x00,
  UID: 0x02,
  SIZE: 0x04,
  ATIME: 0x08,
  CTIME: 0x0c,
  MTIME: 0x10,
  GID: 0x18,
  LINKS: 0x1a,
  SECTORS: 0x1c,
  FLAGS: 0x20,
  /** 60 bytes: the root of the extents, a short link's target, or a device's number. */
  CONTENT: 0x28,
  ACL: 0x68,
  SIZE_HIGH: 0x6c,
  SECTORS_HIGH: 0x74,
  UID_HIGH: 0x78,
  GID_HIGH: 0x7a,
  EXTRA_SIZE: 0x80,
  CTIME_EXTRA: 0x84,
  MTIME_EXTRA: 0x88,
  ATIME_EXTRA: 0x8c,
  CRTIME: 0x90,
  CRTIME_EXTRA: 0x94,
  /** Attributes that fit behind the fields. */
  XATTRS: 0xa0,
} as const;

/** Bytes of fields behind the first 128. */
export const EXTRA_SIZE = NODE.XATTRS - NODE.EXTRA_SIZE;
export const CONTENT_SIZE = 60;
/** The inode's content is a tree of extents. */
export const EXTENTS_FLAG = 0x80000;

/** File types: as in st_mode, and as in a directory's entries. */
export const TYPE = {
  fifo: { mode: 0x1000, entry: 5 },
  'character-device': { mode: 0x2000, entry: 3 },
  folder: { mode: 0x4000, entry: 2 },
  'block-device': { mode: 0x6000, entry: 4 },
  file: { mode: 0x8000, entry: 1 },
  link: { mode: 0xa000, entry: 7 },
  socket: { mode: 0xc000, entry: 6 },
} as const;

/** Names of a file at most; a folder with more folders in it says 1 (DIR_NLINK). */
export const MAX_LINKS = 65000;

export const MAX_NAME = 255;
/** Bytes of a link's target, which must fit into a block with a NUL. */
export const MAX_TARGET = BLOCK - 1;

/** Whether a group begins with copies of the superblock and the descriptors: 0, 1 and the powers of 3, 5 and 7 (SPARSE_SUPER). */
export function hasBackup(group: number): boolean {
  if (group <= 1) return true;
  return [3, 5, 7].some((base) => {
    let power = base;
    while (power < group) power *= base;
    return power === group;
  });
}
