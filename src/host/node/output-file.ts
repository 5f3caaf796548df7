import * as fs from 'node:fs';
import { HostError } from '../../base/errors.js';
import { reasonOf } from './read-file.js';

/** Writes a file, over the old one if there is one. Throws a one-line error; `what` is what messages call it. */
export function writeWholeFile(file: string, what: string, bytes: Uint8Array): void {
  try {
    fs.writeFileSync(file, bytes);
  } catch (cause) {
    throw new HostError(`cannot write the ${what} ${file}: ${reasonOf(cause)}`, { cause });
  }
}

/** Files of one name with a number that are looked through for a free one. */
const MOST = 10_000;

/** Writes a file whose name has the first free number, as in `name-7.png`. Returns the name. */
export function writeNumbered(before: string, after: string, what: string, bytes: Uint8Array): string {
  for (let number = 1; number <= MOST; number++) {
    const file = `${before}${number}${after}`;
    try {
      fs.writeFileSync(file, bytes, { flag: 'wx' });
      return file;
    } catch (cause) {
      if (cause instanceof Error && 'code' in cause && cause.code === 'EEXIST') continue;
      throw new HostError(`cannot write the ${what} ${file}: ${reasonOf(cause)}`, { cause });
    }
  }
  throw new HostError(`cannot write the ${what}: there are ${MOST} files ${before}*${after} already`);
}
