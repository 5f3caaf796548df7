// KVM over VT-x, for machines whose processor has none: Bochs emulates one, in a Linux with the real KVM. Nothing about speed follows from that.
//
//   node tools/verify.mjs 55
import path from 'node:path';
import { expect, guest, initrdWithChecks, withFolder } from './lib.mjs';
import { LIMIT, WAYS } from './kvm/host-linux.mjs';
import { LPJ, onEmulatedVmx } from './kvm/vmx.mjs';

export const title =
  'KVM on VT-x as Bochs emulates it: it is chosen, and runs the demo, and Linux with each kind of interrupt controllers';

const vitrine = 'node dist/cli/main.js';

/** Each command has its own part of the output: what it wrote, and how it ended. */
const script = (commands) => commands.map((command) => `${command}\necho "@code $?"`).join('\n');
const parts = (output) =>
  output.split(/^@code (\d+)\n/m).reduce((all, text, i) => {
    if (i % 2 === 0) all.push({ text });
    else all.at(-1).code = Number(text);
    return all;
  }, []);

export async function run(log) {
  const { files } = await guest('amd64');
  await withFolder(async (folder) => {
    const checks = initrdWithChecks(files.initrd, path.join(folder, 'checks'));
    const linux = ([who, cpus]) =>
      `${vitrine} run --kernel /guests/linux --initrd /guests/checks --memory 192M --net none --no-reboot --kernel-irqchip ${who} --smp ${cpus} ` +
      `--append 'console=ttyS0 quiet panic=-1 lpj=${LPJ} rdinit=/check checks=cpu,mem,fp,fork cpus=${cpus}'`;
    const commands = [`${vitrine} info`, `${vitrine} run demo`, ...WAYS.map(linux)];
    const guests = { linux: files.vmlinuz, checks };
    const { output, seconds } = await onEmulatedVmx(script(commands), { limit: LIMIT, guests });
    const [info, demo, ...boots] = parts(output);

    expect(/the default$/m.test(info.text.match(/^ *kvm: .*$/m)?.[0] ?? ''), `it is not chosen: ${info.text}`);
    log('vitrine info: KVM is the default there');
    expect(demo.code === 0 && /checks passed/.test(demo.text), `the demo: ${demo.text}`);
    log(`the demo: ${/\d+ checks passed/.exec(demo.text)?.[0]}`);
    for (const [i, [who, cpus]] of WAYS.entries()) {
      const { text, code } = boots[i];
      expect(code === 0 && /@done/.test(text) && !/@bad/.test(text), `Linux, ${who}, ${cpus}: ${text.slice(-2000)}`);
      log(`Linux, ${cpus} CPU(s), --kernel-irqchip ${who}: ${/@up (.*)/.exec(text)?.[1]}`);
    }
    log(`${seconds.toFixed(0)} s in all`);
  });
}
