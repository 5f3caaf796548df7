/** What `Vm.create` is asked for, as the description of a machine. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { cpuModel, DEFAULT_CPU_MODEL } from '../../arch/x86/cpu-models.js';
import { HostError, UsageError } from '../../base/errors.js';
import { MIB, PAGE_SIZE } from '../../base/units.js';
import {
  agentArchive,
  architectureOf,
  cacheRoot,
  DEFAULT_GUEST,
  ensureGuest,
  joinArchives,
  readAgent,
  targets,
  type BootStep,
  type Progress,
} from '../../guests/index.js';
import { KERNEL_WORDS } from '../../guests/common/kernel-words.js';
import type { NetConfig, UserNetConfig } from '../../iface/net-config.js';
import type { AcceleratorName } from '../../runtime/node/accelerator-names.js';
import { checkMemory } from '../../runtime/node/accelerators.js';
import {
  DEFAULT_DISK_CACHE,
  DEFAULT_MACHINE,
  type DiskCache,
  type DiskConfig,
  type MachineConfig,
  type MachineKind,
} from '../../vmm/config.js';
import { DEFAULT_USER_NETWORK } from '../../vmm/net-config.js';
import type { ShareConfig } from '../../vmm/sharing-config.js';
import { AGENT_PORT } from '../agent/protocol.js';
import type { CommandDefaults } from '../exec.js';
import { DEFAULT_HOSTNAME, writeNote, type Note } from '../note.js';
import { pulledImage } from './pulled-image.js';

/** A root file system, and what commands in it get unless they are given something else. */
export interface RootImage {
  /** A disk image with a file system on it, raw or qcow2. */
  readonly disk: string;
  /** ext4 unless given. */
  readonly fileSystem?: string;
  /** Variables, `NAME=value`. */
  readonly env?: readonly string[];
  readonly cwd?: string;
  readonly user?: string;
}

/** A further disk. */
export interface DiskOptions {
  readonly path: string;
  readonly format?: DiskConfig['format'];
  readonly readOnly?: boolean;
  /** What the guest writes is thrown away with the machine. */
  readonly temporary?: boolean;
  /** Whether its file is read and written through the host's cache, or past it. Default `writeback`: through it. */
  readonly cache?: DiskCache;
}

/** A folder of the host that the guest has. */
export interface MountOptions {
  /** A folder of the host. */
  readonly path: string;
  readonly readOnly?: boolean;
}

/** A network of the guest's own, from which it reaches out through this process. */
export interface NetworkOptions {
  /** Nothing leaves but what `allow` names. */
  readonly restrict?: boolean;
  /** Names or addresses that may be reached; `port` 0, or none: every port. */
  readonly allow?: readonly { readonly host: string; readonly port?: number }[];
}

/** A Linux guest. */
export interface VmOptions {
  /**
   * The root: a container image by its name, as `debian:12` or `oci:FOLDER` (docs/images.md), which is pulled the first time; or a disk
   * of your own. Without it, the guest's initial file system, in memory, with busybox.
   */
  readonly image?: string | RootImage;
  /** Whether what is written to the image is kept in it. Otherwise it goes with the machine, and the image stays as it is. */
  readonly keepWrites?: boolean;
  /** A program of the image that is to be the first process, such as `/sbin/init`; without it the agent is. */
  readonly init?: string;
  /** Whose kernel boots: a name of `vitrine guest list`, `amd64` unless given. It is fetched the first time. */
  readonly guest?: string;
  /** A kernel of your own instead, and an initramfs with its modules in /lib/modules/RELEASE, if it needs any. */
  readonly kernel?: string;
  readonly initrd?: string;
  /** Words added to the kernel's command line. */
  readonly append?: string;
  /** Further disks: /dev/vdb … with an image, else /dev/vda … */
  readonly disks?: readonly (string | DiskOptions)[];
  /** Without it the best that works here. */
  readonly accel?: AcceleratorName;
  readonly machine?: MachineKind;
  readonly cpu?: string;
  /** Virtual CPUs; one unless given. */
  readonly cpus?: number;
  /** MiB; 512 unless given. */
  readonly memory?: number;
  /** Unless given the guest has a network of its own; false: none. */
  readonly net?: boolean | NetworkOptions;
  /** Folders of the host by their places in the guest: `{ '/work': '/home/me/project' }`. */
  readonly mounts?: Readonly<Record<string, string | MountOptions>>;
  /** `vitrine` unless given. */
  readonly hostname?: string;
  /** A screen, for `vm.display`: a VGA card (true, or `std`), or one with a virtio GPU besides. The board `pc` only. */
  readonly display?: boolean | 'std' | 'virtio';
  /** Told what is fetched or prepared, which takes a while the first time. */
  readonly onProgress?: Progress;
}

