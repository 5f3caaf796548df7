import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import path from 'node:path';
import { setTimeout } from 'node:timers';
import { Apt } from '../../dist/guests/apt.js';
import { debianTool, unpackPackages } from '../../dist/guests/debian-tools.js';
import { cacheRoot } from '../../dist/host/node/cache.js';
import { ImageStore, Vm } from '../../dist/sdk/index.js';
import { runSession } from '../../dist/testing/fuzz/target.js';
import { ext4Target } from '../../dist/testing/fuzz/targets/ext4.js';
import { ociTarget } from '../../dist/testing/fuzz/targets/oci.js';
import { accelerator, expect, seconds, vitrine, withFolder } from './lib.mjs';

export const title = 'container images: Python from Debian, kills while a guest writes, random file systems, nonsense';

/** Python's parts that need nothing of Debian's maintainer scripts. */
const PYTHON = [
  'python3.11-minimal',
  'libpython3.11-minimal',
  'libc6',
  'zlib1g',
  'libexpat1',
  'libssl3',
  'busybox-static',
];
const KILLS = 3;
const TREES = 100;
const NONSENSE = 5000;
/** Files of a large image. */
const FILES = 20_000;

async function fsck(file) {
  const { path: program, env } = await debianTool('e2fsck', 'e2fsprogs', { cache: cacheRoot() });
  return (...args) => spawnSync(program, [...args, file], { encoding: 'utf8', env: { ...process.env, ...env } });
}

/** An image that runs Python, in a cache of its own, and a program on it. */
async function python(log, folder, accel) {
  const apt = new Apt({ cache: cacheRoot(), suite: 'bookworm', architecture: 'amd64' });
  const packages = await apt.fetch(...PYTHON);
  const tree = path.join(folder, 'python');
  await unpackPackages(
    packages.map(({ file }) => file),
    tree,
  );
  symlinkSync('busybox', path.join(tree, 'bin/sh'));
  writeFileSync(path.join(tree, 'etc/passwd'), 'root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/tmp:/bin/sh\n');
  mkdirSync(path.join(tree, 'tmp'));
  chmodSync(path.join(tree, 'tmp'), 0o1777);
  const cache = path.join(folder, 'cache/vitrine');
  mkdirSync(cache, { recursive: true });
  symlinkSync(path.join(cacheRoot(), 'guests'), path.join(cache, 'guests'));
  process.env['XDG_CACHE_HOME'] = path.dirname(cache);
  let since = performance.now();
  const settings = { Env: ['PYTHONDONTWRITEBYTECODE=1'], WorkingDir: '/tmp', User: 'app' };
  const image = await new ImageStore().build(tree, { name: 'python', settings });
  log(`an image of ${PYTHON.length} packages made in ${seconds(since).toFixed(1)} s`);
  since = performance.now();
  const vm = await Vm.create({ image: 'python', memory: 512, ...(accel && { accel }) });
  try {
    log(`its machine answers after ${seconds(since).toFixed(1)} s`);
    const script = 'import os, sys\nprint([sum(range(10**6)), os.getuid(), sys.argv[1]])\n';
    await vm.fs.write('/tmp/sum.py', script);
    since = performance.now();
    const result = await vm.exec(['/usr/bin/python3.11', '/tmp/sum.py', 'a b'], { check: true });
    expect(result.stdout === "[499999500000, 1000, 'a b']\n", `Python says ${result.stdout}`);
    log(`Python has run in ${seconds(since).toFixed(2)} s`);
  } finally {
    await vm.stop();
  }
  const { code, stdout } = await vitrine(
    [
      'run',
      'oci:python',
      ...accelerator(accel),
      '--',
      '/usr/bin/python3.11',
      '-c',
      'import sys; print(6 * 7); sys.exit(9)',
    ],
    { limit: 120 },
  );
  expect(code === 9 && stdout.includes('42'), `vitrine run: exit code ${code}, ${stdout}`);
  return image;
}

/** Linux writes to a disk of ours, and its machine is killed meanwhile. */
async function kills(log, folder, { rootDisk }, accel) {
  const disk = path.join(folder, 'disk.raw');
  for (let i = 0; i < KILLS; i++) {
    rmSync(disk, { force: true });
    copyFileSync(rootDisk, disk);
    const writes =
      'mount /dev/vda /mnt && cd /mnt && echo READY && n=0; while :; do n=$((n+1)); mkdir -p w/$((n % 50)); echo $n >w/$((n % 50))/f$n; ' +
      'ln -f w/$((n % 50))/f$n w/same; [ $((n % 7)) = 0 ] && rm -f w/$(((n - 3) % 50))/f*; [ $((n % 20)) = 0 ] && sync; done\n';
    await vitrine(['run', '--disk', `${disk},format=raw`, ...accelerator(accel)], {
      limit: 120,
      script: [
        [/^vitrine:~# /, writes],
        [/^READY/, (child) => setTimeout(() => child.kill('SIGKILL'), 1500 + i * 700)],
      ],
    });
    const check = await fsck(disk);
    const replayed = check('-p');
    expect(replayed.status <= 1, `e2fsck -p: ${replayed.stdout}`);
    const { status, stdout } = check('-fn');
    expect(status === 0, `e2fsck -fn after a kill: ${stdout}`);
  }
  log(`${KILLS} kills while Linux wrote: the journal makes each disk whole`);
}

async function large(log, folder) {
  const tree = path.join(folder, 'large');
  const content = readFileSync(process.execPath).subarray(0, 20_000);
  for (let i = 0; i < FILES; i++) {
    if (i % 200 === 0) mkdirSync(path.join(tree, `${i / 200}`), { recursive: true });
    writeFileSync(
      path.join(tree, `${Math.floor(i / 200)}/file-${i}`),
      content.subarray(0, (i * 7919) % content.length),
    );
  }
  const since = performance.now();
  const { rootDisk } = await new ImageStore().build(tree, { name: 'large' });
  log(`${FILES} files made an image in ${seconds(since).toFixed(1)} s`);
  const { status, stdout } = (await fsck(rootDisk))('-fn');
  expect(status === 0, stdout);
}

async function fuzz(log, target, inputs) {
  await target.prepare?.();
  const since = performance.now();
  for (let seed = 1; seed <= inputs / target.length; seed++) await runSession(target, seed);
  log(`${target.name}: ${inputs} inputs in ${seconds(since).toFixed(0)} s, nothing escaped`);
}

export async function run(log, { accel }) {
  log(`${cpus()[0].model}, ${cpus().length} CPUs, load ${loadavg()[0].toFixed(1)}`);
  const before = process.env['XDG_CACHE_HOME'];
  try {
    await withFolder(async (folder) => {
      const image = await python(log, folder, accel);
      await kills(log, folder, image, accel);
      await large(log, folder);
    });
  } finally {
    if (before === undefined) delete process.env['XDG_CACHE_HOME'];
    else process.env['XDG_CACHE_HOME'] = before;
  }
  await fuzz(log, ext4Target, TREES);
  await fuzz(log, ociTarget, NONSENSE);
}
