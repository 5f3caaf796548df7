/** The images of this host by name. */
import * as path from 'node:path';
import { UsageError } from '../../base/errors.js';
import type { Opener } from '../../block/open.js';
import { DiskFile, type FileTransfers } from '../../host/node/disk-file.js';
import { unpack } from '../../host/node/unpack.js';
import type { HostFile } from '../../iface/file.js';
import { isAddress, openAddress } from './http-images.js';

export interface StoreOptions {
  /** Others are kept from using the images in ways that do not go together. */
  readonly lock: boolean;
  /** Files are read and written past the host's cache. */
  readonly direct?: boolean;
  /** What moves their data meanwhile. */
  readonly transfers?: FileTransfers | undefined;
  /** Something that the user should know, as one line. */
  readonly warn: (text: string) => void;
}

/** `driver:name`, as QEMU writes what is not simply a file. */
const PROTOCOL = /^([a-z][a-z0-9+.-]*):/;

export function imageOpener({ lock, direct = false, transfers, warn }: StoreOptions): Opener {
  const open = (name: string, writable: boolean): HostFile => {
    if (isAddress(name)) {
      if (writable) throw new UsageError(`${name} cannot be written: it is on a server`);
      return openAddress(name);
    }
    return DiskFile.open(name, {
      writable,
      lock,
      direct,
      transfers,
      unlocked: () => {
        if (writable) warn(`vitrine: the disk ${name} cannot be locked here: see to it that nothing else writes it`);
      },
    });
  };
  const keyOf = (name: string): string => (isAddress(name) ? name : DiskFile.keyOf(name));
  return { store: { open, resolve, keyOf }, unpack };
}

/** A backing file is named relative to the image that stands on it. */
function resolve(image: string, backing: string): string {
  // What comes from a server must not reach for files of this host.
  if (isAddress(image)) {
    const target = URL.canParse(backing, image) ? new URL(backing, image).href : '';
    if (isAddress(target)) return target;
    throw new UsageError(`the disk ${image} stands on ${backing}, which is not on a server`);
  }
  if (isAddress(backing)) return backing;
  const [, protocol] = PROTOCOL.exec(backing) ?? [];
  const name = protocol === 'file' ? backing.slice('file:'.length) : backing;
  if (protocol !== undefined && protocol !== 'file')
    throw new UsageError(
      `the disk ${image} stands on ${backing}, which is not a file (./${backing} is, if there is one)`,
    );
  return path.resolve(path.dirname(image), name);
}
