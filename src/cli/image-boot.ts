/** What boots a container image: the guest's agent as the first process, or, on the serial console, a shell script. */
import { UsageError } from '../base/errors.js';
import {
  agentArchive,
  cacheRoot,
  DEFAULT_GUEST,
  ensureGuest,
  joinArchives,
  readAgent,
  type BootStep,
} from '../guests/index.js';
import { EXIT_MARK, imageInit, ROOT_DISK_SERIAL } from '../guests/image-init.js';
import { writeCpio } from '../guests/common/cpio.js';
import { readWholeFile } from '../host/node/read-file.js';
import type { NetConfig } from '../iface/net-config.js';
import { MAX_PORTS } from '../machine/common/sharing-kinds.js';
import { addressText } from '../net/addresses.js';
import { planNetwork } from '../net/user/plan.js';
import { resolveUser, type StoredImage } from '../oci/index.js';
import { AGENT_PORT } from '../sdk/agent/protocol.js';
import { writeNote } from '../sdk/note.js';
import type { DiskConfig, MachineConfig } from '../vmm/config.js';
import type { SharingConfig } from '../vmm/sharing-config.js';
import type { GuestProgramOptions } from './guest-program.js';
import type { ImageOptions } from './image-options.js';
import { COMMAND_LINE } from './images.js';
import { chooseIo, readVariables } from './program-options.js';
import { interruptibleProgress } from './progress-line.js';
import { parsePublish, readVolumes, type Volume } from './volume-options.js';

/** A machine but for what it boots. */
export type Chassis = Omit<MachineConfig, 'boot'>;

/** How an image is run. */
export interface ImageBoot {
  readonly config: MachineConfig;
  /** What the agent is to run; absent: the first process does so by itself. */
  readonly program?: GuestProgramOptions;
  /** What stands before the program's exit code on the virtio console. */
  readonly exitMark?: string;
}

const HOSTNAME = 'vitrine';

/** The first virtio disk. */
const rootDisk = (path: string): DiskConfig => ({
  path,
  format: 'raw',
  readOnly: false,
  temporary: true,
  attach: 'virtio',
  media: 'disk',
  serial: ROOT_DISK_SERIAL,
  internal: null,
});

/** Sets up the first card by DHCP, as a script of the initial file system; a network without a server is none. */
const DHCP = `#!/bin/busybox sh
/bin/busybox --install -s
export PATH=/sbin:/usr/sbin:/bin:/usr/bin
ip link set lo up
ip link set eth0 up
udhcpc -i eth0 -n -q -t 5 -T 1 -s /etc/udhcpc.script >/dev/null 2>&1
if [ -s /etc/resolv.conf ]; then
  mkdir -p /vitrine.root/etc
  rm -f /vitrine.root/etc/resolv.conf
  cp /etc/resolv.conf /vitrine.root/etc/resolv.conf
fi
exit 0
`;
const DHCP_FILE = 'vitrine.dhcp';

/** The program, with what it is given. Throws a UsageError where nobody says which. */
function programOf(
  { name, config }: StoredImage,
  command: readonly string[],
  entrypoint: string | undefined,
): string[] {
  // An empty one takes the image's away.
  const first = entrypoint === undefined ? config.entrypoint : entrypoint === '' ? [] : [entrypoint];
  const argv = [...first, ...(command.length > 0 ? command : entrypoint === undefined ? config.cmd : [])];
  if (argv.length === 0)
    throw new UsageError(`the image ${name} names no program; say which, as in: vitrine run oci:${name} -- /bin/sh`);
  return argv;
}

/** `NAME=VALUE` by name; what has no value is none. */
const byName = (pairs: readonly string[]): Record<string, string> =>
  Object.fromEntries(
    pairs
      .filter((pair) => pair.indexOf('=') > 0)
      .map((pair) => [pair.split('=', 1)[0], pair.slice(pair.indexOf('=') + 1)]),
  );

/** Drivers of what the machine has, in the order in which devices get their names. */
function modules({ machine, disks, networks = [] }: Chassis, sharing: SharingConfig): string[] {
  const { shares = [], vsock, balloon } = sharing;
  const attached = new Set(disks.map(({ attach }) => attach));
  return [
    machine === 'microvm' ? 'virtio_mmio' : 'virtio_pci',
    'virtio_console',
    'virtio_rng',
    'virtio_blk',
    'crc32c_generic',
    'ext4',
    ...(attached.has('sata') ? ['ahci'] : []),
    ...(attached.has('ide') ? ['ata_piix'] : []),
    ...(attached.has('sata') || attached.has('ide') ? ['sd_mod', 'sr_mod'] : []),
    ...(attached.has('floppy') ? ['floppy'] : []),
    // Of disks besides: there is nothing that would load them later.
    ...(disks.length > 0 ? ['isofs', 'vfat', 'nls_cp437', 'nls_ascii'] : []),
    ...networks.map(({ model }) => (model === 'e1000' ? 'e1000' : 'virtio_net')),
    ...(shares.some(({ driver }) => driver === 'virtiofs') ? ['virtiofs'] : []),
    ...(shares.some(({ driver }) => driver === '9p') ? ['9p', '9pnet_virtio'] : []),
    ...(vsock ? ['vmw_vsock_virtio_transport'] : []),
    ...(balloon ? ['virtio_balloon'] : []),
  ];
}

/** The first card as the agent is to set it up; undefined: only its network knows how. */
function addresses(card: NetConfig | undefined): { readonly step: BootStep; readonly dns: string } | undefined {
  // The kernel may lack the driver of another card, and the agent insists.
  if (card?.network.kind !== 'user' || card.model !== 'virtio-net') return undefined;
  const { net, gateway, dns, firstGuest } = planNetwork(card.network);
  const [own, router, server] = [firstGuest, gateway, dns].map(addressText);
  return { step: ['network', 'eth0', '', `${own}/${net.length}`, router, server], dns: server };
}

