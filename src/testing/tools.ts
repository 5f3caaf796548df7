/**
 * Programs and files of other projects that tests use. What this machine lacks is unpacked from its Debian package into
 * the cache, without root. What cannot be had makes the tests that need it be skipped, with the reason in their title; with
 * VITRINE_REQUIRE_ALL=1 (set by .ci/run) it makes them fail instead. /dev/kvm, tap
 * interfaces and network namespaces alone may always be missing.
 *
 *   const nasm = await requireTool('nasm');
 *   describeWith([nasm], 'the decoder against nasm', () => {
 *     it('…', async () => { const { stdout } = await nasm.run('-v'); });
 *   });
 */
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { describe, it } from 'vitest';
import { cacheRoot } from '../host/node/cache.js';
import { Apt } from '../guests/apt.js';
import { runCommand, type CommandOptions, type CommandResult } from '../guests/command.js';
import { debianFile, debianTool, type Tool } from '../guests/debian-tools.js';
import { ensureGuest } from '../guests/prepare.js';

/** Something a test needs from outside: `missing` says why it is not there. */
export interface Requirement {
  readonly name: string;
  readonly missing: string | undefined;
}

/** A program that tests run. */
export interface RequiredTool extends Requirement {
  /** Its path; empty where it is missing. */
  readonly path: string;
  /** What its environment needs besides this process's variables. */
  readonly env: Readonly<Record<string, string>>;
  run(args: readonly string[], options?: CommandOptions): Promise<CommandResult>;
}

/** A file that tests read. */
export interface RequiredFile extends Requirement {
  /** Its path; empty where it is missing. */
  readonly path: string;
}

/** Debian packages, in the order they were asked for. */
export interface RequiredPackages extends Requirement {
  /** Paths of the packages; empty where one of them is missing. */
  readonly files: readonly string[];
}

/** A guest with its files by name; see src/guests. */
export interface RequiredGuest extends Requirement {
  readonly files: Readonly<Record<string, string>>;
}

/** The Debian packages of programs that are not called as their package. */
const PACKAGES: Readonly<Record<string, string>> = {
  'qemu-system-x86_64': 'qemu-system-x86',
  objdump: 'binutils',
  cpio: 'cpio',
};

const options = { cache: cacheRoot() };

async function attempt<T>(name: string, find: () => Promise<T>): Promise<{ value: T } | { missing: string }> {
  try {
    return { value: await find() };
  } catch (error) {
    return { missing: `${name} is missing: ${error instanceof Error ? error.message : String(error)}` };
  }
}

/** Finds a program, or unpacks it from the Debian package of its name (or of the name given). */
export async function requireTool(name: string, packageName = PACKAGES[name] ?? name): Promise<RequiredTool> {
  const found = await attempt(name, () => debianTool(name, packageName, options));
  const { path, env }: Tool = 'value' in found ? found.value : { path: '', env: {} };
  return {
    name,
    missing: 'missing' in found ? found.missing : undefined,
    path,
    env,
    run: (args, more = {}) => runCommand(path, args, { ...more, env: { ...env, ...more.env } }),
  };
}

/** Finds a file by its absolute path, or unpacks it from a Debian package. */
export async function requireFile(file: string, packageName: string): Promise<RequiredFile> {
  const found = await attempt(file, () => debianFile(file, packageName, options));
  return 'value' in found
    ? { name: file, missing: undefined, path: found.value }
    : { name: file, missing: found.missing, path: '' };
}

/** Finds packages for guests in the cache, or downloads them; `suite`: a release of Debian's by its code name. */
export async function requirePackages(
  suite: string,
  architecture: string,
  names: readonly string[],
): Promise<RequiredPackages> {
  const name = `${names.at(-1) ?? ''} of ${suite} ${architecture}`;
  const found = await attempt(name, () => new Apt({ ...options, suite, architecture }).fetch(...names));
  return 'value' in found
    ? { name, missing: undefined, files: found.value.map(({ file }) => file) }
    : { name, missing: found.missing, files: [] };
}

