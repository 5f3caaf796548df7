// A disk whose GRUB shows its menu, in graphics or in text.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Buffer } from 'node:buffer';
import { debianFile } from '../../../dist/guests/debian-tools.js';
import { cacheRoot } from '../../../dist/guests/index.js';
import { bootTools } from '../../../dist/testing/boot-images.js';
import { expect, runProgram } from '../lib.mjs';

const MODULES =
  'biosdisk memdisk tar normal configfile serial terminal echo test font gfxterm all_video vbe vga video_bochs'.split(
    ' ',
  );
const DISK_SIZE = 4 << 20;

const MENU = `set timeout=-1
set color_normal=light-gray/blue
${['Debian', 'Memory test', 'Vitrine'].map((name) => `menuentry '${name}' { true }`).join('\n')}
`;

/** What is done first; the serial port tells when the menu is about to come. */
const EARLY = `serial
terminal_output serial
echo GRUB shows its menu
set prefix=(memdisk)
normal (memdisk)/grub.cfg
`;

const TERMINALS = {
  gfxterm: 'set gfxmode=1024x768\nloadfont (memdisk)/ascii.pf2\nterminal_output gfxterm\n',
  console: 'terminal_output console\n',
};

/** Makes the disk in a folder; `terminal` is GRUB's name of what it draws with. */
export async function grubDisk(folder, terminal) {
  const options = { cache: cacheRoot() };
  const { grub, bios } = await bootTools(options);
  const at = (name) => path.join(folder, name);
  const font = await debianFile('/usr/share/grub/ascii.pf2', 'grub-common', options);
  writeFileSync(at('ascii.pf2'), readFileSync(font));
  writeFileSync(at('grub.cfg'), TERMINALS[terminal] + MENU);
  writeFileSync(at('early.cfg'), EARLY);
  await runProgram('tar', ['-cf', 'memdisk.tar', 'grub.cfg', 'ascii.pf2'], { cwd: folder });
  const image = ['-O', 'i386-pc', '-d', bios, '-o', 'core.img', '-p', '(memdisk)', '-c', 'early.cfg'];
  const { code, stderr } = await runProgram(grub.path, [...image, '-m', 'memdisk.tar', ...MODULES], {
    cwd: folder,
    env: { ...process.env, ...grub.env },
  });
  expect(code === 0, `grub-mkimage: ${stderr}`);
  const disk = Buffer.alloc(DISK_SIZE);
  // The boot sector, up to where a partition table would be, and GRUB behind it.
  readFileSync(path.join(bios, 'boot.img')).copy(disk, 0, 0, 446);
  disk.writeUInt16LE(0xaa55, 510);
  readFileSync(at('core.img')).copy(disk, 512);
  const file = at(`${terminal}.img`);
  writeFileSync(file, disk);
  return file;
}
