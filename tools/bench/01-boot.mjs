import { bootAmd64, describeBoot } from './lib.mjs';

export const title = "Debian's amd64 kernel to a shell, 512 MiB";

export async function run(log) {
  for (const kernel of ['vmlinux', 'vmlinux', 'vmlinux', 'vmlinuz'])
    log(`${kernel}: ${describeBoot(await bootAmd64(kernel))}`);
}
