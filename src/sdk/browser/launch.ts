/** What `Vm.create` is asked for in a page, as the description of a machine. */
import { HostError, UsageError } from '../../base/errors.js';
import { MIB, PAGE_SIZE } from '../../base/units.js';
import { KERNEL_WORDS } from '../../guests/common/kernel-words.js';
import { agentArchive, architectureOf, joinArchives, type BootStep } from '../../guests/common/agent-archive.js';
import type { NetConfig } from '../../iface/net-config.js';
import type { RelayAddress } from '../../runtime/browser/net-protocol.js';
import type { NewImage, PageParts } from '../../runtime/browser/protocol.js';
import type { DiskConfig, MachineConfig } from '../../vmm/config.js';
import { DEFAULT_USER_NETWORK } from '../../vmm/net-config.js';
import { AGENT_PORT } from '../agent/protocol.js';
import { DEFAULT_HOSTNAME, writeNote, type Note } from '../note.js';

/** Bytes, or where they are: an address, or a file that the user chose. */
export type Source = string | URL | Blob | Uint8Array;

/** A disk. What is written to one on a server, or to a file that was chosen, is thrown away with the machine. */
export interface DiskOptions {
  /** A file in the page's storage (OPFS), an address, or a file that the user chose; raw or qcow2. */
  readonly image: string | File;
  readonly format?: DiskConfig['format'];
  readonly readOnly?: boolean;
  /** What the guest writes is thrown away with the machine. */
  readonly temporary?: boolean;
  /**
   * Makes the image in the page's storage unless it is there: empty, with so many bytes, or standing on `base`, another image by its
   * name or address, which stays as it is. What is written is there again after a reload.
   */
  readonly create?: Pick<NewImage, 'size' | 'base' | 'format'>;
}

/** A root file system, and what commands in it get unless they are given something else. */
export interface RootImage extends DiskOptions {
  /** ext4 unless given. */
  readonly fileSystem?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly user?: string;
}

/** A network of the guest's own. */
export interface NetworkOptions {
  /** A server's network, which it reaches through a WebSocket: `vitrine serve` offers one. Without it, what `fetch` reaches. */
  readonly relay?: RelayAddress;
  /** Nothing leaves but what `allow` names; not with a relay, whose server decides. */
  readonly restrict?: boolean;
  /** Names that may be reached. */
  readonly allow?: readonly { readonly host: string; readonly port?: number }[];
}

/** A Linux guest in a page. */
export interface VmOptions {
  /** Where `kernel` and `initrd` of a guest are, as `npm run web` serves one; `guest/` beside Vitrine's files unless given. */
  readonly guest?: string | URL;
  /** A kernel of your own instead, and an initramfs with its modules in /lib/modules/RELEASE, if it needs any. */
  readonly kernel?: Source;
  readonly initrd?: Source;
  /** Words added to the kernel's command line. */
  readonly append?: string;
  /** The root; without it, the guest's initial file system, in memory, with busybox. */
  readonly image?: RootImage;
  /** Further disks: /dev/vdb … with an image, else /dev/vda … */
  readonly disks?: readonly DiskOptions[];
  /** Virtual CPUs; one unless given. */
  readonly cpus?: number;
  /** MiB; 256 unless given. */
  readonly memory?: number;
  /** Unless given the guest has a network of its own, through `fetch`; false: none. */
  readonly net?: boolean | NetworkOptions;
  /** `vitrine` unless given. */
  readonly hostname?: string;
  /** A screen: a VGA card (`std`), or one with a virtio GPU besides. */
  readonly display?: 'std' | 'virtio';
}

export interface Launch {
  readonly config: MachineConfig;
  readonly parts: PageParts;
  readonly note: Note;
}

const NETWORK = {
  card: 'eth0',
  address: '10.0.2.15/24',
  gateway: '10.0.2.2',
  dns: '10.0.2.3',
  mac: '52:54:00:12:34:56',
} as const;

