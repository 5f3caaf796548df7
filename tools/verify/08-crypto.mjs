import { readFileSync } from 'node:fs';
import path from 'node:path';
import { Apt } from '../../dist/guests/apt.js';
import { cacheRoot } from '../../dist/host/node/cache.js';
import { unpackPackages } from '../../dist/guests/debian-tools.js';
import { readModules } from '../../dist/guests/kernel-modules.js';
import { expect, FIRST_STEPS, guest, initrdWith, vitrine, withFolder } from './lib.mjs';

export const title = "Linux's self-tests of its ciphers and hashes in MMX, SSE, AES, SHA and PCLMULQDQ instructions";

/** Each tests itself against known answers when it is loaded; the generic ones are what some of them build on. */
const MODULES = [
  ...[
    'sha3_generic',
    'jitterentropy_rng',
    'ctr',
    'gcm',
    'ccm',
    'xts',
    'cts',
    'ecb',
    'lrw',
    'essiv',
    'authenc',
    'cmac',
    'xcbc',
  ],
  ...['aesni_intel', 'ghash_clmulni_intel', 'aegis128_aesni', 'sha1_ssse3', 'sha256_ssse3', 'sha512_ssse3'],
  ...['crc32c_intel', 'crc32_pclmul', 'crct10dif_pclmul', 'chacha_x86_64', 'poly1305_x86_64', 'nhpoly1305_sse2'],
  ...['curve25519_x86_64', 'blowfish_x86_64', 'camellia_x86_64', 'des3_ede_x86_64', 'twofish_x86_64'],
  ...['serpent_sse2_x86_64', 'adiantum', 'chacha20poly1305', 'drbg', 'xor', 'raid6_pq'],
];

export const run = (log) => withFolder((folder) => check(folder, log));

async function check(folder, log) {
  const options = { cache: cacheRoot() };
  const { files } = await guest('amd64');
  const info = JSON.parse(readFileSync(path.join(path.dirname(files.initrd), 'guest.json'), 'utf8'));
  const apt = new Apt({ ...options, suite: 'bookworm', architecture: 'amd64' });
  const packages = await apt.fetch(info.packages[0].name);
  const tree = path.join(folder, 'tree');
  await unpackPackages(
    packages.map(({ file }) => file),
    tree,
  );
  const release = info.packages[0].name.replace('linux-image-', '');
  const modules = await readModules(path.join(tree, 'lib/modules', release), MODULES, folder, options);
  const script = [
    ...modules.map(({ name }) => `insmod /self-test/${name}.ko`),
    'sleep 1',
    `awk '/^driver/ { driver = $3 } /^selftest/ { print "@crypto " driver " " $3 }' /proc/crypto`,
    'echo @done',
    'poweroff -f',
  ];
  const initrd = initrdWith(files.initrd, path.join(folder, 'initrd'), {
    ...Object.fromEntries(modules.map(({ name, data }) => [`self-test/${name}.ko`, data])),
    check: `${FIRST_STEPS}${script.join('\n')}\n`,
  });
  const args = ['run', '--kernel', files.vmlinux, '--initrd', initrd, '--no-reboot'];
  args.push('--append', 'console=ttyS0 panic=-1 rdinit=/check');
  const { code, stdout, seconds } = await vitrine(args, { script: [[/^@done/]], limit: 300 });
  expect(code === 0, `exit code ${code}`);
  const results = [...stdout.matchAll(/^@crypto (\S+) (\S+)/gm)];
  const passed = results.filter(([, , result]) => result === 'passed').map(([, driver]) => driver);
  const failures = stdout.match(/^.*(alg: .*fail|self-tests? .*fail|can't insert).*$/gim) ?? [];
  expect(failures.length === 0, failures.join('\n   '));
  const native = passed.filter((driver) => /aesni|-ni$|ssse3|sse2|clmul|-simd|-asm|-intel/.test(driver));
  log(
    `${passed.length} of ${results.length} drivers passed (${native.length} of vector code), ${seconds.toFixed(1)} s`,
  );
  for (const line of stdout.match(/raid6: using .*|xor: using .*/g) ?? []) log(line.trim());
  expect(passed.length === results.length, 'not all did');
  expect(native.length >= 40, `only ${native.length} drivers of vector code`);
}
