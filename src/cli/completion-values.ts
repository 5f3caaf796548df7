/** Values that commands take and that are not in the commands: machines, images, guests, words. */
import { CPU_MODELS } from '../arch/x86/cpu-models.js';
import { targets } from '../guests/index.js';
import { INPUT_KINDS } from '../machine/pc/display-kinds.js';
import { familiarName, ImageStore } from '../oci/index.js';
import type { ApiClient } from '../api/client.js';
import { findSupervisor } from '../api/node-supervisor.js';
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

/** Milliseconds. */
const PATIENCE = 2000;

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

/** Asks the supervisor, if there is one; whoever types does not wait for it long, and is told nothing of what goes wrong. */
async function asked<T>(question: (client: ApiClient, signal: AbortSignal) => Promise<T[]>): Promise<T[]> {
  try {
    const client = await findSupervisor();
    if (!client) return [];
    try {
      return await question(client, AbortSignal.timeout(PATIENCE));
    } finally {
      client.close();
    }
  } catch {
    return [];
  }
}

/** Machines that commands reach into. */
async function machines(suffix = ''): Promise<Candidate[]> {
  const detached = await asked((client, signal) => client.list({ signal }));
  return detached.map(({ name, state, image = '' }) => ({
    value: `${name}${suffix}`,
    description: `${state} ${image}`.trim(),
  }));
}

async function snapshots(): Promise<Candidate[]> {
  const all = await asked((client, signal) => client.snapshots({ signal }));
  return all.map(({ name, machine }) => ({ value: name, description: `of ${machine}` }));
}

/** What `vitrine cp` copies: files of this host, machines, and what is in these. */
async function copied(current: string): Promise<Completions> {
  const [, name, folder] = /^([A-Za-z0-9][\w.-]*):(\/(?:.*\/)?)?[^/]*$/.exec(current) ?? [];
  if (name === undefined) return told(await machines(':'), 'files', 'nospace');
  const at = folder ?? '/';
  const entries = await asked((client, signal) => client.listFolder(name, at, { signal }));
  return told(
    entries.map((entry) => ({ value: `${name}:${at}${entry.name}${entry.type === 'folder' ? '/' : ''}` })),
    'nospace',
  );
}

/** Arguments by their places. */
const ARGUMENTS: Readonly<Record<string, (current: string) => Completions | Promise<Completions>>> = {
  'run <image>': async () =>
    told([...guests('linux'), { value: DEMO, description: 'our own guest' }, ...(await images('oci:'))], 'folders'),
  'guest fetch <name>': () => told(guests()),
  'guest path <name>': () => told(guests()),
  'image rm <name>': async () => told(await images()),
  'image inspect <name>': async () => told(await images()),
  'image pull <name>': async () => told(await images()),
  'cp <from>': copied,
  'cp <to>': copied,
  'restore <snapshot>': async () => told(await snapshots(), 'files'),
  'completion <shell>': () => told(SHELLS.map((value) => ({ value }))),
};

export const VALUES: ValueSource = {
  async values(place, current) {
    if (place in ARGUMENTS) return ARGUMENTS[place](current);
    const option = /--[a-z-]+/.exec(place)?.at(0) ?? '';
    if (option in WORDS) return told(WORDS[option].map((value) => ({ value })));
    // What is within the guest is not known here.
    if (option === '--workdir') return told([]);
    if (place.endsWith(' <machine>')) return told(await machines());
    if (/<(file|source|a|b)\b/.test(place)) return told([], 'files');
    if (place.includes('<folder')) return told([], 'folders');
    return told([]);
  },
};
