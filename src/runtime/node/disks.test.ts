/** Disks of a machine on files of this host: locks, kills, identities. */
import { spawn } from 'node:child_process';
import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { runCommand } from '../../guests/command.js';
import type { BlockBackend } from '../../iface/block.js';
import { killRound } from '../../testing/disk-kill.js';
import { describeWith, requireMountNamespaces, requireTool } from '../../testing/tools.js';
import type { DiskConfig } from '../../vmm/config.js';
import { createDisk } from './disk-tools.js';
import { DiskTransfers } from '../../host/node/disk-transfers.js';
import { isPageAligned, pageAligned } from '../../host/node/page-aligned.js';
import { RandomSource } from '../../testing/random-source.js';
import { diskBuffers, openDisk, type DiskOwner } from './disks.js';

const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-disks-'));
afterAll(() => rmSync(folder, { recursive: true }));
const file = (name: string): string => path.join(folder, name);
const img = await requireTool('qemu-img', 'qemu-utils');
const namespaces = await requireMountNamespaces();

const plain = {
  format: 'auto',
  readOnly: false,
  temporary: false,
  attach: 'virtio',
  media: 'disk',
  serial: null,
  internal: null,
} as const;

function open(name: string, more: Partial<DiskConfig> = {}, owner: Partial<DiskOwner> = {}): BlockBackend {
  const warn = (text: string): never => {
    throw new Error(text);
  };
  return openDisk({ ...plain, path: file(name), ...more }, { warn, ...owner });
}

function raw(name: string, size = 65536): string {
  writeFileSync(file(name), new Uint8Array(size));
  return file(name);
}

function qcow2(name: string): string {
  createDisk({ file: file(name), format: 'qcow2', size: 1 << 20 });
  return file(name);
}

const write = (disk: BlockBackend, byte = 1): void =>
  disk.write(0, new Uint8Array(512).fill(byte), (status) => expect(status).toBe('ok'));

describe('an image', () => {
  it('that is written is used by one machine alone', () => {
    raw('alone');
    const first = open('alone');
    expect(() => open('alone')).toThrow(/^the disk .*alone is in use by another machine or program$/);
    expect(() => open('alone', { readOnly: true })).toThrow(/alone is being written by another machine or program$/);
    first.close();
    open('alone').close();
  });
  it('that is read is read by any number, and not written', () => {
    raw('shared');
    const readers = [1, 2, 3].map(() => open('shared', { readOnly: true }));
    const temporary = open('shared', { temporary: true });
    expect(() => open('shared')).toThrow('is in use by another machine');
    for (const reader of readers) reader.close();
    temporary.close();
    open('shared').close();
  });
  it('has memory beside the guest’s, more of it past the host’s cache (file systems with O_DIRECT)', ({ skip }) => {
    raw('direct');
    const staging = new Uint8Array(new WebAssembly.Memory({ initial: 64, maximum: 64, shared: true }).buffer);
    const buffers = diskBuffers(staging);
    const taken = (disk: BlockBackend, count: number): readonly unknown[] => {
      const all = Array.from({ length: count }, () => disk.buffers?.take() ?? new Uint8Array());
      for (const buffer of all.toReversed()) disk.buffers?.give(buffer);
      return [all[0].length, ...all.map((buffer) => isPageAligned(buffer) && buffer.byteOffset)];
    };
    const cached = open('direct', {}, { buffers: () => buffers });
    // From the first one on again each time; behind the end of that memory, any other.
    for (let i = 0; i < 3; i++) expect(taken(cached, 5)).toEqual([0x4_0000, 0, 0x4_0000, 0x8_0000, 0xc_0000, false]);
    cached.close();
    try {
      closeSync(openSync(file('direct'), constants.O_RDONLY | constants.O_DIRECT));
    } catch {
      skip('no O_DIRECT here');
    }
    const disk = open('direct', { cache: 'none' }, { buffers: () => buffers });
    for (let i = 0; i < 3; i++) expect(taken(disk, 4)).toEqual([0x10_0000, 0x10_0000, 0x20_0000, 0x30_0000, false]);
    disk.close();
  });
  it('on which others stand is not written', () => {
    raw('base');
    createDisk({ file: file('overlay'), format: 'qcow2', size: undefined, backing: { file: 'base', format: 'raw' } });
    const disk = open('overlay');
    expect(() => open('base')).toThrow('is in use by another machine');
    disk.close();
  });
  it('that cannot be opened as a whole leaves nothing open', () => {
    raw('gone');
    createDisk({ file: file('on-gone'), format: 'qcow2', size: undefined, backing: { file: 'gone', format: 'raw' } });
    rmSync(file('gone'));
    expect(() => open('on-gone')).toThrow(/^cannot open the disk .*gone: no such file$/);
    // Nobody holds its lock.
    open('on-gone', { format: 'raw' }).close();
  });
  it('is free again when the process that used it was killed', async () => {
    const name = qcow2('killed');
    const writer = fileURLToPath(new URL('../../../dist/testing/disk-writer.js', import.meta.url));
    const child = spawn(process.execPath, [writer, name, '1'], { stdio: ['ignore', 'pipe', 'inherit'] });
    await new Promise((resolve) => child.stdout.once('data', resolve));
    expect(() => open('killed')).toThrow('is in use by another machine');
    child.kill('SIGKILL');
    await new Promise((resolve) => child.once('close', resolve));
    open('killed').close();
  });
});

