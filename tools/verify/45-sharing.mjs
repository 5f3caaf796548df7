// What guests share with their host: the tests that `prepare-guests` puts into its guests, and many small files against QEMU.
import { Buffer } from 'node:buffer';
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { debianFile, debianTool } from '../../dist/guests/debian-tools.js';
import { cacheRoot } from '../../dist/guests/index.js';
import { qemuSystem } from './qemu.mjs';
import { programs, run as runIn } from './net/servers.mjs';
import {
  accelerator,
  expect,
  extendedInitrd,
  FIRST_PROCESS,
  guest,
  initrdWith,
  runProgram,
  vitrine,
  withFolder,
} from './lib.mjs';

/** What `prepare-guests` has made; without it the first part is left out. */
const GUESTS = process.env['VITRINE_GUESTS'];
/** Cloud kernels have no 9p. */
const KERNELS = [
  ['amd64', false],
  ['amd64-generic', true],
  ['amd64-trixie', false],
  ['i386', true],
];
const FILES = Number(process.env['VITRINE_SMALL_FILES'] ?? 10_000);

export const title = `sharing: rng, 9p, virtiofs, vsock, blk and net of ${KERNELS.length} kernels; ${FILES} small files against QEMU`;

async function tests([name, has9p], accel, log) {
  await withFolder(async (folder) => {
    const place = path.join(GUESTS, name);
    if (!existsSync(place)) {
      log(`${name}: not in VITRINE_GUESTS, left out`);
      return;
    }
    for (const share of ['t9', 'tfs']) mkdirSync(path.join(folder, share));
    const scratch = Buffer.alloc(16 << 20);
    scratch.write('SCRATCH:');
    writeFileSync(path.join(folder, 'scratch'), scratch);
    const checks = ['rng', ...(has9p ? ['9p'] : []), 'virtiofs', 'vsock', 'blk', 'net'];
    const words = `console=ttyS0 quiet panic=-1 t_test=${checks.join(',')} t_virtiofs=tfs t_net=dhcp`;
    const { code, stdout, stderr } = await vitrine(
      [
        ...['run', ...accelerator(accel), '--no-reboot', '--net', 'user', '--disk', path.join(folder, 'scratch')],
        ...['--kernel', path.join(place, 'vmlinuz'), '--initrd', path.join(place, 'initrd-full')],
        ...['--append', has9p ? `${words} t_9p=t9` : words, '--vsock', `path=${path.join(folder, 'v')}`],
        ...['--share', `${path.join(folder, 't9')},tag=t9,driver=9p`, '--share', `${path.join(folder, 'tfs')},tag=tfs`],
      ],
      { limit: 240 },
    );
    const [, ok = '', failed = ''] = /^@END rc=0 pass=(\d+) fail=(\d+)/m.exec(stdout) ?? [];
    const bad = stdout.match(/^@T FAIL.*$/gm) ?? [];
    // Each test, the mounts and the address by DHCP.
    const wanted = checks.length + (has9p ? 3 : 2);
    expect(
      code === 0 && failed === '0' && Number(ok) === wanted,
      `${name}: exit code ${code}, ${ok} of ${wanted}\n${bad.join('\n')}\n${stderr}`,
    );
    log(`${name}: ${/^@UP (\S+)/m.exec(stdout)?.[1]}, ${checks.join(', ')} pass`);
  });
}

const STEPS = {
  create: `i=0; while [ $i -lt ${FILES} ]; do echo "contents $i" >f$i; i=$((i+1)); done`,
  read: `i=0; while [ $i -lt ${FILES} ]; do read -r line <f$i; i=$((i+1)); done`,
  list: 'ls -l | wc -l',
  pack: 'tar cf - . | wc -c',
  remove: 'ls | xargs rm',
};

/** The guest's first process: each step with nothing cached, timed by the guest's own clock. */
const INIT = `${FIRST_PROCESS}modprobe -q virtiofs
mkdir -p /mnt/s && mount -t virtiofs share /mnt/s && mkdir /mnt/s/many && cd /mnt/s/many || poweroff -f
${Object.entries(STEPS)
  .map(
    ([name, work]) => `echo 3 >/proc/sys/vm/drop_caches; read -r a rest </proc/uptime
