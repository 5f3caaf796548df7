import { statSync } from 'node:fs';
import path from 'node:path';
import { expect, guest, initrdWithChecks, vitrine, withFolder } from './lib.mjs';

export const title = 'A boot saved at three moments and resumed in another process finishes identically';

/** The text at which the machine is told to save itself: early in the kernel, late in it, among programs. */
const MOMENTS = [/Memory: \d+K/, /Run \/check as init/, /@ok mem/];

export const run = (log) => withFolder((folder) => saveAndResume(folder, log));

async function saveAndResume(folder, log) {
  const { files } = await guest('amd64');
  const initrd = initrdWithChecks(files.initrd, path.join(folder, 'initrd'));
  const append = 'console=ttyS0 panic=-1 rdinit=/check checks=cpu,mem,fp,fork,time,rng';
  const boot = ['run', '--kernel', files.vmlinux, '--initrd', initrd, '--append', append];
  boot.push('--clock', 'virtual', '--memory', '256M', '--no-reboot');
  const whole = await vitrine(boot, { script: [[/@done/]] });
  expect(whole.code === 0 && !whole.stdout.includes('@bad'), 'the boot itself failed');
  const again = await vitrine(boot, { script: [[/@done/]] });
  expect(again.stdout === whole.stdout, 'two runs in virtual time differ');
  log(`without a stop: ${whole.stdout.length} characters, twice the same`);
  for (const [i, moment] of MOMENTS.entries()) {
    const snapshot = path.join(folder, `snapshot-${i}`);
    const first = await vitrine([...boot, '--save-on-exit', snapshot], {
      script: [[moment, (child) => child.kill('SIGTERM')]],
    });
    expect(first.stdout.length < whole.stdout.length, 'it ended before it was saved');
    const second = await vitrine(['resume', snapshot], { script: [[/@done/]] });
    expect(second.code === 0, `resume: exit code ${second.code}: ${second.stderr}`);
    const both = first.stdout + second.stdout;
    if (both !== whole.stdout) {
      let at = 0;
      while (both[at] === whole.stdout[at]) at++;
      throw new Error(
        `saved at ${moment}: differs at character ${at} (${first.stdout.length} before the save):\n` +
          `${JSON.stringify(whole.stdout.slice(at - 80, at + 80))}\n${JSON.stringify(both.slice(at - 80, at + 80))}`,
      );
    }
    const size = (statSync(snapshot).size / 2 ** 20).toFixed(1);
    log(`saved at ${moment.source} (${first.stdout.length} characters, ${size} MiB), resumed: the same to the end`);
  }
}
