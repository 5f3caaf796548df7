/** Which pages of mapped memory this process has copies of its own of, as Linux tells it. */
import * as fs from 'node:fs';
import type { PageRange } from './memory-runs.js';
import { memoryFiles } from './native/memory-files.js';

/** Documentation/admin-guide/mm/pagemap.rst: 64 bits for each page, in the host's order of bytes; of these the upper half. */
const ENTRY = 8;
const PRESENT = 2 ** 31;
const SWAPPED = 1 << 30;
/** Of a file, or of memory that is shared. */
const OF_FILE = 1 << 29;

/** Entries that are read at a time. */
const CHUNK = 65_536;
const LITTLE_ENDIAN = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

/**
 * Pages that are the process's own, in ascending order: of private mappings of files those that were written to. Among them may be some that were only
 * looked at where no file is. Undefined: the system does not tell.
 */
export function changedPages(bytes: Uint8Array, pageSize: number): PageRange[] | undefined {
  if (memoryFiles?.pageSize !== pageSize || !LITTLE_ENDIAN) return undefined;
  const first = memoryFiles.address(bytes) / pageSize;
  if (!Number.isInteger(first)) return undefined;
  const pages = bytes.length / pageSize;
  const ranges: PageRange[] = [];
  const buffer = new Uint32Array((Math.min(CHUNK, pages) * ENTRY) / 4);
  let start = -1;
  try {
    const fd = fs.openSync('/proc/self/pagemap', 'r');
    try {
      for (let page = 0; page < pages; page += CHUNK) {
        const count = Math.min(CHUNK, pages - page);
        if (fs.readSync(fd, buffer, 0, count * ENTRY, (first + page) * ENTRY) !== count * ENTRY) return undefined;
        for (let i = 0; i < count; i++) {
          const word = buffer[2 * i + 1];
          const own = (word & SWAPPED) !== 0 || (word >= PRESENT && (word & OF_FILE) === 0);
          if (own === start >= 0) continue;
          if (!own) ranges.push({ page: start, count: page + i - start });
          start = own ? page + i : -1;
        }
      }
    } finally {
      fs.closeSync(fd);
    }
  } catch {
    return undefined;
  }
  if (start >= 0) ranges.push({ page: start, count: pages - start });
  return ranges;
}
