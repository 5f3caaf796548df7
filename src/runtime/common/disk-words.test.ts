import { expect, it } from 'vitest';
import { parseDisk, parseSize } from './disk-words.js';

it('reads sizes', () => {
  expect([parseSize('512'), parseSize('64M'), parseSize('2g')]).toEqual([512, 64 * 2 ** 20, 2 * 2 ** 30]);
  for (const wrong of ['', '0', '513', '1.5G', '-1', '64X', '1000000T'])
    expect(() => parseSize(wrong)).toThrow(/no size/);
});

it('reads disks', () => {
  expect(parseDisk('disks/a.qcow2')).toMatchObject({
    config: {
      path: 'disks/a.qcow2',
      format: 'auto',
      readOnly: false,
      temporary: false,
      attach: 'virtio',
      media: 'disk',
    },
    image: undefined,
  });
  expect(parseDisk('a,size=1M,format=qcow2').image).toEqual({ name: 'a', size: 2 ** 20 });
  expect(parseDisk('a,base=https://x/y=z').image).toEqual({ name: 'a', base: 'https://x/y=z' });
  expect(parseDisk('https://x/cd.iso,cdrom').config).toMatchObject({ readOnly: true, attach: 'sata', media: 'cdrom' });
  expect(() => parseDisk('a,sise=1M')).toThrow(/means nothing/);
  expect(() => parseDisk('a,format=vmdk')).toThrow(/no format/);
  expect(() => parseDisk('')).toThrow(/needs a name/);
});
