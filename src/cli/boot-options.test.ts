import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { HostError, UsageError } from '../base/errors.js';
import { describeWith, requireGuest } from '../testing/tools.js';
import { configureFirmware, parseBoot, parseFlash } from './boot-options.js';

const plain = { order: [], once: null, menu: false, menuWait: null, strict: false };

describe('--boot', () => {
  it('takes an order, or words', () => {
    expect(parseBoot('dc')).toEqual({ ...plain, order: ['d', 'c'] });
    expect(parseBoot('order=c,once=d,menu=on,splash-time=3000,strict=on')).toEqual({
      order: ['c'],
      once: ['d'],
      menu: true,
      menuWait: 3000,
      strict: true,
    });
    expect(parseBoot('n,menu=off')).toEqual({ ...plain, order: ['n'] });
  });
  it.each([
    ['x', 'does not know the letter "x"; there are a, c, d, n'],
    ['', 'names nothing'],
    ['cc', 'twice'],
    ['menu=yes', 'neither on nor off'],
    ['splash-time=-1', 'is not a number'],
    ['order=c,d', 'does not know "d"'],
    ['strict=on', 'needs order='],
    ['reboot-timeout=1', 'does not know "reboot-timeout=1"'],
  ])('refuses %s', (text, message) => {
    expect(() => parseBoot(text)).toThrow(message);
  });
});

describe('--pflash', () => {
  it('takes a file, which may be read-only', () => {
    expect(parseFlash('a,,b.fd,readonly')).toEqual({ path: 'a,b.fd', readOnly: true, volatile: false });
    expect(() => parseFlash('a.fd,unit=0')).toThrow('does not know "unit=0"');
    expect(() => parseFlash(',readonly')).toThrow('names no file');
  });
});

describe('flash', () => {
  it('that is no whole number of blocks long is refused as what it is', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'vitrine-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const file = path.join(folder, 'odd.fd');
    for (const length of [0, 1000, 4097]) {
      await writeFile(file, new Uint8Array(length));
      await expect(configureFirmware({ pflash: [file] })).rejects.toThrow(
        new UsageError(`the flash image ${file} is not a whole number of 4 KiB blocks long`),
      );
    }
  });
});

describe('firmware', () => {
  it('is a file as it was', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'vitrine-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const file = path.join(folder, 'bios.bin');
    await writeFile(file, 'BIOS');
    const { bios, config, file: name } = await configureFirmware({ bios: file });
    expect([Buffer.from(bios?.image ?? []).toString(), config, name]).toEqual(['BIOS', undefined, file]);
    expect((await readFile(file)).toString()).toBe('BIOS');
  });
  it('is needed for an order, and given once', async () => {
    await expect(configureFirmware({ boot: 'd' })).rejects.toThrow('--boot needs firmware');
    await expect(configureFirmware({ bios: 'a', pflash: ['b'] })).rejects.toThrow('either --bios or --pflash');
  });
});

const ovmf = await requireGuest('ovmf');

describeWith([ovmf], 'a store of variables', () => {
  it('that cannot be made is told in one line, which names it alone', async () => {
    const file = '/nonexistent/vars.fd';
    await expect(configureFirmware({ bios: `ovmf,vars=${file}` })).rejects.toThrow(
      new HostError(`cannot make the variable store ${file}: no such file`),
    );
  });

  it('of another size is refused: OVMF would start, and keep nothing in it', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'vitrine-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const file = path.join(folder, 'vars.fd');
    await writeFile(file, new Uint8Array(4096));
    await expect(configureFirmware({ bios: `ovmf,vars=${file}` })).rejects.toThrow(
      `${file} is no variable store of this firmware: it has 4096 bytes, and the firmware's have `,
    );
    await rm(file);
    // One that is made is right, and it is the next time.
    for (let i = 0; i < 2; i++)
      expect((await configureFirmware({ bios: `ovmf,vars=${file}` })).config?.flash).toHaveLength(2);
  });
});
