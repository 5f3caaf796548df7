/** Real guests from the command line, from power-on to power-off. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { Assembler, byte, R } from '../cpu/x86/assembler/index.js';
import { KERNEL_WORDS } from '../guests/common/kernel-words.js';
import { VitrineProcess } from '../testing/machine-process.js';
import { describeWith, requireGuest } from '../testing/tools.js';

const amd64 = await requireGuest('amd64');
const i386 = await requireGuest('i386');
const seabios = await requireGuest('seabios');

/** Where the shell says that it waits for a command. */
const PROMPT = /^vitrine:~# /m;

describeWith([amd64], 'vitrine run', () => {
  it('boots the default guest to a shell, and ends with 0 when the guest powers off', async () => {
    const vitrine = new VitrineProcess(['run']);
    const booted = await vitrine.until(PROMPT);
    vitrine.type('uname -a; cat /proc/cpuinfo; dmesg | grep "root bus resource .bus"\n');
    await vitrine.until(PROMPT, booted);
    vitrine.type('poweroff\n');
    const { code, output, errors } = await vitrine.ended;
    expect(output).toMatch(/^Linux vitrine 6\.1\S*-cloud-amd64 .* x86_64 GNU\/Linux/m);
    expect(output).toMatch(/^model name\s*: Vitrine x86-64-v2/m);
    expect(output).toMatch(/^flags\s*: .*\bsse4_2\b/m);
    // Of each bus that it is told of it asks for all devices, twice.
    expect(output).toMatch(/root bus resource \[bus 00\]/);
    expect(errors).toMatch(/^accelerator (kvm|wasm): [^\n]+\n$/);
    expect(code).toBe(0);
  });
});

describeWith([i386], 'a 32-bit machine', () => {
  it("boots Debian's 686 kernel from its bzImage on a Pentium 4", async () => {
    const { vmlinuz, initrd } = i386.files;
    const append = ['--append', `console=ttyS0 quiet ${KERNEL_WORDS}`];
    const vitrine = new VitrineProcess([
      ...['run', '--cpu', 'pentium4', '--memory', '256M'],
      ...['--kernel', vmlinuz, '--initrd', initrd, ...append],
    ]);
    const booted = await vitrine.until(PROMPT);
    vitrine.type('uname -m; poweroff\n');
    await vitrine.until(/^i686/m, booted);
    expect((await vitrine.ended).code).toBe(0);
  });
});

/** A boot sector that reads the one behind it by the BIOS and writes that to COM1, up to a NUL; then ends with exit code 2n+1. */
function bootSector(): Uint8Array {
  const a = new Assembler({ bits: 16, origin: 0x7c00 });
  const [next, done] = [a.label(), a.label()];
  a.emit('mov', R.ax, 0x0201);
  a.emit('mov', R.bx, 0x8000);
  a.emit('mov', R.cx, 2);
  a.emit('mov', R.dh, 0);
  a.emit('int', 0x13);
  a.emit('mov', R.si, 0x8000);
  a.bind(next);
  a.emit('mov', R.al, byte([R.si]));
  a.emit('inc', R.si);
  a.emit('test', R.al, R.al);
  a.emit('je', done);
  a.emit('mov', R.dx, 0x3f8);
  a.emit('out', R.dx, R.al);
  a.emit('jmp', next);
  a.bind(done);
  a.emit('mov', R.al, 21);
  a.emit('out', 0xf4, R.al);
  const sectors = new Uint8Array(1 << 20);
  sectors.set(a.finish());
  sectors.set([0x55, 0xaa], 510);
  sectors.set(new TextEncoder().encode('from the second sector'), 512);
  return sectors;
}

describeWith([seabios], 'SeaBIOS', () => {
  const bios = ['--bios', seabios.files['bios-256k.bin']];

  it('boots from a virtio disk', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'vitrine-boot-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const disk = path.join(folder, 'disk');
    await writeFile(disk, bootSector());
    const { code, output } = await new VitrineProcess(['run', ...bios, '--disk', disk, '--debug-exit']).ended;
    expect(output).toContain('Booting from Hard Disk');
    expect(output).toContain('from the second sector');
    expect(code).toBe(43);
  });
});

describeWith([seabios, amd64], 'Linux behind SeaBIOS', () => {
  it('starts at its 16-bit entry, with what the BIOS says of the machine', async () => {
    const { vmlinuz, initrd } = amd64.files;
    const kernel = ['--kernel', vmlinuz, '--initrd', initrd, '--append', 'console=ttyS0'];
    const vitrine = new VitrineProcess(['run', '--bios', seabios.files['bios-256k.bin'], ...kernel]);
    await vitrine.until(/Booting from ROM/);
    await vitrine.until(/BIOS-e820: \[mem 0x0000000000100000-0x000000001fff[0-9a-f]+\] usable/);
    await vitrine.until(/ACPI: RSDP 0x00000000000F/);
    vitrine.kill('SIGTERM');
    expect((await vitrine.ended).code).toBe(143);
  });
});
