// A guest that keeps records in a journalling file system, and says of each when it is durable; its machine is killed.
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { clearTimeout, setTimeout } from 'node:timers';
import { cli, expect, FIRST_PROCESS, initrdWith } from '../lib.mjs';

/** The guest's first process: finds the records of earlier lives, then goes on with new ones. */
const INIT = `${FIRST_PROCESS}mkdir -p /m
mount -t ext4 /dev/vda /m || echo "@bad mount"
n=0
while [ -f /m/r$n ]; do read -r text </m/r$n; [ "$text" = "record $n" ] || echo "@bad record $n: $text"; n=$((n + 1)); done
echo "@found $n"
(while :; do dd if=/dev/urandom of=/m/junk bs=64k count=40 2>/dev/null; rm /m/junk; done) &
while :; do
  echo "record $n" | dd of=/m/r$n conv=fsync 2>/dev/null
  echo "@record $n"
  n=$((n + 1))
done
`;

/** One life of the guest: killed so many milliseconds after its first record. */
function life(args, milliseconds) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [cli, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    let kill;
    const late = setTimeout(() => child.kill('SIGKILL'), 400_000);
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text) => {
        output += text;
        if (kill === undefined && output.includes('@record'))
          kill = setTimeout(() => child.kill('SIGKILL'), milliseconds);
      });
    child.on('error', reject);
    child.on('close', () => {
      clearTimeout(late);
      const last = [...output.matchAll(/^@record (\d+)\r?$/gm)].at(-1)?.[1];
      const found = /^@found (\d+)\r?$/m.exec(output)?.[1];
      resolve({ output, last: Number(last ?? -1), found: Number(found ?? -1) });
    });
  });
}

/** Times in a row that a guest may not come as far as its first record: on a busy host a kernel sometimes does not find its timer. */
const BAD_STARTS = 3;

/** Kills the guest `rounds` times. Returns how many records it had promised. `progress` is told of every tenth round. */
export async function killGuest({ tools, folder, rounds, kernel, initrd, options, progress = () => {} }) {
  const raw = path.join(folder, 'fs.raw');
  const disk = path.join(folder, 'fs.qcow2');
  writeFileSync(raw, '');
  const check = async (tool, args, good = [0]) => {
    const { status, stdout, stderr } = await tool.run(args);
    expect(good.includes(status), `${args.join(' ')} gives ${status}: ${stdout}${stderr}`);
  };
  await check(tools.mke2fs, ['-q', '-F', '-t', 'ext4', raw, '256M']);
  await check(tools.img, ['convert', '-f', 'raw', '-O', 'qcow2', raw, disk]);
  const withRecords = initrdWith(initrd, path.join(folder, 'initrd'), { records: INIT });
  const append = 'console=ttyS0 quiet rdinit=/records panic=-1 no_timer_check';
  const args = ['run', '--kernel', kernel, '--initrd', withRecords, '--append', append, '--disk', disk, ...options];
  let promised = -1;
  let badStarts = 0;
  for (let round = 0; round < rounds; round++) {
    const { output, last, found } = await life(args, Math.floor(Math.random() * 1500));
    expect(!output.includes('@bad'), `the guest found damage: ${output.slice(-1500)}`);
    if (last < 0 && ++badStarts < BAD_STARTS) {
      round--;
      continue;
    }
    expect(last >= 0, `the guest made no records: ${output.slice(-1500)}`);
    badStarts = 0;
    expect(found > promised, `${found} records were found, and ${promised + 1} promised`);
    promised = last;
    await check(tools.img, ['check', '-q', disk]);
    if (round % 10 === 9) progress(`${round + 1} kills, ${promised + 1} records`);
    if (round % 5 !== 4) continue;
    const copy = path.join(folder, 'copy.raw');
    await check(tools.img, ['convert', '-O', 'raw', disk, copy]);
    // The journal is replayed; then nothing may be left to be mended.
    await check(tools.e2fsck, ['-p', copy], [0, 1]);
    await check(tools.e2fsck, ['-f', '-n', copy]);
  }
  return promised + 1;
}
