/** What programs give to `Vm`: wrong kinds of values are errors of one line, not surprises later. */
import { UsageError } from '../../base/errors.js';
import { ACCELERATORS } from '../../runtime/node/accelerator-names.js';
import { MACHINES } from '../../vmm/config.js';

/** What a value may be. */
interface Kind {
  readonly name: string;
  readonly is: (value: unknown) => boolean;
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const TEXT: Kind = { name: 'a text', is: (value) => typeof value === 'string' && !value.includes('\0') };
/** Nothing stands for the folder that the process is in. */
const FILE: Kind = { name: 'a path', is: (value) => TEXT.is(value) && value !== '' };
const FLAG: Kind = { name: 'true or false', is: (value) => typeof value === 'boolean' };
const NUMBER: Kind = { name: 'a number', is: (value) => typeof value === 'number' && !Number.isNaN(value) };
const FUNCTION: Kind = { name: 'a function', is: (value) => typeof value === 'function' };
const SIGNAL: Kind = { name: 'an AbortSignal', is: (value) => value instanceof AbortSignal };
const TEXTS: Kind = { name: 'a list of texts', is: (value) => Array.isArray(value) && value.every(TEXT.is) };

const oneOf = (values: readonly unknown[]): Kind => ({
  name: `one of ${values.join(', ')}`,
  is: (value) => values.includes(value),
});

const whole = (low: number, high: number): Kind => ({
  name: `a whole number from ${low} to ${high}`,
  is: (value) => Number.isInteger(value) && (value as number) >= low && (value as number) <= high,
});

const either = (...kinds: readonly Kind[]): Kind => ({
  name: kinds.map(({ name }) => name).join(', or '),
  is: (value) => kinds.some((kind) => kind.is(value)),
});

type Fields = Readonly<Record<string, Kind>>;

const record = (fields: Fields, needed: readonly string[] = []): Kind => ({
  name: `{ ${Object.keys(fields).join(', ')} }`,
  is: (value) =>
    isRecord(value) &&
    needed.every((key) => value[key] !== undefined) &&
    Object.entries(value).every(
      ([key, one]) => one === undefined || (Object.hasOwn(fields, key) && fields[key].is(one)),
    ),
});

const listOf = (kind: Kind): Kind => ({
  name: `a list, each of it ${kind.name}`,
  is: (value) => Array.isArray(value) && value.every(kind.is),
});

const placesOf = (kind: Kind): Kind => ({
  name: `an object, each value of it ${kind.name}`,
  is: (value) => isRecord(value) && Object.values(value).every(kind.is),
});

const IMAGE = record({ disk: FILE, fileSystem: TEXT, env: TEXTS, cwd: TEXT, user: TEXT }, ['disk']);
const DISK = record(
  {
    path: FILE,
    format: oneOf(['auto', 'raw', 'qcow2']),
    readOnly: FLAG,
    temporary: FLAG,
    cache: oneOf(['writeback', 'none']),
  },
  ['path'],
);
const HOST: Kind = { name: 'a host', is: (value) => TEXT.is(value) && /^\S+$/.test(String(value)) };
const ALLOWED = record({ host: HOST, port: whole(0, 65_535) }, ['host']);

const START: Fields = {
  bootTimeout: NUMBER,
  signal: SIGNAL,
  onSerial: FUNCTION,
  onFrame: FUNCTION,
  worker: oneOf(['own', 'shared']),
};

const CREATE: Fields = {
  ...START,
  image: either(TEXT, IMAGE),
  keepWrites: FLAG,
  init: TEXT,
  guest: TEXT,
  kernel: FILE,
  initrd: FILE,
  append: TEXT,
  disks: listOf(either(FILE, DISK)),
  accel: oneOf(ACCELERATORS),
  machine: oneOf(MACHINES),
  cpu: TEXT,
  cpus: whole(1, 16),
  memory: NUMBER,
  net: either(FLAG, record({ restrict: FLAG, allow: listOf(ALLOWED) })),
  mounts: placesOf(either(FILE, record({ path: FILE, readOnly: FLAG }, ['path']))),
  hostname: {
    name: 'letters, digits, - and . (64 at most)',
    is: (value) => typeof value === 'string' && /^[\w.-]{1,64}$/.test(value),
  },
  display: either(FLAG, oneOf(['std', 'virtio'])),
  onProgress: FUNCTION,
  warm: FLAG,
};

const RESTORE: Fields = { ...START, accel: oneOf(ACCELERATORS), forceCpu: FLAG };

const IDENTITY = record({ hostname: TEXT, machineId: TEXT, mac: TEXT, address: TEXT });
const FORK: Fields = { ...RESTORE, identity: either(oneOf([false]), IDENTITY) };

function check(fields: Fields, options: unknown): void {
  if (!isRecord(options)) throw new UsageError('options are an object');
  for (const [key, value] of Object.entries(options)) {
    if (!Object.hasOwn(fields, key)) throw new UsageError(`there is no option "${key}"`);
    if (value !== undefined && !fields[key].is(value))
      throw new UsageError(`the option "${key}" is ${fields[key].name}`);
  }
}

/** Each throws a UsageError at what is no option, or has a value of a wrong kind. */
export const checkCreate = (options: unknown): void => check(CREATE, options);
export const checkRestore = (options: unknown): void => check(RESTORE, options);
export const checkFork = (options: unknown): void => check(FORK, options);
