import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, FIRST_PROCESS, guest, initrdWith, runProgram, vitrine, withFolder } from './lib.mjs';
import { debianImage, inTree } from './userland/image.mjs';
import { program } from './userland/program.mjs';

export const title = "Debian's python3 (its own tests), gcc, openssl and java";

/**
 * What is run, in this order. In the environment, USERLAND chooses by how the names begin, with spaces between them, from
 * these and MORE, and USERLAND_LOG names a file for what the guest prints.
 */
const CHECKS = [
  ...['int', 'long', 'float', 'math', 'cmath', 'complex', 'fractions', 'decimal'].map(pythonTest),
  ...['string', 'unicode', 'bytes', 'format', 'json', 'hashlib', 'hmac', 'zlib', 'struct'].map(pythonTest),
  ...['thread', 'threading', 'subprocess'].map(pythonTest),
  ...['gcc.-O0', 'gcc.-O2', 'openssl.known', 'openssl.keys', 'openssl.speed', 'java.version', 'java.source'],
];
/** What takes long and is much like the others. */
const MORE = [
  ...['statistics', 'random', 'numeric_tower', 'strtod', 'operator', 'fstring', 'unicodedata', 're'].map(pythonTest),
  ...['textwrap', 'gzip', 'binascii', 'array', 'memoryview', 'buffer', 'queue', 'signal', 'datetime'].map(pythonTest),
  ...['gcc.-Os', 'gcc.-O3,-march=x86-64-v2', 'gcc.-O1,-mfpmath=387'],
  ...['java.source-Xint', 'java.source-XX:TieredStopAtLevel=1'],
];

function pythonTest(name) {
  return `python.test_${name}`;
}

/** The guest's first process. */
const INIT = `${FIRST_PROCESS}mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
ip link set lo up
hostname userland
mount -t ext4 -o ro /dev/vda /mnt || { echo "@T FAIL disk"; poweroff -f; }
for folder in tmp root run var/tmp; do mount -t tmpfs -o size=80% tmpfs /mnt/$folder; done
for folder in dev proc sys check; do mount --rbind /$folder /mnt/$folder; done
mount -t tmpfs tmpfs /mnt/dev/shm
read -r up rest </proc/uptime
echo "@up $(uname -r) after $up s"
chroot /mnt /bin/sh /check/run.sh $(echo "$userland" | tr + ' ')
poweroff -f
`;

const folderOf = fileURLToPath(new URL('userland/', import.meta.url));

/** What the checks read, in the guest and on the host alike. */
const files = () => ({
  'run.sh': readFileSync(path.join(folderOf, 'run.sh')),
  'Check.java': readFileSync(path.join(folderOf, 'Check.java')),
  'program.c': Buffer.from(program()),
});

/** Every check's name with its verdict, what has to be the same everywhere, and what need not. */
function results(stdout) {
  const checks = new Map();
  let name;
  for (const line of stdout.split(/\r*\n/)) {
    const [, word, first, rest] = /^(@\w+|\|) ?(\S*) ?(.*)$/.exec(line) ?? [];
    if (word === '@start') {
      name = first;
      checks.set(name, { verdict: 'not finished', same: [], info: [], lines: [], start: Number(rest.split(' ')[1]) });
    }
    const check = checks.get(name);
    if (check === undefined) continue;
    if (word === '@same') check.same.push(rest);
    else if (word === '@info') check.info.push(rest);
    else if (word === '@T') check.verdict = first;
    else if (word === '@end') check.seconds = Number(rest.split(' ')[1]) - check.start;
    else if (word === '|') check.lines.push(line);
  }
  return checks;
}

