import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { describeWith, requireFile, requireKvm, requireTool, verdict } from './tools.js';

describe('verdict', () => {
  const there = { name: 'nasm', missing: undefined };
  const gone = { name: 'gdb', missing: 'gdb is missing: no network' };
  const kvm = { name: '/dev/kvm', missing: '/dev/kvm is missing or not permitted' };

  it('runs tests that have what they need', () => {
    expect(verdict([there], { VITRINE_REQUIRE_ALL: '1' })).toEqual({ action: 'run', reason: '' });
  });
  it('skips what lacks something, and says what', () => {
    expect(verdict([there, gone], {})).toEqual({ action: 'skip', reason: 'gdb is missing: no network' });
  });
  it('fails instead where everything is required', () => {
    expect(verdict([gone], { VITRINE_REQUIRE_ALL: '1' }).action).toBe('fail');
    expect(verdict([gone, kvm], { VITRINE_REQUIRE_ALL: '1' }).action).toBe('fail');
  });
  it('excuses absent hardware even there', () => {
    expect(verdict([kvm], { VITRINE_REQUIRE_ALL: '1' }).action).toBe('skip');
  });
});

describe('requireTool', () => {
  it('finds a program of this machine', async () => {
    const sh = await requireTool('sh', 'dash');
    expect(sh.missing).toBeUndefined();
    expect(await sh.run(['-c', 'echo here'])).toMatchObject({ status: 0, stdout: 'here\n' });
  });
  it('says what is missing', async () => {
    const tool = await requireTool('no-such-program', 'no-such-package');
    expect(tool.missing).toMatch(/^no-such-program is missing: .*no-such-package/);
  });
});

describe('requireKvm', () => {
  it('answers without failing', async () => {
    expect((await requireKvm()).name).toBe('/dev/kvm');
  });
});

// Where the machine does not have them these come from Debian packages, unpacked into the cache.
const nasm = await requireTool('nasm');
describeWith([nasm], 'a program that has to be unpacked', () => {
  it('runs', async () => {
    expect(await nasm.run(['-v'])).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('NASM version') as string,
    });
  });
});

const bios = await requireFile('/usr/share/seabios/bios-256k.bin', 'seabios');
describeWith([bios], 'a file that has to be unpacked', () => {
  it('is there', async () => {
    expect((await readFile(bios.path)).length).toBe(256 * 1024);
  });
});
