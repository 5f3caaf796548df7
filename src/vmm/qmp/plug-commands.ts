/** Commands that add cards and what they use to a machine that runs, and take them away: qapi/qdev.json, block-core.json and net.json of QEMU 7.2. */
import type { NetworkConfig } from '../../iface/net-config.js';
import type { CardRequest } from '../hotplug.js';
import { DEFAULT_USER_NETWORK } from '../net-config.js';
import {
  CARD_DRIVERS,
  CARD_MODELS,
  MAX_QUEUES,
  MTU,
  NODE_DRIVERS,
  type CardDriver,
  type NodeConfig,
} from '../plugged-config.js';
import type { QmpCommand } from './command.js';
import type { Json } from './json-text.js';
import type { QmpMachine } from './machine.js';
import { BOOL, check, INT, isObject, NOTHING, object, oneOf, QmpError, STR, text, type JsonObject } from './types.js';

/** As QEMU's id_wellformed has it; no longer than the names of block nodes there. */
const IDENTIFIER = /^[A-Za-z][A-Za-z0-9._-]{0,30}$/;

function identifier(given: JsonObject, member: string): string {
  const id = text(given, member) ?? '';
  if (!IDENTIFIER.test(id)) throw new QmpError(`Parameter '${member}' expects an identifier`);
  return id;
}

/** Members that none of these commands knows what to do with. */
function refuseOthers(given: JsonObject, known: readonly string[], refusal: (name: string) => string): void {
  const other = Object.keys(given).find((name) => !known.includes(name));
  if (other !== undefined) throw new QmpError(refusal(other));
}

// ---- block nodes ----

/** Where the contents of protocols' nodes are named. */
const PLACE = { file: 'filename', http: 'url', https: 'url' } as const;
type Protocol = keyof typeof PLACE;
const isProtocol = (driver: string): driver is Protocol => Object.hasOwn(PLACE, driver);

/** What was flushed is durable here, whatever `no-flush` says. */
const CACHE = object({ 'direct?': BOOL, 'no-flush?': BOOL });

const NODE = {
  ...object({ driver: oneOf(...NODE_DRIVERS), 'node-name?': STR, 'read-only?': BOOL, 'cache?': CACHE }),
  isOpen: true,
} as const;

/** Options that say how QEMU is to go about it; here there is one way, but for the host's cache. */
const MANNER = {
  'discard?': oneOf('ignore', 'unmap'),
  'cache?': CACHE,
  'auto-read-only?': BOOL,
  'detect-zeroes?': oneOf('off', 'on', 'unmap'),
  'force-share?': BOOL,
} as const;
/** Those of files. */
const FILE_MANNER = {
  ...MANNER,
  'locking?': oneOf('on', 'off', 'auto'),
  'aio?': oneOf('threads', 'native', 'io_uring'),
};

/** Past the host's cache; undefined where nothing is said of it. */
function isDirect({ cache }: JsonObject): boolean | undefined {
  return isObject(cache) && typeof cache['direct'] === 'boolean' ? cache['direct'] : undefined;
}

/** `at`: where it is among the arguments. */
function protocolPath(node: JsonObject, at: string): string {
  const driver = text(node, 'driver') ?? '';
  if (!isProtocol(driver)) throw new QmpError(`Parameter 'file.driver' does not accept value '${driver}'`);
  const place = PLACE[driver];
  const manner = driver === 'file' ? FILE_MANNER : MANNER;
  check(node, object({ driver: STR, 'node-name?': STR, 'read-only?': BOOL, [place]: STR, ...manner }), at);
  const path = text(node, place) ?? '';
  if (path === '') throw new QmpError(`Parameter '${at === '' ? place : `${at}.${place}`}' names nothing`);
  return path;
}