describe('the identity of an image', () => {
  it.each(['raw', 'qcow2'])('changes when it is written (%s)', (format) => {
    const name = `identity.${format}`;
    if (format === 'raw') raw(name);
    else qcow2(name);
    const disk = open(name);
    const before = disk.identity;
    disk.close();
    const again = open(name);
    expect(again.identity).toBe(before);
    write(again);
    again.close();
    const after = open(name);
    expect(after.identity).not.toBe(before);
    after.close();
  });
  it('changes when what it stands on is written', () => {
    raw('below');
    createDisk({ file: file('above'), format: 'qcow2', size: undefined, backing: { file: 'below', format: 'raw' } });
    const before = open('above', { readOnly: true });
    const { identity } = before;
    before.close();
    const below = open('below');
    write(below);
    below.close();
    const after = open('above', { readOnly: true });
    expect(after.identity).not.toBe(identity);
    after.close();
  });
});

describe('writes that are thrown away', () => {
  it('are seen by the guest, and leave nothing', () => {
    const name = raw('kept');
    const before = readdirSync(tmpdir()).filter((one) => /^vitrine-\d+-/.test(one));
    const disk = open('kept', { temporary: true });
    write(disk, 7);
    const bytes = new Uint8Array(512);
    disk.read(0, bytes, () => {});
    expect(bytes[0]).toBe(7);
    disk.close();
    expect(readFileSync(name).every((byte) => byte === 0)).toBe(true);
    expect(readdirSync(tmpdir()).filter((one) => /^vitrine-\d+-/.test(one))).toEqual(before);
  });
});

describeWith([img], "past the host's cache, with transfers that go on meanwhile", () => {
  it.each(['raw', 'qcow2'] as const)('a %s disk has what was written last, whatever was under way', async (format) => {
    const [size, name] = [8 << 20, `meanwhile.${format}`];
    createDisk({ file: file(name), format, size });
    const transfers = new DiskTransfers();
    const warn = (text: string): never => {
      throw new Error(text);
    };
    const disk = openDisk({ ...plain, format, path: file(name), cache: 'none' }, { warn, transfers });
    const random = new RandomSource(5);
    const model = new Uint8Array(size);
    /** As a driver does it: nothing is asked for where something is under way. */
    const busy: { from: number; end: number }[] = [];
    let later = 0;
    for (let i = 0; i < 1500; i++) {
      // Some that are long and begin at pages, some that do neither.
      const unit = random.once(3) ? 512 : 65_536;
      const length = unit * (1 + random.below(unit === 512 ? 40 : 10));
      const at = random.below((size - length) / unit) * unit;
      if (busy.some(({ from, end }) => from < at + length && at < end)) {
        disk.settle?.();
        expect(busy).toEqual([]);
      }
      const range = { from: at, end: at + length };
      const answer: { status?: string } = {};
      const ended = (status: string): void => {
        answer.status = status;
        busy.splice(busy.indexOf(range), 1);
        expect(status).toBe('ok');
      };
      busy.push(range);
      switch (random.below(5)) {
        case 0:
        case 1: {
          const bytes = pageAligned(length);
          bytes.fill(random.next());
          model.set(bytes, at);
          disk.write(at, bytes, ended);
          break;
        }
        case 2:
        case 3: {
          const [bytes, expected] = [pageAligned(length), model.slice(at, at + length)];
          disk.read(at, bytes, (status) => {
            ended(status);
            expect(Buffer.compare(bytes, expected)).toBe(0);
          });
          break;
        }
        default:
          model.fill(0, at, at + length);
          disk.writeZeroes(at, length, ended);
      }
      if (answer.status === undefined) later++;
      if (random.once(3)) transfers.collect();
      if (random.once(50)) disk.flush((status) => expect(status).toBe('ok'));
    }
    // It lets go of nothing that is under way.
    disk.close();
    transfers.settle();
    transfers.close();
    expect(busy).toEqual([]);
    expect(later).toBeGreaterThan(format === 'raw' ? 100 : 10);
    const qemu = async (...args: string[]): Promise<void> => {
      const { stderr, status } = await runCommand(img.path, args, { env: { ...process.env, ...img.env } });
      expect([status, stderr]).toEqual([0, '']);
    };
    await qemu('convert', '-f', format, '-O', 'raw', file(name), file('meanwhile'));
    expect(Buffer.compare(readFileSync(file('meanwhile')), model)).toBe(0);
    if (format === 'qcow2') await qemu('check', '-q', file(name));
  });
});

