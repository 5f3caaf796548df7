/** Values that commands take and that are not in the commands: machines, images, guests, words. */
import { CPU_MODELS } from '../arch/x86/cpu-models.js';
import { targets } from '../guests/index.js';
import { INPUT_KINDS } from '../machine/pc/display.js';
import { familiarName, ImageStore } from '../oci/index.js';
import { registered } from '../runtime/node/registry.js';
import { MACHINES } from '../vmm/config.js';
import type { Candidate, Completions, Directive, ValueSource } from './completion.js';
import { SHELLS } from './completion-scripts.js';
import { DEMO } from './images.js';

/** Words of options. */
const WORDS: Readonly<Record<string, readonly string[]>> = {
  '--accel': ['kvm', 'wasm', 'interp'],
  '--clock': ['host', 'virtual'],
  '--console': ['ttyS0', 'hvc0'],
  '--cpu': CPU_MODELS.map(({ name }) => name),
  '--display': ['none', 'vnc'],
  '--format': ['raw', 'qcow2'],
  '--input': INPUT_KINDS,
  '--machine': MACHINES,
  '--net': ['user', 'link', 'tap', 'none'],
  '--platform': ['linux/amd64'],
  '--trace': ['exec', 'int', 'mmio', 'pio', 'translate'],
  '--vga': ['std', 'virtio', 'none'],
};

const told = (candidates: readonly Candidate[], ...directives: readonly Directive[]): Completions => ({
  candidates,
  directives,
});

/** Names of images that are here. What goes wrong is nothing that somebody who types wants to be told. */
async function images(prefix = ''): Promise<Candidate[]> {
  const records = await new ImageStore().list().catch(() => []);
  return records.map(({ name, platform }) => ({ value: `${prefix}${familiarName(name)}`, description: platform }));
}

const guests = (kind?: 'linux'): Candidate[] =>
  targets
    .filter((target) => kind === undefined || target.kind === kind)
    .map(({ name, description }) => ({ value: name, description }));

/** Machines that run, of whatever process. */
export function machineNames(): Candidate[] {
  try {
    return registered().map(({ name }) => ({ value: name, description: 'a machine' }));
  } catch {
    return [];
  }
}

/** Arguments by their places. */
const ARGUMENTS: Readonly<Record<string, () => Completions | Promise<Completions>>> = {
  'run <image>': async () =>
    told([...guests('linux'), { value: DEMO, description: 'our own guest' }, ...(await images('oci:'))], 'folders'),
  'guest fetch <name>': () => told(guests()),
  'guest path <name>': () => told(guests()),
  'image rm <name>': async () => told(await images()),
  'image inspect <name>': async () => told(await images()),
  'image pull <name>': async () => told(await images()),
  'completion <shell>': () => told(SHELLS.map((value) => ({ value }))),
};

export const VALUES: ValueSource = {
  async values(place) {
    if (place in ARGUMENTS) return ARGUMENTS[place]();
    const option = /--[a-z-]+/.exec(place)?.at(0) ?? '';
    if (option in WORDS) return told(WORDS[option].map((value) => ({ value })));
    // What is within the guest is not known here.
    if (option === '--workdir') return told([]);
    if (place.includes('<machine')) return told(machineNames());
    if (/<(file|source|a|b)\b/.test(place)) return told([], 'files');
    if (place.includes('<folder')) return told([], 'folders');
    return told([]);
  },
};
