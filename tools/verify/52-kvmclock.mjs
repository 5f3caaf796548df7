import path from 'node:path';
import { expect, FIRST_STEPS, guest, initrdWith, vitrine, withFolder } from './lib.mjs';

export const title = "Linux tells the time by KVM's clock, also where there is no KVM, and goes on with it elsewhere";

const TICKS = `${FIRST_STEPS}echo "@clock $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
while true; do read -r up rest </proc/uptime; echo "@up $up"; sleep 0.5; done
`;

/** Seconds of the guest between two machines, at most: what it takes to save one and to begin with the next is none of the guest's. */
const GAP = 3;

export const run = (log) =>
  withFolder(async (folder) => {
    const { files } = await guest('amd64');
    const initrd = initrdWith(files.initrd, path.join(folder, 'initrd'), { ticks: TICKS });
    const snapshot = path.join(folder, 'snapshot');
    const boot = ['run', '--accel', 'wasm', '--kernel', files.vmlinux, '--initrd', initrd, '--memory', '256M'];
    boot.push('--net', 'none', '--smp', '2', '--cpu', 'x86-64-v2,kvmclock');
    boot.push('--append', 'console=ttyS0 panic=-1 quiet rdinit=/ticks', '--save-on-exit', snapshot);
    const steps = [
      ['wasm', boot],
      ['interp', ['resume', snapshot, '--accel', 'interp', '--save-on-exit', snapshot]],
      ['wasm', ['resume', snapshot, '--accel', 'wasm']],
    ];
    let last = 0;
    for (const [accel, args] of steps) {
      const { stdout } = await vitrine(args, {
        script: [[/(@up [^@]*){4}/, (child) => child.kill('SIGTERM')]],
        limit: 300,
      });
      if (last === 0) expect(stdout.includes('@clock kvm-clock'), 'Linux has chosen another clock');
      const times = [...stdout.matchAll(/@up (\d+\.\d+)\s/g)].map(([, time]) => Number(time));
      expect(times.length >= 3, `${accel}: the guest does not go on`);
      expect(
        times.every((time, i) => time >= (i === 0 ? last : times[i - 1])),
        `${accel}: time goes back: ${last}, then ${times.join(' ')}`,
      );
      if (last !== 0) expect(times[0] - last <= GAP, `${accel}: time has jumped from ${last} to ${times[0]}`);
      log(`${accel}: ${times[0]} to ${times.at(-1)} s`);
      last = times.at(-1);
    }
  });
