// A Debian with systemd, made of packages: unpacked, with what their scripts would have written as far as booting and
// logging in need it. No maintainer script runs, and no root is needed; systemd makes its users at the first boot.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, copyFileSync, existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Apt } from '../../../dist/guests/apt.js';
import { cacheRoot, publish, withTemporaryFolder } from '../../../dist/host/node/cache.js';
import { debianTool, unpackPackages } from '../../../dist/guests/debian-tools.js';
import { expect, FIRST_PROCESS, initrdWith } from '../lib.mjs';

const SYSTEM = [
  ...['base-files', 'base-passwd', 'bash', 'coreutils', 'dash', 'findutils', 'grep', 'gzip', 'mawk', 'sed', 'tar'],
  ...['hostname', 'libc-bin', 'login', 'passwd', 'mount', 'util-linux', 'libpam-runtime', 'libpam-modules', 'procps'],
  ...['systemd-sysv', 'udev', 'kmod', 'iproute2', 'e2fsprogs', 'netbase'],
];

const LEFT_OUT = ['usr/share/doc', 'usr/share/man', 'usr/share/locale', 'usr/share/info', 'var/cache/apt'];

/** Raised when the same packages make something else. */
const RECIPE = 3;

const PAM = {
  'common-auth': 'auth required pam_permit.so\n',
  'common-account': 'account required pam_permit.so\n',
  'common-password': 'password required pam_permit.so\n',
  'common-session': 'session required pam_unix.so\n',
  'common-session-noninteractive': 'session required pam_unix.so\n',
};

export function checked(program, args, options) {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8', ...options });
  if (error) throw error;
  expect(status === 0, `${program} ${args.join(' ')}: status ${status}\n${(stderr + stdout).slice(-2000)}`);
  return stdout;
}

/** The tool's program, run to its end. */
export async function debianProgram(name, packageName) {
  const { path: program, env } = await debianTool(name, packageName, { cache: cacheRoot() });
  return (args, options = {}) => checked(program, args, { ...options, env: { ...process.env, ...env } });
}

/** A tree of the system with more packages and more files of text, in the cache. Root logs in without a password. */
export async function debianTree({ architecture = 'amd64', more = [], text = {} } = {}) {
  const cache = cacheRoot();
  const apt = new Apt({ cache, suite: 'bookworm', architecture });
  const packages = await apt.fetch(...(await apt.withDependencies([...SYSTEM, ...more])));
  const files = packages.map(({ file }) => file);
  const identity = createHash('sha256').update(
    JSON.stringify([RECIPE, text, files.map((file) => path.basename(file)).sort()]),
  );
  const place = path.join(cache, 'verify', `debian-${architecture}-${identity.digest('hex').slice(0, 12)}`);
  if (!existsSync(place))
    await withTemporaryFolder(cache, async (folder) => {
      const tree = path.join(folder, 'tree');
      await fill(tree, files, text);
      await publish(tree, place);
    });
  return place;
}

async function fill(tree, files, text) {
  for (const name of ['bin', 'sbin', 'lib', 'lib64']) {
    mkdirSync(path.join(tree, 'usr', name), { recursive: true });
    symlinkSync(`usr/${name}`, path.join(tree, name));
  }
  await unpackPackages(files, tree);
  for (const name of LEFT_OUT) rmSync(path.join(tree, name), { recursive: true, force: true });
  const write = (name, text) => {
    mkdirSync(path.dirname(path.join(tree, name)), { recursive: true });
    writeFileSync(path.join(tree, name), text);
  };
  const copy = (from, to) => copyFileSync(path.join(tree, from), path.join(tree, to));
  copy('usr/share/base-passwd/passwd.master', 'etc/passwd');
  copy('usr/share/base-passwd/group.master', 'etc/group');
  if (existsSync(path.join(tree, 'usr/share/base-files/nsswitch.conf')))
    copy('usr/share/base-files/nsswitch.conf', 'etc/nsswitch.conf');
  write('etc/shadow', 'root::19000:0:99999:7:::\n');
  chmodSync(path.join(tree, 'etc/shadow'), 0o640);
  write('etc/hostname', 'debian\n');
  write('etc/hosts', '127.0.0.1 localhost debian\n');
  write('etc/fstab', 'LABEL=debian / ext4 defaults 0 1\n');
  write('etc/machine-id', '');
  write('root/.profile', '');
  for (const [name, lines] of Object.entries(PAM)) write(`etc/pam.d/${name}`, lines);
  for (const [name, lines] of Object.entries(text)) write(name, lines);
  for (const [name, target] of [
    ['usr/bin/awk', 'mawk'],
    ['usr/bin/sh', 'dash'],
  ])
    if (!existsSync(path.join(tree, name))) symlinkSync(target, path.join(tree, name));
  chmodSync(path.join(tree, 'tmp'), 0o1777);
}

/** An ext4 file system with a tree in it, owned by root. */
export async function ext4Image(tree, image, { room = 96, size } = {}) {
  const kib = Number(/^\d+/.exec(checked('du', ['-sk', tree]))?.[0]);
  const mib = size ?? Math.ceil((kib * 1.15) / 1024) + room;
  const mke2fs = await debianProgram('mke2fs', 'e2fsprogs');
  const options = ['-q', '-F', '-t', 'ext4', '-E', 'lazy_itable_init=0,root_owner=0:0', '-L', 'debian'];
  writeFileSync(image, '');
  mke2fs([...options, '-d', tree, image, `${mib}M`]);
  return mib;
}

/** The kernel's first process: our drivers, then the disk's own init. The kernel's command line may name it: disk=… */
const SWITCH = `${FIRST_PROCESS}modprobe -q sd_mod
modprobe -q ext4
for i in 1 2 3 4 5 6 7 8 9 10; do
  for found in $disk /dev/vda /dev/sda; do [ -b $found ] && break 2; done
  sleep 1
done
mount -t ext4 $found /mnt || poweroff -f
for folder in dev proc sys; do mount --move /$folder /mnt/$folder; done
exec switch_root /mnt /sbin/init
`;

/** A guest's initrd that goes on to a disk, under `rdinit=/switch`, in a file. */
export const switchingInitrd = (initrd, file) => initrdWith(initrd, file, { switch: SWITCH });

/** The prompt of root's shell; what a terminal is told may stand before it. */
export const SHELL = /(root@\w+:[^\n]*|bash-[\d.]+)# /;
