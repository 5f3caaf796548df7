// What the checks share: running the command line as a user would, guests, temporary folders.
import { Buffer } from 'node:buffer';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { clearTimeout, setInterval, setTimeout, clearInterval } from 'node:timers';
import { fileURLToPath } from 'node:url';
import { cacheRoot, ensureGuest } from '../../dist/guests/index.js';
import { writeCpio } from '../../dist/guests/common/cpio.js';

export const root = fileURLToPath(new URL('../../', import.meta.url));
export const cli = path.join(root, 'dist/cli/main.js');

/** A promise that is not kept. */
export function expect(condition, message) {
  if (!condition) throw new Error(message);
}

/** A guest of `vitrine guest list`, prepared if it is not there. */
export async function guest(name) {
  const { files, version } = await ensureGuest(name, { cache: cacheRoot() });
  return { files, version };
}

/** Runs `use` with a new folder, which is gone afterwards. */
export async function withFolder(use) {
  const folder = mkdtempSync(path.join(tmpdir(), 'vitrine-verify-'));
  try {
    return await use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  }
}

export const seconds = (since) => (performance.now() - since) / 1000;

/** The most memory that a process had resident, in MiB; 0 when it is gone. */
function peakOf(pid) {
  try {
    const kib = /VmHWM:\s*(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return Number(kib ?? 0) / 1024;
  } catch {
    return 0;
  }
}

/**
 * Runs a program. `script` is what happens with it, in order: [pattern to wait for in its output, what to type then, or
 * a function of the process]. Gives its exit code, its output, when each pattern was there (in seconds), and its peak of
 * memory in MiB. Takes at most `limit` seconds. `seen` gets the output as it comes.
 */
export async function runProgram(command, args, { script = [], limit = 120, cwd, env, input, seen } = {}) {
  const started = performance.now();
  const child = spawn(command, args, { cwd, env, stdio: 'pipe' });
  let stdout = '';
  let stderr = '';
  let matched = 0;
  let step = 0;
  let peak = 0;
  let late = false;
  const times = [];
  const watch = setInterval(() => (peak = Math.max(peak, peakOf(child.pid))), 100);
  const end = setTimeout(() => {
    late = true;
    child.kill('SIGKILL');
  }, limit * 1000);
  child.stdin.on('error', () => {});
  if (input !== undefined) child.stdin.end(input);
  child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
  child.stdout.setEncoding('utf8').on('data', (text) => {
    stdout += text;
    seen?.(text);
    for (; step < script.length; step++) {
      const [pattern, action] = script[step];
      const match = new RegExp(pattern.source, 'gm');
      match.lastIndex = matched;
      if (!match.test(stdout)) break;
      matched = match.lastIndex;
      times.push(seconds(started));
      peak = Math.max(peak, peakOf(child.pid));
      if (typeof action === 'string') child.stdin.write(action);
      else action?.(child);
    }
  });
  const code = await new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  clearTimeout(end);
  clearInterval(watch);
  const tail = () => `\n${(stdout + stderr).split('\n').slice(-15).join('\n')}`;
  expect(!late, `${path.basename(command)} ${args.join(' ')}: not done after ${limit} s${tail()}`);
  expect(step === script.length, `it ended before ${String(script[step]?.[0])} was seen${tail()}`);
  return { code, stdout, stderr, times, peak, seconds: seconds(started) };
}

/** Arguments that choose what runs a guest; without a name the product chooses. */
export const accelerator = (name) => (name === undefined ? [] : ['--accel', name]);

/** Runs `vitrine …`. */
export const vitrine = (args, options) => runProgram(process.execPath, [cli, ...args], options);

/** How a first process of a guest begins, a script of busybox: programs, a console. */
export const FIRST_STEPS = `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
/bin/busybox --install -s
export PATH=/sbin:/usr/sbin:/bin:/usr/bin
exec </dev/console >/dev/console 2>&1
`;

/** It finds drivers for its devices by itself. */
export const DRIVERS = `for bus in pci platform virtio; do
  cat /sys/bus/$bus/devices/*/modalias 2>/dev/null | sort -u | while read -r alias; do modprobe -q -b "$alias"; done
done
`;

/** Both. */
export const FIRST_PROCESS = FIRST_STEPS + DRIVERS;

/** What the tests in a guest do: a first process of their own, behind the guest's initial file system. */
const CHECK = `${FIRST_PROCESS}mount -t tmpfs tmpfs /tmp
read -r up rest </proc/uptime
echo "@up $(uname -r) $(uname -m) after $up s"
say() { if [ "$2" = "$3" ]; then echo "@ok $1 $4"; else echo "@bad $1: $2, not $3"; fi; }
for t in $(echo "$checks" | tr , ' '); do case $t in
  cpu) say cpu "$(taskset 1 grep -c ^processor /proc/cpuinfo)" "\${cpus:-1}" "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | uniq)";;
  mem) yes 0123456789abcdef | head -c 8388608 >/tmp/a; cp /tmp/a /tmp/b; say mem "$(md5sum </tmp/b | cut -c1-32)" MEM_SUM; rm /tmp/a /tmp/b;;
  fp) say fp "$(awk 'BEGIN { for (i = 1; i <= 20000; i++) s += i / (i * i + 0.5); printf "%.9f %d", s, -7.9 }')" "FP_SUM";;
  fork) n=0; for i in $(seq 100); do n=$((n + $(sh -c 'echo 1'))); done; say fork $n 100;;
  time) a=$(cut -d. -f1 /proc/uptime); sleep 2; b=$(cut -d. -f1 /proc/uptime); d=$((b - a)); [ $d = 3 ] && d=2; say time $d 2 "$(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)";;
  rng) say rng "$(dd if=/dev/hwrng bs=16 count=1 2>/dev/null | wc -c)" 16 "$(cat /sys/class/misc/hw_random/rng_current)";;
  blk) say blk.read "$(head -c 16 /dev/vda)" "a disk of verify"; seq 300000 | head -c 1048576 >/tmp/p; dd if=/tmp/p of=/dev/vda bs=4096 seek=1 conv=fsync 2>/dev/null; echo 3 >/proc/sys/vm/drop_caches
    say blk.write "$(dd if=/dev/vda bs=4096 skip=1 count=256 2>/dev/null | md5sum | cut -c1-32)" "$(md5sum </tmp/p | cut -c1-32)" "$(cat /sys/block/vda/size) sectors";;
esac; done
echo "@done"
poweroff -f
`;

/** A guest's initrd with entries of an archive behind it. */
export function extendedInitrd(initrd, entries) {
  const base = readFileSync(initrd);
  return Buffer.concat([base, new Uint8Array(-base.length & 3), writeCpio(entries)]);
}

/** The same in a file, with scripts and programs by their paths. */
export function initrdWith(initrd, file, programs) {
  const folders = new Set(Object.keys(programs).map((name) => path.dirname(name)));
  folders.delete('.');
  const entries = [
    ...[...folders].map((name) => ({ kind: 'folder', path: name })),
    ...Object.entries(programs).map(([name, data]) => ({
      ...{ kind: 'file', path: name, mode: 0o755 },
      data: Buffer.from(data),
    })),
  ];
  writeFileSync(file, extendedInitrd(initrd, entries));
  return file;
}

/** A guest's initrd with the checks in it, in a file; they run under \`rdinit=/check checks=…\`, with \`cpus=…\` if these are several. */
export function initrdWithChecks(initrd, file) {
  const memory = '0123456789abcdef\n'.repeat(500_000).slice(0, 8 * 1024 * 1024);
  let sum = 0;
  for (let i = 1; i <= 20000; i++) sum += i / (i * i + 0.5);
  const script = CHECK.replace('MEM_SUM', createHash('md5').update(memory).digest('hex')).replace(
    'FP_SUM',
    `${sum.toFixed(9)} -7`,
  );
  return initrdWith(initrd, file, { check: script });
}
