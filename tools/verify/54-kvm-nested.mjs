// Our accelerator on the real KVM of a Linux on AMD-V, both of which QEMU emulates: what /dev/kvm without AMD-V or VT-x cannot show. It takes a quarter of an hour, and an hour on a slow host.
//
//   node tools/verify.mjs 54
import path from 'node:path';
import { expect, guest, initrdWith, initrdWithChecks, withFolder } from './lib.mjs';
import { LIMIT, WAYS } from './kvm/host-linux.mjs';
import { CPU_FOR_LINUX as cpu, onNestedKvm } from './kvm/nested.mjs';

export const title =
  'KVM on AMD-V as QEMU emulates it: the tests that need it, Linux with each kind of interrupt controllers, and moves';

/** Tests that need KVM, with words for vitest; each group has a host of its own. Not those that are about time. */
const TESTS = [
  'src/accel/kvm',
  'src/vmm/smp/litmus.test.ts -t KVM',
  'src/runtime/node/kvm-machines.test.ts',
  'src/runtime/node/faults.test.ts -t KVM',
];
/** A guest that counts, slowly, and ends. */
const COUNTER = `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
n=0
while [ $n -lt 60 ]; do n=$((n + 1)); echo "@count $n" >/dev/console; /bin/busybox usleep 250000; done
/bin/busybox poweroff -f
`;

/** Saves a machine when its output has a pattern in it; the last one ends by itself. */
const MOVE = `move() {
  pattern=$1; shift
  "$@" </dev/null >/run/out 2>&1 & pid=$!
  until grep -q "$pattern" /run/out || ! kill -0 $pid 2>/dev/null; do sleep 1; done
  kill -TERM $pid 2>/dev/null; wait $pid
  cat /run/out
}
`;

const vitrine = 'node dist/cli/main.js';

export async function run(log) {
  const { files } = await guest('amd64');
  await withFolder(async (folder) => {
    const checks = initrdWithChecks(files.initrd, path.join(folder, 'checks'));
    const counter = initrdWith(files.initrd, path.join(folder, 'counter'), { count: COUNTER });
    const linux = (initrd, append) =>
      `run --kernel ${files.vmlinuz} --initrd ${initrd} --memory 192M --net none --no-reboot --append 'console=ttyS0 quiet panic=-1 ${append}'`;

    const told = await onNestedKvm(`${vitrine} info`, { limit: 300 });
    expect(/the default$/m.test(told.output.match(/^ *kvm: .*$/m)?.[0] ?? ''), `it is not chosen: ${told.output}`);
    log('vitrine info: KVM is the default there');

    for (const [who, cpus] of WAYS) {
      const boot = linux(checks, `rdinit=/check checks=cpu,mem,fp,fork,rng cpus=${cpus}`);
      const command = `${vitrine} ${boot} --accel kvm --kernel-irqchip ${who} --smp ${cpus}`;
      const { output, code, seconds } = await onNestedKvm(command, { cpu, limit: LIMIT });
      expect(
        code === 0 && /@done/.test(output) && !/@bad/.test(output),
        `Linux, ${who}, ${cpus}: ${output.slice(-2000)}`,
      );
      log(
        `Linux, ${cpus} CPU(s), --kernel-irqchip ${who}: ${/@up (.*)/.exec(output)?.[1]}, ${seconds.toFixed(0)} s in all`,
      );
    }

    const file = '/run/machine';
    const ways = [
      `move '@count 3' ${vitrine} ${linux(counter, 'rdinit=/count')} --accel kvm --save-on-exit ${file}`,
      `move '@count 1[0-9]' ${vitrine} resume ${file} --accel wasm --save-on-exit ${file}`,
      `move '@nothing' ${vitrine} resume ${file} --accel kvm`,
    ];
    const { output } = await onNestedKvm(MOVE + ways.join('\n'), { cpu, limit: LIMIT });
    const counted = [...output.matchAll(/^@count (\d+)/gm)].map((match) => Number(match[1]));
    const missed = Array.from({ length: 60 }, (_, i) => i + 1).filter((n) => !counted.includes(n));
    expect(
      missed.length === 0,
      `on kvm, wasm and kvm the guest did not count ${missed.join(', ')}: ${output.slice(-2000)}`,
    );
    // What each of the three has counted.
    const stays = output.split(/^vitrine: stopped .*$/m).map((part) => part.match(/^@count \d+/gm)?.length ?? 0);
    expect(stays.length === 3 && stays.every((count) => count > 0), `counted: ${stays.join(', ')}`);
    log(`a machine, saved on kvm, went on with wasm, and again on kvm: it counted to ${stays.join(' + ')}`);

    for (const group of TESTS) {
      // Files one after the other: there are few processors, and slow ones.
      const command = `npx vitest run ${group} --no-file-parallelism --testTimeout ${LIMIT}000`;
      const tests = await onNestedKvm(command, { limit: LIMIT });
      expect(tests.code === 0, `${group}: ${tests.output.slice(-4000)}`);
      // eslint-disable-next-line no-control-regex -- what is taken out is colours
      log(`${group}: ${/Tests {2}(.*)/.exec(tests.output.replaceAll(/\x1b\[[0-9;]*m/g, ''))?.[1]}`);
    }
  });
}
