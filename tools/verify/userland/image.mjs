// A root file system of Debian packages, as a folder and as an ext4 image, in the cache. Nothing is installed, no
// maintainer script runs, and no root is needed.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { access, copyFile, mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Apt } from '../../../dist/guests/apt.js';
import { cacheRoot, publish, withTemporaryFolder } from '../../../dist/host/node/cache.js';
import { debianTool, unpackPackages } from '../../../dist/guests/debian-tools.js';

const PACKAGES = [
  ...[
    'base-files',
    'base-passwd',
    'bash',
    'coreutils',
    'dash',
    'diffutils',
    'findutils',
    'grep',
    'gzip',
    'mawk',
    'sed',
  ],
  ...['mount', 'procps', 'util-linux', 'tzdata', 'netbase'],
  ...['python3.11', 'libpython3.11-testsuite', 'gcc', 'libc6-dev', 'openssl', 'openjdk-17-jre-headless'],
];

/** What no test reads, by its path in the tree. */
const LEFT_OUT = [
  'usr/share/doc',
  'usr/share/man',
  'usr/share/locale',
  'usr/share/info',
  'usr/share/fonts',
  'var/cache',
];

/** Raised when the same packages make something else. */
const RECIPE = 1;

/** Free space in the image, in MiB. */
const ROOM = 64;

const exists = (file) =>
  access(file).then(
    () => true,
    () => false,
  );

export function runChecked(program, args, options) {
  const { status, stdout, stderr, error } = spawnSync(program, args, {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    ...options,
  });
  if (error) throw error;
  if (status !== 0)
    throw new Error(`${program} ${args.join(' ')}: status ${status}\n${(stderr + stdout).slice(-2000)}`);
  return stdout;
}

/** A command line that runs a program of the tree with the tree as its root folder, for one who need not be root. */
export function inTree(tree, program, ...args) {
  const set = [
    `mount --rbind /dev '${tree}/dev'`,
    `mount -t proc proc '${tree}/proc'`,
    `mount -t tmpfs -o mode=1777 tmp '${tree}/tmp'`,
    `mkdir '${tree}/tmp/root'`,
    `mount --bind '${tree}/tmp/root' '${tree}/root'`,
  ].join(' && ');
  const map = process.getuid() === 0 ? [] : ['--map-root-user'];
  const script = `${set} && exec chroot '${tree}' "$@"`;
  return ['unshare', [...map, '--mount', '--pid', '--fork', 'sh', '-c', script, 'sh', program, ...args]];
}

/** The tree and its image: `{ tree, image, packages }`. */
export async function debianImage(log) {
  const cache = cacheRoot();
  const options = { cache, progress: ({ text }) => text !== undefined && seen(text, log) };
  const apt = new Apt({ ...options, suite: 'bookworm', architecture: 'amd64' });
  const names = await apt.withDependencies(PACKAGES);
  const packages = await apt.fetch(...names);
  const identity = createHash('sha256').update(
    JSON.stringify([RECIPE, LEFT_OUT, packages.map(({ file }) => path.basename(file)).sort()]),
  );
  const place = path.join(cache, 'verify', `userland-${identity.digest('hex').slice(0, 12)}`);
  if (!(await exists(place))) {
    await withTemporaryFolder(cache, async (folder) => {
      const made = path.join(folder, 'made');
      const tree = path.join(made, 'tree');
      await makeTree(
        tree,
        packages.map(({ file }) => file),
      );
      await makeImage(tree, path.join(made, 'root.ext4'), options);
      await publish(made, place);
    });
  }
  const version = (name) => packages.find((one) => one.name === name)?.version;
  return { tree: path.join(place, 'tree'), image: path.join(place, 'root.ext4'), version };
}

let last = '';
function seen(text, log) {
  if (text !== last) log(text.length > 100 ? `${text.slice(0, 97)}...` : text);
  last = text;
}

async function makeTree(tree, files) {
  // Packages still hold files of both places; these links bring them together, as a system's own do.
  for (const name of ['bin', 'sbin', 'lib', 'lib64']) {
    await mkdir(path.join(tree, 'usr', name), { recursive: true });
    await symlink(`usr/${name}`, path.join(tree, name));
  }
  await unpackPackages(files, tree);
  for (const name of ['dev', 'proc', 'sys', 'tmp', 'run', 'root', 'check'])
    await mkdir(path.join(tree, name), { recursive: true });
  for (const name of LEFT_OUT) await rm(path.join(tree, name), { recursive: true, force: true });
  for (const name of ['passwd', 'group']) {
    await copyFile(path.join(tree, `usr/share/base-passwd/${name}.master`), path.join(tree, 'etc', name));
  }
  await writeFile(path.join(tree, 'etc/hosts'), '127.0.0.1 localhost\n::1 localhost\n');
  await writeFile(path.join(tree, 'etc/hostname'), 'userland\n');
  const link = async (target, name) => {
    if (!(await exists(path.join(tree, name)))) await symlink(target, path.join(tree, name));
  };
  await link('mawk', 'usr/bin/awk');
  await link('dash', 'usr/bin/sh');
  await link('python3.11', 'usr/bin/python3');
  await link('../lib/jvm/java-17-openjdk-amd64/bin/java', 'usr/bin/java');
  // What the packages' scripts would do: without it every run would compile the modules that it imports.
  const [program, args] = inTree(tree, '/usr/bin/python3.11', '-m', 'compileall', '-q', '-j2', '--invalidation-mode');
  const { error } = spawnSync(program, [...args, 'unchecked-hash', '/usr/lib/python3.11'], { stdio: 'ignore' });
  // Some of the test suite's files are bad on purpose, so the status says nothing.
  if (error) throw error;
}

async function makeImage(tree, image, options) {
  const { path: mke2fs, env } = await debianTool('mke2fs', 'e2fsprogs', options);
  const kib = Number(/^\d+/.exec(runChecked('du', ['-sk', tree]))?.[0]);
  const mib = Math.ceil((kib * 1.1) / 1024) + ROOM;
  const args = ['-q', '-t', 'ext4', '-O', '^has_journal', '-E', 'lazy_itable_init=0,root_owner=0:0', '-L', 'userland'];
  runChecked(mke2fs, [...args, '-d', tree, `${image}.new`, `${mib}M`], { env: { ...process.env, ...env } });
  await rename(`${image}.new`, image);
}
