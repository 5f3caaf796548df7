/** `vitrine run --detach`: a machine that the supervisor has, described as its API wants it. */
import path from 'node:path';
import type { Command } from 'commander';
import type { MachineRequest } from '../api/schemas.js';
import { UsageError } from '../base/errors.js';
import { MIB } from '../base/units.js';
import type { NetConfig } from '../iface/net-config.js';
import { checkAccelerator } from '../runtime/node/accelerator-names.js';
import { checkMachineName } from '../runtime/node/registry.js';
import { configureDisks, type DiskOptions } from './disk-options.js';
import { findImage, isImageName, optionName, type ImageOptions } from './image-options.js';
import { DEMO, guestBoot } from './images.js';
import { readLimitOptions, type LimitOptions } from './limit-options.js';
import { askOrStart, printJson, untilInterrupted } from './machine-client.js';
import { configureNetworks, type NetOptions } from './net-options.js';
import { parseCpuCount, parseMachine, parseMemory } from './parse.js';
import { checkWorkdir, readVariables } from './program-options.js';
import { parsePublish, readVolumes, type Publication } from './volume-options.js';

export interface DetachedOptions extends DiskOptions, ImageOptions, LimitOptions, NetOptions {
  readonly detach?: boolean;
  readonly json?: boolean;
  readonly machine: string;
  readonly cpu: string;
  readonly memory: string;
  readonly smp: string;
  readonly kernel?: string;
  readonly initrd?: string;
  readonly append?: string;
  readonly accel?: string;
  readonly name?: string;
  readonly vga?: string;
}

/** Options that a detached machine can have; the others need this process. */
const POSSIBLE = new Set([
  ...['detach', 'json', 'name', 'rm', 'memory', 'cpu', 'smp', 'machine', 'accel', 'cpuShares', 'cpuCap', 'vga'],
  ...['kernel', 'initrd', 'append', 'disk', 'snapshot', 'net', 'insecure'],
  ...['entrypoint', 'env', 'envFile', 'user', 'workdir', 'tty', 'interactive', 'volume', 'publish'],
]);

function refuseOthers(command: Command): void {
  const given = command.options
    .map((option) => option.attributeName())
    .find((key) => command.getOptionValueSource(key) === 'cli' && !POSSIBLE.has(key));
  if (given !== undefined) throw new UsageError(`${optionName(given)} does not go together with --detach`);
}

function disksOf(options: DiskOptions): NonNullable<MachineRequest['disks']> {
  return configureDisks(options).map(
    ({ path: file, format, readOnly, temporary, attach, serial, internal, queues, cache }) => {
      if (attach !== 'virtio' || serial !== null || internal !== null || (queues ?? cache) !== undefined)
        throw new UsageError(
          `--disk ${file}: a detached machine has plain virtio disks: format=, readonly and snapshot`,
        );
      return { path: /^https?:/.test(file) ? file : path.resolve(file), format, readOnly, temporary };
    },
  );
}

/** The network, and ports of the host that lead into it. */
function networkOf(cards: readonly NetConfig[]): { net?: MachineRequest['net']; ports: Publication[] } {
  if (cards.length === 0) return { net: false, ports: [] };
  const [{ network, model, mtu, queues, pcap }] = cards;
  if (
    cards.length > 1 ||
    network.kind !== 'user' ||
    model !== 'virtio-net' ||
    mtu !== 1500 ||
    queues !== 1 ||
    pcap !== ''
  )
    throw new UsageError(
      'a detached machine has one network: --net none, or user with restrict=, allow= and hostfwd=tcp:',
    );
  const { restrict, allow, forwards, kind: _, ...others } = network;
  if (others.net !== '10.0.2.0/24' || others.net6 !== 'fec0::/64' || hasWords(others))
    throw new UsageError('the network of a detached machine knows restrict=, allow= and hostfwd=tcp: alone');
  const ports = forwards.map(({ protocol, hostAddress, hostPort, guestAddress, guestPort }) => {
    if (protocol !== 'tcp' || guestAddress !== '')
      throw new UsageError('a detached machine has ports of TCP that lead to itself: hostfwd=tcp:HOST:GUEST');
    return { hostAddress, hostPort, guestPort };
  });
  return { ...(restrict && { net: { restrict, allow: allow.map((one) => ({ ...one })) } }), ports };
}

