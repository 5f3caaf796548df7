// What the measurements share.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { cacheRoot, ensureGuest } from '../../dist/guests/index.js';

/** A guest of `vitrine guest list`, prepared if it is not there. */
export const guest = async (name) => (await ensureGuest(name, { cache: cacheRoot() })).files;

export const MIB = 2 ** 20;

/** Runs a script of this folder with a request, and gives its answer. */
export function measure(script, request) {
  const file = fileURLToPath(new URL(script, import.meta.url));
  const { status, stdout, stderr } = spawnSync(process.execPath, [file, JSON.stringify(request)], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${script}: exit code ${status}: ${stderr}`);
  return JSON.parse(stdout);
}

/** A boot of Debian's amd64 kernel to its shell, at its default size of memory. */
export async function bootAmd64(kernel = 'vmlinux') {
  const files = await guest('amd64');
  const request = { cpu: 'x86-64-v2', memory: 512 * MIB, kernel: files[kernel], initrd: files.initrd };
  return measure('boot-child.mjs', { ...request, commandLine: 'console=ttyS0 panic=-1', until: 'vitrine:~# ' });
}

export function describeBoot({ userland, instructions, running, idle, cpuTime, peak, touched }) {
  const millions = instructions / 1e6;
  return (
    `shell after ${userland.toFixed(2)} s, ${(millions / 1000).toFixed(2)} G instructions, ` +
    `${(millions / (running - idle)).toFixed(0)} MIPS (${(millions / cpuTime).toFixed(0)} by the CPU time, ` +
    `${cpuTime.toFixed(2)} s); peak ${peak.toFixed(0)} MiB, of which the guest uses ${touched.toFixed(0)} MiB`
  );
}
