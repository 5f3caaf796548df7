/** What a client asks for, as what the library makes; and whether the client may have it. */
import { ApiError } from '../api/errors.js';
import type { MachineRequest } from '../api/schemas.js';
import { isPublic, parseAddress } from '../net/addresses.js';
import { ANY_PUBLIC, publicName } from '../net/user/policy.js';
import type { CommandLine, CreateOptions, NetworkOptions, RootImage, StoredImage } from '../sdk/index.js';
import type { MachineCommand } from './hosted-machine.js';
import type { Load } from './quota.js';
import type { Tenant, TenantPolicy } from './tenant.js';

const DEFAULT_MEMORY = 512;
const DEFAULT_SHARES = 1024;
const MIB = 2 ** 20;

/** What needs files of the host, and why it is refused to others than its user. */
const HOST_FIELDS = ['kernel', 'initrd', 'disks', 'mounts', 'keepWrites', 'snapshotFile'] as const;
/** What a snapshot does not have already. */
const WITH_SNAPSHOT: readonly (keyof MachineRequest)[] = [
  'name',
  'snapshot',
  'snapshotFile',
  'accel',
  'lifetime',
  'remove',
  'wait',
  'bootTimeout',
  'cpuShares',
  'cpuCap',
];

/** Throws an ApiError for what this tenant may not ask for, or what makes no sense. */
export function checkRequest(request: MachineRequest, tenant: Tenant): void {
  if (!tenant.local) {
    const wrong = HOST_FIELDS.find((field) => request[field] !== undefined);
    if (wrong !== undefined) throw new ApiError('forbidden', `${wrong} is only for the user who runs the server`);
    if (typeof request.image === 'object')
      throw new ApiError('forbidden', 'a disk as image is only for the user who runs the server');
  }
  const { limits } = tenant.quota;
  if (limits.lifetime !== undefined && (request.lifetime ?? 0) > limits.lifetime)
    throw new ApiError('forbidden', `a machine may live for ${limits.lifetime} s here`);
  if (request.snapshot !== undefined || request.snapshotFile !== undefined) {
    if (request.snapshot !== undefined && request.snapshotFile !== undefined)
      throw new ApiError('invalid', 'give either snapshot or snapshotFile');
    const wrong = (Object.keys(request) as (keyof MachineRequest)[]).find((field) => !WITH_SNAPSHOT.includes(field));
    if (wrong !== undefined) throw new ApiError('invalid', `${wrong} cannot be given with a snapshot, which has it`);
    return;
  }
  if (request.entrypoint === true && typeof request.image !== 'string')
    throw new ApiError('invalid', 'entrypoint needs a container image');
  if (request.entrypoint === true && typeof request.command === 'string')
    throw new ApiError('invalid', 'with entrypoint, command is an array of arguments');
}

export const lifetimeOf = (lifetime: number | undefined, tenant: Tenant): number | undefined =>
  lifetime ?? tenant.quota.limits.lifetime;

export const sharesOf = ({ cpuShares = DEFAULT_SHARES }: Pick<MachineRequest, 'cpuShares'>): number => cpuShares;

export const loadOf = ({ memory = DEFAULT_MEMORY, cpus = 1 }: MachineRequest): Load => ({
  machines: 1,
  cpus,
  memory,
  disk: 0,
});

/** MiB that a machine with this image can write. */
export const diskLoad = (image: StoredImage | undefined): number => (image ? Math.ceil(image.diskSize / MIB) : 0);

type Network = NonNullable<CreateOptions['net']>;

/** What a machine may reach: what it asks for, within what its tenant may. Throws an ApiError. */
export function networkOf(asked: MachineRequest['net'], policy: TenantPolicy, local: boolean): Network {
  const { network = local ? 'open' : 'public' } = policy;
  if (asked === false) return false;
  const wanted = typeof asked === 'object' ? plain(asked) : undefined;
  if (wanted?.allow && wanted.restrict !== true)
    throw new ApiError('invalid', '"allow" needs "restrict": true: without it more can be reached');
  if (network === 'none') {
    if (asked === undefined) return false;
    throw new ApiError('forbidden', 'machines have no network here');
  }
  if (network === 'open') return wanted ?? true;
  if (network === 'public')
    return { restrict: true, allow: wanted?.restrict ? (wanted.allow ?? []).map(publicly) : [{ host: ANY_PUBLIC }] };
  const allowed = network.allow;
  if (!wanted?.restrict) return plain({ restrict: true, allow: allowed.map((one) => ({ ...one })) });
  for (const { host, port = 0 } of wanted.allow ?? [])
    if (!allowed.some((one) => one.host === host && ((one.port ?? 0) === 0 || one.port === port)))
      throw new ApiError('forbidden', `${host}${port === 0 ? '' : `:${port}`} is not among what may be reached here`);
  return wanted;
}

type Allow = NonNullable<NetworkOptions['allow']>[number];

/** The same where only the internet may be reached: what a name leads to is looked at when it is known. */
function publicly({ host, port }: Allow): Allow {
  const address = parseAddress(host);
  if (address && !isPublic(address)) throw new ApiError('forbidden', `${host} is no address of the internet`);
  return { host: address ? host : publicName(host), ...(port !== undefined && { port }) };
}

function plain({ restrict, allow }: Exclude<MachineRequest['net'], boolean | undefined>): NetworkOptions {
  return {
    ...(restrict !== undefined && { restrict }),
    ...(allow && { allow: allow.map(({ host, port }) => ({ host, ...(port !== undefined && { port }) })) }),
  };
}

/** The root that an image is. */
export const rootOf = ({ rootDisk, config }: StoredImage): RootImage => ({
  disk: rootDisk,
  env: config.env,
  cwd: config.workdir,
  user: config.user,
});

const REST = [
  'guest',
  'kernel',
  'initrd',
  'append',
  'init',
  'disks',
  'mounts',
  'keepWrites',
  'accel',
  'machine',
  'cpu',
  'cpus',
  'memory',
  'hostname',
  'display',
  'warm',
  'bootTimeout',
] as const satisfies readonly (keyof MachineRequest & keyof CreateOptions)[];

/** What the library is asked for. */
export function createOptions(request: MachineRequest, image: StoredImage | undefined, tenant: Tenant): CreateOptions {
  const given = REST.flatMap((field) => (request[field] === undefined ? [] : [[field, request[field]] as const]));
  const root = image ? rootOf(image) : typeof request.image === 'object' ? request.image : undefined;
  return {
    // The fields and their types are the same on both sides: `satisfies` above, and the schema.
    ...(Object.fromEntries(given) as Partial<CreateOptions>),
    ...(root && { image: root }),
    net: networkOf(request.net, tenant.policy, tenant.local),
  };
}

/** The program that a machine is started for; undefined: none. Throws an ApiError when the image has none. */
export function commandOf(request: MachineRequest, image: StoredImage | undefined): MachineCommand | undefined {
  const { command, entrypoint = false, cwd, env, user, tty } = request;
  const options = {
    ...(cwd !== undefined && { cwd }),
    ...(env && { env }),
    ...(user !== undefined && { user }),
    ...(tty !== undefined && { tty }),
  };
  if (!entrypoint) return command === undefined ? undefined : { line: command, options };
  const args = Array.isArray(command) ? command : (image?.config.cmd ?? []);
  const line: CommandLine = [...(image?.config.entrypoint ?? []), ...args];
  if (line.length === 0) throw new ApiError('invalid', 'the image does not say what it runs: give a command');
  return { line, options };
}