/** Tags that no `--share` has, which are no longer than 36 bytes. */
const volumeTag = (index: number): string => `vitrine.volume.${index}`;

function shared(sharing: SharingConfig | undefined, volumes: readonly Volume[]): SharingConfig {
  const { shares = [], ports = [], ...rest } = sharing ?? {};
  if (ports.length >= MAX_PORTS)
    throw new UsageError(`with a container image there are ${MAX_PORTS - 1} ports at most`);
  const more = volumes.map(({ path, readOnly }, i) => ({
    path,
    tag: volumeTag(i),
    readOnly,
    driver: 'virtiofs' as const,
  }));
  return { ...rest, shares: [...shares, ...more], ports: [...ports, { name: AGENT_PORT, path: null }] };
}

async function guestFiles(): ReturnType<typeof ensureGuest> {
  const { progress, done } = interruptibleProgress();
  try {
    return await ensureGuest(DEFAULT_GUEST, { cache: cacheRoot(), progress });
  } finally {
    done();
  }
}

/** The machine that runs an image's program by the guest's agent. Throws a one-line error. */
export async function bootByAgent(
  image: StoredImage,
  command: readonly string[],
  options: ImageOptions,
  chassis: Chassis,
  append: string | undefined,
): Promise<ImageBoot> {
  const { config } = image;
  const argv = programOf(image, command, options.entrypoint);
  const user = options.user ?? config.user;
  // The guest finds the same, but too late to say it in good time.
  resolveUser(user, image.accounts);
  const env = { HOSTNAME, ...byName(config.env), ...readVariables(options) };
  const defaults = { env, cwd: options.workdir ?? config.workdir, user };
  const volumes = readVolumes(options);
  const sharing = shared(chassis.sharing, volumes);
  const { networks = [] } = chassis;
  const static_ = addresses(networks.at(0));
  const asks = networks.length > 0 && !static_;
  const steps: BootStep[] = [
    ...modules(chassis, sharing).map((name): BootStep => ['module', name]),
    ['port'],
    ['root', '/dev/vda', 'ext4', ''],
    ...(asks ? [['run', `/${DHCP_FILE}`] as const] : []),
    ['enter'],
    ['basics'],
    ['hostname', HOSTNAME],
    ['network', 'lo', '', '127.0.0.1/8', '', ''],
    ...(static_ ? [static_.step] : []),
    ...volumes.map(({ at, readOnly }, i): BootStep => ['mount', volumeTag(i), at, 'virtiofs', readOnly ? 'r' : '']),
  ];
  const { files } = await guestFiles();
  const agent = agentArchive(await readAgent('amd64'), steps);
  const initrd = joinArchives(readWholeFile(files['initrd'], 'initrd'), agent);
  const script = { kind: 'file' as const, path: DHCP_FILE, data: new TextEncoder().encode(DHCP), mode: 0o755 };
  return {
    config: {
      ...chassis,
      disks: [rootDisk(image.rootDisk), ...chassis.disks],
      sharing,
      // The program does not begin again.
      noReboot: true,
      note: writeNote({ defaults, hostname: HOSTNAME, display: chassis.display?.vga !== 'none' }),
      boot: {
        kernel: {
          name: files['vmlinux'],
          data: readWholeFile(files['vmlinux'], 'kernel'),
          commandLine: append ?? `${COMMAND_LINE} loglevel=1`,
          modules: [{ name: 'initrd', data: asks ? joinArchives(initrd, writeCpio([script])) : initrd }],
        },
      },
    },
    program: {
      argv,
      defaults,
      ...chooseIo(options),
      nameserver: static_?.dns,
      publications: (options.publish ?? []).map(parsePublish),
      writesBack: volumes.some(({ readOnly }) => !readOnly) || chassis.disks.some(({ temporary }) => !temporary),
    },
  };
}

/** Options that the agent alone can heed. */
const OF_THE_AGENT = ['volume', 'publish', 'tty', 'interactive'] as const;

/**
 * The machine that runs an image's program on its serial console, with nothing outside that takes part: it can be saved with
 * its terminal, and every run of it is the same. Throws a one-line error.
 */
export async function bootOnConsole(
  image: StoredImage,
  command: readonly string[],
  options: ImageOptions,
  chassis: Chassis,
  append: string | undefined,
): Promise<ImageBoot> {
  const given = OF_THE_AGENT.find((key) => options[key] !== undefined);
  if (given !== undefined)
    throw new UsageError(`--${given} does not go together with --save-on-exit or --clock virtual`);
  const { config, accounts } = image;
  const credentials = options.user === undefined ? image.credentials : resolveUser(options.user, accounts);
  const env = { ...byName(config.env), ...readVariables(options) };
  const init = imageInit({
    argv: programOf(image, command, options.entrypoint),
    env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
    workdir: options.workdir ?? config.workdir,
    ...credentials,
  });
  const { files } = await guestFiles();
  return {
    config: {
      ...chassis,
      disks: [rootDisk(image.rootDisk), ...chassis.disks],
      boot: {
        kernel: {
          name: files['vmlinux'],
          data: readWholeFile(files['vmlinux'], 'kernel'),
          commandLine: append ?? `${COMMAND_LINE} loglevel=1`,
          modules: [{ name: 'initrd', data: joinArchives(readWholeFile(files['initrd'], 'initrd'), init) }],
        },
      },
    },
    exitMark: EXIT_MARK,
  };
}
