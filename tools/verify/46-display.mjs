// The screen: GRUB and Linux's drivers draw the same as under QEMU; noVNC shows it, types, points and changes its size.
import { existsSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { debianFile, debianTool } from '../../dist/guests/debian-tools.js';
import { cacheRoot } from '../../dist/guests/index.js';
import { NoVnc } from '../../dist/testing/novnc.js';
import { differingPixels } from '../../dist/testing/png-reader.js';
import { grubDisk } from './display/grub.mjs';
import { startQemu, startVitrine } from './display/machines.mjs';
import { accelerator, expect, guest, withFolder } from './lib.mjs';

/** What `prepare-guests` has made, with the kernel that has drivers of displays; without it they are left out. */
const GUESTS = process.env['VITRINE_GUESTS'];

export const title = "Display: GRUB's and Linux's graphics as under QEMU; noVNC types, points and resizes";

/** QEMU makes eight bits of a VGA's six by a shift, we by their share of the whole: 168 and 170 of 255 for instance. */
const TOLERANCE = 3;
/** Screens are drawn a moment after the guest says so. */
const SETTLE = 60;

/** Looks at both screens until they are the same. */
async function compare(name, folder, { vitrine, qemu, ready }, log) {
  const machines = [await startVitrine(vitrine), await startQemu(qemu, folder)];
  try {
    for (const machine of machines) await machine.until(ready, 240);
    let found = Infinity;
    let size = '';
    for (let i = 0; i < SETTLE && found > 0; i++) {
      const pictures = [];
      for (const [i, machine] of machines.entries()) pictures.push(await machine.shoot(path.join(folder, `${i}.png`)));
      found = differingPixels(...pictures, TOLERANCE);
      size = `${pictures[0].width} × ${pictures[0].height}`;
      if (found > 0) await pause(500);
    }
    expect(found === 0, `${name}: ${found} pixels are not as under QEMU`);
    log(`${name}: ${size}, each pixel as under QEMU`);
  } finally {
    for (const machine of machines) machine.stop();
  }
}

async function grub(terminal, accel, log) {
  await withFolder(async (folder) => {
    const disk = await grubDisk(folder, terminal);
    const drive = `file=${disk},format=raw,if=none,id=d,snapshot=on,file.locking=off`;
    await compare(
      `GRUB's ${terminal}`,
      folder,
      {
        vitrine: [...accelerator(accel), '--bios', 'seabios', '--memory', '128M', '--disk', `${disk},readonly,if=sata`],
        qemu: ['-m', '128M', '-vga', 'std', '-drive', drive, '-device', 'ide-hd,drive=d'],
        ready: /GRUB shows its menu/,
      },
      log,
    );
  });
}

const HIDE_CURSOR = "printf '\\033[?25l\\033[2J\\033[H' >/dev/tty0";

async function linux(driver, vga, qemuVga, accel, log) {
  const place = path.join(GUESTS, 'amd64-generic');
  const [kernel, initrd] = [path.join(place, 'vmlinuz'), path.join(place, 'initrd-full')];
  const work = `${HIDE_CURSOR}; seq 1 30 >/dev/tty0; cat /proc/fb; echo @drawn; sleep 1000`;
  const append = `console=ttyS0 quiet loglevel=0 panic=-1 consoleblank=0 t_run="${work}"`;
  await withFolder((folder) =>
    compare(
      `Linux's console with ${driver}`,
      folder,
      {
        vitrine: [
          ...[...accelerator(accel), '--kernel', kernel, '--initrd', initrd, '--append', append, '--vga', vga],
          ...['--net', 'none'],
        ],
        qemu: ['-m', '512M', '-device', qemuVga, '-kernel', kernel, '-initrd', initrd, '-append', append],
        ready: new RegExp(`${driver}[^]*@drawn`),
      },
      log,
    ),
  );
}

async function novncTools() {
  const options = { cache: cacheRoot() };
  const chromium = await debianTool('chromium', 'chromium', options);
  return { chromium, folder: path.dirname(await debianFile('/usr/share/novnc/vnc.html', 'novnc', options)) };
}

/** A user of noVNC logs in at the screen and ends the machine. */
async function types(accel, { chromium, folder }, log) {
  const { files } = await guest('amd64');
  // Firmware is what sets up the text mode that Linux draws in.
  const boot = ['--bios', 'seabios', '--kernel', files.vmlinuz, '--initrd', files.initrd];
  const append = ['--append', 'console=ttyS0 console=tty0 quiet panic=-1'];
  const machine = await startVitrine([...accelerator(accel), ...boot, ...append, '--no-reboot']);
  const page = await NoVnc.open(chromium, folder, machine.webSocket);
  try {
    const ended = new Promise((resolve) => machine.child.on('exit', resolve));
    // The shell takes what is typed once it is there.
    for (let i = 0; i < 60 && machine.child.exitCode === null; i++) {
      await page.type('poweroff\n');
      await Promise.race([ended, pause(2000)]);
    }
    expect((await Promise.race([ended, pause(10_000, 'runs')])) === 0, 'the guest has not understood poweroff');
    log("noVNC: `poweroff`, typed in the page, ends Linux's shell on the screen");
  } finally {
    page.close();
    machine.stop();
  }
}

/** Types and values of input events, 24 bytes each in hexadecimal. */
function events(output, name) {
  return [...output.matchAll(new RegExp(`^${name}((?: [0-9a-f]{2}){24})`, 'gm'))].map(([, text]) => {
    const bytes = Uint8Array.from(text.trim().split(' '), (byte) => Number.parseInt(byte, 16));
    const view = new DataView(bytes.buffer);
    return [view.getUint16(16, true), view.getUint16(18, true), view.getInt32(20, true)].join();
  });
}

/** Keys, the pointer and the size of the page reach Linux's virtio drivers. */
async function drivers(accel, { chromium, folder }, log) {
  const place = path.join(GUESTS, 'amd64-generic');
  const work = [
    'for d in /sys/class/input/event*',
    'do case $(cat $d/device/name) in *keyboard) n=kbd;; *tablet) n=tab;; *) continue;; esac',
    'grep -q Vitrine $d/device/name || continue',
    // One event at a time: in a pipe of its own, od would keep them.
    'e=/dev/input/${d##*/}',
    '(while :; do echo $n $(dd bs=24 count=1 2>/dev/null | od -An -v -tx1 -w24); done <$e) & done',
    'for m in /sys/class/drm/card0-*/modes; do :; done; echo @listening',
    'while :; do sleep 1; echo mode $(head -n 1 $m); done',
  ].join('; ');
  const append = `console=ttyS0 quiet loglevel=0 panic=-1 t_run="${work}"`;
  const machine = await startVitrine([
    ...[...accelerator(accel), '--vga', 'virtio', '--input', 'virtio', '--net', 'none', '--append', append],
    ...['--kernel', path.join(place, 'vmlinuz'), '--initrd', path.join(place, 'initrd-full')],
  ]);
  let page;
  try {
    await machine.until(/^@listening/m, 240);
    page = await NoVnc.open(chromium, folder, machine.webSocket, '&resize=remote');
    const has = async (name, ...wanted) => {
      for (let i = 0; i < 100; i++) {
        const seen = events(machine.output, name);
        if (wanted.every((one) => seen.includes(one))) return;
        await pause(100);
      }
      throw new Error(`${name} saw ${events(machine.output, name).join(' ')}, not ${wanted.join(' ')}`);
    };
    await page.type('a1\n');
    // EV_KEY: KEY_A, KEY_1, KEY_ENTER, pressed and released.
    await has('kbd', '1,30,1', '1,30,0', '1,2,1', '1,2,0', '1,28,1', '1,28,0');
    await page.click(0.5, 0.25);
    // EV_KEY BTN_LEFT.
    await has('tab', '1,272,1', '1,272,0');
    const at = (code) =>
      Number(
        events(machine.output, 'tab')
          .filter((one) => one.startsWith(`3,${code},`))
          .at(-1)
          ?.split(',')[2],
      );
    const [x, y] = [at(0) / 0x7fff, at(1) / 0x7fff];
    expect(Math.abs(x - 0.5) < 0.01 && Math.abs(y - 0.25) < 0.01, `the tablet points to ${x} and ${y}`);
    log('noVNC: keys and a click come out of /dev/input in the guest, where they were made');
    // Smaller than it was: Linux's console keeps the memory that it began with.
    const { width, height } = await page.windowSize();
    await machine.until(new RegExp(`^mode ${width}x${height}`, 'm'), 30);
    await page.untilSize(width, height);
    log(`noVNC: resize=remote, Linux takes ${width} × ${height} and the page shows that`);
  } finally {
    page?.close();
    machine.stop();
  }
}

export async function run(log, { accel } = {}) {
  for (const terminal of ['gfxterm', 'console']) await grub(terminal, accel, log);
  const tools = await novncTools();
  await types(accel, tools, log);
  if (GUESTS === undefined || !existsSync(path.join(GUESTS, 'amd64-generic'))) {
    log('VITRINE_GUESTS does not name a folder of prepare-guests with amd64-generic: drivers are left out');
    return;
  }
  await linux('bochs-drm', 'std', 'VGA', accel, log);
  await linux('virtio_gpu', 'virtio', 'virtio-vga', accel, log);
  await drivers(accel, tools, log);
}
