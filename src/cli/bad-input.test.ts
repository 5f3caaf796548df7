/** What a user gets wrong: one line on standard error, a non-zero exit code, and nothing written. */
import { execFile, spawn } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCommand } from '../guests/command.js';
import { makeElf } from '../testing/kernels.js';

const program = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const demo = fileURLToPath(new URL('../../dist/cpu/x86/demo.bin', import.meta.url));
const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-bad-'));
const file = (name: string): string => path.join(folder, name);

/** An ELF header for AArch64, and nothing behind it. */
function armKernel(): Uint8Array {
  const elf = new Uint8Array(4096);
  elf.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  elf.set([2, 0, 183, 0, 1], 16);
  return elf;
}

/** An x86-64 ELF file with a PVH note. */
function longKernel(): Uint8Array {
  return makeElf({ bits: 64, load: 0x10_0000, virtual: 0x10_0000, pvh: 0x10_0040 });
}

/** A file that claims to be a bzImage and has only its setup sectors. */
function truncatedKernel(): Uint8Array {
  const image = new Uint8Array(2048);
  image[0x1f1] = 4;
  // 64 KiB of kernel in units of 16 bytes.
  image.set([0x00, 0x10], 0x1f4);
  image.set([0x55, 0xaa], 0x1fe);
  image.set([0x48, 0x64, 0x72, 0x53, 0x0f, 0x02], 0x202);
  image[0x211] = 1;
  return image;
}

/** A header of version 3, and a cluster for each table; or something that is nearly that. */
function qcow2(name: string, change?: (header: DataView) => void, backing = ''): void {
  const image = new Uint8Array(4 * 512);
  const header = new DataView(image.buffer);
  for (const [at, value] of [
    [0, 0x514649fb],
    [4, 3],
    [0x14, 9],
    [0x1c, 512],
    [0x24, 1],
    [0x2c, 1024],
    [0x34, 512],
    [0x38, 1],
    [0x60, 4],
    [0x64, 104],
  ])
    header.setUint32(at, value);
  if (backing !== '') {
    header.setUint32(0x0c, 256);
    header.setUint32(0x10, backing.length);
    image.set(Buffer.from(backing), 256);
  }
  change?.(header);
  writeFileSync(file(`${name}.qcow2`), image);
}

beforeAll(async () => {
  await runCommand('mkfifo', [file('pipe')]);
  symlinkSync('circle', file('circle'));
  writeFileSync(file('empty'), '');
  writeFileSync(file('text'), 'not a kernel at all\n'.repeat(200));
  // Through a link: what might be put in its place is the link.
  symlinkSync('/dev/full', file('device'));
  writeFileSync(file('arm'), armKernel());
  writeFileSync(file('truncated'), truncatedKernel());
  writeFileSync(file('gzip'), Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3));
  writeFileSync(file('odd'), new Uint8Array(1000));
  writeFileSync(file('zeros'), new Uint8Array(0x1_0000));
  qcow2('plain');
  qcow2('short', (header) => header.setUint32(0x24, 1000));
  qcow2('secret', (header) => header.setUint32(0x20, 1));
  qcow2('new', (header) => header.setUint32(0x4c, 1 << 9));
  qcow2('a', undefined, 'b.qcow2');
  qcow2('b', undefined, 'a.qcow2');
  writeFileSync(file('initrd'), '070701'.padEnd(80, '0'));
  writeFileSync(file('long'), longKernel());
});
afterAll(() => rmSync(folder, { recursive: true }));

interface Outcome {
  readonly code: unknown;
  readonly stdout: string;
  readonly stderr: string;
}

function vitrine(...args: readonly string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [program, ...args], { timeout: 25_000 }, (error, stdout, stderr) => {
      resolve({ code: error ? error.code : 0, stdout, stderr });
    });
    child.stdin?.end();
  });
}

const kernel = (name: string): string[] => ['run', '--kernel', file(name)];

const logs = [
  '--trace',
  'int',
  '--trace-file',
  file('trace'),
  '--debugcon',
  file('debug'),
  '--save-on-exit',
  file('saved'),
];

