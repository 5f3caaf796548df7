/** General purpose logs, ACS-3 §7.22 and annex A. */
import type { Taskfile } from './drive.js';
import { SECTOR } from './registers.js';

const LOG = { DIRECTORY: 0x00, QUEUED_ERROR: 0x10, IDENTIFY: 0x30 } as const;

/** Pages of IDENTIFY DEVICE data log, §A.11: the list of pages, and a copy of the data. */
const IDENTIFY_PAGES = [0, 1] as const;

function checksummed(page: Uint8Array): Uint8Array {
  page[511] = 0;
  page[511] = -page.reduce((sum, byte) => sum + byte, 0);
  return page;
}

/** What READ LOG EXT gives; undefined: there is no such log. The count is of pages, the page in LBA bits 15:8 and 39:32. */
export function readLog(
  { lba, count }: Taskfile,
  queuedError: Uint8Array,
  identity: () => Uint8Array,
): Uint8Array | undefined {
  const address = lba & 0xff;
  const page = (Math.floor(lba / 2 ** 8) & 0xff) | ((Math.floor(lba / 2 ** 32) & 0xff) << 8);
  const pages: Uint8Array[] = [];
  const empty = (): Uint8Array => new Uint8Array(SECTOR);
  switch (address) {
    case LOG.DIRECTORY: {
      const directory = empty();
      directory[0] = 1;
      directory[2 * LOG.QUEUED_ERROR] = 1;
      directory[2 * LOG.IDENTIFY] = IDENTIFY_PAGES.length;
      pages.push(directory);
      break;
    }
    case LOG.QUEUED_ERROR: {
      const log = empty();
      log.set(queuedError);
      pages.push(checksummed(log));
      break;
    }
    case LOG.IDENTIFY: {
      const list = empty();
      // Revision 1 of page 0, then how many pages and which.
      list.set([1, 0, 0, 0, 0, 0, 0, 0, IDENTIFY_PAGES.length, ...IDENTIFY_PAGES]);
      pages.push(list, identity());
      break;
    }
    default:
      return undefined;
  }
  if (count === 0 || page + count > pages.length) return undefined;
  const wanted = pages.slice(page, page + count);
  const bytes = new Uint8Array(count * SECTOR);
  wanted.forEach((one, i) => bytes.set(one, i * SECTOR));
  return bytes;
}