describeWith([namespaces], "the host's disk is full", () => {
  /** Writes until that fails; runs where 2 MiB are free for what it writes. */
  const PROGRAM = `
    const { createDisk } = await import(process.argv[1] + 'disk-tools.js');
    const { openDisk } = await import(process.argv[1] + 'disks.js');
    const [, , base, full] = process.argv;
    const plain = ${JSON.stringify(plain)};
    createDisk({ file: full + '/own', format: 'qcow2', size: 2 ** 26 });
    for (const disk of [{ ...plain, path: base, temporary: true }, { ...plain, path: full + '/own' }]) {
      const opened = openDisk(disk, { warn: (text) => console.log(text) });
      let status = 'ok';
      for (let at = 0; status === 'ok'; at += 65536) opened.write(at, new Uint8Array(65536).fill(7), (done) => (status = done));
      console.log(status);
      try {
        opened.close();
        console.log('closed');
      } catch (error) {
        console.log(error.name + ': ' + error.message);
      }
    }`;

  it('which is told in a line, and to the guest as an I/O error', async () => {
    const base = raw('full-base', 2 ** 26);
    const full = file('full');
    mkdirSync(full);
    const dist = new URL('../../../dist/runtime/node/', import.meta.url).href;
    const script = 'mount -t tmpfs -o size=2m none "$0" && exec "$@"';
    const node = [process.execPath, '--input-type=module', '-e', PROGRAM, dist, base, full];
    const { stdout, stderr } = await runCommand('unshare', ['-Urm', 'sh', '-c', script, full, ...node], {
      env: { TMPDIR: full },
    });
    const kept = `cannot keep the writes to ${base} in ${full}: no space left on the device (TMPDIR names another folder)`;
    const own = `cannot write to ${full}/own: no space left on the device`;
    const lines = [`vitrine: the disk ${base} failed: ${kept}`, 'io-error', 'closed'];
    // What it took before is kept.
    lines.push(`vitrine: the disk ${full}/own failed: ${own}`, 'io-error', 'closed');
    expect(stdout.trim().split('\n'), stderr).toEqual(lines);
  });
});

describe('a limit for files', () => {
  it('is told as what it is, and leaves nothing', async () => {
    const main = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url));
    const name = file('limited');
    const args = [process.execPath, main, 'disk', 'create', name, '1G', '--format', 'raw'];
    const { status, stderr } = await runCommand('sh', ['-c', 'ulimit -f 100 && exec "$@"', 'sh', ...args]);
    expect(stderr).toBe(`vitrine: cannot write to ${name}: files cannot be so large here\n`);
    expect(status).toBe(1);
    expect(existsSync(name)).toBe(false);
  });
});

describeWith([img], 'for QEMU', () => {
  it('an image that a machine writes is in use, and the other way round', async () => {
    const name = qcow2('both');
    const disk = open('both');
    const { status, stderr } = await img.run(['check', name]);
    expect(status).not.toBe(0);
    expect(stderr).toContain('lock');
    disk.close();
    expect((await img.run(['check', name])).status).toBe(0);
  });
});

describeWith([img], 'an image whose machine was killed', () => {
  it.each([
    { seed: 1, size: 64 << 20 },
    { seed: 2, size: 8 << 20, clusterSize: 4096 },
    { seed: 3, size: 8 << 20, backing: 'kill-base' },
  ])('is sound, with all that was promised (%o)', async (round) => {
    if (round.backing !== undefined) writeFileSync(file(round.backing), new Uint8Array(round.size).fill(9));
    await killRound({ img }, { ...round, file: file(`kill-${round.seed}`) });
  });
});
