/** Disk images of QEMU's programs. tools/verify has many more of them. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, it } from 'vitest';
import { checkImage } from '../../testing/disk-images-check.js';
import { generateImage } from '../../testing/disk-images.js';
import { describeWith, requireTool } from '../../testing/tools.js';

const img = await requireTool('qemu-img', 'qemu-utils');
const io = await requireTool('qemu-io', 'qemu-utils');
const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-images-'));
afterAll(() => rmSync(folder, { recursive: true }));

describeWith([img, io], 'images that qemu-img made', () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])('are read and written as it does (%d)', async (seed) => {
    await checkImage({ img, io }, await generateImage({ img, io }, folder, seed), seed);
  });
});
