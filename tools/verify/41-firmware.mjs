// Boot loaders from every kind of disk, through SeaBIOS and OVMF.
import { copyFileSync, existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import path from 'node:path';
import { Buffer } from 'node:buffer';
import { cacheRoot } from '../../dist/guests/index.js';
import { bootTools, makeBootImages } from '../../dist/testing/boot-images.js';
import { accelerator, expect, guest, vitrine, withFolder } from './lib.mjs';

export const title = 'Firmware: GRUB and ISOLINUX from disks, CDs and a floppy, through SeaBIOS and OVMF';

const PROMPT = /^vitrine:~# /m;

export async function run(log, { accel } = {}) {
  const { files } = await guest('amd64');
  const seabios = (await guest('seabios')).files['bios-256k.bin'];
  const ovmf = (await guest('ovmf')).files;
  const tools = await bootTools({ cache: cacheRoot() });
  await withFolder(async (folder) => {
    const append = 'console=ttyS0 quiet panic=-1 tsc=reliable';
    const { vmlinuz, initrd } = files;
    const images = await makeBootImages(folder, tools, { vmlinuz, initrd, append });
    const variables = path.join(folder, 'vars.fd');
    copyFileSync(ovmf['OVMF_VARS_4M.fd'], variables);
    const bios = ['--bios', seabios];
    const uefi = ['--pflash', `${ovmf['OVMF_CODE_4M.fd']},readonly`, '--pflash', variables];

    const grub = /GRUB starts the kernel/;
    const boots = [
      ...['virtio', 'sata', 'ide'].map((on) => ['SeaBIOS', bios, ['--disk', `${images.disk},if=${on}`], grub]),
      ...['sata', 'ide'].map((on) => ['SeaBIOS', bios, ['--disk', `${images.grubCd},media=cdrom,if=${on}`], grub]),
      ...['sata', 'ide'].map((on) => [
        'SeaBIOS',
        bios,
        ['--disk', `${images.isolinuxCd},media=cdrom,if=${on}`],
        /ISOLINUX/,
      ]),
      ...['virtio', 'sata', 'ide'].map((on) => [
        'OVMF',
        uefi,
        ['--disk', `${images.disk},if=${on}`, '--boot', 'c'],
        grub,
      ]),
      ...['sata', 'ide'].map((on) => [
        'OVMF',
        uefi,
        ['--disk', `${images.grubCd},media=cdrom,if=${on}`, '--boot', 'd'],
        grub,
      ]),
    ];
    for (const [firmware, chips, disk, loader] of boots) {
      const script = [
        [loader, ''],
        [PROMPT, 'poweroff\n'],
      ];
      const { code, times } = await vitrine(['run', ...accelerator(accel), ...chips, ...disk], { script, limit: 240 });
      const name = `${firmware}, ${path.basename(disk[1])}`;
      expect(code === 0, `${name}: it ended with ${code}`);
      log(`${name}: boot loader after ${times[0].toFixed(1)} s, shell after ${times[1].toFixed(1)} s`);
    }
    const greeting = [[/GRUB from a floppy/, (child) => child.kill('SIGTERM')]];
    await vitrine(['run', ...accelerator(accel), ...bios, '--disk', `${images.floppy},if=floppy`], {
      script: greeting,
    });
    log('SeaBIOS, a floppy: GRUB greets');
    if (existsSync('/dev/kvm')) {
      const onKvm = ['run', '--accel', 'kvm', ...bios, '--cdrom', images.grubCd];
      const { times } = await vitrine(onKvm, { script: [[grub, (child) => child.kill('SIGTERM')]], limit: 400 });
      log(`SeaBIOS on KVM, ${path.basename(images.grubCd)}: boot loader after ${times[0].toFixed(1)} s`);
    } else log('skipped on KVM: there is no /dev/kvm');
    const server = createServer((_request, response) => response.end(readFileSync(images.network)));
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const net = `user,bootfile=http://10.0.2.2:${server.address().port}/net.0`;
      const fromNet = [[/GRUB from the network/, (child) => child.kill('SIGTERM')]];
      await vitrine(['run', ...accelerator(accel), ...bios, '--boot', 'n', '--net', net], { script: fromNet });
      log('SeaBIOS, iPXE from the ROM of a network card: GRUB greets');
    } finally {
      server.close();
    }
    const kept = readFileSync(variables).includes(Buffer.from('BootOrder', 'utf16le'));
    expect(kept, 'OVMF has not kept its variables');
  });
}