describe.each<[string, readonly string[], RegExp]>([
  ['a kernel that is not there', kernel('none'), /cannot read the kernel .*none: no such file/],
  ['a folder as kernel', ['run', '--kernel', folder], /cannot read the kernel .*: it is a directory/],
  ['an empty kernel', kernel('empty'), /empty is empty/],
  ['a kernel that is none', kernel('text'), /text is not a kernel/],
  ['a kernel for another architecture', kernel('arm'), /arm is .*(AArch64|another architecture)/],
  ['a 64-bit kernel for a 32-bit CPU', [...kernel('long'), '--cpu', 'pentium4'], /is a 64-bit kernel/],
  ['a truncated kernel', kernel('truncated'), /truncated .*truncated/],
  ['a truncated kernel, with logs', [...kernel('truncated'), ...logs], /truncated .*truncated/],
  ['a damaged gzip', kernel('gzip'), /gzip is damaged or truncated/],
  ['an initrd that is not there', ['run', '--kernel', demo, '--initrd', file('none')], /cannot read the initrd/],
  ['an empty initrd', ['run', '--kernel', demo, '--initrd', file('empty')], /empty is empty/],
  ['a truncated initrd', ['run', '--kernel', demo, '--initrd', file('initrd')], /initrd .*initrd is truncated/],
  ['an initrd without end', ['run', '--kernel', demo, '--initrd', '/dev/zero'], /too large, or has no end/],
  ['an initrd without a kernel', ['run', '--initrd', file('text')], /--initrd and --module need --kernel/],
  ['a BIOS that is not there', ['run', '--bios', file('none')], /cannot read the BIOS image/],
  ['an empty BIOS', ['run', '--bios', file('empty')], /empty is empty/],
  ['a truncated BIOS', ['run', '--bios', file('odd')], /odd is not a BIOS image, or is truncated/],
  ['a BIOS of zeros', ['run', '--bios', file('zeros')], /zeros is no x86 BIOS image, or is truncated/],
  ['a disk that is not there', ['run', 'demo', '--disk', file('none')], /cannot open the disk .*: no such file/],
  ['an empty disk', ['run', 'demo', '--disk', file('empty')], /the disk .* is empty/],
  ['a folder as disk', ['run', 'demo', '--disk', folder], /the disk .* is not a regular file/],
  ['a disk that is not qcow2', ['run', 'demo', '--disk', `${file('zeros')},format=qcow2`], /is not a qcow2 image/],
  [
    'a truncated qcow2 disk',
    ['run', 'demo', '--disk', file('short.qcow2')],
    /truncated|damaged|not a sound qcow2 image/,
  ],
  ['an encrypted qcow2 disk', ['run', 'demo', '--disk', file('secret.qcow2')], /is encrypted, which is not supported/],
  ['a qcow2 disk with features of tomorrow', ['run', 'demo', '--disk', file('new.qcow2')], /not known here: bit 9/],
  ['disks that stand on each other', ['run', 'demo', '--disk', file('a.qcow2')], /backing files make a loop/],
  [
    'an address past the cache',
    ['run', 'demo', '--disk', 'http://127.0.0.1:9/x,cache=none'],
    /the disk http:\S+ cannot be used with cache=none: that is for files of this host/,
  ],
  ['a disk twice', ['run', 'demo', '--disk', file('zeros'), '--disk', file('zeros')], /zeros is in use by another/],
  [
    'a disk on a server that is not there',
    ['run', 'demo', '--disk', 'http://127.0.0.1:9/x'],
    /127.0.0.1:9\/x: bad port/,
  ],
  [
    'a snapshot that the disk has not',
    ['run', 'demo', '--disk', `${file('b.qcow2')},readonly,internal=x`],
    /loop|has no/,
  ],
  [
    'a snapshot to write',
    ['run', 'demo', '--disk', `${file('plain.qcow2')},internal=x`],
    /can only be read: add readonly/,
  ],
  ['a disk to make where one is', ['disk', 'create', file('odd'), '1M'], /there is a file .*odd already/],
  ['a disk to make without a size', ['disk', 'create', file('fresh')], /without a backing file needs a size/],
  ['a disk to make of no size', ['disk', 'create', file('fresh'), 'much'], /much is not a size of a disk/],
  [
    'a disk to make of clusters that are no whole sectors',
    ['disk', 'create', file('fresh'), '1M', '--cluster-size', '1000'],
    /clusters of 1000 bytes cannot be; a power of two/,
  ],
  [
    'a disk to make of odd clusters',
    ['disk', 'create', file('fresh'), '1M', '--cluster-size', '3K'],
    /3072 bytes cannot be/,
  ],
  [
    'a disk to make of counts that are no numbers',
    ['disk', 'create', file('fresh'), '1M', '--refcount-bits', 'many'],
    /many is not a number of bits/,
  ],
  [
    'a disk to make on nothing',
    ['disk', 'create', file('fresh'), '1M', '--backing-format', 'raw'],
    /--backing-format raw needs --backing/,
  ],
  ['a raw disk to check', ['disk', 'check', file('zeros')], /is not a qcow2 image/],
  ['a truncated disk', ['run', 'demo', '--disk', file('odd')], /is not a whole number of 512-byte sectors/],
  ['more memory than there ever was', ['run', 'demo', '--memory', '3T'], /too much: an accelerator can give/],
  ['memory that is no size', ['run', 'demo', '--memory', 'much'], /is not a size of memory/],
  ['too little memory', ['run', 'demo', '--memory', '100K'], /is too small/],
  ['too little memory for a kernel', ['run', 'demo', '--memory', '1M'], /memory is too small/],
  ['more memory than the accelerator gives', ['run', 'demo', '--memory', '5G'], /too much: an accelerator can give/],
  ['an unknown CPU', ['run', 'demo', '--cpu', 'z80'], /unknown CPU model "z80"; there are x86-64-v2, /],
  ['an unknown machine', ['run', 'demo', '--machine', 'amiga'], /unknown machine "amiga"; there are pc, microvm/],
  ['firmware on a microvm', ['run', '--machine', 'microvm', '--bios', file('zeros')], /microvm has no firmware/],
  ['a VGA on a microvm', ['run', '--kernel', demo, '--machine', 'microvm', '--vga', 'std'], /microvm has no VGA/],
  [
    'a screen shown that there is not',
    ['run', '--kernel', demo, '--vga', 'none', '--vnc', ':auto'],
    /no screen for --vnc/,
  ],
  ['a microvm’s screen', ['run', '--kernel', demo, '--machine', 'microvm', '--display', 'vnc'], /no screen for --vnc/],
  [
    'a PS/2 mouse on a microvm',
    ['run', '--kernel', demo, '--machine', 'microvm', '--input', 'ps2'],
    /has no PS\/2 keyboard/,
  ],
  [
    'a SATA disk on a microvm',
    ['run', '--kernel', demo, '--machine', 'microvm', '--disk', `${file('zeros')},if=sata`],
    /microvm has virtio disks alone, no sata/,
  ],
  ['the demo on a microvm', ['run', 'demo', '--machine', 'microvm'], /the demo needs the chips of a PC/],
  [
    'a microvm without APICs',
    ['run', '--kernel', demo, '--machine', 'microvm', '--cpu', '486'],
    /the CPU model 486 has none/,
  ],
  ['an unknown accelerator', ['run', 'demo', '--accel', 'warp'], /unknown accelerator "warp"; there are interp, /],
  ['an unknown option', ['run', '--kernle', 'x'], /unknown option '--kernle'.*--kernel/],
  ['an unknown command', ['walk'], /unknown command 'walk'/],
  ['an unknown guest', ['run', 'multics'], /no guest multics to run; there are /],
  ['an option without its value', ['run', '--cpu'], /argument missing/],
  [
    'a file where machines are to meet',
    ['run', 'demo', '--net', `link,path=${file('text')}`],
    /the socket .*text: it is a file of another kind/,
  ],
  ['no place where machines are to meet', ['run', 'demo', '--net', 'link,path='], /--net link names no socket/],
  [
    'a link in a folder that is not there',
    ['run', 'demo', '--net', `link,path=${file('none/x')}`],
    /the socket .*: there is no folder/,
  ],
  [
    'a link to itself where machines are to meet',
    ['run', 'demo', '--net', `link,path=${file('circle')}`],
    /the socket .*circle: its symbolic links lead in a circle$/m,
  ],
  [
    'a socket whose name is too long',
    ['run', 'demo', '--qmp', `unix:${file('x'.repeat(120))}`],
    /the name is too long for a socket/,
  ],
  [
    'a capture into a pipe that nobody reads',
    ['run', 'demo', '--net', `user,pcap=${file('pipe')}`],
    /cannot write the capture .*pipe: it is .* a pipe that nobody reads/,
  ],
  ['two guests', ['run', 'demo', 'demo'], /only a container image is given a program/],
  ['a guest and a kernel', ['run', 'demo', '--kernel', demo], /give either a guest/],
  ['nowhere to save', ['run', 'demo', '--save-on-exit', ''], /cannot write the snapshot/],
  ['a place that cannot be written to save in', ['run', 'demo', '--save-on-exit', '/proc/x'], /cannot write the snap/],
  ['a device to save in', ['run', 'demo', '--save-on-exit', file('device')], /cannot write .*no regular file/],
  ['a folder that is not there to save in', ['run', 'demo', '--save-on-exit', file('none/x')], /cannot write the snap/],
  ['a root that is not there', ['run', './none'], /there is no folder \.\/none/],
  ['an image of nothing', ['image', 'build-from', file('empty'), '--name', 'none'], /empty is empty/],
  ['a snapshot that is not there', ['resume', file('none')], /cannot read the snapshot .*: no such file/],
  ['a folder as snapshot', ['resume', folder], /cannot read the snapshot .*: it is a directory/],
  ['an empty snapshot', ['resume', file('empty')], /the snapshot .* is empty/],
  ['a snapshot that is none', ['resume', file('text')], /is not a snapshot of a machine/],
])('%s', (_name, args, message) => {
  it('is told in one line', async () => {
    const before = readdirSync(folder);
    const { code, stdout, stderr } = await vitrine(...args);
    expect(stderr).toMatch(/^vitrine: [^\n]+\n$/);
    expect(stderr).toMatch(message);
    expect(stdout).toBe('');
    expect(code).toBe(1);
    expect(readdirSync(folder)).toEqual(before);
  });
});

