// A Linux with the real KVM on a processor that QEMU emulates, AMD-V and nested paging included: a host for our KVM accelerator where this one has none.
//
//   node tools/verify/kvm/nested.mjs [--limit SECONDS] [--append WORDS] [--cpu MODEL] [--smp N] COMMAND     one command of a shell, with its output; `sh` to type more
//
// It sees all files of this machine, and what it writes is gone afterwards.
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { cacheRoot } from '../../../dist/host/node/cache.js';
import { expect, FIRST_PROCESS, initrdWith, root, runProgram, withFolder } from '../lib.mjs';
import { qemuSystem } from '../qemu.mjs';
import { hostLinux, runAndSay, saidBy } from './host-linux.mjs';

/** The first process. Files of this machine are below what it writes, which is in memory. */
const INIT = `${FIRST_PROCESS}
modprobe -a 9p overlay
modprobe kvm_amd || modprobe kvm_intel
dmesg -n 4
ip link set lo up
mkdir -p /lower /upper /host
mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=524288,cache=loose host /lower || poweroff -f
mount -t tmpfs tmpfs /upper
mkdir /upper/data /upper/work
mount -t overlay -o lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work overlay /host || poweroff -f
mkdir -p /dev/shm /dev/pts
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
for folder in dev proc sys; do mount -o rbind /$folder /host/$folder; done
mount -t tmpfs tmpfs /host/run
cp /commands /host/run/commands
${runAndSay('chroot /host /bin/sh /run/commands')}`;

/** The processor, in QEMU's words. */
const CPU = 'max,la57=off';
/** For guests there that use XSAVE, as Linux does: QEMU 7.2 lets them set XCR0 without telling the hypervisor. */
export const CPU_FOR_LINUX = `${CPU},xsave=off`;

/** Of processors: with two of them QEMU 7.2 now and then leaves a guest with the base of GS that the guest had, which ends the Linux around it. */
const SMP = 1;

const quote = (word) => `'${word.replaceAll("'", "'\\''")}'`;

/** The program that emulates, and its arguments. */
async function emulator(folder, commands, { append = '', memory = 4096, cpu = CPU, smp = SMP }) {
  const { kernel, initrd } = await hostLinux();
  // The caches are found where they are on this machine.
  const head = `export HOME=/run/home PATH=${quote(process.env.PATH)} XDG_CACHE_HOME=${quote(path.dirname(cacheRoot()))}
mkdir -p $HOME
cd ${quote(root)}
`;
  const ours = initrdWith(initrd, path.join(folder, 'initrd'), { nested: INIT, commands: head + commands });
  const qemu = await qemuSystem();
  const words = `console=ttyS0 quiet panic=-1 rdinit=/nested tsc=reliable mitigations=off ${append}`;
  const args = [
    ...qemu.args,
    ...['-accel', 'tcg,thread=multi,tb-size=1024', '-cpu', cpu, '-machine', 'q35', '-smp', String(smp)],
    ...['-m', String(memory), '-display', 'none', '-serial', 'stdio', '-nic', 'none', '-no-reboot'],
    ...['-virtfs', 'local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap'],
    ...['-kernel', kernel, '-initrd', ours, '-append', words],
  ];
  return { ...qemu, args };
}

/** Runs commands of a shell on that host, in this clone. What they wrote, and the exit code of the last one. `limit`: seconds. `seen` gets the output as it comes. */
export const onNestedKvm = (commands, { limit = 600, seen, script, ...more } = {}) =>
  withFolder(async (folder) => {
    const { command, args, env } = await emulator(folder, commands, more);
    const { stdout, seconds } = await runProgram(command, args, { env, limit, seen, script });
    const said = saidBy(stdout);
    expect(
      said !== undefined,
      `the host that QEMU emulates went down before the commands had ended\n${stdout.slice(-2000)}`,
    );
    return { ...said, seconds };
  });

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values, positionals } = parseArgs({
    options: {
      limit: { type: 'string', default: '3600' },
      append: { type: 'string' },
      cpu: { type: 'string' },
      smp: { type: 'string' },
    },
    allowPositionals: true,
  });
  const seen = (text) => process.stdout.write(text);
  const typed = (child) => process.stdin.on('data', (text) => child.stdin.write(text)).on('end', () => {});
  const { code } = await onNestedKvm(positionals.join(' '), {
    limit: Number(values.limit),
    append: values.append,
    cpu: values.cpu,
    smp: values.smp,
    seen,
    script: [[/@up/, typed]],
  });
  process.stdin.destroy();
  process.exitCode = code;
}
