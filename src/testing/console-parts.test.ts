/** What the web console makes of what it is told; here, since nothing beside it is compiled without the DOM's types. */
import { describe, expect, it } from 'vitest';
import { formatAge, formatBytes, formatCount, stamp } from '../web/console/format.js';
import { cleanPath, modeText, nameProblem, parentOf, portUrl, sorted } from '../web/console/guest-path.js';
import { ratesBetween, usedMemory } from '../web/console/measures.js';
import { plainText } from '../web/console/plain-text.js';
import { parseReachable } from '../web/console/reachable.js';

const metrics = (now: number, ...cpus: { time?: number; retired?: number; exits: number }[]) => ({
  now,
  uptime: now,
  memory: 2 ** 27,
  cpus,
  limits: { shares: 1024 },
});

describe('the console', () => {
  it('makes rates of two looks at a machine', () => {
    const before = metrics(1000, { time: 0, retired: 0, exits: 10 }, { time: 0, retired: 5e6, exits: 0 });
    const after = metrics(3000, { time: 1e9, retired: 1e8, exits: 30 }, { time: 5e8, retired: 25e6, exits: 4 });
    expect(ratesBetween(before, after)).toEqual({ mips: 60, exits: 12, processor: 75 });
    // KVM does not count instructions.
    expect(ratesBetween(metrics(0, { exits: 0 }), metrics(1000, { exits: 5 }))).toEqual({
      mips: undefined,
      exits: 5,
      processor: undefined,
    });
    // The same moment; a reset in between.
    expect(ratesBetween(before, before)).toBeUndefined();
    expect(ratesBetween(after, { ...before, now: 5000 })).toBeUndefined();
  });

  it('reads what a Linux guest says of its memory', () => {
    expect(usedMemory('MemTotal:         100 kB\nMemFree:  10 kB\nMemAvailable:      40 kB\n')).toBe(60 * 1024);
    expect(usedMemory('MemTotal: 100 kB\n')).toBeUndefined();
    expect(usedMemory('')).toBeUndefined();
  });

  it('shows without control sequences what was written for a terminal', () => {
    expect(plainText('\u001b[1;31mred\u001b[0m\r\nnext\r\r\n')).toBe('red\nnext\n');
    expect(plainText('\u001b]0;title\u0007text\u001b]8;;x\u001b\\link\u001b(B\u001bM\u001b=')).toBe('textlink');
    expect(plainText('10 %\r50 %\r100 %\rdone\n')).toBe('done\n');
    expect(plainText('a\u0000\u0007\u0008b\tc')).toBe('ab\tc');
    // Cut off, and long.
    expect(plainText('x\u001b[')).toBe('x[');
    const began = performance.now();
    expect(plainText('\u001b]'.repeat(100_000))).not.toContain('\u001b');
    expect(performance.now() - began).toBeLessThan(5000);
  });

  it('finds its way in the folders of a guest', () => {
    expect(['', '/', 'a//b/', '/a/./b/../../..', '/../x'].map(cleanPath)).toEqual(['/', '/', '/a/b', '/', '/x']);
    expect(['/', '/a', '/a/b'].map(parentOf)).toEqual(['/', '/', '/a']);
    expect(['', '..', 'a/b', 'a\0'].every((name) => nameProblem(name) !== undefined)).toBe(true);
    expect(nameProblem('...')).toBeUndefined();
    const entry = { uid: 0, gid: 0, links: 1, size: 0, modified: '', mode: 0o644 };
    expect(modeText({ type: 'file', mode: 0o4755 })).toBe('-rwsr-xr-x');
    expect(modeText({ type: 'folder', mode: 0o1777 })).toBe('drwxrwxrwt');
    expect(modeText({ type: 'link', mode: 0o2640 })).toBe('lrw-r-S---');
    const entries = (['b', 'a', 'c'] as const).map((name) => ({
      ...entry,
      name,
      type: name === 'c' ? 'folder' : 'file',
    }));
    expect(sorted(entries).map(({ name }) => name)).toEqual(['c', 'a', 'b']);
    const at = (hostAddress: string): string => portUrl({ hostAddress, hostPort: 80 }, 'example.org');
    expect(['127.0.0.1', '0.0.0.0', '::', 'fd00::1'].map(at)).toEqual([
      'http://127.0.0.1:80/',
      'http://example.org:80/',
      'http://example.org:80/',
      'http://[fd00::1]:80/',
    ]);
  });

  it('reads what a machine may reach', () => {
    expect(parseReachable(' example.org, 10.0.0.1:80 [fd00::1]:443,fd00::2 ')).toEqual([
      { host: 'example.org' },
      { host: '10.0.0.1', port: 80 },
      { host: 'fd00::1', port: 443 },
      { host: 'fd00::2' },
    ]);
    expect(() => parseReachable(' , ')).toThrow(/name what the machine may reach/);
    for (const wrong of ['a:0', 'a:65536', 'a:b', 'a:']) expect(() => parseReachable(wrong)).toThrow(/port/);
  });

  it('writes figures for people', () => {
    expect([0, 1023, 1024, 150 * 2 ** 20, 2 ** 41].map(formatBytes)).toEqual([
      '0 B',
      '1023 B',
      '1.0 KiB',
      '150 MiB',
      '2.0 TiB',
    ]);
    expect([0, 9.94, 56.4, 9999, 12_345, 123_456, 1_234_567, 2e8].map(formatCount)).toEqual([
      '0.0',
      '9.9',
      '56',
      '9999',
      '12.3 k',
      '123 k',
      '1.2 M',
      '200 M',
    ]);
    const now = Date.parse('2026-01-02T00:00:00Z');
    expect(formatAge('2026-01-01T23:59:00Z', now)).toBe('60 s');
    expect(formatAge('2026-01-01T12:00:00Z', now)).toBe('12 h');
    expect(stamp(new Date(now))).toBe('20260102-000000');
  });
});