async function bytesOf(source: Source, what: string, signal: AbortSignal | undefined): Promise<Uint8Array> {
  if (source instanceof Uint8Array) return source;
  if (source instanceof Blob) return new Uint8Array(await source.arrayBuffer());
  const fail = (reason: string, cause?: unknown): HostError =>
    new HostError(`cannot load the ${what} ${String(source)}: ${reason}`, { cause });
  let response: Response;
  try {
    response = await fetch(source, signal ? { signal } : {});
  } catch (cause) {
    signal?.throwIfAborted();
    throw fail(cause instanceof Error ? cause.message : String(cause), cause);
  }
  if (!response.ok) throw fail(`the server answers ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

/** Disks and where their images come from. */
function describeDisks(
  all: readonly DiskOptions[],
): { readonly disks: DiskConfig[] } & Required<Pick<PageParts, 'files' | 'images'>> {
  const files: Record<string, Blob> = {};
  const images: NewImage[] = [];
  const disks = all.map(({ image, format = 'auto', readOnly = false, temporary = false, create }, i): DiskConfig => {
    let path: string;
    if (typeof image === 'string') path = image;
    else {
      path = image.name in files ? `${i}-${image.name}` : image.name;
      files[path] = image;
    }
    if (create) images.push({ name: path, ...create });
    return { path, format, readOnly, temporary, attach: 'virtio', media: 'disk', serial: null, internal: null };
  });
  return { disks, files, images };
}

function network({ restrict = false, allow = [] }: NetworkOptions): NetConfig {
  const user = { ...DEFAULT_USER_NETWORK, restrict, allow: allow.map(({ host, port = 0 }) => ({ host, port })) };
  return { network: user, model: 'virtio-net', mac: NETWORK.mac, queues: 1, mtu: 1500, pcap: '' };
}

/** What the agent does when it is the first process. */
function bootSteps(
  { image, disks = [], net = true, hostname = DEFAULT_HOSTNAME }: VmOptions,
  isOwnGuest: boolean,
): BootStep[] {
  const modules = ['virtio_pci', 'virtio_console', 'virtio_rng'];
  if (image || disks.length > 0) modules.push('virtio_blk', 'crc32c_generic', 'ext4');
  if (image?.fileSystem !== undefined && image.fileSystem !== 'ext4') modules.push(image.fileSystem);
  if (net !== false) modules.push('virtio_net');
  const steps: BootStep[] = [...modules.map((name): BootStep => ['module', name]), ['port']];
  if (image) steps.push(['root', '/dev/vda', image.fileSystem ?? 'ext4', image.readOnly ? 'r' : ''], ['enter']);
  else if (isOwnGuest) steps.push(['run', '/bin/busybox', '--install', '-s']);
  steps.push(['basics'], ['hostname', hostname], ['network', 'lo', '', '127.0.0.1/8', '', '']);
  if (net !== false) steps.push(['network', NETWORK.card, '', NETWORK.address, NETWORK.gateway, NETWORK.dns]);
  return steps;
}

/** Checks everything, loads what is needed, and puts it together. Rejected with one-line errors. `base`: where Vitrine's files are. */
export async function prepareLaunch(options: VmOptions, base: URL, signal?: AbortSignal): Promise<Launch> {
  const { image, disks = [], cpus = 1, memory = 256, net = true, display, append = '' } = options;
  if (options.initrd !== undefined && options.kernel === undefined) throw new UsageError('an initrd needs a kernel');
  if (options.kernel !== undefined && options.guest !== undefined)
    throw new UsageError('give either a guest or a kernel');
  if (!Number.isInteger(memory) || memory < 1) throw new UsageError(`a memory of ${memory} MiB`);
  const bytes = Math.floor((memory * MIB) / PAGE_SIZE) * PAGE_SIZE;
  const guest = new URL(options.guest ?? new URL('guest/', base), location.href);
  const folder = guest.href.endsWith('/') ? guest.href : `${guest.href}/`;
  const isOwnGuest = options.kernel === undefined;
  const sources = isOwnGuest ? [`${folder}kernel`, `${folder}initrd`] : [options.kernel, options.initrd];
  const [kernel, initrd] = await Promise.all([
    bytesOf(sources[0] ?? new Uint8Array(0), 'kernel', signal),
    bytesOf(sources[1] ?? new Uint8Array(0), 'initrd', signal),
  ]);
  const agent = await bytesOf(new URL(`agent/agent-${architectureOf(kernel)}`, base), "guest's agent", signal);
  const { disks: configs, files, images } = describeDisks([...(image ? [image] : []), ...disks]);
  const note: Note = {
    defaults: { env: image?.env ?? {}, cwd: image?.cwd ?? '', user: image?.user ?? '' },
    hostname: options.hostname ?? DEFAULT_HOSTNAME,
    ...(net !== false && { network: { interface: NETWORK.card, gateway: NETWORK.gateway } }),
    display: display !== undefined,
  };
  const networks = net === false ? undefined : net === true ? {} : net;
  const config: MachineConfig = {
    cpu: 'x86-64-v2',
    cpus,
    memory: bytes,
    disks: configs,
    debugExit: false,
    noReboot: false,
    clock: 'host',
    display: { vga: display ?? 'none', rom: null, input: display ? 'virtio' : 'ps2' },
    sharing: { ports: [{ name: AGENT_PORT, path: null }] },
    networks: networks ? [network(networks)] : [],
    note: writeNote(note),
    boot: {
      kernel: {
        name: isOwnGuest ? `${folder}kernel` : 'kernel',
        data: kernel,
        commandLine: `${display ? 'console=tty0 ' : ''}console=ttyS0 quiet ${KERNEL_WORDS} ${append}`.trim(),
        modules: [{ name: 'initrd', data: joinArchives(initrd, agentArchive(agent, bootSteps(options, isOwnGuest))) }],
      },
    },
  };
  return { config, parts: { files, images, relay: networks?.relay }, note };
}
