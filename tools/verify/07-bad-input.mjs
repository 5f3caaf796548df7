import { Buffer } from 'node:buffer';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { crc32 } from '../../dist/base/crc32.js';
import { expect, guest, vitrine, withFolder } from './lib.mjs';

export const title = 'Bad input: one clear line on stderr, an exit code that is not 0, nothing written';

export const run = (log) => withFolder((folder) => check(folder, log));

async function check(folder, log) {
  const { files } = await guest('amd64');
  const inputs = path.join(folder, 'inputs');
  mkdirSync(inputs);
  const put = (name, data) => {
    const file = path.join(inputs, name);
    writeFileSync(file, data);
    return file;
  };
  const vmlinuz = readFileSync(files.vmlinuz);
  const vmlinux = readFileSync(files.vmlinux);
  const foreign = Buffer.from(vmlinux.subarray(0, 1 << 20));
  // e_machine: AArch64.
  foreign.writeUInt16LE(183, 18);
  const empty = put('empty', '');
  const text = put('text', 'This is no kernel.\n'.repeat(100));
  const snapshot = path.join(inputs, 'good.snap');
  const saving = ['run', '--kernel', files.vmlinux, '--append', 'console=ttyS0', '--memory', '64M'];
  await vitrine([...saving, '--save-on-exit', snapshot], {
    script: [[/Linux version/, (child) => child.kill('SIGTERM')]],
  });
  const saved = readFileSync(snapshot);
  const flipped = Buffer.from(saved);
  flipped[saved.length >> 1] ^= 0x40;
  // The container's version at 8, the checksum of the header's first 36 bytes behind them.
  const newer = Buffer.from(saved);
  newer.writeUInt32LE(99, 8);
  newer.writeUInt32LE(crc32(newer.subarray(0, 36)) >>> 0, 36);
  const kernel = ['--kernel', files.vmlinux];
  const cases = {
    'missing kernel': ['run', '--kernel', path.join(inputs, 'nowhere')],
    'kernel that is a folder': ['run', '--kernel', inputs],
    'empty kernel': ['run', '--kernel', empty],
    'kernel that is text': ['run', '--kernel', text],
    'truncated bzImage': ['run', '--kernel', put('short-bzimage', vmlinuz.subarray(0, 600_000))],
    'truncated bzImage header': ['run', '--kernel', put('short-header', vmlinuz.subarray(0, 700))],
    'truncated ELF': ['run', '--kernel', put('short-elf', vmlinux.subarray(0, 1_000_000))],
    'kernel of another architecture': ['run', '--kernel', put('aarch64', foreign)],
    'damaged gzip': ['run', '--kernel', put('damaged.gz', Buffer.from([0x1f, 0x8b, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8]))],
    'missing initrd': ['run', ...kernel, '--initrd', path.join(inputs, 'nowhere')],
    'initrd without a kernel': ['run', '--initrd', files.initrd],
    'missing BIOS': ['run', '--bios', path.join(inputs, 'nowhere')],
    'empty BIOS': ['run', '--bios', empty],
    'truncated BIOS': ['run', '--bios', put('short-bios', Buffer.alloc(100_000))],
    'missing disk': ['run', ...kernel, '--disk', path.join(inputs, 'nowhere')],
    'empty disk': ['run', ...kernel, '--disk', empty],
    'disk that is cut': ['run', ...kernel, '--disk', put('short-disk', Buffer.alloc(1000))],
    'memory too small': ['run', ...kernel, '--memory', '512K'],
    'memory too small for the kernel': ['run', ...kernel, '--memory', '8M'],
    'memory beyond the accelerator': ['run', ...kernel, '--memory', '1000G'],
    'memory that is no size': ['run', ...kernel, '--memory', 'much'],
    'unknown CPU': ['run', ...kernel, '--cpu', 'z80'],
    'unknown machine': ['run', ...kernel, '--machine', 'toaster'],
    'unknown accelerator': ['run', ...kernel, '--accel', 'magic'],
    'unknown option': ['run', ...kernel, '--fast'],
    'unknown command': ['fly'],
    'unknown guest': ['run', 'plan9'],
    'missing snapshot': ['resume', path.join(inputs, 'nowhere')],
    'empty snapshot': ['resume', empty],
    'snapshot that is text': ['resume', text],
    'truncated snapshot': ['resume', put('short.snap', saved.subarray(0, saved.length >> 1))],
    'snapshot of a newer version': ['resume', put('newer.snap', newer)],
    'damaged snapshot': ['resume', put('damaged.snap', flipped)],
  };
  const before = listing(inputs);
  const problems = [];
  for (const [name, args] of Object.entries(cases)) {
    const { code, stdout, stderr } = await vitrine(args, { cwd: inputs, limit: 60 });
    const lines = stderr.split('\n').filter((line) => line !== '');
    const clear = lines.length === 1 && lines[0].startsWith('vitrine: ') && !lines[0].includes('internal error');
    if (code === 0 || code === null || code === 70 || !clear || stdout !== '')
      problems.push(`${name}: exit code ${code}, ${lines.length} lines on stderr: ${(stdout + stderr).slice(0, 300)}`);
    else log(`${name}: ${lines[0].replaceAll(inputs, '…')}`);
  }
  if (listing(inputs) !== before) problems.push('files were written');
  expect(problems.length === 0, problems.join('\n   '));
}

const listing = (folder) =>
  readdirSync(folder)
    .map((name) => `${name} ${statSync(path.join(folder, name)).mtimeMs}`)
    .join();
