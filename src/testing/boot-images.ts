/**
 * Disks, CDs and a floppy that boot, made with Debian's tools as a distribution makes them: GRUB in the gap behind the partition
 * table and as an EFI program, ISOLINUX. All of them start the same kernel on the first serial port.
 */
import { copyFile, mkdir, open, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { runChecked } from '../guests/command.js';
import { debianFile, debianTool, type Tool, type ToolOptions } from '../guests/debian-tools.js';

const MIB = 1024 * 1024;
const SECTOR = 512;
const PARTITION = MIB;
/** What GRUB needs to find and start a kernel. */
const MODULES =
  'part_msdos fat iso9660 search search_fs_file configfile linux normal serial terminal echo halt test'.split(' ');

export interface BootTools {
  readonly grub: Tool;
  readonly bios: string;
  readonly efi: string;
  readonly xorriso: Tool;
  readonly mtools: Readonly<Record<'mformat' | 'mmd' | 'mcopy', Tool>>;
  readonly isolinux: string;
  readonly ldlinux: string;
}

/** Finds the tools, or unpacks their packages. Throws a one-line error when they cannot be had. */
export async function bootTools(options: ToolOptions): Promise<BootTools> {
  const mtool = (name: string): Promise<Tool> => debianTool(name, 'mtools', options);
  return {
    grub: await debianTool('grub-mkimage', 'grub-common', options),
    bios: path.dirname(await debianFile('/usr/lib/grub/i386-pc/boot.img', 'grub-pc-bin', options)),
    efi: path.dirname(await debianFile('/usr/lib/grub/x86_64-efi/linux.mod', 'grub-efi-amd64-bin', options)),
    xorriso: await debianTool('xorriso', 'xorriso', options),
    mtools: { mformat: await mtool('mformat'), mmd: await mtool('mmd'), mcopy: await mtool('mcopy') },
    isolinux: await debianFile('/usr/lib/ISOLINUX/isolinux.bin', 'isolinux', options),
    ldlinux: await debianFile('/usr/lib/syslinux/modules/bios/ldlinux.c32', 'syslinux-common', options),
  };
}

export interface BootImages {
  /** A disk with an MBR and a FAT partition: GRUB for a BIOS and for UEFI. */
  readonly disk: string;
  /** A CD with GRUB for a BIOS and for UEFI. */
  readonly grubCd: string;
  readonly isolinuxCd: string;
  /** A CD with a GRUB for a BIOS that can do no more than show a file of it, and is soon unpacked. */
  readonly greetingCd: string;
  /** A floppy with GRUB that greets and halts. */
  readonly floppy: string;
  /** What GRUB calls a network boot program: greets and halts. */
  readonly network: string;
}

const SERIAL = 'serial --unit=0 --speed=115200\nterminal_output serial\n';
const FIND = 'search --no-floppy --file --set=root /boot/vmlinuz\n';

const grubConfig = (append: string): string =>
  `${SERIAL}echo GRUB starts the kernel\nlinux /boot/vmlinuz ${append}\ninitrd /boot/initrd\necho GRUB has read what it starts\nboot\n`;

/** Makes the images in a folder. `append` is the kernel's command line. */
export async function makeBootImages(
  folder: string,
  tools: BootTools,
  kernel: { readonly vmlinuz: string; readonly initrd: string; readonly append: string },
): Promise<BootImages> {
  const at = (name: string): string => path.join(folder, name);
  const run = ({ path: program, env }: Tool, ...args: readonly string[]): Promise<unknown> =>
    runChecked(`cannot run ${path.basename(program)}`, program, args, { env });
  const config = grubConfig(kernel.append);
  await writeFile(at('find.cfg'), `${FIND}configfile ($root)/boot/grub/grub.cfg\n`);
  await writeFile(at('grub.cfg'), config);
  const core = (
    format: string,
    from: string,
    output: string,
    early: string,
    ...modules: readonly string[]
  ): Promise<unknown> =>
    run(tools.grub, ...['-O', format, '-d', from, '-o', at(output), '-p', '/boot/grub', '-c', at(early)], ...modules);
  const grub = (format: string, from: string, output: string, early: string, ...modules: readonly string[]) =>
    core(format, from, output, early, ...MODULES, ...modules);
  await grub('i386-pc', tools.bios, 'core.img', 'find.cfg', 'biosdisk');
  await grub('i386-pc-eltorito', tools.bios, 'eltorito.img', 'find.cfg', 'biosdisk');
  await grub('x86_64-efi', tools.efi, 'bootx64.efi', 'find.cfg');

  const { mformat, mmd, mcopy } = tools.mtools;
  const disk = at('disk.img');
  await makeDisk(disk, path.join(tools.bios, 'boot.img'), at('core.img'));
  const partition = `${disk}@@${PARTITION}`;
  await run(mformat, '-i', partition, '-F', '::');
  await run(mmd, '-i', partition, '::/boot', '::/boot/grub', '::/EFI', '::/EFI/BOOT');
  for (const [from, to] of [
    [kernel.vmlinuz, '::/boot/vmlinuz'],
    [kernel.initrd, '::/boot/initrd'],
    [at('grub.cfg'), '::/boot/grub/grub.cfg'],
    [at('bootx64.efi'), '::/EFI/BOOT/BOOTX64.EFI'],
  ] as const)
    await run(mcopy, '-i', partition, from, to);

  const cd = at('cd');
  await mkdir(path.join(cd, 'boot/grub'), { recursive: true });
  await mkdir(path.join(cd, 'isolinux'));
  await copyFile(kernel.vmlinuz, path.join(cd, 'boot/vmlinuz'));
  await copyFile(kernel.initrd, path.join(cd, 'boot/initrd'));
  await copyFile(at('grub.cfg'), path.join(cd, 'boot/grub/grub.cfg'));
  await copyFile(at('eltorito.img'), path.join(cd, 'boot/grub/eltorito.img'));
  const esp = path.join(cd, 'boot/grub/efi.img');
  await writeFile(esp, '');
  await truncate(esp, 4 * MIB);
  await run(mformat, '-i', esp, '::');
  await run(mmd, '-i', esp, '::/EFI', '::/EFI/BOOT');
  await run(mcopy, '-i', esp, at('bootx64.efi'), '::/EFI/BOOT/BOOTX64.EFI');
  await copyFile(tools.isolinux, path.join(cd, 'isolinux/isolinux.bin'));
  await copyFile(tools.ldlinux, path.join(cd, 'isolinux/ldlinux.c32'));
  await writeFile(
    path.join(cd, 'isolinux/isolinux.cfg'),
    `serial 0 115200\ndefault linux\nlabel linux\n kernel /boot/vmlinuz\n initrd /boot/initrd\n append ${kernel.append}\n`,
  );
  const noEmulation = ['-no-emul-boot', '-boot-load-size', '4', '-boot-info-table'];
  const efi = ['-eltorito-alt-boot', '-e', 'boot/grub/efi.img', '-no-emul-boot'];
  const iso = (from: string, output: string, ...boot: readonly string[]): Promise<unknown> =>
    run(tools.xorriso, '-as', 'mkisofs', '-quiet', '-R', '-o', at(output), ...boot, from);
  await iso(cd, 'grub.iso', '-b', 'boot/grub/eltorito.img', ...noEmulation, '--grub2-boot-info', ...efi);
  await iso(cd, 'isolinux.iso', '-b', 'isolinux/isolinux.bin', '-c', 'isolinux/boot.cat', ...noEmulation);

  const small = at('small-cd');
  await mkdir(small);
  await writeFile(at('cat.cfg'), `${SERIAL}cat /greeting\n`);
  await writeFile(path.join(small, 'greeting'), 'GRUB reads its CD\n');
  const least = ['biosdisk', 'iso9660', 'serial', 'terminal', 'cat'];
  await core('i386-pc-eltorito', tools.bios, 'small-cd/eltorito.img', 'cat.cfg', ...least);
  await iso(small, 'greeting.iso', '-b', 'eltorito.img', ...noEmulation, '--grub2-boot-info');

  await writeFile(at('greet.cfg'), `${SERIAL}echo GRUB from a floppy\nhalt\n`);
  await grub('i386-pc', tools.bios, 'greet.img', 'greet.cfg', 'biosdisk');
  const floppy = at('floppy.img');
  await writeFile(floppy, '');
  await truncate(floppy, 1440 * 1024);
  await embed(floppy, path.join(tools.bios, 'boot.img'), at('greet.img'), SECTOR);
  await writeFile(at('net.cfg'), `${SERIAL}echo GRUB from the network\nhalt\n`);
  await grub('i386-pc-pxe', tools.bios, 'net.0', 'net.cfg', 'pxe');
  return {
    disk,
    network: at('net.0'),
    grubCd: at('grub.iso'),
    isolinuxCd: at('isolinux.iso'),
    greetingCd: at('greeting.iso'),
    floppy,
  };
}

async function makeDisk(file: string, boot: string, core: string): Promise<void> {
  const size = 64 * MIB;
  await writeFile(file, '');
  await truncate(file, size);
  if ((await stat(core)).size > PARTITION - SECTOR) throw new Error('GRUB does not fit before the first partition');
  // The last bytes of the first sector are the partition table.
  await embed(file, boot, core, 446);
  const table = Buffer.alloc(66);
  // Active, FAT32 with LBA, from 1 MiB to the end.
  table.set([0x80, 0xfe, 0xff, 0xff, 0x0c, 0xfe, 0xff, 0xff]);
  table.writeUInt32LE(PARTITION / SECTOR, 8);
  table.writeUInt32LE((size - PARTITION) / SECTOR, 12);
  table.set([0x55, 0xaa], 64);
  const handle = await open(file, 'r+');
  await handle.write(table, 0, table.length, 446);
  await handle.close();
}

/** GRUB's boot sector, `length` bytes of it, and its core behind it: where it looks for it (grub-bios-setup does as much). */
async function embed(file: string, boot: string, core: string, length: number): Promise<void> {
  const handle = await open(file, 'r+');
  await handle.write((await readFile(boot)).subarray(0, length), 0, length, 0);
  const image = await readFile(core);
  await handle.write(image, 0, image.length, SECTOR);
  await handle.close();
}
