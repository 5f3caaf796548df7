// Debian's systemd from every kind of disk, to a login and back to a power-off that leaves a clean file system.
//
//   DEBIAN_IMAGE=FILE node tools/verify.mjs 42     with an ext4 image of your own, whose root has no password or a shell at once
import { copyFileSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { accelerator, expect, guest, vitrine, withFolder } from './lib.mjs';
import { debianProgram, debianTree, ext4Image, SHELL, switchingInitrd } from './disks/debian.mjs';

export const title = 'A Debian with systemd: from virtio, AHCI, IDE and a qcow2 overlay to its login and off';

/** Commands are cut in two, so that what is typed is not taken for what is printed. */
const SCRIPT = [
  [new RegExp(`login: |${SHELL.source}`), (child) => child.stdin.write('root\n')],
  [SHELL, 'stty -echo; uname -r; cat /proc/mounts | grep " / "; echo "@ma""rk"\n'],
  [/@mark/, 'dd if=/dev/urandom of=/root/file bs=1M count=16 conv=fsync; md5sum /root/file; echo "@wri""tten"\n'],
  [
    /@written/,
    'cat /proc/uptime; sync; systemctl poweroff || { mount -o remount,ro /; echo o >/proc/sysrq-trigger; }\n',
  ],
];

export async function run(log, { accel } = {}) {
  const { files } = await guest('amd64-generic');
  const img = await debianProgram('qemu-img', 'qemu-utils');
  const e2fsck = await debianProgram('e2fsck', 'e2fsprogs');
  await withFolder(async (folder) => {
    const at = (name) => path.join(folder, name);
    const initrd = switchingInitrd(files.initrd, at('initrd'));
    const base = at('base.ext4');
    const given = process.env.DEBIAN_IMAGE;
    if (given) copyFileSync(given, base);
    else await ext4Image(await debianTree(), base);
    const append = 'console=ttyS0 quiet panic=-1 rdinit=/switch systemd.show_status=0';
    for (const [name, bus, overlay] of [
      ['virtio, raw', 'virtio', false],
      ['AHCI, raw', 'sata', false],
      ['IDE, raw', 'ide', false],
      ['virtio, qcow2 on raw', 'virtio', true],
    ]) {
      const disk = at('disk');
      if (overlay) img(['create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', base, disk]);
      else copyFileSync(base, disk);
      const before = readFileSync(base).subarray(0, 1 << 24);
      const args = ['run', '--kernel', files.vmlinux, '--initrd', initrd, '--append', append, '--memory', '512M'];
      const options = ['--disk', `${disk},if=${bus}`, '--no-reboot', ...accelerator(accel)];
      const { code, stdout, times, seconds } = await vitrine([...args, ...options], { script: SCRIPT, limit: 300 });
      expect(code === 0, `${name}: it ended with ${code}`);
      const trouble = /^.*(BUG:|Oops|Call Trace|soft lockup|I\/O error|EXT4-fs error).*$/m.exec(stdout)?.[0];
      expect(trouble === undefined, `${name}: ${trouble}`);
      const raw = overlay ? at('flat') : disk;
      if (overlay) {
        img(['check', '-q', disk]);
        img(['convert', '-O', 'raw', disk, raw]);
        expect(
          readFileSync(base)
            .subarray(0, 1 << 24)
            .equals(before),
          'the backing file has changed',
        );
      }
      e2fsck(['-f', '-n', raw]);
      const sum = /^([0-9a-f]{32}) {2}\/root\/file/m.exec(stdout)?.[1];
      expect(sum !== undefined, `${name}: nothing was written`);
      log(`${name}: login after ${times[0].toFixed(1)} s, off after ${seconds.toFixed(1)} s, file system clean`);
    }
  });
}