/** Finds a guest in the cache, or prepares it. */
export async function requireGuest(name: string): Promise<RequiredGuest> {
  const found = await attempt(`guest ${name}`, () => ensureGuest(name, options));
  return 'value' in found
    ? { name, missing: undefined, files: found.value.files }
    : { name, missing: found.missing, files: {} };
}

/** The one requirement whose absence never fails: hardware virtualization that this process may use. */
export async function requireKvm(): Promise<Requirement> {
  const usable = await access('/dev/kvm', constants.R_OK | constants.W_OK).then(
    () => true,
    () => false,
  );
  return { name: KVM, missing: usable ? undefined : '/dev/kvm is missing or not permitted' };
}
const KVM = '/dev/kvm';

/**
 * What boots an operating system with little processor time, where what it is run by does not matter: what is chosen anyway if that is KVM,
 * or the interpreter, which has less work with what runs once than the translator.
 */
export const quickAccelerator = async (): Promise<{ readonly accel?: 'interp' }> =>
  (await requireKvm()).missing === undefined ? {} : { accel: 'interp' };

/** The same, as options of `vitrine run`. */
export async function quickBoot(): Promise<readonly string[]> {
  const { accel } = await quickAccelerator();
  return accel === undefined ? [] : ['--accel', accel];
}

/** The other one: interfaces that this process may make and set up. */
export async function requireTap(): Promise<Requirement> {
  const usable = await access(TUN, constants.R_OK | constants.W_OK).then(
    () => process.getuid?.() === 0,
    () => false,
  );
  const ip =
    usable &&
    (await runCommand('ip', ['link']).then(
      () => true,
      () => false,
    ));
  return { name: TUN, missing: ip ? undefined : 'tap interfaces need root, /dev/net/tun and the program ip' };
}
const TUN = '/dev/net/tun';
const NAMESPACES = 'unshare';

/** A network of one's own, made without root: `unshare -Urn` and the program ip. Inside, everything about networks is allowed. */
export async function requireNetworkNamespaces(): Promise<Requirement> {
  const usable =
    process.platform === 'linux' &&
    (await runCommand(NAMESPACES, ['-Urn', 'ip', 'link', 'add', 'near', 'type', 'veth', 'peer', 'name', 'far']).then(
      () => true,
      () => false,
    ));
  const missing = usable
    ? undefined
    : 'network namespaces need Linux that lets everybody make them, and the program ip';
  return { name: NAMESPACES, missing };
}

/** Mounts of one's own, made without root: `unshare -Urm`. Inside, a file system in memory can be mounted. */
export async function requireMountNamespaces(): Promise<Requirement> {
  const usable =
    process.platform === 'linux' &&
    (await runCommand(NAMESPACES, ['-Urm', 'mount', '-t', 'tmpfs', 'none', '/tmp'])).status === 0;
  return {
    name: NAMESPACES,
    missing: usable ? undefined : 'mount namespaces need Linux that lets everybody make them',
  };
}

/** How tests with these requirements are to be treated, under an environment. */
export function verdict(
  requirements: readonly Requirement[],
  env: NodeJS.ProcessEnv = process.env,
): { readonly action: 'run' | 'skip' | 'fail'; readonly reason: string } {
  const missing = requirements.filter((requirement) => requirement.missing !== undefined);
  const reason = missing.map((requirement) => requirement.missing).join('; ');
  if (missing.length === 0) return { action: 'run', reason };
  const excused =
    env['VITRINE_REQUIRE_ALL'] !== '1' || missing.every(({ name }) => [KVM, TUN, NAMESPACES].includes(name));
  return { action: excused ? 'skip' : 'fail', reason };
}

/** A `describe` whose tests need something from outside. */
export function describeWith(requirements: readonly Requirement[], title: string, body: () => void): void {
  const { action, reason } = verdict(requirements);
  if (action === 'run') describe(title, body);
  else if (action === 'skip') describe.skip(`${title} [${reason}]`, body);
  else {
    describe(title, () => {
      it('has what it needs', () => {
        throw new Error(reason);
      });
    });
  }
}
