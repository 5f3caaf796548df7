/** What a guest may change of a file's status, and what a file that it creates gets: size, mode, owner, times. */
import * as fs from 'node:fs';
import { FileError } from '../../../iface/errno.js';
import { FILE_TYPE, type NewFile, type StatusChange } from '../../../iface/shared-folder.js';
import type { HostNode } from './host-node.js';
import type { HostTree } from './host-tree.js';
import type { Owners } from './status.js';

/** Bits of a mode that mean more than who may do what: a guest's are not the host's affair. */
const SPECIAL_OF_FILES = 0o6000;
const SET_USER_ID = 0o4000;
const SET_GROUP_ID = 0o2000;
const GROUP_RUNS = 0o0010;

/** Set-user-ID programs of a guest would be the host's as well. */
export const allowedMode = (mode: number, type: number): number =>
  mode & 0o7777 & ~(type === FILE_TYPE.FOLDER ? SET_USER_ID : SPECIAL_OF_FILES);

/** `descriptor`: of the file, where it is open. */
export function changeStatus(
  tree: HostTree,
  node: HostNode,
  change: StatusChange,
  descriptor: number | undefined,
): void {
  const path = tree.pathTo(node);
  if (change.size !== undefined) {
    if (node.isFolder) throw new FileError('EISDIR');
    if (node.type !== FILE_TYPE.REGULAR) throw new FileError('EINVAL');
    if (descriptor !== undefined) fs.ftruncateSync(descriptor, change.size);
    else fs.truncateSync(path, change.size);
  }
  if (change.uid !== undefined || change.gid !== undefined) changeOwner(tree, node, path, change);
  if (change.mode !== undefined) {
    if (node.type === FILE_TYPE.SYMLINK) throw new FileError('EOPNOTSUPP');
    fs.chmodSync(path, allowedMode(change.mode, node.type) | keptSetGroup(tree, node, change.mode));
  }
  if (change.accessed !== undefined || change.modified !== undefined) changeTimes(tree, node, path, change);
}

/** Set-group-ID that a file of the host has, and that gives no rights since its group may not run it, can be kept. */
function keptSetGroup(tree: HostTree, node: HostNode, mode: number): number {
  const harmless = node.type === FILE_TYPE.REGULAR && (mode & (SET_GROUP_ID | GROUP_RUNS)) === SET_GROUP_ID;
  return harmless ? Number(tree.stat(node).mode) & SET_GROUP_ID : 0;
}

function changeOwner(tree: HostTree, node: HostNode, path: string, { uid, gid }: StatusChange): void {
  if (!tree.owners.privileged) {
    const now = tree.convert(tree.stat(node));
    if ((uid ?? now.uid) !== now.uid || (gid ?? now.gid) !== now.gid) throw new FileError('EPERM');
    return;
  }
  if (node.type === FILE_TYPE.SYMLINK) fs.lchownSync(tree.pathByName(node), uid ?? -1, gid ?? -1);
  else fs.chownSync(path, uid ?? -1, gid ?? -1);
}

function changeTimes(tree: HostTree, node: HostNode, path: string, { accessed, modified }: StatusChange): void {
  const now = (): bigint => BigInt(Date.now()) * 1_000_000n;
  const old = tree.stat(node);
  const pick = (wanted: bigint | 'now' | undefined, before: bigint): number | Date =>
    seconds(wanted === 'now' ? now() : (wanted ?? before));
  const [a, m] = [pick(accessed, old.atimeNs), pick(modified, old.mtimeNs)];
  if (node.type === FILE_TYPE.SYMLINK) fs.lutimesSync(tree.pathByName(node), a, m);
  else fs.utimesSync(path, a, m);
}

/**
 * Node passes seconds as a double on and cuts them to microseconds: the middle of one is cut to the right one. Times before
 * 1970 it takes only as dates, and spoils their fractions.
 */
function seconds(nanoseconds: bigint): number | Date {
  if (nanoseconds < 0n) return new Date(1000 * Math.floor(Number(nanoseconds) / 1e9));
  return (Number(nanoseconds / 1000n) + 0.5) / 1e6;
}

/**
 * Gives what was just created its owner and the mode that the host's umask may have cut. `target`: a descriptor of it, or a path. True: something
 * changed.
 */
export function settleNew(
  owners: Owners,
  file: NewFile,
  mode: number,
  stat: fs.BigIntStats,
  target: number | string,
): boolean {
  let changed = false;
  const owned = owners.privileged && (Number(stat.uid) !== file.uid || Number(stat.gid) !== file.gid);
  // A group that the folder hands down stays.
  const gid = Number(stat.gid) !== file.gid && !owners.isOwn(Number(stat.uid), Number(stat.gid)) ? -1 : file.gid;
  if (owned) {
    if (typeof target === 'number') fs.fchownSync(target, file.uid, gid);
    else fs.chownSync(target, file.uid, gid);
    changed = true;
  }
  if ((Number(stat.mode) & 0o1777) !== (mode & 0o1777)) {
    const wanted = mode | (Number(stat.mode) & 0o2000);
    if (typeof target === 'number') fs.fchmodSync(target, wanted);
    else fs.chmodSync(target, wanted);
    changed = true;
  }
  return changed;
}
