/** What `--share` and its kin say, as the machine's description. */
import * as path from 'node:path';
import { UsageError } from '../base/errors.js';
import { MAX_PORTS, SHARE_DRIVERS } from '../machine/common/sharing-kinds.js';
import type { PortConfig, ShareConfig, SharingConfig, VsockConfig } from '../vmm/sharing-config.js';
import { splitCommas } from './parse.js';

export interface SharingOptions {
  readonly share?: readonly string[];
  readonly vsock?: string;
  readonly port?: readonly string[];
  readonly balloon?: boolean;
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

/** `path=/tmp/v.sock[,cid=3]` */
export function parseVsock(text: string): VsockConfig {
  let [socket, cid] = ['', 3];
  for (const word of splitCommas(text)) {
    const [, key, value] = /^([a-z]+)=(.*)$/.exec(word) ?? [undefined, word, ''];
    if (key === 'path') socket = value;
    else if (key === 'cid' && /^\d{1,10}$/.test(value)) cid = Number(value);
    else throw new UsageError(`--vsock does not know "${word}"; there are path= and cid=`);
  }
  if (socket === '') throw new UsageError(`--vsock ${text} names no socket: path=FILE`);
  if (cid < 3 || cid > 2 ** 32 - 2) throw new UsageError(`--vsock cid=${cid} is not in 3 … 4294967294`);
  return { path: socket, cid };
}

/** `name=org.x.y,path=/tmp/sock` */
export function parsePort(text: string): PortConfig {
  let [name, socket] = ['', ''];
  for (const word of splitCommas(text)) {
    const [, key, value] = /^([a-z]+)=(.*)$/.exec(word) ?? [undefined, word, ''];
    if (key === 'path') socket = value;
    else if (key === 'name') name = value;
    else throw new UsageError(`--port does not know "${word}"; there are name= and path=`);
  }
  if (!/^[\x21-\x2e\x30-\x7e]{1,64}$/.test(name))
    throw new UsageError(
      `--port ${text} has no name of 1 to 64 characters of ASCII without spaces and slashes: name=NAME`,
    );
  if (socket === '') throw new UsageError(`--port ${text} names no socket: path=FILE`);
  return { name, path: socket };
}

/** `share`, `share1` … for those without a tag. Undefined: nothing is shared. */
export function configureSharing({
  share = [],
  vsock,
  port = [],
  balloon = false,
}: SharingOptions): SharingConfig | undefined {
  const shares = share.map((text, i) => parseShare(text, i === 0 ? 'share' : `share${i}`));
  const double = shares.find(({ tag }, i) => shares.findIndex((other) => other.tag === tag) < i);
  if (double) throw new UsageError(`two folders are shared by the tag ${double.tag}`);
  const ports = port.map(parsePort);
  const twice = ports.find(({ name, path: socket }, i) =>
    ports.some((other, j) => j < i && (other.name === name || other.path === socket)),
  );
  if (twice) throw new UsageError(`two ports have the name ${twice.name} or the socket ${twice.path}`);
  if (ports.length > MAX_PORTS) throw new UsageError(`there are more than ${MAX_PORTS} ports`);
  if (shares.length === 0 && ports.length === 0 && vsock === undefined && !balloon) return undefined;
  return { shares, ports, balloon, ...(vsock !== undefined && { vsock: parseVsock(vsock) }) };
}
