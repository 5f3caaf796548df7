import { Command } from 'commander';
import { CPU_MODELS } from '../arch/x86/cpu-models.js';
import { maxBacking } from '../accel/interp/memory.js';
import { MIB } from '../base/units.js';
import { cacheRoot } from '../guests/index.js';
import { productVersion } from './version.js';

/** `vitrine info`: what there is on this host. */
export function infoCommand(): Command {
  return new Command('info').description('what this Vitrine has to offer on this host').action(info);
}

/** Whether there is KVM, and why not. */
async function describeKvm(): Promise<string> {
  try {
    const { kvmTscHz } = await import('../runtime/node/kvm.js');
    const mhz = Math.round(kvmTscHz() / 1e6);
    return `kvm: the host's processor, by /dev/kvm (${mhz} MHz time-stamp counter), when asked for`;
  } catch (error) {
    return `kvm: not here: ${error instanceof Error ? error.message : String(error)}`;
  }
}

async function info(): Promise<void> {
  const lines = [
    `Vitrine ${productVersion()}, Node.js ${process.versions.node}`,
    'accelerators wasm: translator to WebAssembly (the default); interp: interpreter',
    `             both in WebAssembly, with up to ${Math.floor(maxBacking(1) / MIB)} MiB of memory`,
    `             ${await describeKvm()}`,
    'machine      pc: Q35 and ICH9',
    ...CPU_MODELS.map(({ name, summary }, i) => `${i === 0 ? 'CPU models' : '          '}   ${name}: ${summary}`),
    `guests       kept in ${cacheRoot()}`,
  ];
  for (const line of lines) console.log(line);
}
