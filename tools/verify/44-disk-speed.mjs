// Disks against QEMU's TCG in one sitting: the same kernel, guest, images and host, one boot of each after the other.
//
//   DISK_SPEED="virtio raw" node tools/verify.mjs disk-speed     only the disks whose name contains all of the words
import { spawnSync } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { findProgram } from '../../dist/guests/command.js';
import { debianTool } from '../../dist/guests/debian-tools.js';
import { cacheRoot } from '../../dist/guests/index.js';
import { accelerator, cli, expect, FIRST_PROCESS, guest, initrdWith, runProgram, withFolder } from './lib.mjs';
import { qemuSystem } from './qemu.mjs';

const SIZE = 256;
const ROUNDS = Number(process.env.DISK_SPEED_ROUNDS ?? 3);
/** How the host's cache is used: past it, and through it. */
const CACHES = ['none', 'writeback'];
/** Of QEMU's time, the medians of all rounds. */
const AIM = 1.5;

export const title = `Disk speed: ${SIZE} MiB on virtio and AHCI, raw and qcow2, against QEMU TCG; medians of ${ROUNDS}`;

const INIT = `${FIRST_PROCESS}stty -echo
modprobe -q -a sd_mod
for i in 1 2 3 4 5 6 7 8 9 10; do
  for disk in /dev/vda /dev/sda; do [ -b $disk ] && break 2; done
  sleep 1
done
/measure/disk-io $disk ${SIZE}
poweroff -f
`;

const source = fileURLToPath(new URL('disks/disk-io.c', import.meta.url));

async function compiled(folder) {
  const cc = (await findProgram('cc')) ?? (await debianTool('tcc', 'tcc', { cache: cacheRoot() })).path;
  const file = path.join(folder, 'disk-io');
  const words = ['-O2', '-static', '-nostdlib', '-ffreestanding', '-fno-stack-protector'];
  const { status, stderr } = spawnSync(cc, [...words, '-o', file, source], { encoding: 'utf8' });
  expect(status === 0, `${cc}: ${stderr}`);
  return readFileSync(file);
}

async function measuringInitrd(folder, initrd) {
  const files = { 'measure/init': INIT, 'measure/disk-io': await compiled(folder) };
  return initrdWith(initrd, path.join(folder, 'initrd'), files);
}

/** Makes the host forget what it has of a file, without root (posix_fadvise). False: it cannot. */
const forget = (file) =>
  spawnSync('dd', [`of=${file}`, 'oflag=nocache', 'conv=notrunc,fdatasync', 'count=0', 'status=none']).status === 0;

/** Runs a machine with a disk and answers its measurements; seconds by name. */
async function times([command, args, env], image) {
  const found = {};
  let child;
  let text = '';
  const script = [
    [/@ready/, (process) => (child = process)],
    [/@done/, ''],
  ];
  const seen = (more) => {
    text += more;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
      const line = text.slice(0, end).trim();
      text = text.slice(end + 1);
      const ready = /@ready (\S+)/.exec(line)?.[1];
      if (ready !== undefined) {
        if (ready.endsWith('cold')) expect(forget(image), 'dd cannot empty the cache of a file');
        process.nextTick(() => child.stdin.write('\n'));
      }
      const [, name, nanoseconds] = /@(\S+) (\d+)$/.exec(line) ?? [];
      if (name !== undefined) found[name] = Number(nanoseconds) / 1e9;
    }
  };
  const { stdout } = await runProgram(command, args, { env, script, seen, limit: 300 });
  expect(!stdout.includes('@bad'), stdout.slice(-500));
  return found;
}

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