function readNode(given: JsonObject): NodeConfig {
  if (given['node-name'] === undefined) throw new QmpError("'node-name' must be specified for the root node");
  const name = text(given, 'node-name') ?? '';
  if (!IDENTIFIER.test(name)) throw new QmpError(`Invalid node-name: '${name}'`);
  const driver = NODE_DRIVERS.find((known) => known === given['driver']) ?? 'file';
  const readOnly = given['read-only'] === true;
  const direct = isDirect(given) ?? false;
  if (isProtocol(driver)) return { name, driver, path: protocolPath(given, ''), readOnly, direct, file: null };
  const { file, ...others } = given;
  // A qcow2 image has its own backing file: null would be an image without it.
  check(others, object({ driver: STR, 'node-name': STR, 'read-only?': BOOL, ...MANNER }), '');
  if (typeof file === 'string') return { name, driver, path: '', readOnly, direct, file };
  if (!isObject(file)) throw new QmpError("Parameter 'file' is missing");
  check(file, NODE, 'file');
  if (file['node-name'] !== undefined)
    throw new QmpError("a node in 'file' has no name here: add it by itself, and give its name as 'file'");
  return {
    name,
    driver,
    path: protocolPath(file, 'file'),
    readOnly: readOnly || file['read-only'] === true,
    direct: isDirect(file) ?? direct,
    file: null,
  };
}

// ---- networks ----

const USER_TEXTS = {
  net: 'net',
  host: 'host',
  dns: 'dns',
  dhcpstart: 'dhcpStart',
  hostname: 'hostname',
  domainname: 'domain',
  bootfile: 'bootFile',
} as const;

const USER = object({
  ...Object.fromEntries(Object.keys(USER_TEXTS).map((name) => [`${name}?`, STR])),
  'restrict?': BOOL,
  'ipv6?': BOOL,
  'ipv6-prefix?': STR,
  'ipv6-prefixlen?': INT,
  'hostfwd?': { kind: 'array', of: object({ str: STR }) },
});
const TAP = object({ 'ifname?': STR });
const STREAM = object({ addr: object({ type: oneOf('unix'), path: STR }), 'server?': BOOL });

function userNetwork(given: JsonObject, machine: QmpMachine): NetworkConfig {
  check(given, USER, '');
  const texts = Object.entries(USER_TEXTS).flatMap(([name, field]) => {
    const value = text(given, name);
    return value === undefined ? [] : [[field, value] as const];
  });
  const forwards = Array.isArray(given['hostfwd']) ? (given['hostfwd'] as readonly Json[]) : [];
  const prefix = text(given, 'ipv6-prefix');
  const length = typeof given['ipv6-prefixlen'] === 'number' ? given['ipv6-prefixlen'] : 64;
  const net6 = prefix === undefined ? DEFAULT_USER_NETWORK.net6 : `${prefix}/${length}`;
  return {
    ...DEFAULT_USER_NETWORK,
    ...Object.fromEntries(texts),
    net6: given['ipv6'] === false ? '' : net6,
    restrict: given['restrict'] === true,
    forwards: forwards.map((forward) =>
      machine.parseForward((isObject(forward) ? text(forward, 'str') : undefined) ?? ''),
    ),
  };
}

/** As the kernel has it: dev_valid_name, 15 bytes; empty: it chooses one. */
function interfaceName(name: string): string {
  if (!/^[^\s/:%]{0,15}$/.test(name) || new TextEncoder().encode(name).length > 15 || /^\.\.?$/.test(name))
    throw new QmpError(`Parameter 'ifname' does not accept value '${name}'`);
  return name;
}

function readNetwork({ type, id: _, ...given }: JsonObject, machine: QmpMachine): NetworkConfig {
  switch (type) {
    case 'tap':
      check(given, TAP, '');
      return { kind: 'tap', ifname: interfaceName(text(given, 'ifname') ?? '') };
    case 'stream': {
      check(given, STREAM, '');
      const { addr } = given;
      // Who of the two listens, machines find out by themselves.
      return { kind: 'link', path: (isObject(addr) ? text(addr, 'path') : undefined) ?? '' };
    }
    default:
      return userNetwork(given, machine);
  }
}

// ---- cards ----

const BUS = 'pcie.0';
const PERIPHERAL = '/machine/peripheral/';