describe('a file where folders should be', () => {
  it.for([
    ['sockets', 'XDG_RUNTIME_DIR', 'ls -q', '0\n'],
    ['what is kept', 'XDG_CACHE_HOME', 'image ls', /^vitrine: cannot use .*: a part of the path is not a dir.*\n1\n$/],
  ] as const)('is told in one line, if at all: %s', async ([, name, words, expected]) => {
    const script = `"$0" "$1" ${words}; echo $? >&2`;
    const { stderr } = await runCommand('sh', ['-c', script, process.execPath, program], {
      env: { [name]: file('text') },
    });
    expect(stderr).toMatch(expected);
  });
});

describe('output that cannot be written', () => {
  it.for([
    ['is not wanted any more', '| :', '141\n'],
    ['has no room', '> /dev/full', 'vitrine: cannot write the output: no space left on the device\n1\n'],
  ])('ends the program when it %s', async ([, where, expected]) => {
    const script = `{ "$0" "$@"; echo $? >&2; } ${where}`;
    const { stderr } = await runCommand('sh', ['-c', script, process.execPath, program, 'run', '--help']);
    expect(stderr).toBe(expected);
  });
});

describe('a copy of a disk that is interrupted', () => {
  it.each(['SIGINT', 'SIGTERM'] as const)('by %s leaves nothing behind', async (signal) => {
    // Long enough to be copied that the signal comes before its end.
    writeFileSync(file('long.raw'), '');
    truncateSync(file('long.raw'), 2 ** 40);
    const child = spawn(process.execPath, [program, 'disk', 'convert', file('long.raw'), file('copy')]);
    const ended = new Promise((resolve) => {
      child.on('close', (code) => resolve(code));
    });
    let stderr = '';
    child.stderr.on('data', (bytes: Buffer) => (stderr += bytes.toString()));
    await expect.poll(() => existsSync(file('copy')), { timeout: 20_000 }).toBe(true);
    // Its first pieces.
    await new Promise((resolve) => setTimeout(resolve, 200));
    child.kill(signal);
    expect(await ended).toBe(signal === 'SIGINT' ? 130 : 143);
    expect(stderr).toBe(`vitrine: stopped by ${signal}\n`);
    expect(existsSync(file('copy'))).toBe(false);
    rmSync(file('long.raw'));
  });
});

describe('help', () => {
  it('names every option of every command, and goes to standard output', async () => {
    const { code, stdout } = await vitrine('run', '--help');
    for (const option of ['--kernel', '--initrd', '--append', '--bios', '--memory', '--disk', '--no-reboot', '--clock'])
      expect(stdout).toContain(option);
    expect(code).toBe(0);
    expect((await vitrine('resume', '--help')).stdout).toContain('--save-on-exit');
  });
  it('of a version is that of the package', async () => {
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
      version: string;
    };
    expect((await vitrine('--version')).stdout).toBe(`${version}\n`);
  });
});