const hasWords = ({ net: _, net6: __, ...rest }: Readonly<Record<string, unknown>>): boolean =>
  Object.values(rest).some((value) => value !== '');

/** What is run, and in what. The image or guest is fetched here, where its progress is seen. */
async function bootOf(
  image: string | undefined,
  command: readonly string[],
  options: DetachedOptions,
): Promise<MachineRequest> {
  const { kernel, initrd, append, entrypoint } = options;
  const start = {
    ...(kernel !== undefined && { kernel: path.resolve(kernel) }),
    ...(initrd !== undefined && { initrd: path.resolve(initrd) }),
    ...(append !== undefined && { append }),
  };
  if (initrd !== undefined && kernel === undefined) throw new UsageError('--initrd needs --kernel');
  if (image === DEMO) throw new UsageError('the demo runs on a terminal alone');
  if (image === undefined || !isImageName(image)) {
    if (image !== undefined && kernel !== undefined) throw new UsageError(`give either a guest (${image}) or --kernel`);
    if (entrypoint !== undefined) throw new UsageError('--entrypoint needs a container image to run: oci:NAME');
    if (kernel === undefined) await guestBoot(image);
    return {
      ...start,
      ...(image !== undefined && { guest: image }),
      ...(command.length > 0 && { command: [...command] }),
    };
  }
  const { name, config } = await findImage(image, options.insecure);
  const first = entrypoint === undefined ? config.entrypoint : entrypoint === '' ? [] : [entrypoint];
  const argv = [...first, ...(command.length > 0 ? command : entrypoint === undefined ? config.cmd : [])];
  // With an empty entrypoint and nothing to run it waits for commands.
  if (argv.length === 0 && entrypoint === undefined)
    throw new UsageError(
      `the image ${name} names no program; say which, or --entrypoint "" to have it wait for commands`,
    );
  return { ...start, image: name, ...(argv.length > 0 && { command: argv }) };
}

/** Starts a machine and prints its name, when commands can be run in it. */
export async function runDetached(
  image: string | undefined,
  command: readonly string[],
  options: DetachedOptions,
  described: Command,
): Promise<void> {
  refuseOthers(described);
  const { name, user, workdir, vga, tty, rm, accel, json } = options;
  checkWorkdir(workdir);
  const volumes = readVolumes(options);
  const { net, ports } = networkOf(configureNetworks(options, 'host', true));
  const { shares, cap } = readLimitOptions(options);
  const request: MachineRequest = {
    ...(await bootOf(image, command, options)),
    ...(name !== undefined && { name: checkMachineName(name) }),
    machine: parseMachine(options.machine),
    cpu: options.cpu,
    cpus: parseCpuCount(options.smp),
    memory: parseMemory(options.memory) / MIB,
    disks: disksOf(options),
    mounts: Object.fromEntries(volumes.map(({ path: from, at, readOnly }) => [at, { path: from, readOnly }])),
    env: readVariables(options),
    ...(net !== undefined && { net }),
    ...(user !== undefined && { user }),
    ...(workdir !== undefined && { cwd: workdir }),
    ...(vga !== undefined && vga !== 'none' && { display: true }),
    ...(accel !== undefined && { accel: checkAccelerator(accel) }),
    ...(tty && { tty }),
    ...(rm && { remove: true }),
    ...(shares !== undefined && { cpuShares: shares }),
    ...(cap !== undefined && { cpuCap: cap }),
  };
  const publications = [...(options.publish ?? []).map(parsePublish), ...ports];
  await untilInterrupted((signal) =>
    askOrStart(undefined, async (client) => {
      const made = await client.create(request, { signal });
      try {
        for (const port of publications) await client.openPort(made.name, { ...port }, { signal });
      } catch (error) {
        // Nobody wants it without its ports.
        await client.remove(made.name);
        throw error;
      }
      if (json) printJson(publications.length > 0 ? await client.get(made.name) : made);
      else process.stdout.write(`${made.name}\n`);
    }),
  );
}
