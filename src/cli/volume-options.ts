/** What -v and -p say: folders of the host in a guest, and ports of the host that lead into it. */
import { statSync } from 'node:fs';
import path from 'node:path';
import type { Command } from 'commander';
import { UsageError } from '../base/errors.js';
import { parseAddress } from '../net/addresses.js';
import { collect } from './program-options.js';

export interface VolumeOptions {
  readonly volume?: readonly string[];
  readonly publish?: readonly string[];
}

export function addVolumeOptions(command: Command): Command {
  return command
    .option('-v, --volume <folder:place[:ro]>', 'a folder of this host, and where the guest has it', collect)
    .option(
      '-p, --publish <[[address:]port:]port>',
      "a TCP port of this host (of its loopback, unless an address says otherwise) that leads to one of the guest's",
      collect,
    );
}

/** A folder of the host, and its place in the guest. */
export interface Volume {
  /** Absolute. */
  readonly path: string;
  readonly at: string;
  readonly readOnly: boolean;
}

/** `FOLDER:PLACE`, `FOLDER:PLACE:ro`. Throws a UsageError. */
export function parseVolume(text: string): Volume {
  const match = /^(.+):(\/[^:]*)(?::(ro|rw))?$/s.exec(text);
  if (!match)
    throw new UsageError(`--volume ${text} is not FOLDER:PLACE or FOLDER:PLACE:ro, with a PLACE such as /data`);
  const [, from, to, mode] = match;
  const folder = path.resolve(from);
  const at = path.posix.normalize(to).replace(/(?!^)\/+$/, '');
  if (at === '/') throw new UsageError(`--volume ${text}: a folder of this host cannot be the guest's root`);
  if (/[\t\n\0]/.test(at)) throw new UsageError(`--volume ${text}: the guest has no such place`);
  const status = statSync(folder, { throwIfNoEntry: false });
  if (!status) throw new UsageError(`--volume ${text}: there is no folder ${folder}`);
  if (!status.isDirectory()) throw new UsageError(`--volume ${text}: ${folder} is no folder; only folders are shared`);
  return { path: folder, at, readOnly: mode === 'ro' };
}

/** All of `-v`, those that lie within others behind them. Throws a UsageError. */
export function readVolumes({ volume = [] }: VolumeOptions): Volume[] {
  const all = volume.map(parseVolume);
  const twice = all.find(({ at }, i) => all.findIndex((other) => other.at === at) < i);
  if (twice) throw new UsageError(`two folders are to be the guest's ${twice.at}`);
  return all.sort((a, b) => a.at.split('/').length - b.at.split('/').length);
}

/** A port of the host that leads into a guest. */
export interface Publication {
  readonly hostAddress: string;
  /** 0: any free one. */
  readonly hostPort: number;
  readonly guestPort: number;
}

function port(text: string, lowest: number, where: string): number {
  const value = Number(text);
  if (!/^\d{1,5}$/.test(text) || value < lowest || value > 65535) throw new UsageError(`${where}: ${text} is no port`);
  return value;
}

/** `GUEST`, `HOST:GUEST`, `ADDRESS:HOST:GUEST`, `[IPV6]:HOST:GUEST`; `/tcp` may stand behind it. Throws a UsageError. */
export function parsePublish(text: string): Publication {
  const where = `--publish ${text}`;
  const [ports, protocol = 'tcp'] = text.split(/\/(.*)/s);
  if (protocol === 'udp') throw new UsageError(`${where}: for UDP say --net user,hostfwd=udp:HOST:GUEST`);
  if (protocol !== 'tcp') throw new UsageError(`${where}: there is no protocol ${protocol}`);
  const match = /^(?:(?:(\[[^\]]+\]|[^:]*):)?([^:]*):)?([^:]+)$/.exec(ports);
  if (!match) throw new UsageError(`${where} is not GUEST, HOST:GUEST or ADDRESS:HOST:GUEST`);
  const [, address = '', host = '', guest] = match as readonly (string | undefined)[] as readonly string[];
  const hostAddress = address === '' ? '127.0.0.1' : address.replace(/^\[|\]$/g, '');
  if (!parseAddress(hostAddress)) throw new UsageError(`${where}: ${hostAddress} is no address`);
  return { hostAddress, hostPort: host === '' ? 0 : port(host, 0, where), guestPort: port(guest, 1, where) };
}
