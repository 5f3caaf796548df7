/** Disks as the address of a page names them: `NAME[,word…]`. */
import { UsageError } from '../../base/errors.js';
import { DISK_FORMATS, type DiskConfig } from '../../vmm/config.js';

const UNITS: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };
const MAX_SIZE = 2 ** 46;

/** Bytes of `64M` and the like. Throws a UsageError for what is no size of a disk. */
export function parseSize(text: string): number {
  const [, number, unit = ''] = /^(\d{1,15})([KMGT]?)$/i.exec(text) ?? [];
  const size = Number(number) * (UNITS[unit.toUpperCase()] ?? NaN);
  if (!(size > 0 && size <= MAX_SIZE && size % 512 === 0))
    throw new UsageError(`"${text}" is no size of a disk, such as 64M`);
  return size;
}

export interface DiskWords {
  readonly config: DiskConfig;
  /** What is made if it is not there. */
  readonly image: { readonly name: string; readonly size?: number; readonly base?: string } | undefined;
}

/** Throws a UsageError for words that mean nothing. */
export function parseDisk(text: string): DiskWords {
  const [path, ...words] = text.split(',');
  if (path === '') throw new UsageError('a disk needs a name or an address');
  const found = new Map<string, string>();
  for (const word of words) {
    const [key, ...value] = word.split('=');
    if (!['readonly', 'temporary', 'format', 'size', 'base', 'cdrom'].includes(key))
      throw new UsageError(
        `disk ${path}: "${word}" means nothing; readonly, temporary, cdrom, format=, size= and base= do`,
      );
    found.set(key, value.join('='));
  }
  const given = found.get('format') ?? 'auto';
  const format = DISK_FORMATS.find((name) => name === given);
  if (!format) throw new UsageError(`disk ${path}: there is no format ${given}`);
  const [size, base] = [found.get('size'), found.get('base')];
  const isCd = found.has('cdrom');
  return {
    config: {
      path,
      format,
      readOnly: isCd || found.has('readonly'),
      temporary: found.has('temporary'),
      attach: isCd ? 'sata' : 'virtio',
      media: isCd ? 'cdrom' : 'disk',
      serial: null,
      internal: null,
    },
    image:
      size === undefined && base === undefined
        ? undefined
        : { name: path, ...(size !== undefined && { size: parseSize(size) }), ...(base !== undefined && { base }) },
  };
}
