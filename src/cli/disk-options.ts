/** What `--disk`, `--cdrom` and `--snapshot` say, as the machine's description. */
import { UsageError } from '../base/errors.js';
import { DISK_ATTACHMENTS, DISK_MEDIA, type DiskAttachment } from '../machine/common/disks.js';
import { DISK_CACHES, DISK_FORMATS, type DiskConfig } from '../vmm/config.js';
import { splitCommas } from './parse.js';

/** The words of `--disk`, for messages. */
const WORDS = 'format=, readonly, snapshot, if=, media=, serial=, internal=, cache= and queues=';

/** Queues that a virtio disk can have. */
const MAX_QUEUES = 16;

/** What a virtio disk tells of itself is no longer; other disks' fields hold as much. */
const MAX_SERIAL = 20;

function chosen<T extends string>(key: string, value: string, known: readonly T[]): T {
  const found = known.find((name) => name === value);
  if (found === undefined) throw new UsageError(`--disk does not know ${key}=${value}; there are ${known.join(', ')}`);
  return found;
}

function parseSerial(value: string): string {
  if (/^[\x21-\x7e]{1,20}$/.test(value)) return value;
  throw new UsageError(`--disk serial=${value} is not 1 to ${MAX_SERIAL} characters of ASCII without spaces`);
}

function parseQueues(value: string): number {
  const queues = /^\d+$/.test(value) ? Number(value) : 0;
  if (queues >= 1 && queues <= MAX_QUEUES) return queues;
  throw new UsageError(`--disk queues=${value} is not a number from 1 to ${MAX_QUEUES}`);
}

/** A CD is in a drive for CDs, which hangs on the AHCI unless it is said to hang on IDE. Such drives and those for floppies can be empty. */
function checkTogether(text: string, { path, attach, media, queues, internal, temporary }: DiskConfig): void {
  if (queues !== undefined && attach !== 'virtio')
    throw new UsageError(`--disk ${text}: only virtio disks have queues=`);
  const empty = path === '';
  if (empty && media !== 'cdrom' && attach !== 'floppy') throw new UsageError(`--disk ${text} names no file`);
  if (empty && (internal !== null || temporary))
    throw new UsageError(`--disk ${text}: there is nothing in an empty drive`);
  if (media === 'cdrom' && attach !== 'sata' && attach !== 'ide')
    throw new UsageError(`--disk ${text}: a drive for CDs has if=sata or if=ide`);
}

/**
 * `file[,format=raw|qcow2|auto][,readonly][,snapshot][,if=virtio|sata|ide|floppy][,media=disk|cdrom][,serial=…][,internal=…][,cache=writeback|none][,queues=…]`; a comma in the
 * name of the file is written twice. Without a name it is an empty drive for CDs or floppies.
 */
export function parseDisk(text: string): DiskConfig {
  const [path, ...words] = splitCommas(text);
  const disk: { -readonly [K in keyof DiskConfig]: DiskConfig[K] } = {
    path,
    format: 'auto',
    readOnly: false,
    temporary: false,
    attach: 'virtio',
    media: 'disk',
    serial: null,
    internal: null,
  };
  let attach: DiskAttachment | undefined;
  for (const word of words) {
    const [, key, value] = /^([a-z]+)=(.*)$/.exec(word) ?? [undefined, word, ''];
    if (word === 'readonly') disk.readOnly = true;
    else if (word === 'snapshot') disk.temporary = true;
    else if (key === 'format') disk.format = chosen(key, value, DISK_FORMATS);
    else if (key === 'if') attach = chosen(key, value, DISK_ATTACHMENTS);
    else if (key === 'cache') disk.cache = chosen(key, value, DISK_CACHES);
    else if (key === 'media') disk.media = chosen(key, value, DISK_MEDIA);
    else if (key === 'serial') disk.serial = parseSerial(value);
    else if (key === 'internal' && value !== '') disk.internal = value;
    else if (key === 'queues') disk.queues = parseQueues(value);
    else throw new UsageError(`--disk does not know "${word}"; there are ${WORDS}`);
  }
  disk.attach = attach ?? (disk.media === 'cdrom' ? 'sata' : 'virtio');
  if (disk.media === 'cdrom') disk.readOnly = true;
  checkTogether(text, disk);
  return disk;
}

export interface DiskOptions {
  readonly disk?: readonly string[];
  readonly cdrom?: readonly string[];
  readonly snapshot?: boolean;
}

/** All disks: those of `--disk`, then those of `--cdrom`, each in the order given. */
export function configureDisks({ disk = [], cdrom = [], snapshot = false }: DiskOptions): DiskConfig[] {
  const cd = (path: string): DiskConfig => {
    if (path === '') throw new UsageError('--cdrom names no file');
    return parseDisk(`${path.replaceAll(',', ',,')},media=cdrom`);
  };
  const all = [...disk.map(parseDisk), ...cdrom.map(cd)];
  return all.map((one) => ({ ...one, temporary: (one.temporary || snapshot) && !one.readOnly }));
}
