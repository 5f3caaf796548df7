// Memory of the process while a guest does all kinds of things for a long time, with more code than can be kept translated.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { clearInterval, setInterval } from 'node:timers';
import { accelerator, expect, FIRST_STEPS, guest, initrdWith, vitrine, withFolder } from './lib.mjs';

/** SOAK_MINUTES in the environment says how long; an hour is what is promised. */
const MINUTES = Number(process.env.SOAK_MINUTES ?? 4);
const GUEST = 256;
/** MiB above the guest's own memory, and between the middle and the last third of the time. */
const ABOVE = 400;
const GROWTH = 24;

export const title = `Memory stays below the guest's + ${ABOVE} MiB, without growth, in ${MINUTES} minutes of mixed work`;

/** Programs of many kinds, one after the other and side by side; a new process each, so code comes to lie elsewhere. */
const SOAK = `${FIRST_STEPS}mount -t tmpfs tmpfs /tmp
cd /tmp
seq 40000 | awk '{ print ($1 * 7919) % 40009, "word" $1 % 97 }' >text
echo "@begin"
round=0
while :; do
  sort -n text | uniq -c | tail -1 >/dev/null
  awk '{ n[$2] += $1 } END { for (w in n) print w, n[w], sqrt(n[w]) }' text | sort >/dev/null
  sed 's/word\\([0-9]*\\)/\\1 drow/; s/ .*7/x/' text | grep -c 'x$' >/dev/null
  gzip <text | gunzip | cmp - text
  bzip2 <text | bunzip2 | cmp - text
  for sum in md5sum sha1sum sha256sum sha512sum cksum; do $sum text >/dev/null & done; wait
  tar c text /bin | tar t | wc -l >/dev/null
  find / -xdev -name '*a*' | wc -l >/dev/null
  i=0; while [ $i -lt 3000 ]; do i=$((i + 1)); case $i in *77*) : ;; esac; done
  for i in $(seq 40); do sh -c 'echo $(($$ % 7))' >/dev/null; done
  dd if=/dev/urandom bs=64k count=16 2>/dev/null | od -x | tail -1 >/dev/null
  for m in $(find /lib/modules -name '*.ko*' | awk -v r=$round 'NR % 5 == r % 5' | head -8); do
    insmod $m 2>/dev/null && rmmod $(basename $m | sed 's/\\.ko.*//; s/-/_/g') 2>/dev/null
  done
  echo 3 >/proc/sys/vm/drop_caches
  round=$((round + 1))
  echo "@round $round"
done
`;

function residentMiB(pid) {
  const [, kib] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kib ?? 0) / 1024;
}

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

export async function run(log, { accel = 'wasm' } = {}) {
  const { files } = await guest('amd64');
  await withFolder(async (folder) => {
    const initrd = initrdWith(files.initrd, path.join(folder, 'initrd'), { soak: SOAK });
    const samples = [];
    const sample = (child) => {
      const end = performance.now() + MINUTES * 60_000;
      const timer = setInterval(() => {
        if (child.exitCode === null) samples.push(residentMiB(child.pid));
        if (performance.now() < end && child.exitCode === null) return;
        clearInterval(timer);
        child.kill('SIGTERM');
      }, 1000);
    };
    const args = ['run', '--kernel', files.vmlinux, '--initrd', initrd, '--memory', `${GUEST}M`, ...accelerator(accel)];
    args.push('--append', 'console=ttyS0 quiet rdinit=/soak', '--stats');
    const { stdout, stderr } = await vitrine(args, { script: [[/^@begin/, sample]], limit: MINUTES * 60 + 120 });
    const rounds = stdout.match(/^@round/gm)?.length ?? 0;
    const third = Math.floor(samples.length / 3);
    const [first, middle, last] = [0, 1, 2].map((n) => median(samples.slice(n * third, (n + 1) * third)));
    const peak = Math.max(...samples);
    for (const line of stderr.split('\n').filter((text) => /translated|kept/.test(text))) log(line.trim());
    const figures = [first, middle, last, peak].map((mib) => mib.toFixed(0));
    log(
      `${rounds} rounds; resident MiB by thirds of the time ${figures.slice(0, 3).join(', ')}, at most ${figures[3]}`,
    );
    expect(rounds > 0, 'the guest did nothing');
    expect(peak <= GUEST + ABOVE, `${figures[3]} MiB are more than ${GUEST + ABOVE}`);
    expect(last - middle <= GROWTH, `memory grows: ${middle.toFixed(0)}, then ${last.toFixed(0)} MiB`);
  });
}
