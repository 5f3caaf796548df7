/** Disks, CDs and a floppy with boot loaders, through SeaBIOS and OVMF. */
import { copyFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { KERNEL_WORDS } from '../guests/common/kernel-words.js';
import { cacheRoot } from '../host/node/cache.js';
import { bootTools, makeBootImages, type BootImages } from '../testing/boot-images.js';
import { VitrineProcess } from '../testing/machine-process.js';
import { qmpClient } from '../testing/qmp-client.js';
import { describeWith, requireGuest, requireKvm, type Requirement } from '../testing/tools.js';

const amd64 = await requireGuest('amd64');
const seabios = await requireGuest('seabios');
const ovmf = await requireGuest('ovmf');
const kvm = await requireKvm();
const folder = await mkdtemp(path.join(tmpdir(), 'vitrine-boot-'));
afterAll(() => rm(folder, { recursive: true, force: true }));

/** The images, or why there are none. */
async function prepare(): Promise<{ readonly requirement: Requirement; readonly images?: BootImages }> {
  const name = 'boot images';
  try {
    const tools = await bootTools({ cache: cacheRoot() });
    const { vmlinuz, initrd } = amd64.files;
    const append = `console=ttyS0 loglevel=6 ${KERNEL_WORDS}`;
    return {
      requirement: { name, missing: undefined },
      images: await makeBootImages(folder, tools, { vmlinuz, initrd, append }),
    };
  } catch (error) {
    const missing = `${name} cannot be made: ${error instanceof Error ? error.message : String(error)}`;
    return { requirement: { name, missing } };
  }
}

const { requirement, images } =
  amd64.missing === undefined ? await prepare() : { requirement: amd64, images: undefined };
const PROMPT = /^vitrine:~# /m;
/** The first line of a kernel that has been loaded. */
const LINUX = /Linux version 6\.1/;
/** The kernel, which takes as long to unpack itself as for the rest of its boot, and its initrd have been read. */
const READ = /GRUB has read what it starts/;

/** Boots to our guest's shell and powers off. */
async function toShell(args: readonly string[], loader: RegExp): Promise<void> {
  const vitrine = new VitrineProcess(['run', ...args]);
  const loaded = await vitrine.until(loader);
  await vitrine.until(PROMPT, loaded);
  vitrine.type('poweroff\n');
  expect((await vitrine.ended).code).toBe(0);
}

describeWith([requirement, seabios], 'SeaBIOS', () => {
  const bios = (): string[] => ['--bios', seabios.files['bios-256k.bin']];
  it('boots GRUB from an AHCI disk', async () => {
    await toShell([...bios(), '--disk', `${images?.disk ?? ''},if=sata`], /GRUB starts the kernel/);
  });
  it('boots GRUB from an IDE disk', async () => {
    const vitrine = new VitrineProcess(['run', ...bios(), '--disk', `${images?.disk ?? ''},if=ide`]);
    await vitrine.until(READ, await vitrine.until(/GRUB starts the kernel/));
    vitrine.kill('SIGKILL');
  });
  it('boots ISOLINUX from a CD before a disk, once', async () => {
    const { disk = '', isolinuxCd = '' } = images ?? {};
    const socket = `${folder}/qmp`;
    const drives = ['--disk', disk, '--cdrom', isolinuxCd, '--boot', 'order=c,once=d'];
    const vitrine = new VitrineProcess(['run', ...bios(), ...drives, '--qmp', `unix:${socket}`]);
    const first = await vitrine.until(LINUX, await vitrine.until(/ISOLINUX/));
    const qmp = await qmpClient(socket);
    await qmp.ask('qmp_capabilities');
    await qmp.ask('system_reset');
    await vitrine.until(/GRUB starts the kernel/, first);
    vitrine.kill('SIGKILL');
  });
  it('boots GRUB from a floppy', async () => {
    const vitrine = new VitrineProcess(['run', ...bios(), '--disk', `${images?.floppy ?? ''},if=floppy`]);
    await vitrine.until(/GRUB from a floppy/);
    vitrine.kill('SIGKILL');
  });
});

describeWith([requirement, ovmf], 'OVMF', () => {
  it('boots GRUB from a disk, with its variables in flash', async () => {
    const { 'OVMF_CODE_4M.fd': code, 'OVMF_VARS_4M.fd': variables } = ovmf.files;
    const chips = ['--pflash', `${code},readonly`, '--pflash', `${folder}/vars.fd`];
    await copyFile(variables, `${folder}/vars.fd`);
    await toShell([...chips, '--disk', `${images?.disk ?? ''},if=sata`], /GRUB starts the kernel/);
    // What it wants to boot from stands there now, in UTF-16.
    const written = await readFile(`${folder}/vars.fd`);
    expect(written.includes(Buffer.from('BootOrder', 'utf16le'))).toBe(true);
  });
});

describeWith([requirement, seabios, kvm], 'SeaBIOS on KVM', () => {
  const run = (...args: readonly string[]): VitrineProcess =>
    new VitrineProcess(['run', '--accel', 'kvm', '--bios', seabios.files['bios-256k.bin'], ...args]);

  it('offers its boot menu, and looks for something to boot', async () => {
    const vitrine = run('--boot', 'menu=on');
    await vitrine.until(/No bootable device/, await vitrine.until(/Press ESC for boot menu/));
    vitrine.kill('SIGTERM');
    await vitrine.ended;
  });

  // Where KVM emulates it instruction by instruction, it takes its time to unpack itself.
  it('boots GRUB from a CD', { timeout: 400_000 }, async () => {
    const vitrine = run('--cdrom', images?.greetingCd ?? '');
    await vitrine.until(/GRUB reads its CD/);
    vitrine.kill('SIGTERM');
    await vitrine.ended;
  });
});
