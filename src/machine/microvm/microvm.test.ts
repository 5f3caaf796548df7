/** Debian's kernel on the microvm board: every device, saves, resumes and a reset. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { VitrineProcess } from '../../testing/machine-process.js';
import { describeWith, requireGuest } from '../../testing/tools.js';

const amd64 = await requireGuest('amd64');

const PROMPT = /^vitrine:~# /m;
const MIB = 1 << 20;

async function folder(): Promise<string> {
  const made = await mkdtemp(path.join(tmpdir(), 'vitrine-microvm-'));
  onTestFinished(() => rm(made, { recursive: true }));
  return made;
}

/** Types a command and waits for the prompt behind it; returns what it printed. */
async function say(vitrine: VitrineProcess, command: string): Promise<string> {
  const from = vitrine.output.length;
  vitrine.type(`${command}; echo do""ne\n`);
  const end = await vitrine.until(/^done\r?\n/m, from);
  await vitrine.until(PROMPT, end);
  return vitrine.output.slice(from, end).replaceAll('\r', '');
}

describeWith([amd64], 'Linux on a microvm', () => {
  it('starts from its bzImage, has all devices, goes on with interp after wasm and the other way round, and resets', async () => {
    const place = await folder();
    const [disk, file, later] = ['disk', 'snap', 'later'].map((name) => path.join(place, name));
    await writeFile(disk, new Uint8Array(MIB));
    await writeFile(path.join(place, 'file'), 'of the host\n');
    const { vmlinuz, initrd } = amd64.files;
    const append = 'console=ttyS0 loglevel=6 tsc=reliable cryptomgr.notests';
    const vitrine = new VitrineProcess([
      ...['run', '--machine', 'microvm', '--accel', 'wasm', '--save-on-exit', file],
      ...['--kernel', vmlinuz, '--initrd', initrd, '--append', append],
      ...['--disk', disk, '--share', place, '--balloon', '--net', 'user', '--vga', 'virtio'],
    ]);
    await vitrine.until(PROMPT);
    expect(await say(vitrine, 'cat /sys/bus/virtio/devices/*/device')).toMatch(
      /0x0003\n0x0004\n0x0002\n0x001a\n0x0005\n0x0001\n0x0010\n0x0012\n0x0012\n/,
    );
    expect(await say(vitrine, 'ls /sys/bus/pci/devices | wc -l')).toMatch(/^0$/m);
    expect(await say(vitrine, 'head -c 16 /dev/hwrng | wc -c')).toMatch(/^16$/m);
    await say(vitrine, 'mkdir /s; mount -t virtiofs share /s; echo of the guest >/s/new');
    expect(await say(vitrine, 'cat /s/file')).toMatch(/^of the host$/m);
    await say(vitrine, 'echo on the disk | dd of=/dev/vda conv=fsync bs=512 seek=1');
    expect(await say(vitrine, 'ping -c 1 10.0.2.2')).toContain('1 packets received');
    await say(vitrine, 'x=kept; echo here >/dev/hvc0');
    vitrine.kill('SIGTERM');
    await vitrine.ended;
    expect(await readFile(path.join(place, 'new'), 'utf8')).toBe('of the guest\n');
    expect((await readFile(disk)).subarray(512, 523).toString()).toBe('on the disk');

    // What was saved goes on with another accelerator, and the guest with what it was at.
    const ON = /^kept\r?\n16\r?$/m;
    const interp = new VitrineProcess(['resume', file, '--accel', 'interp', '--save-on-exit', later]);
    interp.type('echo $x; head -c 16 /dev/hwrng | wc -c\n');
    await interp.until(ON);
    interp.kill('SIGTERM');
    await interp.ended;
    const wasm = new VitrineProcess(['resume', later, '--accel', 'wasm']);
    wasm.type('echo $x; head -c 16 /dev/hwrng | wc -c; reboot -f\n');
    await wasm.until(/Linux version 6\.1/, await wasm.until(ON));
    wasm.kill('SIGTERM');
    expect((await wasm.ended).code).toBe(143);
  });
});
