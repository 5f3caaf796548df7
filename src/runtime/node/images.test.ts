/** Disk images of QEMU's programs. tools/verify has many more of them. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { checkImage } from '../../testing/disk-images-check.js';
import { generateImage } from '../../testing/disk-images.js';
import { describeWith, requireTool } from '../../testing/tools.js';
import { compareDisks, convertDisk, describeDisk } from './disk-tools.js';

const img = await requireTool('qemu-img', 'qemu-utils');
const io = await requireTool('qemu-io', 'qemu-utils');
const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-images-'));
afterAll(() => rmSync(folder, { recursive: true }));

describeWith([img, io], 'images that qemu-img made', () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])('are read and written as it does (%d)', async (seed) => {
    await checkImage({ img, io }, await generateImage({ img, io }, folder, seed), seed);
  });

  it.each([
    ['vmdk', 'VMDK', []],
    ['vmdk', 'VMDK', ['subformat=monolithicFlat']],
    ['vdi', 'VDI', []],
    ['vhdx', 'VHDX', []],
    ['vpc', 'VHD', []],
    ['vpc', 'VHD', ['subformat=fixed']],
    ['qed', 'QED', []],
    ['parallels', 'Parallels', []],
  ] as const)(
    'of a format that is not read count as raw only where that is said (%s, %s %s)',
    async (format, name, options) => {
      const file = path.join(folder, `other.${format}`);
      const args = ['create', '-q', '-f', format, ...options.flatMap((option) => ['-o', option]), file, '1M'];
      await img.run(args);
      const refusal = `the disk ${file} is a ${name} image, which only other programs read`;
      expect(() => describeDisk(file)).toThrow(refusal);
      const to = { file: path.join(folder, 'other.raw'), format: 'raw' } as const;
      await expect(convertDisk({ file, format: 'auto' }, to)).rejects.toThrow(refusal);
    },
  );

  // To read the holes would take minutes.
  it.runIf(process.platform === 'linux')(
    'whose disks have large holes are copied and compared without reading them',
    async () => {
      const [base, above, copy] = ['holes.raw', 'above.qcow2', 'copy.qcow2'].map((name) => path.join(folder, name));
      await img.run(['create', '-q', '-f', 'raw', base, '512G']);
      await io.run(['-f', 'raw', '-c', 'write -P 7 300G 64k', base]);
      await img.run(['create', '-q', '-f', 'qcow2', '-b', base, '-F', 'raw', above, '513G']);
      await io.run(['-f', 'qcow2', '-c', 'write -P 8 100G 64k', above]);
      const source = { file: above, format: 'qcow2' } as const;
      await convertDisk(source, { file: copy, format: 'qcow2' });
      expect((await img.run(['compare', '-q', above, copy])).status).toBe(0);
      expect(await compareDisks(source, { file: copy, format: 'qcow2' })).toBeUndefined();
      await io.run(['-f', 'qcow2', '-c', 'write -P 9 400G 512', copy]);
      expect(await compareDisks(source, { file: copy, format: 'qcow2' })).toBe(400 * 2 ** 30);
    },
    60_000,
  );

  it('are told with what they stand on, also where that cannot be read', async () => {
    const file = path.join(folder, 'told.qcow2');
    const options = ['-o', 'extended_l2=on', '-u', '-b', 'below', '-F', 'vmdk', file, '1M'];
    expect((await img.run(['create', '-q', '-f', 'qcow2', ...options])).status).toBe(0);
    const told = { backingFile: 'below', backingFormat: 'vmdk', qcow2: { extendedL2: true } };
    expect(describeDisk(file)).toMatchObject(told);
    const to = { file: path.join(folder, 'told.raw'), format: 'raw' } as const;
    await expect(convertDisk({ file, format: 'auto' }, to)).rejects.toThrow('format vmdk');
  });
});
