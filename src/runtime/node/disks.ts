/** Opens the images of a machine's disks. */
import { UsageError } from '../../base/errors.js';
import { RawFile } from '../../host/node/raw-file.js';
import type { BlockBackend } from '../../iface/block.js';
import type { DiskConfig } from '../../vmm/config.js';

/** Throws a one-line error when the image cannot be a disk. */
export function openDisk({ path, format, readOnly, temporary }: DiskConfig): BlockBackend {
  if (format === 'qcow2') throw new UsageError('disks of the format qcow2 are not available yet; use raw');
  if (temporary) throw new UsageError('writes that are thrown away (snapshot) are not available yet');
  return new RawFile(path, readOnly);
}