/** The same on the host, by whose results the guest's are judged. Kept beside the tree, for they stay the same. */
async function onHost(tree, checks) {
  const hash = createHash('sha256');
  for (const data of Object.values(files())) hash.update(data);
  const file = path.join(tree, `../host-${hash.digest('hex').slice(0, 12)}.json`);
  const known = existsSync(file) ? new Map(JSON.parse(readFileSync(file, 'utf8'))) : new Map();
  const missing = checks.filter((name) => !known.has(name));
  if (missing.length === 0) return known;
  for (const [name, data] of Object.entries(files())) writeFileSync(path.join(tree, 'check', name), data);
  const [command, args] = inTree(tree, '/bin/sh', '/check/run.sh', ...missing);
  const { stdout, code } = await runProgram(command, args, { limit: 900 });
  expect(code === 0, `on the host: exit code ${code}\n${stdout.slice(-500)}`);
  for (const [name, result] of results(stdout)) known.set(name, result);
  writeFileSync(file, JSON.stringify([...known]));
  return known;
}

async function inGuest(image, checks, accel, folder) {
  const { files: boot } = await guest('amd64');
  const initrd = initrdWith(boot.initrd, path.join(folder, 'initrd'), {
    'check/init': INIT,
    ...Object.fromEntries(Object.entries(files()).map(([name, data]) => [`check/${name}`, data])),
  });
  const words = `console=ttyS0 quiet panic=-1 rdinit=/check/init userland=${checks.join('+')}`;
  const args = ['run', '--kernel', boot.vmlinux, '--initrd', initrd, '--append', words, '--memory', '1536M'];
  args.push('--disk', `${image},readonly`, '--no-reboot', ...(accel === undefined ? [] : ['--accel', accel]));
  const file = process.env['USERLAND_LOG'];
  if (file) writeFileSync(file, '');
  const seen = file && ((text) => appendFileSync(file, text));
  const { code, stdout, stderr, seconds } = await vitrine(args, { limit: 3 * 3600, seen });
  const trouble = /^.*(BUG:|Oops|Call Trace|stall on CPU|soft lockup).*$/m.exec(stdout)?.[0];
  expect(code === 0, `exit code ${code}: ${stderr.slice(-3000)}\n${stdout.slice(-500)}`);
  return { checks: results(stdout), seconds, trouble };
}

export const run = (log, options) => withFolder((folder) => check(folder, log, options));

async function check(folder, log, { accel } = {}) {
  const wanted = (process.env['USERLAND'] ?? '').split(' ').filter(Boolean);
  const matches = (name) => wanted.some((start) => name.startsWith(start));
  const chosen = wanted.length === 0 ? CHECKS : [...CHECKS, ...MORE].filter(matches);
  expect(chosen.length > 0, `no check begins with ${wanted.join(' or ')}`);
  const { tree, image, version } = await debianImage(log);
  log(`python ${version('python3.11')}, gcc ${version('gcc-12')}, openssl ${version('openssl')}`);
  const host = await onHost(tree, chosen);
  const { checks: found, seconds, trouble } = await inGuest(image, chosen, accel, folder);
  const bad = trouble === undefined ? [] : [trouble];
  for (const name of chosen) {
    const [here, there] = [host.get(name), found.get(name)];
    if (there === undefined) {
      bad.push(`${name}: not run`);
      continue;
    }
    // A test that fails on the host too says nothing about the machine, as long as it fails in the same way.
    const differs = here.same.length !== there.same.length || here.same.some((line, i) => line !== there.same[i]);
    const ok = !differs && there.verdict === here.verdict;
    const note = here.verdict === 'ok' ? '' : ' (as on the host)';
    log(
      `${ok ? `ok${note}` : 'BAD'} ${name} ${there.seconds?.toFixed(1)} s (host ${here.seconds.toFixed(1)}): ${there.info.join('; ')}`,
    );
    if (ok) continue;
    bad.push(name);
    const differences = there.same.filter((line) => !here.same.includes(line)).map((line) => `guest: ${line}`);
    differences.push(...here.same.filter((line) => !there.same.includes(line)).map((line) => `host: ${line}`));
    for (const line of [...differences, ...there.lines]) log(`  ${line}`);
  }
  log(`${chosen.length - bad.length} of ${chosen.length} as on the host, ${seconds.toFixed(0)} s in the guest`);
  expect(bad.length === 0, bad.join(', '));
}
