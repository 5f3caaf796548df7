import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { MIB } from '../../base/units.js';
import { hasTemplate, makeRoom, settleTemplate } from './template.js';

describe('templates', () => {
  let cache = '';
  let folder = '';
  let age = 0;
  beforeEach(() => {
    cache = mkdtempSync(path.join(tmpdir(), 'vitrine-templates-'));
    vi.stubEnv('XDG_CACHE_HOME', cache);
    folder = path.join(cache, 'vitrine/templates');
    mkdirSync(folder, { recursive: true });
    age = 0;
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    rmSync(cache, { recursive: true });
  });

  /** A file that was used before those of earlier calls. */
  const older = (name: string, bytes = 1): string => {
    const file = path.join(folder, name);
    // Not zeros, for which some file systems have no room.
    writeFileSync(file, new Uint8Array(bytes).fill(7));
    const used = Date.now() / 1000 - 1000 * ++age;
    utimesSync(file, used, used);
    return file;
  };

  it('are at most eight, those used last', async () => {
    const files = Array.from({ length: 9 }, (_, i) => older(`${i}.template`));
    const fork = older(`fork-${process.pid}-00`);
    expect(hasTemplate(files[8])).toBe(true);
    await makeRoom();
    expect(files.map(existsSync)).toEqual([true, true, true, true, true, true, false, false, true]);
    expect(existsSync(fork)).toBe(true);
  });

  it('take so much of the disk at most: those used last', async () => {
    const files = ['new', 'young', 'old'].map((name) => older(`${name}.template`, MIB));
    const fork = older(`fork-${process.pid}-00`, 4 * MIB);
    await settleTemplate(files[0], 2.5 * MIB);
    expect(files.map(existsSync)).toEqual([true, true, false]);
    expect(existsSync(fork)).toBe(true);
    // One that alone is too large is none.
    await expect(settleTemplate(files[0], 0.5 * MIB)).rejects.toThrow(
      'the template is too large: it takes more than 0 MiB',
    );
    expect(files.map(existsSync)).toEqual([false, false, false]);
  });

  it('that were not finished are removed when their process is gone', async () => {
    const { pid } = spawnSync(process.execPath, ['--version']);
    older(`a.template.${pid}.tmp`);
    const going = `b.template.${process.pid}.tmp`;
    older(going);
    await makeRoom();
    expect(readdirSync(folder)).toEqual([going]);
  });
});
