// Disks as an installer leaves them: partitions, a Debian, the initrd that its own tools make, GRUB put there by its own
// grub-install for a BIOS and for UEFI; all of that by the guest itself. Then through SeaBIOS and OVMF to the login. No root is needed.
import { copyFileSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { accelerator, expect, guest, vitrine, withFolder } from './lib.mjs';
import { checked, debianProgram, debianTree, SHELL, switchingInitrd } from './disks/debian.mjs';

export const title = 'Debian disks with GRUB, by grub-install: amd64 and i386 through SeaBIOS, amd64 through OVMF';

const MIB = 2 ** 20;
const BIOS_BOOT = '21686148-6449-6E6F-744E-656564454649';
/** MiB: where GRUB's core, the EFI system partition and the root file system begin. */
const AT = { core: 1, efi: 2, root: 34 };

const GRUB_CONFIG = `serial --unit=0 --speed=115200
terminal_input serial
terminal_output serial
echo GRUB starts Debian
search --no-floppy --label debian --set=root
linux /boot/vmlinuz root=LABEL=debian rw console=ttyS0 quiet panic=-1 systemd.show_status=0
initrd /boot/initrd.img
boot
`;

/** What the guest does to itself. */
const INSTALL = `set -e
release=$(ls /lib/modules)
ln -sf vmlinuz-$release /boot/vmlinuz
ln -sf initrd.img-$release /boot/initrd.img
depmod -a $release
mkinitramfs -o /boot/initrd.img-$release $release
grub-install --target=i386-pc /dev/vda
if [ -d /usr/lib/grub/x86_64-efi ]; then
  modprobe vfat || insmod /lib/modules/$release/kernel/fs/fat/fat.ko
  mkdir -p /boot/efi
  mount -t vfat /dev/vda2 /boot/efi
  grub-install --target=x86_64-efi --efi-directory=/boot/efi --removable --no-nvram
  umount /boot/efi
fi
echo "@inst""alled"
`;

const TEXT = {
  'root/install.sh': INSTALL,
  'boot/grub/grub.cfg': GRUB_CONFIG,
  'etc/initramfs-tools/modules': 'virtio_pci\nvirtio_blk\nahci\nata_piix\nsd_mod\next4\nvfat\n',
  'etc/initramfs-tools/conf.d/verify': 'MODULES=list\nCOMPRESS=gzip\n',
};

/** A disk with partitions, and the Debian in the last of them. */
async function makeDisk(folder, architecture, more) {
  const packages = ['initramfs-tools', 'busybox', 'grub2-common', 'grub-pc-bin', ...more];
  const tree = await debianTree({ architecture, more: packages, text: TEXT });
  const image = path.join(folder, `${architecture}.img`);
  const size = Math.ceil(Number(/^\d+/.exec(checked('du', ['-sm', tree]))?.[0]) * 1.2) + 200;
  writeFileSync(image, '');
  truncateSync(image, (AT.root + size + 1) * MIB);
  const sfdisk = await debianProgram('sfdisk', 'fdisk');
  const mformat = await debianProgram('mformat', 'mtools');
  const mke2fs = await debianProgram('mke2fs', 'e2fsprogs');
  const part = (start, length, type) => `start=${start}MiB, size=${length}MiB, type=${type}\n`;
  const table = `label: gpt\n${part(AT.core, 1, BIOS_BOOT)}${part(AT.efi, AT.root - AT.efi, 'U')}${part(AT.root, size, 'L')}`;
  sfdisk(['-q', '--no-reread', '--no-tell-kernel', image], { input: table });
  const [sectors, tracks] = [((AT.root - AT.efi) * MIB) / 512, 64];
  mformat(['-i', `${image}@@${AT.efi * MIB}`, '-T', String(sectors), '-h', String(tracks), '-s', '32', '::']);
  const options = `lazy_itable_init=0,root_owner=0:0,offset=${AT.root * MIB}`;
  mke2fs(['-q', '-F', '-t', 'ext4', '-L', 'debian', '-E', options, '-d', tree, image, `${size}M`]);
  return image;
}

const MARK = 'stty -echo; uname -srm; cat /etc/debian_version; echo "@ma""rk"\n';

export async function run(log, { accel } = {}) {
  const kernel = (await guest('amd64-generic')).files;
  const seabios = (await guest('seabios')).files['bios-256k.bin'];
  const ovmf = (await guest('ovmf')).files;
  await withFolder(async (folder) => {
    const initrd = switchingInitrd(kernel.initrd, path.join(folder, 'initrd'));
    const variables = path.join(folder, 'vars.fd');
    copyFileSync(ovmf['OVMF_VARS_4M.fd'], variables);
    const common = ['run', '--memory', '512M', '--no-reboot', ...accelerator(accel)];
    const install = async (architecture, disk) => {
      const append = 'console=ttyS0 quiet panic=-1 rdinit=/switch disk=/dev/vda3 systemd.show_status=0';
      const args = ['--kernel', kernel.vmlinux, '--initrd', initrd, '--append', append, '--disk', disk];
      const script = [
        [/login: /, 'root\n'],
        [SHELL, MARK],
        [/@mark/, 'sh /root/install.sh; systemctl poweroff\n'],
        [/@installed/, ''],
      ];
      const { code, times } = await vitrine([...common, ...args], { script, limit: 900 });
      expect(code === 0, `${architecture}: it ended with ${code}`);
      log(`${architecture}: mkinitramfs and grub-install took ${(times[3] - times[2]).toFixed(0)} s in the guest`);
    };
    const boot = async (name, args) => {
      const script = [
        [/GRUB starts Debian/, ''],
        [/login: /, 'root\n'],
        [SHELL, MARK],
        [/@mark/, 'date >/root/was-here; systemctl poweroff\n'],
      ];
      const { code, stdout, times } = await vitrine([...common, ...args], { script, limit: 600 });
      expect(code === 0, `${name}: it ended with ${code}`);
      const system = /^Linux \S+ \S+/m.exec(stdout)?.[0];
      log(`${name}: GRUB after ${times[0].toFixed(1)} s, login after ${times[1].toFixed(1)} s, ${system}`);
    };
    const bios = ['--bios', seabios];
    const uefi = ['--pflash', `${ovmf['OVMF_CODE_4M.fd']},readonly`, '--pflash', variables, '--boot', 'c'];

    const amd64 = await makeDisk(folder, 'amd64', ['linux-image-amd64', 'grub-efi-amd64-bin']);
    await install('amd64', amd64);
    for (const bus of ['virtio', 'sata', 'ide'])
      await boot(`SeaBIOS, ${bus}`, [...bios, '--disk', `${amd64},if=${bus}`]);
    for (const bus of ['virtio', 'sata']) await boot(`OVMF, ${bus}`, [...uefi, '--disk', `${amd64},if=${bus}`]);
    expect(readFileSync(variables).includes('BootOrder'.split('').join('\0')), 'OVMF has not kept its variables');
    rmSync(amd64);
    const i386 = await makeDisk(folder, 'i386', ['linux-image-686']);
    await install('i386', i386);
    for (const bus of ['virtio', 'ide'])
      await boot(`i386, SeaBIOS, ${bus}`, [...bios, '--cpu', 'pentium4', '--disk', `${i386},if=${bus}`]);
  });
}
