/** The guest's side of FUSE, for tests: messages as a Linux kernel makes them. */
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { onTestFinished } from 'vitest';
import { HostFolder } from '../host/node/shared-folder/host-folder.js';

export { fields, fuseInit, fuseRequest } from './fuse-messages.js';

/** A folder that is gone after the test, and the same shared. */
export function temporaryShare(readOnly = false): { readonly path: string; readonly folder: HostFolder } {
  const place = fs.mkdtempSync(path.join(tmpdir(), 'vitrine-share-'));
  const folder = new HostFolder(place, readOnly);
  onTestFinished(() => {
    folder.close();
    fs.rmSync(place, { recursive: true, force: true });
  });
  return { path: place, folder };
}

/** Whether files for tests can have extended attributes here: koffi, and the file system. */
export const attributesWork = ((): boolean => {
  const place = fs.mkdtempSync(path.join(tmpdir(), 'vitrine-share-'));
  const folder = new HostFolder(place, false);
  try {
    folder.attributes?.set(folder.root, 'user.x', new Uint8Array(1), 'always');
    return folder.attributes !== undefined;
  } catch {
    return false;
  } finally {
    folder.close();
    fs.rmSync(place, { recursive: true });
  }
})();

/** Gives a file in a folder an attribute, as a process of the host would. */
export function giveAttribute(place: string, name: string, attribute: string, value: string): void {
  const folder = new HostFolder(place, false);
  const found = folder.lookup(folder.root, name);
  if (found) folder.attributes?.set(found.node, attribute, Buffer.from(value), 'always');
  folder.close();
}

export interface FuseAnswer {
  /** Positive, 0 when it went well. */
  readonly errno: number;
  readonly body: Buffer;
}

export function fuseAnswer(bytes: Uint8Array | undefined): FuseAnswer {
  if (!bytes) throw new Error('no answer');
  const all = Buffer.from(bytes);
  if (all.readUInt32LE(0) !== all.length) throw new Error('the length of an answer is wrong');
  return { errno: Math.abs(all.readInt32LE(4)), body: all.subarray(16) };
}
