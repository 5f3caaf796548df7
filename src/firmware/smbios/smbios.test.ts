import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { describeWith, requireTool } from '../../testing/tools.js';
import { GIB } from '../../base/units.js';
import { smbios2Anchor, smbios3Anchor, smbiosTable, type SmbiosDescription } from './smbios.js';

const description: SmbiosDescription = {
  cpus: 2,
  cpuSignature: 0x30661,
  cpuFeatures: 0x0fab_fbff,
  cpuBrand: 'Vitrine x86-64-v2',
  longMode: true,
  mhz: 1000,
  ram: [
    { start: 0, size: 2 * GIB },
    { start: 4 * GIB, size: 30 * GIB },
  ],
  uuid: Uint8Array.from({ length: 16 }, (_, i) => i),
  product: 'Q35',
  version: '0.1.0',
};

const sum = (bytes: Uint8Array): number => bytes.reduce((total, byte) => (total + byte) & 0xff, 0);

describe('SMBIOS', () => {
  const table = smbiosTable(description);

  it('has every structure once, and its strings end each', () => {
    const types: number[] = [];
    for (let at = 0; at < table.bytes.length;) {
      types.push(table.bytes[at]);
      at += table.bytes[at + 1];
      while (table.bytes[at] !== 0 || table.bytes[at + 1] !== 0) at++;
      at += 2;
    }
    expect(types).toEqual([0, 1, 3, 4, 16, 17, 17, 19, 19, 32, 127]);
    expect(table.count).toBe(types.length);
  });

  it('anchors have their checksums', () => {
    const three = smbios3Anchor(table, 0xf_0040);
    expect([three.length, sum(three)]).toEqual([24, 0]);
    const two = smbios2Anchor(table, 0xf_0040);
    expect([two.length, sum(two), sum(two.subarray(16))]).toEqual([31, 0, 0]);
  });
});

const dmidecode = await requireTool('dmidecode');
describeWith([dmidecode], 'SMBIOS against dmidecode', () => {
  it('reads what was said', async () => {
    const table = smbiosTable(description);
    const folder = await mkdtemp(join(tmpdir(), 'vitrine-smbios-'));
    try {
      // A dump has the anchor at 0 and the table at 32.
      const dump = new Uint8Array(32 + table.bytes.length);
      dump.set(smbios3Anchor(table, 32));
      dump.set(table.bytes, 32);
      await writeFile(join(folder, 'dump'), dump);
      const { stdout, stderr } = await dmidecode.run(['--from-dump', join(folder, 'dump')]);
      expect(stderr).toBe('');
      expect(stdout).not.toMatch(/OUT OF SPEC|BAD INDEX|TRUNCATED|wrong|Wrong/i);
      expect(stdout).toMatch(/UUID: 00010203-0405-0607-0809-0a0b0c0d0e0f/);
      expect(stdout).toMatch(/Maximum Capacity: 32 GB/);
      expect(stdout).toMatch(/Size: 16 GB/);
      expect(stdout).toMatch(/Core Count: 2/);
      expect(stdout).toMatch(/Starting Address: 0x00100000000/);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
