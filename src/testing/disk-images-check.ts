/** Holds what we read and write of an image against QEMU's programs. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { openImage, type OpenRequest } from '../block/open.js';
import type { DiskImage } from '../block/image.js';
import { checkQcow2 } from '../block/qcow2/open.js';
import { DiskFile } from '../host/node/disk-file.js';
import { zstdReady } from '../host/node/zstd.js';
import { imageOpener } from '../runtime/node/image-store.js';
import { sequence, type GeneratedImage, type ImageTools } from './disk-images.js';

const opener = imageOpener({ lock: true, warn: () => {} });

function withImage<T>(request: OpenRequest, use: (image: DiskImage) => T): T {
  const image = openImage(request, opener);
  try {
    return use(image);
  } finally {
    image.close();
  }
}

function readAll(image: DiskImage): Uint8Array {
  const bytes = new Uint8Array(image.size);
  for (let at = 0; at < bytes.length; at += 300 * 512)
    image.read(at, bytes.subarray(at, Math.min(at + 300 * 512, bytes.length)));
  return bytes;
}

async function run(tool: ImageTools['img'], args: readonly string[], what: string): Promise<void> {
  const { status, stdout, stderr } = await tool.run(args);
  if (status !== 0) throw new Error(`${what}: ${args[0]} gives ${status}: ${stdout}${stderr}`);
}

/** Throws at the first difference. */
export async function checkImage(tools: ImageTools, image: GeneratedImage, seed: number): Promise<void> {
  await zstdReady();
  const { file, features, snapshots } = image;
  const folder = path.dirname(file);
  const ours = path.join(folder, `ours-${seed}`);
  const request: OpenRequest = { name: file, format: 'auto', readOnly: true };
  const compare = (what: string): Promise<void> =>
    run(tools.img, ['compare', '-f', 'raw', '-F', 'qcow2', ours, file], `${features}: ${what}`);

  const before = withImage(request, readAll);
  writeFileSync(ours, before);
  await compare('read');
  const inside = snapshots.map((internal) => withImage({ ...request, internal }, readAll));
  for (const [i, name] of snapshots.entries()) {
    const theirs = path.join(folder, `theirs-${seed}`);
    await run(tools.img, ['convert', '-l', name, '-O', 'raw', file, theirs], features);
    writeFileSync(ours, inside[i]);
    await run(tools.img, ['compare', '-f', 'raw', '-F', 'raw', ours, theirs], `${features}: snapshot ${name}`);
  }

  const model = before.slice();
  withImage({ ...request, readOnly: false }, (disk) => {
    const next = sequence(seed + 1);
    for (let i = 0; i < 60; i++) {
      const first = next(disk.size / 512);
      const length = Math.min(1 + next(next(4) === 0 ? 1500 : 20), disk.size / 512 - first) * 512;
      const offset = first * 512;
      switch (next(8)) {
        case 0:
          disk.flush();
          break;
        case 1:
          disk.writeZeroes(offset, length);
          model.fill(0, offset, offset + length);
          break;
        case 2:
          disk.discard(offset, length);
          // Whatever it reads as now.
          disk.read(offset, model.subarray(offset, offset + length));
          break;
        default:
          model.fill(next(255), offset, offset + length);
          disk.write(offset, model.subarray(offset, offset + length));
      }
    }
  });
  await run(tools.img, ['check', '-q', file], `${features}: after our writes`);
  writeFileSync(ours, model);
  await compare('written');
  const checking = DiskFile.open(file, { writable: false, lock: true });
  const { leaks, errors, messages } = checkQcow2(checking);
  checking.close();
  if (leaks + errors > 0) throw new Error(`${features}: our check finds ${messages.join('; ')}`);
  for (const [i, internal] of snapshots.entries())
    if (Buffer.compare(withImage({ ...request, internal }, readAll), inside[i]) !== 0)
      throw new Error(`${features}: the snapshot ${internal} has changed`);
}
