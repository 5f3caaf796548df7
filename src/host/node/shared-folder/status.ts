/** Status of the host's files as the guest sees it. */
import type { BigIntStats } from 'node:fs';
import { FILE_TYPE, type FileStatus } from '../../../iface/shared-folder.js';

/** Who stands for all users but the one that runs the machine. */
const NOBODY = 65534;

/**
 * Users and groups. A process of root's gives and takes them as they are. Any other can only have files of its own: its
 * user and group are root's in the guest, all others are nobody's.
 */
export class Owners {
  readonly privileged: boolean;
  private readonly uid: number;
  private readonly gid: number;

  constructor(uid = process.geteuid?.() ?? 0, gid = process.getegid?.() ?? 0) {
    this.uid = uid;
    this.gid = gid;
    this.privileged = uid === 0;
  }

  guestUid(uid: number): number {
    if (this.privileged) return uid;
    return uid === this.uid ? 0 : NOBODY;
  }

  guestGid(gid: number): number {
    if (this.privileged) return gid;
    return gid === this.gid ? 0 : NOBODY;
  }

  /** Whether what this process creates belongs to them already. */
  isOwn(uid: number, gid: number): boolean {
    return uid === this.uid && gid === this.gid;
  }
}

/** Makes inode numbers of several file systems under one folder differ. */
export class InodeNumbers {
  private readonly devices = new Map<bigint, bigint>();

  of(device: bigint, ino: bigint): bigint {
    let index = this.devices.get(device);
    if (index === undefined) this.devices.set(device, (index = BigInt(this.devices.size)));
    return BigInt.asUintN(64, ino ^ (index << 48n));
  }
}

/** Device numbers in 32 bits, include/linux/kdev_t.h new_encode_dev: 12 bits of major, 20 of minor. */
function encodeDevice(device: bigint): number {
  // st_rdev as glibc has it: bits 8 … 19 and 44 … of the major, 0 … 7 and 20 … 43 of the minor number.
  const major = Number(((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xffff_f000n)) & 0xfff;
  const minor = Number((device & 0xffn) | ((device >> 12n) & 0xffff_ff00n)) & 0xf_ffff;
  return ((minor & 0xff) | (major << 8) | ((minor & 0xf_ff00) << 12)) >>> 0;
}

export function statusOf(stat: BigIntStats, owners: Owners, numbers: InodeNumbers): FileStatus {
  const mode = Number(stat.mode);
  const type = mode & FILE_TYPE.MASK;
  return {
    ino: numbers.of(stat.dev, stat.ino),
    mode,
    links: Number(stat.nlink),
    uid: owners.guestUid(Number(stat.uid)),
    gid: owners.guestGid(Number(stat.gid)),
    device: type === FILE_TYPE.CHARACTER || type === FILE_TYPE.BLOCK ? encodeDevice(stat.rdev) : 0,
    size: stat.size,
    blocks: stat.blocks,
    blockSize: Number(stat.blksize),
    accessed: stat.atimeNs,
    modified: stat.mtimeNs,
    changed: stat.ctimeNs,
  };
}
