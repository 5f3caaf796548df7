// Cards that come and go under Debian's kernels, many times, amid transfers, through resets; and ticks that a stopped process missed.
import { createHash, randomBytes } from 'node:crypto';
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import process from 'node:process';
import { qmpClient } from '../../dist/testing/qmp-client.js';
import { accelerator, cli, expect, guest, vitrine, withFolder } from './lib.mjs';

const ROUNDS = 20;

export const title = `Cards that come and go ${ROUNDS} times under four kernels, amid transfers, and through resets; a process that is stopped loses no ticks`;

const PROMPT = 'vitrine:~# ';
const LIMIT = 240_000;

/** A machine with a shell and a monitor. */
class Machine {
  text = '';
  #at = 0;

  constructor(args) {
    this.child = spawn(process.execPath, [cli, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.child.stdout.setEncoding('latin1').on('data', (text) => (this.text += text));
    this.ended = new Promise((resolve) => this.child.on('close', resolve));
  }

  async until(pattern, from = this.#at) {
    const end = performance.now() + LIMIT;
    for (;;) {
      const found = this.text.slice(from).match(pattern);
      if (found) return from + found.index + found[0].length;
      expect(this.child.exitCode === null && performance.now() < end, `no ${pattern} in: ${this.text.slice(-1500)}`);
      await delay(20);
    }
  }

  async prompt() {
    this.#at = await this.until(/^vitrine:~# /m);
    await this.shell('stty columns 400');
  }

  async shell(command) {
    this.child.stdin.write(`${command}\n`);
    const before = await this.until(/\n/);
    this.#at = await this.until(/^vitrine:~# /m, before);
    return this.text.slice(before, this.#at).replaceAll('\r', '').replace(PROMPT, '').trim();
  }

  async ask(name, given) {
    const answer = await this.qmp.ask(name, given);
    expect('return' in answer, `${name}: ${JSON.stringify(answer)}`);
    return answer.return;
  }

  /** Unplugs a card and waits until it has gone. */
  async unplug(id) {
    const before = this.qmp.events.length;
    const end = performance.now() + 30_000;
    await this.ask('device_del', { id });
    const gone = ({ event, data }) => event === 'DEVICE_DELETED' && data.device === id;
    while (!this.qmp.events.slice(before).some(gone)) {
      expect(performance.now() < end, `${id} does not go`);
      await delay(20);
    }
  }
}

/** Only 64-bit kernels can be entered without their unpacking themselves. */
const kernelOf = (name, { vmlinux, vmlinuz }) => (name === 'i386' ? vmlinuz : vmlinux);

async function boot(name, folder, args, socket = 'qmp') {
  const { files } = await guest(name);
  const kernel = ['--kernel', kernelOf(name, files), '--initrd', files.initrd, '--append', 'console=ttyS0 quiet'];
  const at = path.join(folder, socket);
  const machine = new Machine(['run', ...kernel, '--memory', '256M', '--net', 'none', '--qmp', `unix:${at}`, ...args]);
  machine.qmp = await qmpClient(at);
  await machine.ask('qmp_capabilities');
  await machine.prompt();
  return machine;
}

const APPEARS = (what) => `until [ -e ${what} ]; do sleep 0.05; done`;

/** The same disk and card, over and over; each time the disk has what was written the time before. */
async function rounds(log, name, folder, args, model) {
  const machine = await boot(name, folder, args);
  await machine.shell(`modprobe -a virtio_blk virtio_net ${model}; true`);
  const image = path.join(folder, `${name}.img`);
  let content = randomBytes(1 << 20);
  writeFileSync(image, content);
  const started = performance.now();
  for (let round = 0; round < ROUNDS; round++) {
    await machine.ask('blockdev-add', { driver: 'file', 'node-name': 'd', filename: image });
    await machine.ask('device_add', {
      driver: 'virtio-blk-pci',
      id: 'disk',
      drive: 'd',
      'num-queues': 1 + (round % 4),
    });
    const sum = await machine.shell(`${APPEARS('/dev/vda')}; md5sum </dev/vda`);
    expect(
      sum.startsWith(createHash('md5').update(content).digest('hex')),
      `${name}: round ${round} reads something else`,
    );
    await machine.shell('dd if=/dev/urandom of=/dev/vda bs=64k count=16 conv=fsync 2>/dev/null');
    await machine.ask('netdev_add', { type: 'user', id: 'n' });
    await machine.ask('device_add', { driver: round % 2 ? 'virtio-net-pci' : model, id: 'nic', netdev: 'n' });
    await machine.shell(
      `${APPEARS('/sys/class/net/eth0')}; ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; sleep 0.3`,
    );
    const ping = await machine.shell('ping -c 3 -W 5 10.0.2.2');
    expect(/[123] packets received/.test(ping), `${name}: round ${round}: ${ping}`);
    await machine.unplug('disk');
    await machine.unplug('nic');
    await machine.ask('blockdev-del', { 'node-name': 'd' });
    await machine.ask('netdev_del', { id: 'n' });
    content = readFileSync(image);
  }
  const each = (performance.now() - started) / ROUNDS / 1000;
  log(`${name}: ${ROUNDS} rounds with virtio-blk-pci, virtio-net-pci, ${model}; ${each.toFixed(1)} s each`);

  // While the disk is read and written as fast as it goes.
  await machine.ask('blockdev-add', { driver: 'file', 'node-name': 'd', filename: image });
  await machine.ask('device_add', { driver: 'virtio-blk-pci', id: 'disk', drive: 'd' });
  await machine.shell(
    `${APPEARS('/dev/vda')}; (while dd if=/dev/vda of=/dev/vda bs=64k conv=notrunc; do :; done >/dev/null 2>&1 &)`,
  );
  await delay(1000);
  await machine.unplug('disk');
  // A guest whose kernel takes the card out by itself, nobody having asked.
  await machine.ask('device_add', { driver: 'virtio-rng-pci', id: 'rng' });
  const slot = await machine.shell(
    `${APPEARS('/sys/bus/pci/devices/0000:00:11.0')}; echo 0 >/sys/bus/pci/slots/17/power; ls /sys/bus/pci/devices`,
  );
  expect(!slot.includes('0000:00:11.0'), `${name}: the card stays`);
  expect(
    machine.qmp.events.some(({ data }) => data?.device === 'rng'),
    `${name}: nobody was told`,
  );

  // A reset keeps what is plugged, and takes out what was to go.
  await machine.ask('device_add', { driver: 'virtio-blk-pci', id: 'disk', drive: 'd', addr: '0x16' });
  await machine.ask('device_add', { driver: 'virtio-rng-pci', id: 'rng' });
  await machine.ask('stop');
  await machine.ask('device_del', { id: 'rng' });
  await machine.ask('system_reset');
  await machine.ask('cont');
  await machine.until(/Vitrine guest/);
  await machine.prompt();
  const after = await machine.shell('ls /sys/bus/pci/devices; ls /dev/vda');
  expect(/00:16\.0/.test(after) && /\/dev\/vda/.test(after), `${name}: the disk has gone with the reset: ${after}`);
  expect(!/00:11\.0/.test(after), `${name}: what was to go is there`);
  machine.qmp.close();
  machine.child.stdin.write('poweroff\n');
  expect((await machine.ended) === 0, `${name}: it did not power off`);
  log(`${name}: amid transfers, by the guest's own will, through a reset`);
}

/** A boot in which the process is stopped for 150 ms out of 250. */
async function stopped(log, name, args) {
  const { files } = await guest(name);
  const words = 'console=ttyS0 apic=verbose clocksource=tsc lpj=1000000 panic=-1';
  let going = true;
  const jolt = async (child) => {
    while (going && child.exitCode === null) {
      child.kill('SIGSTOP');
      await delay(150);
      child.kill('SIGCONT');
      await delay(100);
    }
  };
  const script = [
    [/Linux version/, (child) => void jolt(child)],
    [
      /^vitrine:~# /,
      (child) => {
        going = false;
        child.kill('SIGCONT');
        child.stdin.write('poweroff\n');
      },
    ],
  ];
  const boots = ['--kernel', kernelOf(name, files), '--initrd', files.initrd, '--append', words];
  const { stdout } = await vitrine(['run', ...boots, '--net', 'none', ...args], { script, limit: 240 });
  expect(!/timer not connected|IO-APIC \+ timer doesn't work/.test(stdout), `${name}: ticks were lost`);
  log(`${name}: boots in a process that is stopped most of the time; its timer is connected`);
}

export async function run(log, { accel } = {}) {
  const args = accelerator(accel);
  await withFolder(async (folder) => {
    await rounds(log, 'amd64', folder, args, 'virtio-net-pci');
    await rounds(log, 'amd64-generic', folder, args, 'e1000');
    await rounds(log, 'amd64-trixie', folder, args, 'virtio-net-pci');
    await rounds(log, 'i386', folder, args, 'virtio-net-pci');
    await stopped(log, 'i386', [...args, '--cpu', 'pentium4']);
    await stopped(log, 'amd64', args);
  });
}