${work} >/tmp/out; read -r b rest </proc/uptime
echo "@ ${name} $a $b $(cat /tmp/out)"`,
  )
  .join('\n')}
poweroff -f
`;

/** Seconds of each step, and in all. */
function times(stdout, who) {
  const found = new Map();
  for (const [, name, from, to] of stdout.matchAll(/@ (\w+) (\S+) (\S+)/g)) found.set(name, Number(to) - Number(from));
  expect(found.size === Object.keys(STEPS).length, `${who}: not all steps were done\n${stdout.slice(-2000)}`);
  expect(stdout.includes(`${FILES + 1}\r`), `${who}: not all files are there\n${stdout.slice(-500)}`);
  return found.set(
    'all',
    [...found.values()].reduce((sum, time) => sum + time, 0),
  );
}

async function underQemu(folder, share, { vmlinuz, initrd, append }) {
  const options = { cache: cacheRoot() };
  const qemu = await qemuSystem();
  const daemon = await debianFile('/usr/lib/qemu/virtiofsd', 'qemu-system-common', options);
  const socket = path.join(folder, 'fs.sock');
  const words = ['-f', `--socket-path=${socket}`, '-o', `source=${share}`, '-o', 'sandbox=chroot'];
  const server = spawn(daemon, words, { stdio: 'ignore' });
  try {
    for (let i = 0; i < 100 && !existsSync(socket); i++) await pause(100);
    const args = [
      ...qemu.args,
      ...['-accel', 'tcg', '-machine', 'q35', '-m', '512M', '-nographic', '-no-reboot', '-nodefaults'],
      ...['-object', 'memory-backend-memfd,id=m,size=512M,share=on', '-numa', 'node,memdev=m', '-serial', 'stdio'],
      ...['-chardev', `socket,id=c,path=${socket}`, '-device', 'vhost-user-fs-pci,chardev=c,tag=share'],
      ...['-kernel', vmlinuz, '-initrd', initrd, '-append', append],
    ];
    const { stdout, stderr } = await runProgram(qemu.command, args, { env: qemu.env, limit: 400 });
    return times(stdout + stderr, 'QEMU');
  } finally {
    server.kill();
  }
}

async function smallFiles(accel, log) {
  const { files } = await guest('amd64');
  await withFolder(async (folder) => {
    const share = path.join(folder, 'share');
    mkdirSync(share);
    const initrd = initrdWith(files.initrd, path.join(folder, 'initrd'), { check: INIT });
    const append = 'console=ttyS0 quiet panic=-1 rdinit=/check';
    const { stdout } = await vitrine(
      [
        ...['run', ...accelerator(accel), '--no-reboot', '--memory', '512M', '--net', 'none', '--share', share],
        ...['--kernel', files.vmlinuz, '--initrd', initrd, '--append', append],
      ],
      { limit: 400 },
    );
    const ours = times(stdout, 'Vitrine');
    expect(readdirSync(path.join(share, 'many')).length === 0, 'files are left');
    if (process.getuid?.() !== 0) {
      log(`Vitrine: ${[...ours].map(([name, time]) => `${name} ${time.toFixed(2)} s`).join(', ')}`);
      log('not compared: virtiofsd wants to be started by root');
      return;
    }
    rmSync(path.join(share, 'many'), { recursive: true });
    const theirs = await underQemu(folder, share, { vmlinuz: files.vmlinuz, initrd, append });
    for (const [name, time] of ours) {
      const other = theirs.get(name);
      log(
        `${name}: ${time.toFixed(2)} s, QEMU with virtiofsd ${other.toFixed(2)} s: ${(time / other).toFixed(2)} times`,
      );
    }
  });
}

