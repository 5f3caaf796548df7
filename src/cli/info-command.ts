import { totalmem, availableParallelism } from 'node:os';
import { Command } from 'commander';
import { CPU_MODELS, DEFAULT_CPU_MODEL } from '../arch/x86/cpu-models.js';
import { maxBacking } from '../accel/interp/memory.js';
import { MIB } from '../base/units.js';
import { cacheRoot } from '../guests/index.js';
import { featureLeaves, missingFeatures } from '../machine/common/cpu-features.js';
import { boardCpuid } from '../machine/common/identity.js';
import { kvmStatus, type KvmStatus } from '../runtime/node/choose-accelerator.js';
import { MACHINES, type MachineKind } from '../vmm/config.js';
import { productVersion } from './version.js';

/** The oldest Node.js that Vitrine runs on. */
const NODE = 20;

/** What there is on a host, as `vitrine info --json` gives it. */
interface HostInfo {
  readonly version: string;
  readonly node: { readonly version: string; readonly ok: boolean };
  readonly host: {
    readonly platform: string;
    readonly arch: string;
    readonly cores: number;
    /** MiB. */
    readonly memory: number;
  };
  /** Memory that threads share, which machines live in. */
  readonly sharedMemory: boolean;
  /** What runs a machine with one CPU for which nothing is asked. */
  readonly defaultAccelerator: string;
  readonly accelerators: {
    /** `maxMemory`: MiB that a machine can have. */
    readonly wasm: { readonly works: boolean; readonly maxMemory: number };
    readonly interp: { readonly works: boolean; readonly maxMemory: number };
    readonly kvm: KvmStatus;
  };
  readonly machines: readonly string[];
  readonly cpuModels: readonly { readonly name: string; readonly summary: string }[];
  readonly warnings: readonly string[];
  /** Where guests are kept. */
  readonly guests: string;
}

/** `vitrine info`: what there is on this host. */
export function infoCommand(): Command {
  return new Command('info')
    .description('what this Vitrine has to offer on this host, and why not more')
    .option('--json', 'for programs')
    .action(info);
}

function hasSharedMemory(): boolean {
  try {
    return new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }).buffer instanceof SharedArrayBuffer;
  } catch {
    return false;
  }
}

async function hostInfo(): Promise<HostInfo> {
  const kvm = await kvmStatus();
  const sharedMemory = hasSharedMemory();
  const node = { version: process.versions.node, ok: Number(process.versions.node.split('.')[0]) >= NODE };
  const warnings: string[] = [];
  if (!node.ok) warnings.push(`Node.js ${node.version} is too old: Vitrine needs ${NODE}`);
  if (!sharedMemory) warnings.push('this Node.js has no shared memory, which machines live in');
  if (kvm.masksCpuid === false)
    warnings.push(
      'guests on KVM see features of the host’s processor that their CPU model does not have: machines that are saved there go on only where those are',
    );
  const model = featureLeaves(boardCpuid(DEFAULT_CPU_MODEL, 1e9, 1, 0));
  const hidden = kvm.supported ? missingFeatures(model, kvm.supported) : [];
  if (hidden.length > 0)
    warnings.push(
      `guests on KVM find no ${hidden.join(', ')}, which this host's KVM does not have: machines that have seen these go on with wasm`,
    );
  const webAssembly = { works: sharedMemory, maxMemory: Math.floor(maxBacking(1) / MIB) };
  return {
    version: productVersion(),
    node,
    host: {
      platform: process.platform,
      arch: process.arch,
      cores: availableParallelism(),
      memory: Math.floor(totalmem() / MIB),
    },
    sharedMemory,
    defaultAccelerator: kvm.works ? 'kvm' : 'wasm',
    accelerators: { wasm: webAssembly, interp: webAssembly, kvm },
    machines: MACHINES,
    cpuModels: CPU_MODELS.map(({ name, summary }) => ({ name, summary })),
    warnings,
    guests: cacheRoot(),
  };
}

const MACHINE_WORDS: Readonly<Record<MachineKind, string>> = {
  pc: 'Q35 and ICH9',
  microvm: 'virtio alone, without PCI, firmware and legacy chips',
};

function describeKvm({ opens, works, reason = '', tscHz = 0 }: KvmStatus): string {
  if (!opens) return `kvm: not here: ${reason}`;
  const rate = `${Math.round(tscHz / 1e6)} MHz time-stamp counter`;
  if (works) return `kvm: the host's processor, by /dev/kvm (${rate}); the default`;
  return `kvm: when asked for: ${reason}, so that operating systems do not run on it (${rate})`;
}

async function info({ json }: { readonly json?: boolean }): Promise<void> {
  const all = await hostInfo();
  if (json) {
    console.log(JSON.stringify(all, undefined, 2));
    return;
  }
  const { accelerators, node, host } = all;
  const isDefault = all.defaultAccelerator === 'wasm' ? ' (the default)' : '';
  const lines = [
    `Vitrine ${all.version}, Node.js ${node.version}`,
    `host         ${host.platform}, ${host.arch}, ${host.cores} cores, ${host.memory} MiB of memory`,
    `accelerators wasm: translator to WebAssembly${isDefault}; interp: interpreter`,
    `             both in WebAssembly, with up to ${accelerators.wasm.maxMemory} MiB of memory`,
    `             ${describeKvm(accelerators.kvm)}`,
    ...MACHINES.map((name, i) => `${i === 0 ? 'machines  ' : '          '}   ${name}: ${MACHINE_WORDS[name]}`),
    ...all.cpuModels.map(({ name, summary }, i) => `${i === 0 ? 'CPU models' : '          '}   ${name}: ${summary}`),
    `guests       kept in ${all.guests}`,
    ...all.warnings.map((text) => `warning      ${text}`),
  ];
  for (const line of lines) console.log(line);
}
