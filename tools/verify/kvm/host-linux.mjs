// The Linux that is the host of our guests where a processor is emulated for it: Debian's kernel, busybox, and KVM for both kinds of processors.
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Apt } from '../../../dist/guests/apt.js';
import { unpackPackages } from '../../../dist/guests/debian-tools.js';
import { buildInitramfs, GUEST_MODULES } from '../../../dist/guests/initramfs.js';
import { readModules } from '../../../dist/guests/kernel-modules.js';
import { cacheRoot, publish, withTemporaryFolder } from '../../../dist/host/node/cache.js';

/** Who has a guest's interrupt controllers, and how many CPUs it has: all of them are tried there. */
export const WAYS = [
  ['off', 1],
  ['split', 1],
  ['on', 1],
  ['split', 2],
  ['off', 2],
  ['on', 2],
];
/** Seconds for one such host, which is slow. */
export const LIMIT = 3600;

/** What the host that is emulated needs besides. */
const MODULES = ['kvm_amd', 'kvm_intel', 'overlay', ...GUEST_MODULES];
const META = 'linux-image-amd64';
const SUITE = 'bookworm';

/** Kernel and initramfs, in the cache. */
export async function hostLinux() {
  const cache = cacheRoot();
  const apt = new Apt({ cache, suite: SUITE, architecture: 'amd64' });
  const [meta] = await apt.fetch(META);
  const name = /linux-image-\d[^ ,]*/.exec(meta.depends)?.[0];
  const packages = (await apt.fetch(name, 'busybox-static')).map(({ file }) => file);
  const identity = createHash('sha256').update(JSON.stringify([MODULES, packages.map((file) => path.basename(file))]));
  const place = path.join(cache, 'verify', `kvm-nested-${identity.digest('hex').slice(0, 12)}`);
  if (!existsSync(place))
    await withTemporaryFolder(cache, async (folder) => {
      const [tree, made, scratch] = ['tree', 'made', 'scratch'].map((part) => path.join(folder, part));
      for (const part of [made, scratch]) mkdirSync(part);
      await unpackPackages(packages, tree);
      const image = readdirSync(path.join(tree, 'boot')).find((file) => file.startsWith('vmlinuz-'));
      copyFileSync(path.join(tree, 'boot', image), path.join(made, 'vmlinuz'));
      const release = image.slice('vmlinuz-'.length);
      const modules = await readModules(path.join(tree, 'lib/modules', release), MODULES, scratch, { cache });
      const busybox = readFileSync(path.join(tree, 'bin/busybox'));
      writeFileSync(path.join(made, 'initrd'), buildInitramfs({ busybox, release, modules }));
      mkdirSync(path.dirname(place), { recursive: true });
      await publish(made, place);
    });
  return { kernel: path.join(place, 'vmlinuz'), initrd: path.join(place, 'initrd') };
}

/** The end of its first process: runs a command, and tells its output, and how it ended, from what the kernel says. */
export const runAndSay = (command) => `stty -echo
echo "@up"
# Programs find no terminal.
{ ${command}; echo $? >/code; } 2>&1 | cat
echo "@exit $(cat /code)"
poweroff -f
`;

/** What that command wrote, and its exit code; undefined: the host went down before that. */
export function saidBy(output) {
  const text = output.replaceAll('\r', '');
  const end = /^@exit (\d+)$/m.exec(text);
  return end === null ? undefined : { code: Number(end[1]), output: text.slice(text.indexOf('@up\n') + 4, end.index) };
}
