/** Opens qcow2 images. */
import type { HostFile } from '../../iface/file.js';
import { ImageError, type DiskImage, type Unpack } from '../image.js';
import { outdateBitmaps } from './bitmaps.js';
import { Check, type CheckResult } from './check.js';
import { AUTOCLEAR, INCOMPATIBLE, readHeader, type Qcow2Header } from './header.js';
import { Qcow2Image } from './image.js';
import { Metadata } from './metadata.js';
import { findSnapshot, readSnapshots } from './snapshots.js';
import { readExactly } from './table.js';

/** Entries of the L1 tables of all snapshots together: far more than anybody has. */
const MAX_SNAPSHOT_ENTRIES = 2 ** 26;

export interface OpenQcow2 {
  readonly header: Qcow2Header;
  readonly readOnly: boolean;
  /** An internal snapshot to read instead of the disk as it is. */
  readonly internal?: string | undefined;
  readonly backing: DiskImage | undefined;
  readonly unpack: Unpack;
}

/** A qcow2 image as a disk. To be written, it is put in order first if need be. Throws a one-line error. */
export function openQcow2(file: HostFile, { header, readOnly, internal, backing, unpack }: OpenQcow2): Qcow2Image {
  if (internal !== undefined) {
    if (!readOnly) throw new ImageError(`a snapshot within the disk ${file.name} can only be read: add readonly`);
    const { l1Offset, l1Size, diskSize } = findSnapshot(file, header, internal);
    const l1 = readExactly(file, l1Offset, l1Size * 8, 'the L1 table of the snapshot');
    const metadata = new Metadata(file, { ...header, l1Offset, l1Size }, l1, []);
    return new Qcow2Image({ metadata, size: diskSize, readOnly, backing, unpack });
  }
  if (!readOnly) prepareForWrites(file, header);
  const metadata = Metadata.open(file, header);
  if (!readOnly) protect(file, header, metadata);
  return new Qcow2Image({ metadata, size: header.size, readOnly, backing, unpack });
}

/** Where tables are that the active ones do not lead to. */
function protect(file: HostFile, header: Qcow2Header, metadata: Metadata): void {
  if (header.snapshotCount === 0) {
    metadata.protectTables([]);
    return;
  }
  const { snapshots, tableLength } = readSnapshots(file, header);
  if (snapshots.reduce((sum, { l1Size }) => sum + l1Size, 0) > MAX_SNAPSHOT_ENTRIES)
    throw new ImageError(`the disk ${file.name} has too many snapshots to be written`);
  metadata.protectTables([
    { offset: header.snapshotsOffset, length: tableLength },
    ...snapshots.map(({ l1Offset, l1Size }) => ({ offset: l1Offset, length: Math.max(1, l1Size * 8) })),
  ]);
}

function prepareForWrites(file: HostFile, header: Qcow2Header): void {
  const { incompatible, autoclear } = header;
  if (incompatible & INCOMPATIBLE.CORRUPT)
    throw new ImageError(
      `the disk ${file.name} is marked as corrupt: it can be read only, until "vitrine disk check --repair" mends it`,
    );
  if (incompatible & INCOMPATIBLE.DIRTY) repairQcow2(file, header);
  outdateBitmaps(file, header);
  // Features that a writer that does not know them has to give up.
  if (autoclear & ~AUTOCLEAR.BITMAPS) {
    const metadata = Metadata.open(file, header);
    metadata.changeHeader({ autoclear: autoclear & AUTOCLEAR.BITMAPS });
    metadata.commit();
  }
}

/** What is wrong with an image. Nothing is written. */
export function checkQcow2(file: HostFile): CheckResult {
  const header = readHeader(file);
  return new Check(file, header, Metadata.open(file, header)).run();
}

/** Counts references anew where they are wrong. Throws a one-line error when that is not enough. */
export function repairQcow2(file: HostFile, header: Qcow2Header = readHeader(file)): CheckResult {
  const metadata = Metadata.open(file, header);
  const check = new Check(file, header, metadata);
  const result = check.run();
  if (result.fatal > 0)
    throw new ImageError(`the disk ${file.name} is damaged beyond repair: ${result.messages.at(0) ?? 'unknown'}`);
  protect(file, header, metadata);
  check.repair();
  const { leaks, errors, messages } = new Check(file, header, Metadata.open(file, header)).run();
  if (leaks + errors > 0)
    throw new ImageError(`the disk ${file.name} is damaged beyond repair: ${messages.at(0) ?? 'unknown'}`);
  return result;
}