/** With the image where it is. */
type Located = Omit<VmOptions, 'image'> & { readonly image?: RootImage | undefined };

/** A description, and what the machine's owner knows besides. */
export interface Launch {
  readonly config: MachineConfig;
  readonly defaults: CommandDefaults;
}

const NETWORK = {
  card: 'eth0',
  address: '10.0.2.15/24',
  gateway: '10.0.2.2',
  dns: '10.0.2.3',
  mac: '52:54:00:12:34:56',
} as const;

/** Who is asked for names in the guest's own network. */
export const NAMESERVER = NETWORK.dns;

function userNetwork(options: NetworkOptions): NetConfig {
  if (options.allow !== undefined && options.restrict !== true)
    throw new UsageError('"allow" needs "restrict: true": without it everything can be reached');
  const network: UserNetConfig = {
    ...DEFAULT_USER_NETWORK,
    restrict: options.restrict ?? false,
    allow: (options.allow ?? []).map(({ host, port = 0 }) => ({ host, port })),
  };
  return { network, model: 'virtio-net', mac: NETWORK.mac, queues: 1, mtu: 1500, pcap: '' };
}

const disk = (options: string | DiskOptions): DiskConfig => {
  const {
    path: file,
    format = 'auto',
    readOnly = false,
    temporary = false,
    cache = DEFAULT_DISK_CACHE,
  } = typeof options === 'string' ? { path: options } : options;
  return {
    path: file,
    format,
    readOnly,
    temporary,
    attach: 'virtio',
    media: 'disk',
    serial: null,
    internal: null,
    cache,
  };
};

function shares(mounts: VmOptions['mounts'] = {}): { readonly share: ShareConfig; readonly at: string }[] {
  return Object.entries(mounts).map(([at, from], i) => {
    const { path: folder, readOnly = false } = typeof from === 'string' ? { path: from } : from;
    if (!at.startsWith('/')) throw new UsageError(`${at} is no place in the guest: it begins with /`);
    return { at, share: { path: path.resolve(folder), tag: `mount${i}`, readOnly, driver: 'virtiofs' } };
  });
}

function checkBytes(memory: number, cpus: number): number {
  if (!Number.isInteger(memory) || memory < 1) throw new UsageError(`a memory of ${memory} MiB`);
  const bytes = memory * MIB;
  if (bytes % PAGE_SIZE !== 0) throw new UsageError(`a memory of ${memory} MiB`);
  checkMemory(bytes, cpus);
  return bytes;
}

async function readOrFail(file: string, what: string): Promise<Uint8Array> {
  try {
    return await readFile(file);
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    throw new HostError(`cannot read the ${what} ${file}: ${missing ? 'no such file' : (cause as Error).message}`, {
      cause,
    });
  }
}

async function findKernel(
  options: Located,
): Promise<{ readonly name: string; readonly kernel: Uint8Array; readonly initrd: Uint8Array }> {
  const { guest, onProgress, display = false } = options;
  if (options.kernel !== undefined) {
    if (guest !== undefined) throw new UsageError('give either a guest or a kernel');
    const kernel = await readOrFail(options.kernel, 'kernel');
    const initrd = options.initrd === undefined ? new Uint8Array(0) : await readOrFail(options.initrd, 'initrd');
    return { name: options.kernel, kernel, initrd };
  }
  if (options.initrd !== undefined) throw new UsageError('an initrd needs a kernel');
  const name = guest ?? DEFAULT_GUEST;
  const runnable = targets.filter(({ kind }) => kind === 'linux').map((target) => target.name);
  if (!runnable.includes(name)) throw new UsageError(`there is no guest ${name}; there are ${runnable.join(', ')}`);
  const { files } = await ensureGuest(name, { cache: cacheRoot(), ...(onProgress && { progress: onProgress }) });
  // 32-bit kernels have no PVH entry, and who comes by that hears nothing of a screen.
  const file = name === 'i386' || display !== false ? files['vmlinuz'] : files['vmlinux'];
  const [kernel, initrd] = [await readOrFail(file, 'kernel'), await readOrFail(files['initrd'], 'initrd')];
  // Where the cache is, is nobody's business: a server tells its tenants.
  return { name: `the kernel of ${name}`, kernel, initrd };
}

