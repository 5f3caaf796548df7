/** What `--share` and its kin say, as the machine's description. */
import * as path from 'node:path';
import { UsageError } from '../base/errors.js';
import { SHARE_DRIVERS } from '../machine/pc/sharing.js';
import type { ShareConfig, SharingConfig } from '../vmm/sharing-config.js';
import { splitCommas } from './parse.js';

export interface SharingOptions {
  readonly share?: readonly string[];
}

/** Bytes of a tag: what the virtio file system device has room for. */
const MAX_TAG = 36;

/** `folder[,tag=NAME][,readonly][,driver=virtiofs|9p]`; a comma in the name of the folder is written twice. */
export function parseShare(text: string, defaultTag: string): ShareConfig {
  const [folder, ...words] = splitCommas(text);
  if (folder === '') throw new UsageError(`--share ${text} names no folder`);
  const share = { path: path.resolve(folder), tag: defaultTag, readOnly: false, driver: SHARE_DRIVERS[0] as string };
  for (const word of words) {
    const [, key, value] = /^([a-z]+)=(.*)$/.exec(word) ?? [undefined, word, ''];
    if (word === 'readonly') share.readOnly = true;
    else if (key === 'tag') share.tag = value;
    else if (key === 'driver') share.driver = value;
    else throw new UsageError(`--share does not know "${word}"; there are tag=, readonly and driver=`);
  }
  const driver = SHARE_DRIVERS.find((known) => known === share.driver);
  if (driver === undefined)
    throw new UsageError(`--share does not know driver=${share.driver}; there are ${SHARE_DRIVERS.join(', ')}`);
  const length = new TextEncoder().encode(share.tag).length;
  if (length === 0 || length > MAX_TAG || share.tag.includes('\0'))
    throw new UsageError(`--share tag=${share.tag} is not 1 to ${MAX_TAG} bytes long`);
  return { ...share, driver };
}

/** `share`, `share1` … for those without a tag. Undefined: nothing is shared. */
export function configureSharing({ share = [] }: SharingOptions): SharingConfig | undefined {
  const shares = share.map((text, i) => parseShare(text, i === 0 ? 'share' : `share${i}`));
  const double = shares.find(({ tag }, i) => shares.findIndex((other) => other.tag === tag) < i);
  if (double) throw new UsageError(`two folders are shared by the tag ${double.tag}`);
  return shares.length > 0 ? { shares } : undefined;
}
