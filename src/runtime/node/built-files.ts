import * as fs from 'node:fs';
import { HostError } from '../../base/errors.js';

const folder = new URL('../../cpu/x86/', import.meta.url);

/** A file that the build made for x86 guests. */
export function readBuilt(name: string): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(fs.readFileSync(new URL(name, folder)));
  } catch (cause) {
    throw new HostError(`${name} is missing: run \`npm run build\``, { cause });
  }
}
