/** Internal snapshots. qcow2.txt, "Snapshots". */
import { MIB } from '../../base/units.js';
import type { HostFile } from '../../iface/file.js';
import { ImageError, SECTOR } from '../image.js';
import { neededL1, type Qcow2Header } from './header.js';
import { readExactly } from './table.js';

/** Offsets in an entry of the snapshot table. */
const ENTRY = {
  L1_OFFSET: 0,
  L1_SIZE: 8,
  ID_LENGTH: 12,
  NAME_LENGTH: 14,
  SECONDS: 16,
  VM_STATE: 32,
  EXTRA_LENGTH: 36,
  /** The extra data: size of the VM's state, then of the disk. */
  VM_STATE_LONG: 40,
  DISK_SIZE: 48,
  SIZE: 40,
} as const;

/** QEMU's limits. */
const MAX_TABLE = 64 * MIB;
const MAX_EXTRA = 1024;
const MAX_L1_BYTES = 32 * MIB;

export interface InternalSnapshot {
  readonly id: string;
  readonly name: string;
  readonly l1Offset: number;
  /** Entries. */
  readonly l1Size: number;
  /** When, in seconds since 1970. */
  readonly seconds: number;
  /** Bytes of a virtual machine's state, which only QEMU reads. */
  readonly vmState: number;
  /** Bytes of the disk then. */
  readonly diskSize: number;
}

/** The snapshots of an image, and how many bytes their table takes. Throws a one-line error. */
export function readSnapshots(
  file: HostFile,
  header: Qcow2Header,
): { readonly snapshots: readonly InternalSnapshot[]; readonly tableLength: number } {
  const snapshots: InternalSnapshot[] = [];
  let at = header.snapshotsOffset;
  const start = at;
  for (let i = 0; i < header.snapshotCount; i++) {
    const { snapshot, length } = readEntry(file, header, at);
    snapshots.push(snapshot);
    at += length;
    if (at - start > MAX_TABLE) throw new ImageError(`the disk ${file.name} is damaged: its snapshots have no end`);
  }
  return { snapshots, tableLength: at - start };
}

/** Characters of names that a terminal may get. */
const plain = (text: string): string => text.replace(/[\p{Cc}\p{Cf}]/gu, '?');

function readEntry(
  file: HostFile,
  header: Qcow2Header,
  at: number,
): { readonly snapshot: InternalSnapshot; readonly length: number } {
  const fail = (what: string): never => {
    throw new ImageError(`the disk ${file.name} is damaged: ${what}`);
  };
  const start = new DataView(readExactly(file, at, ENTRY.SIZE, 'its table of snapshots').buffer);
  const extra = start.getUint32(ENTRY.EXTRA_LENGTH);
  const [idLength, nameLength] = [start.getUint16(ENTRY.ID_LENGTH), start.getUint16(ENTRY.NAME_LENGTH)];
  const nameAt = ENTRY.SIZE + extra + idLength;
  if (extra > MAX_EXTRA) fail('a snapshot has too much to say');
  const bytes = readExactly(file, at, nameAt + nameLength, 'its table of snapshots');
  const view = new DataView(bytes.buffer);
  const number = (offset: number): number => {
    const value = view.getBigUint64(offset);
    return value > BigInt(Number.MAX_SAFE_INTEGER) ? fail('a snapshot is out of range') : Number(value);
  };
  const text = (from: number, length: number): string =>
    plain(new TextDecoder().decode(bytes.subarray(from, from + length)));
  const snapshot = {
    id: text(ENTRY.SIZE + extra, idLength),
    name: text(nameAt, nameLength),
    l1Offset: number(ENTRY.L1_OFFSET),
    l1Size: view.getUint32(ENTRY.L1_SIZE),
    seconds: view.getUint32(ENTRY.SECONDS),
    vmState: extra >= 8 ? number(ENTRY.VM_STATE_LONG) : view.getUint32(ENTRY.VM_STATE),
    diskSize: extra >= 16 ? number(ENTRY.DISK_SIZE) : header.size,
  };
  if (snapshot.l1Size * 8 > MAX_L1_BYTES) fail('the L1 table of a snapshot is too large');
  if (snapshot.l1Offset % 2 ** header.clusterBits !== 0 || snapshot.l1Offset === 0)
    fail('the L1 table of a snapshot is not where a cluster begins');
  return { snapshot, length: Math.ceil((nameAt + nameLength) / 8) * 8 };
}

/** A snapshot by its name or else its id, checked as far as reading the disk in it needs. */
export function findSnapshot(file: HostFile, header: Qcow2Header, name: string): InternalSnapshot {
  const { snapshots } = readSnapshots(file, header);
  const found = snapshots.find((one) => one.name === name) ?? snapshots.find(({ id }) => id === name);
  if (!found) {
    const names = snapshots.map((one) => one.name).join(', ');
    throw new ImageError(
      `the disk ${file.name} has no snapshot ${name}${names === '' ? ': it has none' : `; there are ${names}`}`,
    );
  }
  if (found.diskSize % SECTOR !== 0 || found.diskSize === 0 || found.l1Size < neededL1(found.diskSize, header))
    throw new ImageError(`the disk ${file.name} is damaged: its snapshot ${name} is not whole`);
  return found;
}
