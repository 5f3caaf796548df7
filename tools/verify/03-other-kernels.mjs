import { Buffer } from 'node:buffer';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MachineHandle } from '../../dist/runtime/node/machine-handle.js';
import { accelerator, expect, guest, initrdWithChecks, seconds, vitrine, withFolder } from './lib.mjs';

export const title = 'Other kernels and firmware: GRUB Invaders, Memtest86+, SeaBIOS, Xen';

const MIB = 1024 * 1024;

/** Runs a machine until its screen or its output shows something. */
async function watch(boot, memory, pattern, limit, accel) {
  const before = performance.now();
  let output = '';
  const config = { cpu: 'x86-64-v2', memory, boot, disks: [], debugExit: false, noReboot: true, clock: 'host' };
  const machine = new MachineHandle(
    { kind: 'create', config },
    {
      output: (channel, bytes, done) => {
        if (channel === 'serial') output += Buffer.from(bytes).toString('latin1');
        done();
      },
    },
    { version: '0', ...(accel && { accel }) },
  );
  let ended;
  void machine.exited.then(
    (exit) => (ended = exit.kind),
    (error) => (ended = error.message),
  );
  try {
    for (;;) {
      const rows = ended === undefined ? await machine.screen().catch(() => []) : [];
      const match = pattern.exec(`${rows.join('\n')}\n${output}`);
      if (match) return { match, rows, time: seconds(before) };
      expect(ended === undefined, `it ended (${ended}) without ${String(pattern)}`);
      expect(seconds(before) < limit, `no ${String(pattern)} after ${limit} s:\n${rows.join('\n').trimEnd()}`);
      await sleep(100);
    }
  } finally {
    if (ended === undefined) machine.stop();
    await machine.exited.catch(() => {});
  }
}

const kernelBoot = (file, commandLine = '') => ({
  kernel: { name: file, data: readFileSync(file), commandLine, modules: [] },
});

export async function run(log, { accel } = {}) {
  const invaders = (await guest('grub-invaders')).files['invaders.exec'];
  const drawn = await watch(kernelBoot(invaders), 64 * MIB, /(-\*-[^]*){20}\/ \\/, 30, accel);
  log(`GRUB Invaders by multiboot: its screen after ${drawn.time.toFixed(1)} s`);

  const { files } = await guest('memtest86+');
  for (const file of Object.values(files).filter((name) => /(x64|ia32)[^/]*$/.test(name) && !name.endsWith('.efi'))) {
    const testing = await watch(kernelBoot(file), 64 * MIB, /Test #\d+ +\[([^\]]+)\][^]*Status: Testing/, 90, accel);
    log(`${path.basename(file)}: "${testing.match[1]}" runs after ${testing.time.toFixed(1)} s`);
  }

  const bios = (await guest('seabios')).files['bios-256k.bin'];
  const boot = { bios: { name: bios, image: readFileSync(bios) } };
  const reached = await watch(boot, 128 * MIB, /No bootable device/, 60, accel);
  log(`SeaBIOS: "${reached.match[0]}" after ${reached.time.toFixed(1)} s`);

  await throughFirmware(bios, log, accelerator(accel));
  await withFolder((folder) => xen(folder, log, accelerator(accel)));
}

async function throughFirmware(bios, log, choice) {
  const { files } = await guest('amd64');
  const args = ['run', '--bios', bios, '--kernel', files.vmlinuz, '--initrd', files.initrd];
  args.push('--append', 'console=ttyS0 quiet', '--no-reboot', ...choice);
  const script = [[/vitrine:~# /, 'poweroff\n']];
  const { code, times } = await vitrine(args, { script });
  expect(code === 0, `exit code ${code}`);
  log(`SeaBIOS boots Linux by its 16-bit entry: shell after ${times[0].toFixed(1)} s`);
}

async function xen(folder, log, choice) {
  const { files } = await guest('xen');
  const linux = await guest('amd64-generic');
  const initrd = initrdWithChecks(linux.files.initrd, path.join(folder, 'initrd'));
  const args = ['run', '--kernel', files['xen.gz'], '--append', 'console=com1 com1=115200,8n1 noreboot'];
  args.push('--module', `${linux.files.vmlinuz},console=hvc0 rdinit=/check checks=cpu,mem,fp,fork`);
  args.push('--module', initrd, '--memory', '1G', '--no-reboot', ...choice);
  const script = [
    [/Xen version (\S+)/],
    [/System RAM: \d+MB/],
    [/Dom0 has maximum/],
    [/Linux version/],
    [/^@up/],
    [/^@done/],
  ];
  const { code, stdout, times } = await vitrine(args, { script, limit: 240 });
  const memory = /System RAM: \d+MB[^\r\n]*/.exec(stdout)?.[0];
  log(`${/Xen version \S+/.exec(stdout)?.[0]} by multiboot: banner after ${times[0].toFixed(1)} s, ${memory}`);
  const bad = stdout.match(/^@bad .*$/gm) ?? [];
  expect(bad.length === 0, bad.join('; '));
  expect(code === 0, `exit code ${code}`);
  log(
    `Xen's dom0 (Debian's full kernel): Linux after ${times[3].toFixed(1)} s, userland after ${times[4].toFixed(1)} s`,
  );
}
