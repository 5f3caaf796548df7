import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { buildInitramfs } from './initramfs.js';

const module = { name: 'virtio_rng', data: Buffer.from('module'), depends: [], aliases: ['virtio:d00000004v*'] };
const archive = Buffer.from(buildInitramfs({ busybox: Buffer.from('busybox'), release: '6.1.0-1', modules: [module] }));

/** The archive's entries by name, in order. */
function read(bytes: Buffer): Map<string, Buffer> {
  const entries = new Map<string, Buffer>();
  const round = (value: number): number => (value + 3) & ~3;
  for (let at = 0; at < bytes.length;) {
    const field = (index: number): number =>
      Number.parseInt(bytes.toString('latin1', at + 6 + index * 8, at + 14 + index * 8), 16);
    const nameEnd = at + 110 + field(11);
    const data = round(nameEnd);
    entries.set(bytes.toString('latin1', at + 110, nameEnd - 1), bytes.subarray(data, data + field(6)));
    at = round(data + field(6));
  }
  return entries;
}

describe('the initramfs', () => {
  const entries = read(archive);

  it('has what the kernel and the shell look for', () => {
    for (const name of ['init', 'dev/console', 'bin/busybox', 'etc/passwd', 'lib/modules/6.1.0-1/virtio_rng.ko']) {
      expect([...entries.keys()]).toContain(name);
    }
    expect(entries.get('bin/busybox')?.toString()).toBe('busybox');
    expect(entries.get('lib/modules/6.1.0-1/modules.alias')?.toString()).toBe('alias virtio:d00000004v* virtio_rng\n');
  });

  it('names each folder before what is in it', () => {
    const seen = new Set(['.']);
    for (const name of entries.keys()) {
      const parent = name.includes('/') ? name.slice(0, name.lastIndexOf('/')) : '.';
      expect(seen).toContain(parent);
      seen.add(name);
    }
  });

  it.each(['init', 'etc/profile', 'etc/udhcpc.script'])('has a %s that a shell can parse', (name) => {
    const script = entries.get(name)?.toString() ?? '';
    const { status, stderr } = spawnSync('sh', ['-n'], { input: script, encoding: 'utf8' });
    expect(stderr).toBe('');
    expect(status).toBe(0);
  });
});
