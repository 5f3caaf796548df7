import * as fs from 'node:fs';

/** Linux's number of this thread; 0: it has none. */
export function threadNumber(): number {
  try {
    return Number(/\/task\/(\d+)$/.exec(fs.readlinkSync('/proc/thread-self'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}