function machines({ qemu, vmlinuz, initrd, image, bus, format, accel }) {
  const append = 'console=ttyS0 quiet panic=-1 rdinit=/measure/init';
  const device = bus === 'virtio' ? 'virtio-blk-pci,drive=d' : 'ide-hd,drive=d,bus=ide.0';
  const board = '-M q35 -accel tcg,thread=single -cpu max -m 256 -nographic -no-reboot -nic none'.split(' ');
  const theirs = (cache) => [
    qemu.command,
    [
      ...[...qemu.args, ...board, '-kernel', vmlinuz, '-initrd', initrd, '-append', append],
      ...['-drive', `file=${image},if=none,id=d,format=${format},cache=${cache},aio=threads`, '-device', device],
    ],
    qemu.env,
  ];
  const disk = (cache) => `${image},format=${format},if=${bus === 'virtio' ? 'virtio' : 'sata'},cache=${cache}`;
  const vitrine = (cache) => [
    process.execPath,
    [
      ...[cli, 'run', '--kernel', vmlinuz, '--initrd', initrd, '--append', append, '--memory', '256M', '--no-reboot'],
      ...['--disk', disk(cache), ...accelerator(accel)],
    ],
  ];
  return Object.fromEntries(
    CACHES.flatMap((cache) => [
      [`QEMU ${cache}`, theirs(cache)],
      [`Vitrine ${cache}`, vitrine(cache)],
    ]),
  );
}

/** The images that a run begins with: the same random bytes, raw, and allocated or not yet allocated in qcow2. */
async function makeImages(folder) {
  const raw = path.join(folder, 'random.raw');
  writeFileSync(raw, randomFillSync(new Uint8Array(SIZE * 2 ** 20)));
  const img = await debianTool('qemu-img', 'qemu-utils', { cache: cacheRoot() });
  const make = (...args) => {
    const { status, stderr } = spawnSync(img.path, args, { encoding: 'utf8', env: { ...process.env, ...img.env } });
    expect(status === 0, `qemu-img: ${stderr}`);
  };
  const full = path.join(folder, 'full.qcow2');
  const empty = path.join(folder, 'empty.qcow2');
  make('convert', '-f', 'raw', '-O', 'qcow2', raw, full);
  make('create', '-q', '-f', 'qcow2', empty, `${SIZE}M`);
  return [
    ['raw', 'raw', raw],
    ['qcow2', 'qcow2', full],
    ['qcow2, nothing allocated', 'qcow2', empty],
  ];
}

export async function run(log, { accel } = {}) {
  const { files } = await guest('amd64-generic');
  const qemu = await qemuSystem();
  const wanted = (process.env.DISK_SPEED ?? '').split(' ').filter(Boolean);
  await withFolder(async (folder) => {
    const initrd = await measuringInitrd(folder, files.initrd);
    const images = await makeImages(folder);
    const worst = { ratio: 0, name: 'nothing' };
    for (const bus of ['virtio', 'AHCI'])
      for (const [kind, format, base] of images) {
        const name = `${bus}, ${kind}`;
        if (!wanted.every((word) => name.includes(word))) continue;
        const place = path.join(folder, 'work');
        const image = path.join(place, 'disk');
        const commands = machines({ qemu, vmlinuz: files.vmlinuz, initrd, image, bus, format, accel });
        const all = Object.fromEntries(Object.keys(commands).map((machine) => [machine, []]));
        for (let round = 0; round < ROUNDS; round++)
          for (const [machine, command] of Object.entries(commands)) {
            rmSync(place, { recursive: true, force: true });
            mkdirSync(place);
            copyFileSync(base, image);
            all[machine].push(await times(command, image));
          }
        log(`${name} (seconds: QEMU, Vitrine, its time by QEMU's; cache=none, then cache=writeback)`);
        for (const measurement of Object.keys(Object.values(all)[0][0])) {
          const of = (machine) => median(all[machine].map((one) => one[measurement]));
          const cells = CACHES.map((cache) => {
            const [theirs, own] = [of(`QEMU ${cache}`), of(`Vitrine ${cache}`)];
            const ratio = own / theirs;
            if (ratio > worst.ratio) Object.assign(worst, { ratio, name: `${name}, cache=${cache}, ${measurement}` });
            return `${theirs.toFixed(3).padStart(8)}${own.toFixed(3).padStart(8)}${ratio.toFixed(2).padStart(6)}`;
          });
          log(`  ${measurement.padEnd(16)}${cells.join('   ')}`);
        }
      }
    log(`worst: ${worst.ratio.toFixed(2)}, ${worst.name}`);
    expect(worst.ratio <= AIM, `${worst.name} takes ${worst.ratio.toFixed(2)} times as long as with QEMU, not ${AIM}`);
  });
}