/** The ones that go with a card of each kind. */
const PROPERTIES: Readonly<Record<CardDriver, readonly string[]>> = {
  'virtio-blk': ['drive', 'serial', 'num-queues'],
  'virtio-net': ['netdev', 'mac', 'host_mtu'],
  e1000: ['netdev', 'mac'],
  'virtio-rng': [],
  'virtio-9p': ['fsdev', 'mount_tag'],
  'virtio-fs': ['fsdev', 'tag'],
};
/** What each uses. */
const USES: Readonly<Record<CardDriver, string | undefined>> = {
  'virtio-blk': 'drive',
  'virtio-net': 'netdev',
  e1000: 'netdev',
  'virtio-rng': undefined,
  'virtio-9p': 'fsdev',
  'virtio-fs': 'fsdev',
};

/** By any of the names that QEMU has for it. Ours are no transitional devices. */
const driverOf = (name: string): CardDriver | undefined =>
  CARD_DRIVERS.find((known) => [known, CARD_MODELS[known], `${CARD_MODELS[known]}-non-transitional`].includes(name));

const MAC = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i;

/** Properties of a card. */
class Properties {
  constructor(
    private readonly model: string,
    private readonly given: JsonObject,
  ) {}

  private wrong(name: string): QmpError {
    return new QmpError(`Property '${this.model}.${name}' doesn't take value ${JSON.stringify(this.given[name])}`);
  }

  text(name: string, fits: (value: string) => boolean): string | undefined {
    const value = this.given[name];
    if (value === undefined) return undefined;
    if (typeof value !== 'string' || !fits(value)) throw this.wrong(name);
    return value;
  }

  number(name: string, usual: number, [low, high]: readonly [number, number]): number {
    const value = Number(this.given[name] ?? usual);
    if (!Number.isInteger(value) || value < low || value > high) throw this.wrong(name);
    return value;
  }

  /** The slot: `0x11`, `11` (hexadecimal, too), `11.0`, or a number. */
  get slot(): number | undefined {
    const { addr } = this.given;
    if (addr === undefined) return undefined;
    if (typeof addr === 'number' && Number.isInteger(addr) && addr % 8 === 0) return addr / 8;
    const match = typeof addr === 'string' ? /^(?:0x)?([0-9a-f]{1,2})(?:\.0)?$/i.exec(addr) : null;
    if (!match) throw this.wrong('addr');
    return parseInt(match[1], 16);
  }
}

/** One that no card has, for a card without a name. */
function freeName(taken: ReadonlySet<string>): string {
  for (let n = 0; ; n++) if (!taken.has(`card${n}`)) return `card${n}`;
}

function readCard(given: JsonObject, taken: ReadonlySet<string>): CardRequest {
  const name = text(given, 'driver') ?? '';
  const driver = driverOf(name);
  if (!driver) throw new QmpError(`'${name}' is not a valid device model name`);
  const bus = text(given, 'bus') ?? BUS;
  if (bus !== BUS) throw new QmpError(`Bus '${bus}' not found`);
  const model = CARD_MODELS[driver];
  refuseOthers(
    given,
    ['driver', 'bus', 'id', 'addr', ...PROPERTIES[driver]],
    (property) => `Property '${model}.${property}' not found`,
  );
  const id = given['id'] === undefined ? freeName(taken) : identifier(given, 'id');
  if (taken.has(id)) throw new QmpError(`Duplicate device ID '${id}'`);
  const properties = new Properties(model, given);
  const uses = USES[driver];
  const backend = uses === undefined ? undefined : text(given, uses);
  if (uses !== undefined && backend === undefined) throw new QmpError(`${model}: ${uses} property not set`);
  const isShortText = (value: string): boolean => /^[\x21-\x7e]{1,20}$/.test(value);
  const isTag = (value: string): boolean => value !== '' && new TextEncoder().encode(value).length <= 36;
  const tag = properties.text('tag', isTag) ?? properties.text('mount_tag', isTag);
  if (uses === 'fsdev' && tag === undefined)
    throw new QmpError(`${model}: ${driver === 'virtio-fs' ? 'tag' : 'mount_tag'} property not set`);
  return {
    id,
    driver,
    slot: properties.slot,
    backend: backend ?? null,
    queues: properties.number('num-queues', 1, [1, MAX_QUEUES.disk]),
    serial: properties.text('serial', isShortText) ?? null,
    mac: properties.text('mac', (mac) => MAC.test(mac) && !(parseInt(mac.slice(0, 2), 16) & 1))?.toLowerCase() ?? null,
    mtu: properties.number('host_mtu', MTU.usual, [MTU.low, MTU.high]),
    tag: tag ?? null,
  };
}