/** setfattr, getfattr and setcap in guests, on both servers, in a folder that they may write to and one that they may not. */
async function attributes(accel, log) {
  const files = await programs(['setfattr', 'attr'], ['getfattr', 'attr'], ['setcap', 'libcap2-bin']);
  const set = (words) => runIn(`setfattr ${words}`);
  const show = (words) => runIn(`getfattr --absolute-names --only-values ${words}`);
  const init = `${FIRST_PROCESS}mkdir -p /s /r
say() { echo "@$1 $(shift; "$@" 2>&1 | tr '\\n' ' ')"; }
sh='/bin/busybox sh -c'
if modprobe -q virtiofs && mount -t virtiofs s /s; then mount -t virtiofs r /r
else modprobe -q 9pnet_virtio; modprobe -q 9p; for t in s r; do mount -t 9p -o trans=virtio,version=9p2000.L $t /$t; done; fi
echo contents >/s/file
say set $sh '${set('-n user.one -v first /s/file; ')}${set('-n user.two -v second /s/file; ')}${set('-x user.two /s/file')}'
say get $sh '${show('-n user.one /s/file')}'
say gone $sh '${show('-n user.two /s/file')}'
say all $sh '${runIn('getfattr --absolute-names -d /s/file | grep user')}'
say folder $sh '${set('-n user.f -v x /s; ')}${show('-n user.f /s')}'
say capability $sh '${runIn('setcap cap_net_raw+ep /s/file')}'
say trusted $sh '${set('-n trusted.x -v x /s/file')}'
say given $sh '${show('-n user.given /r/given')}'
say readonly $sh '${set('-n user.given -v y /r/given')}'
poweroff -f
`;
  for (const [kernel, driver] of [
    ['amd64', 'virtiofs'],
    ['amd64-generic', '9p'],
  ]) {
    const { files: found } = await guest(kernel);
    await withFolder(async (folder) => {
      const [shared, given] = ['s', 'r'].map((name) => path.join(folder, name));
      for (const place of [shared, given]) mkdirSync(place);
      writeFileSync(path.join(given, 'given'), '');
      const tool = async (name, args) => {
        const { path: program, env } = await debianTool(name, 'attr', { cache: cacheRoot() });
        return runProgram(program, args, { env: { ...process.env, ...env } });
      };
      await tool('setfattr', ['-n', 'user.given', '-v', 'by the host', path.join(given, 'given')]);
      const initrd = path.join(folder, 'initrd');
      const entry = { kind: 'file', path: 'check', mode: 0o755, data: Buffer.from(init) };
      writeFileSync(initrd, extendedInitrd(found.initrd, [...files, entry]));
      const { stdout } = await vitrine(
        [
          ...['run', ...accelerator(accel), '--no-reboot', '--memory', '512M', '--net', 'none'],
          ...['--share', `${shared},tag=s,driver=${driver}`, '--share', `${given},tag=r,driver=${driver},readonly`],
          ...['--kernel', found.vmlinuz, '--initrd', initrd, '--append', 'console=ttyS0 quiet panic=-1 rdinit=/check'],
        ],
        { limit: 240 },
      );
      for (const [key, pattern] of Object.entries({
        ...{ set: /^$/, get: /^first/, gone: /No such attribute/, all: /^user.one="first"$/, folder: /^x/ },
        ...{ capability: /not permitted/, trusted: /not supported/, given: /^by the host/, readonly: /Read-only/ },
      })) {
        const told = new RegExp(`^@${key} (.*?) *\\r?$`, 'm').exec(stdout)?.[1];
        expect(told !== undefined && pattern.test(told), `${driver}: ${key}: ${told}\n${stdout}`);
      }
      const { stdout: onHost } = await tool('getfattr', [
        '-n',
        'user.one',
        '--absolute-names',
        '--only-values',
        path.join(shared, 'file'),
      ]);
      expect(onHost === 'first', `${driver}: on the host: ${onHost}`);
      log(
        `${driver}: attributes are set, read, listed and removed; capabilities and others refused; nothing changes what is read-only`,
      );
    });
  }
}

export async function run(log, { accel } = {}) {
  if (GUESTS === undefined) log('VITRINE_GUESTS does not name a folder of prepare-guests: its tests are left out');
  else for (const kernel of KERNELS) await tests(kernel, accel, log);
  await attributes(accel, log);
  await smallFiles(accel, log);
}
