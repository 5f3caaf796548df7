import { describe, expect, it } from 'vitest';
import { parseDiskSize } from './disk-command.js';
import { configureDisks, parseDisk } from './disk-options.js';

const plain = {
  path: 'a.img',
  format: 'auto',
  readOnly: false,
  temporary: false,
  attach: 'virtio',
  media: 'disk',
  serial: null,
  internal: null,
};

describe('--disk', () => {
  it('takes a file and words', () => {
    expect(parseDisk('a.img')).toEqual(plain);
    expect(parseDisk('a.img,cache=none')).toEqual({ ...plain, cache: 'none' });
    expect(parseDisk('a.img,format=raw,readonly')).toEqual({ ...plain, format: 'raw', readOnly: true });
    expect(parseDisk('a.img,format=qcow2,snapshot,if=ide,serial=QM00001')).toEqual({
      ...plain,
      format: 'qcow2',
      temporary: true,
      attach: 'ide',
      serial: 'QM00001',
    });
  });
  it('takes a comma in a name twice', () => {
    expect(parseDisk('a,,b.img,readonly')).toEqual({ ...plain, path: 'a,b.img', readOnly: true });
    expect(parseDisk('a,,,readonly')).toEqual({ ...plain, path: 'a,', readOnly: true });
    expect(parseDisk('a,,,,,readonly')).toEqual({ ...plain, path: 'a,,', readOnly: true });
    expect(configureDisks({ cdrom: ['a,'] })).toMatchObject([{ path: 'a,', media: 'cdrom' }]);
  });
  it('takes the name of a snapshot within an image', () => {
    expect(parseDisk('a,readonly,internal=before')).toEqual({
      ...plain,
      path: 'a',
      readOnly: true,
      internal: 'before',
    });
  });
  it('takes the address of an image', () => {
    expect(parseDisk('https://host/a.img?x=1').path).toBe('https://host/a.img?x=1');
  });
  it('puts a CD, which nobody writes, into a drive on the AHCI', () => {
    expect(parseDisk('a.img,media=cdrom')).toEqual({ ...plain, readOnly: true, attach: 'sata', media: 'cdrom' });
    expect(parseDisk('a.img,media=cdrom,if=ide').attach).toBe('ide');
  });
  it.each([
    [',readonly', 'names no file'],
    ['a,writable', 'does not know "writable"'],
    ['a,readonly=1', 'does not know "readonly=1"'],
    ['a,format=vmdk', 'does not know format=vmdk; there are auto, raw, qcow2'],
    ['a,if=scsi', 'does not know if=scsi; there are virtio, sata, ide, floppy'],
    ['a,media=tape', 'does not know media=tape; there are disk, cdrom'],
    ['a,cache=unsafe', 'does not know cache=unsafe; there are writeback, none'],
    ['a,serial=', 'is not 1 to 20 characters'],
    ['a,serial=123456789012345678901', 'is not 1 to 20 characters'],
    ['a,serial=ä', 'is not 1 to 20 characters'],
    ['a,media=cdrom,if=virtio', 'a drive for CDs has if=sata or if=ide'],
  ])('refuses %s', (text, message) => {
    expect(() => parseDisk(text)).toThrow(message);
  });
});

describe('all disks', () => {
  it('are those of --disk, then those of --cdrom', () => {
    const disks = configureDisks({ disk: ['a', 'b'], cdrom: ['c,d'] });
    expect(disks.map(({ path, media }) => `${path} ${media}`)).toEqual(['a disk', 'b disk', 'c,d cdrom']);
  });
  it('keep nothing under --snapshot, where they can be written at all', () => {
    const disks = configureDisks({ disk: ['a', 'b,readonly'], cdrom: ['c'], snapshot: true });
    expect(disks.map(({ temporary }) => temporary)).toEqual([true, false, false]);
  });
  it('of no file are refused', () => {
    expect(() => configureDisks({ cdrom: [''] })).toThrow('--cdrom names no file');
  });
});

describe('sizes of disks', () => {
  it('are written with the units of qemu-img, and have whole sectors', () => {
    const sizes = ['1', '1k', '1.5M', '3G', '2T', '1P'].map(parseDiskSize);
    expect(sizes).toEqual([512, 2 ** 10, 1.5 * 2 ** 20, 3 * 2 ** 30, 2 ** 41, 2 ** 50]);
    for (const text of ['0', '1X', '-1', '', '8P'])
      expect(() => parseDiskSize(text)).toThrow('is not a size of a disk');
  });
});