async function namesOf(machine: QmpMachine): Promise<Set<string>> {
  const { pci, plugged } = await machine.inspect();
  return new Set([...pci.map(({ name }) => name), ...plugged.cards.map(({ id }) => id)]);
}

/** A command that does something, and says nothing. */
const deed = (
  given: QmpCommand['arguments'],
  run: (machine: QmpMachine, given: JsonObject) => Promise<void>,
): QmpCommand => ({
  arguments: given,
  returns: NOTHING,
  run: async (machine, values) => {
    await run(machine, values);
    return {};
  },
});

const notFound = (name: string): QmpError => new QmpError(`Device '${name}' not found`, 'DeviceNotFound');

export const PLUG_COMMANDS: Readonly<Record<string, QmpCommand>> = {
  'blockdev-add': deed(NODE, (machine, given) => machine.plug({ action: 'add-node', node: readNode(given) })),
  'blockdev-del': deed(object({ 'node-name': STR }), (machine, given) =>
    machine.plug({ action: 'remove-node', name: text(given, 'node-name') ?? '' }),
  ),
  netdev_add: deed({ ...object({ type: oneOf('user', 'tap', 'stream'), id: STR }), isOpen: true }, (machine, given) =>
    machine.plug({ action: 'add-netdev', id: identifier(given, 'id'), network: readNetwork(given, machine) }),
  ),
  netdev_del: deed(object({ id: STR }), async (machine, given) => {
    const id = text(given, 'id') ?? '';
    const { plugged } = await machine.inspect();
    if (!plugged.netdevs.some((one) => one.id === id)) throw notFound(id);
    await machine.plug({ action: 'remove-netdev', id });
  }),
  // QEMU adds folders at its start alone.
  'x-vitrine-fsdev-add': deed(object({ id: STR, path: STR, 'readonly?': BOOL }), (machine, given) => {
    const folder = {
      id: identifier(given, 'id'),
      path: text(given, 'path') ?? '',
      readOnly: given['readonly'] === true,
    };
    return machine.plug({ action: 'add-folder', folder });
  }),
  'x-vitrine-fsdev-del': deed(object({ id: STR }), async (machine, given) => {
    const id = text(given, 'id') ?? '';
    const { plugged } = await machine.inspect();
    if (!plugged.folders.some((one) => one.id === id)) throw notFound(id);
    await machine.plug({ action: 'remove-folder', id });
  }),
  // Any other member is the device's own.
  device_add: deed({ ...object({ driver: STR, 'bus?': STR, 'id?': STR }), isOpen: true }, async (machine, given) =>
    machine.plug({ action: 'add-card', card: readCard(given, await namesOf(machine)) }),
  ),
  device_del: deed(object({ id: STR }), async (machine, given) => {
    const name = text(given, 'id') ?? '';
    const id = name.startsWith(PERIPHERAL) ? name.slice(PERIPHERAL.length) : name;
    const { pci, plugged } = await machine.inspect();
    if (plugged.cards.some((card) => card.id === id)) {
      await machine.plug({ action: 'remove-card', id });
      return;
    }
    if (!pci.some((card) => card.name === id)) throw notFound(name);
    throw new QmpError(`Device '${id}' does not support hotplugging: it was there when the machine started`);
  }),
};