/** What the agent does when it is the first process. */
function bootSteps(options: Located, mounts: ReturnType<typeof shares>): BootStep[] {
  const { image, init, machine = DEFAULT_MACHINE, net = true, disks = [] } = options;
  const modules = [
    machine === 'pc' ? 'virtio_pci' : 'virtio_mmio',
    'virtio_console',
    'virtio_rng',
    ...(image || disks.length > 0 ? ['virtio_blk', 'crc32c_generic', 'ext4'] : []),
    ...(image?.fileSystem !== undefined && image.fileSystem !== 'ext4' ? [image.fileSystem] : []),
    ...(net === false ? [] : ['virtio_net']),
    ...(mounts.length > 0 ? ['virtiofs'] : []),
  ];
  const steps: BootStep[] = modules.map((name) => ['module', name]);
  steps.push(['port']);
  if (image) {
    steps.push(['root', '/dev/vda', image.fileSystem ?? 'ext4', ''], ['enter']);
  } else if (options.kernel === undefined) steps.push(['run', '/bin/busybox', '--install', '-s']);
  if (init === undefined) {
    steps.push(
      ['basics'],
      ['hostname', options.hostname ?? DEFAULT_HOSTNAME],
      ['network', 'lo', '', '127.0.0.1/8', '', ''],
    );
    if (net !== false) steps.push(['network', NETWORK.card, '', NETWORK.address, NETWORK.gateway, NETWORK.dns]);
  } else steps.push(['hostname', options.hostname ?? DEFAULT_HOSTNAME], ['init', init]);
  for (const { share, at } of mounts) steps.push(['mount', share.tag, at, 'virtiofs', share.readOnly ? 'r' : '']);
  return steps;
}

function environment(image: RootImage | undefined): Record<string, string> {
  return Object.fromEntries(
    (image?.env ?? []).map((line) => {
      const at = line.indexOf('=');
      if (at < 1) throw new UsageError(`the image's variable "${line}" has no value`);
      return [line.slice(0, at), line.slice(at + 1)];
    }),
  );
}

/** Checks everything, fetches what is missing, and puts it together. Throws one-line errors. */
export async function prepareLaunch(wanted: VmOptions, signal?: AbortSignal): Promise<Launch> {
  if (typeof wanted.image === 'string' && wanted.keepWrites)
    throw new UsageError('writes are kept in a disk of your own, not in a container image');
  if (wanted.image === undefined && wanted.keepWrites)
    throw new UsageError('what is written is kept in the disk of an image, and there is none (keepWrites)');
  const { onProgress } = wanted;
  const root =
    typeof wanted.image === 'string' ? await pulledImage(wanted.image, { onProgress, signal }) : wanted.image;
  const options: Located = { ...wanted, image: root };
  const { image, cpus = 1, machine = DEFAULT_MACHINE, net = true, display = false } = options;
  if (options.init !== undefined && !image) throw new UsageError('an init needs an image that it is in');
  if (display !== false && machine !== 'pc') throw new UsageError(`the board ${machine} has no screen`);
  const { name: cpu } = cpuModel(options.cpu ?? DEFAULT_CPU_MODEL.name);
  const memory = checkBytes(options.memory ?? 512, cpus);
  const mounts = shares(options.mounts);
  const steps = bootSteps(options, mounts);
  const { name, kernel, initrd } = await findKernel(options);
  const agent = await readAgent(architectureOf(kernel));
  const disks = [
    ...(image ? [disk({ path: path.resolve(image.disk), temporary: !options.keepWrites })] : []),
    ...(options.disks ?? []).map(disk),
  ];
  const defaults = { env: environment(image), cwd: image?.cwd ?? '', user: image?.user ?? '' };
  const note: Note = {
    defaults,
    hostname: options.hostname ?? DEFAULT_HOSTNAME,
    ...(net !== false &&
      options.init === undefined && { network: { interface: NETWORK.card, gateway: NETWORK.gateway } }),
    display: display !== false,
  };
  const config: MachineConfig = {
    machine,
    cpu,
    cpus,
    memory,
    disks,
    debugExit: false,
    noReboot: false,
    clock: 'host',
    // Where nobody looks there is none, and the machine starts faster.
    display: { vga: display === false ? 'none' : display === true ? 'std' : display, rom: null, input: 'ps2' },
    sharing: { shares: mounts.map(({ share }) => share), ports: [{ name: AGENT_PORT, path: null }] },
    networks: net === false ? [] : [userNetwork(net === true ? {} : net)],
    note: writeNote(note),
    boot: {
      kernel: {
        name,
        data: new Uint8Array(kernel),
        commandLine:
          `${display === false ? '' : 'console=tty0 '}console=ttyS0 quiet ${KERNEL_WORDS} ${options.append ?? ''}`.trim(),
        modules: [{ name: 'initrd', data: joinArchives(initrd, agentArchive(agent, steps)) }],
      },
    },
  };
  return { config, defaults };
}
