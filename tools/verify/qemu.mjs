import path from 'node:path';
import { cacheRoot } from '../../dist/guests/index.js';
import { debianFile, debianTool } from '../../dist/guests/debian-tools.js';

/** What QEMU reads that other packages hold. */
const FIRMWARE = [
  ['/usr/share/seabios/bios-256k.bin', 'seabios'],
  ['/usr/lib/ipxe/qemu/efi-virtio.rom', 'ipxe-qemu'],
];

/** QEMU for x86, to compare with: its path, the words that everything else comes behind, and its environment. */
export async function qemuSystem() {
  const options = { cache: cacheRoot() };
  const qemu = await debianTool('qemu-system-x86_64', 'qemu-system-x86', options);
  const args = [];
  // An unpacked one does not look where installed packages have their files.
  for (const [file, packageName] of FIRMWARE)
    args.push('-L', path.dirname(await debianFile(file, packageName, options)));
  return { command: qemu.path, args, env: { ...process.env, ...qemu.env } };
}
