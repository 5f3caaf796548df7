import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { guestCommand } from './guest-command.js';

let cache = '';
let output: string[] = [];
beforeEach(async () => {
  cache = await mkdtemp(path.join(tmpdir(), 'vitrine-cli-'));
  output = [];
  vi.stubEnv('XDG_CACHE_HOME', cache);
  vi.spyOn(console, 'log').mockImplementation((line: string) => void output.push(line));
  const folder = path.join(cache, 'vitrine/guests/i386');
  await mkdir(path.join(folder, '1-a'), { recursive: true });
  await writeFile(path.join(folder, '1-a/vmlinuz'), '');
  await writeFile(
    path.join(folder, '1-a/guest.json'),
    JSON.stringify({ version: '1', packages: [{ name: 'linux', version: '1' }], files: ['vmlinuz'] }),
  );
  await writeFile(path.join(folder, 'current'), '1-a\n');
});
afterEach(async () => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
  await rm(cache, { recursive: true, force: true });
});

const run = async (...args: string[]): Promise<void> => {
  await guestCommand().parseAsync(args, { from: 'user' });
};

describe('vitrine guest', () => {
  it('lists what there is and what is prepared', async () => {
    await run('list');
    expect(output[0]).toMatch(/^NAME +PREPARED +WHAT IT IS$/);
    expect(output).toContainEqual(expect.stringMatching(/^amd64 +- +Debian 12/));
    expect(output).toContainEqual(expect.stringMatching(/^i386 +1 +Debian 12/));
  });
  it('prints the path of a guest and of its files', async () => {
    await run('path', 'i386');
    await run('path', 'i386', 'vmlinuz');
    const folder = path.join(cache, 'vitrine/guests/i386/1-a');
    expect(output).toEqual([folder, path.join(folder, 'vmlinuz')]);
  });
  it('says in one line what is wrong', async () => {
    await expect(run('path', 'i386', 'toString')).rejects.toThrow('guest i386 has no file toString; it has vmlinuz');
    await expect(run('path', 'amd64')).rejects.toThrow(
      'guest amd64 is not prepared; vitrine guest fetch amd64 does it',
    );
    await expect(run('path', 'vax')).rejects.toThrow('unknown guest vax');
    await expect(run('fetch', 'vax')).rejects.toThrow('unknown guest vax');
  });
});
