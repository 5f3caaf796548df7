// Fetches into the cache what tests will ask for, while the checks run before them: tests fetch for themselves what is not
// there yet, and say why what cannot be had is missing, so nothing here has to succeed.
//
//   node tools/fetch-for-tests.mjs
import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const guests = path.join(path.dirname(path.dirname(fileURLToPath(import.meta.url))), 'dist/guests');
// Without a build, the tests make one, and fetch.
if (!existsSync(guests)) process.exit();

const { cacheRoot, ensureGuest } = await import(path.join(guests, 'index.js'));
const { debianFile, debianTool } = await import(path.join(guests, 'debian-tools.js'));
const options = { cache: cacheRoot() };
const quietly = (work) => work.catch(() => undefined);

/** Two at a time: what is large comes beside what takes work. */
await Promise.all([
  (async () => {
    for (const name of ['amd64', 'seabios', 'ovmf', 'amd64-generic', 'i386', 'xen', 'grub-invaders'])
      await quietly(ensureGuest(name, options));
  })(),
  (async () => {
    for (const name of ['chromium', 'docker-registry', 'skopeo', 'umoci'])
      await quietly(debianTool(name, name, options));
    await quietly(debianFile('/bin/busybox', 'busybox-static', options));
    await quietly(debianFile('/usr/share/novnc/vnc.html', 'novnc', options));
    await quietly(debianTool('qemu-img', 'qemu-utils', options));
  })(),
]);
