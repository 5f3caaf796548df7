// Disk images: against QEMU's programs, killed writers, hostile images, and a journalling guest whose machine is killed.
import { spawnSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { cacheRoot } from '../../dist/guests/index.js';
import { runCommand } from '../../dist/guests/command.js';
import { debianTool } from '../../dist/guests/debian-tools.js';
import { checkImage } from '../../dist/testing/disk-images-check.js';
import { generateImage } from '../../dist/testing/disk-images.js';
import { killRound } from '../../dist/testing/disk-kill.js';
import { accelerator, expect, guest, withFolder } from './lib.mjs';
import { killGuest } from './disks/guest.mjs';

const IMAGES = 50;
const KILLS = 200;
/** 200 take half an hour: VITRINE_GUEST_KILLS=200. */
const GUEST_KILLS = Number(process.env.VITRINE_GUEST_KILLS ?? 20);
const HOSTILE = 200_000;

export const title = `disks: ${IMAGES} images against qemu-img, ${KILLS} killed writers, ${GUEST_KILLS} killed guests, ${HOSTILE} hostile images`;

async function tool(name, packageName) {
  const { path: program, env } = await debianTool(name, packageName, { cache: cacheRoot() });
  return { run: (args) => runCommand(program, args, { env }) };
}

async function images(tools, log) {
  const seen = new Set();
  for (let seed = 1; seed <= IMAGES; seed++)
    await withFolder(async (folder) => {
      const image = await generateImage(tools, folder, seed);
      for (const word of image.features.split(' ')) seen.add(word.replace(/^size=.*|^s\d$/, ''));
      await checkImage(tools, image, seed);
    });
  log(
    `${IMAGES} images: read, snapshots read, written, checked, compared; ${[...seen].filter(Boolean).sort().join(', ')}`,
  );
}

async function kills(tools, log) {
  let promised = 0;
  await withFolder(async (folder) => {
    writeFileSync(path.join(folder, 'base'), new Uint8Array(16 << 20).fill(9));
    const kinds = [
      { size: 256 << 20 },
      { size: 16 << 20, clusterSize: 4096 },
      { size: 16 << 20, backing: 'base' },
      { size: 8 << 20, clusterSize: 512 },
    ];
    for (let seed = 1; seed <= KILLS; seed++) {
      const file = path.join(folder, `image-${seed}`);
      promised += await killRound(tools, { ...kinds[seed % kinds.length], file, seed });
      rmSync(file);
    }
  });
  log(`${KILLS} writers killed: every image clean for qemu-img check, none of ${promised} promised records lost`);
}

function hostile(log) {
  const program = ['dist/testing/fuzz/qcow2.js', String(HOSTILE)];
  const { status, stdout, stderr } = spawnSync(process.execPath, program, { encoding: 'utf8' });
  expect(status === 0, `hostile images: ${stderr}`);
  log(stdout.trim());
}

async function guests(tools, accel, log) {
  const { files } = await guest('amd64');
  const records = await withFolder((folder) =>
    killGuest({
      tools,
      folder,
      rounds: GUEST_KILLS,
      kernel: files.vmlinuz,
      initrd: files.initrd,
      options: accelerator(accel),
    }),
  );
  log(`${GUEST_KILLS} guests killed under ext4: image clean, journal recovered, none of ${records} records lost`);
}

export async function run(log, { accel }) {
  const tools = {
    img: await tool('qemu-img', 'qemu-utils'),
    io: await tool('qemu-io', 'qemu-utils'),
    mke2fs: await tool('mke2fs', 'e2fsprogs'),
    e2fsck: await tool('e2fsck', 'e2fsprogs'),
  };
  await images(tools, log);
  await kills(tools, log);
  hostile(log);
  await guests(tools, accel, log);
}
