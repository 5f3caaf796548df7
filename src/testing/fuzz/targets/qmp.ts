import { commandsOf } from '../../../vmm/qmp/commands.js';
import type { QmpMachine } from '../../../vmm/qmp/machine.js';
import { parseForward } from '../../../net/user/forward-text.js';
import type { HotplugRequest } from '../../../vmm/hotplug.js';
import { DEFAULT_USER_NETWORK } from '../../../vmm/net-config.js';
import { NOTHING_PLUGGED, pluggedSchema, savePlugged } from '../../../vmm/plugged-config.js';
import { QmpSession } from '../../../vmm/qmp/session.js';
import { NO_LIMITS } from '../../../vmm/sched/settings.js';
import { isObject, QmpError, type QmpType } from '../../../vmm/qmp/types.js';
import type { Json } from '../../../vmm/qmp/json-text.js';
import type { RandomSource } from '../../random-source.js';
import { must, type FuzzSession, type FuzzTarget } from '../target.js';

const COMMANDS = commandsOf({});
const TEXTS = [
  '',
  'a',
  'disk0',
  'virtio0',
  'ppm',
  'qcode',
  'ret',
  '/',
  '\u0000',
  '\ud800',
  '__proto__',
  'constructor',
].concat([...['virtio-blk-pci', 'e1000', 'node0', 'net0', '0x11', '52:54:00:00:00:01']]);

/** Of commands that take more than their types say. */
const MEMBERS = ['filename', 'drive', 'netdev', 'mac', 'addr', 'fsdev', 'tag', 'num-queues', 'hostfwd', 'restrict'];

/** What is added must be what a snapshot can hold. */
function checkPlain(request: HotplugRequest): void {
  const { nodes, netdevs, folders, cards } = NOTHING_PLUGGED;
  const plugged = {
    nodes: request.action === 'add-node' ? [request.node] : nodes,
    netdevs: request.action === 'add-netdev' ? [request] : netdevs,
    folders: request.action === 'add-folder' ? [request.folder] : folders,
    cards: request.action === 'add-card' ? [{ ...request.card, slot: request.card.slot ?? 0 }] : cards,
  };
  pluggedSchema.check(
    savePlugged(plugged, (path) => path),
    'plugged',
  );
}

/** A machine that does as it is told, or fails in the ways that machines fail. */
const machineOf = (random: RandomSource): QmpMachine => {
  const work = async (): Promise<void> => {
    await Promise.resolve();
    if (random.once(10)) throw new QmpError('it cannot be done');
    if (random.once(30)) throw new Error('the machine is gone');
  };
  return {
    name: 'fuzzed',
    usage: () => ({
      pid: 1,
      accel: 'wasm',
      cpus: 1,
      memory: 1 << 20,
      now: 0,
      threads: [{ time: 1, retired: 1n, exits: 1 }],
      processTime: 1,
      limits: NO_LIMITS,
    }),
    limit: () => {},
    isPaused: () => random.once(2),
    inspect: async () => {
      await work();
      const medium = {
        path: '/d',
        format: 'qcow2',
        readOnly: false,
        size: 512,
        cache: 'writeback',
        backing: ['/b'],
      } as const;
      const disk = { id: 'disk0', removable: true, tray: { open: false, locked: true }, medium };
      const plain = { cpuModel: 'm', cpus: [{ index: 0 }], memory: 1 << 20, uuid: 'u', pci: [], disks: [disk] };
      const netdevs = [{ id: 'net0', network: DEFAULT_USER_NETWORK }];
      const plugged = { ...NOTHING_PLUGGED, netdevs };
      return { ...plain, pointers: [], plugged, nodes: [{ name: 'node0', medium }] };
    },
    pause: work,
    resume: work,
    press: work,
    screendump: work,
    changeMedia: work,
    plug: (request) => {
      checkPlain(request);
      return work();
    },
    parseForward,
    input: (event) => must(event.kind !== 'point' || (event.x >= 0 && event.x <= 0x7fff), 'a point is off'),
    pointer: { x: 0, y: 0, buttons: 0 },
    vnc: () => (random.once(2) ? undefined : { host: 'h', port: 5900, hasPassword: false, clients: [] }),
    typeKeys: () => {},
    balloon: () => work().then(() => 1 << 20),
    quit: () => undefined,
  };
};

class Session implements FuzzSession {
  private sent: string[] = [];
  private session: QmpSession;

  constructor(private readonly random: RandomSource) {
    this.session = this.connect();
  }

  private connect(): QmpSession {
    const session = new QmpSession({
      machine: machineOf(this.random),
      version: '0',
      send: (text) => void this.sent.push(text),
    });
    void session.receive(Buffer.from('{"execute":"qmp_capabilities"}\n'));
    return session;
  }

  private json(depth: number): Json {
    const { random } = this;
    switch (random.below(depth > 0 ? 8 : 5)) {
      case 0:
        return random.pick([null, true, false]);
      case 1:
        return random.once(3) ? random.next() / 7 : random.u32(100) - random.below(3);
      case 5:
      case 6:
        return Object.fromEntries(
          Array.from({ length: random.below(4) }, () => [
            random.pick([...TEXTS, 'type', 'data']),
            this.json(depth - 1),
          ]),
        );
      case 7:
        return Array.from({ length: random.below(4) }, () => this.json(depth - 1));
      default:
        return random.pick(TEXTS);
    }
  }

  /** A value that a type takes, most of the time. */
  private fitting(type: QmpType): Json {
    const { random } = this;
    if (random.once(12)) return this.json(2);
    switch (type.kind) {
      case 'str':
        return random.pick(TEXTS);
      case 'int':
        return random.u32(1000);
      case 'number':
        return random.next() / 3;
      case 'bool':
        return random.once(2);
      case 'enum':
        return random.pick(type.values);
      case 'array':
        return Array.from({ length: random.below(4) }, () => this.fitting(type.of));
      case 'object': {
        const members = Object.entries(type.members).filter(([, { optional }]) => !random.once(optional ? 2 : 20));
        const made: Record<string, Json> = {};
        for (const [name, { type: inner }] of members) made[name] = this.fitting(inner);
        if (type.isOpen && random.once(2)) {
          for (let n = random.below(4); n > 0; n--) made[random.pick(MEMBERS)] = this.json(1);
          made['file'] = random.pick<Json>(['node0', { driver: 'file', filename: '/f' }, { driver: 'raw' }]);
        } else if (type.isOpen) {
          const key = { type: 'qcode', data: random.pick(['ret', 'nokey']) };
          const move = { axis: random.pick(['x', 'y', 'z']), value: random.u32(0x8000) };
          const event = { down: random.once(2), key, button: random.pick(['left', 'wheel-up', 'none']) };
          made['data'] = random.pick<Json>(['ret', 'a', event, move, { ...event, surplus: 1 }]);
        }
        return made;
      }
    }
  }

  private text(): string {
    const { random } = this;
    if (random.once(200)) return '['.repeat(1 + random.below(300_000));
    if (random.once(200)) {
      const depth = 1 + random.below(100_000);
      return `{"execute":"query-status","id":${'['.repeat(depth)}${']'.repeat(depth)}}`;
    }
    const [name, { arguments: type }] = random.pick([...COMMANDS]);
    const message = {
      execute: random.once(20) ? this.json(1) : name,
      ...(!random.once(5) && { arguments: this.fitting(type) }),
      ...(random.once(3) && { id: this.json(2) }),
      ...(random.once(30) && { [random.pick(TEXTS)]: this.json(1) }),
    };
    return JSON.stringify(random.once(30) ? this.json(3) : message);
  }

  async step(): Promise<void> {
    const { random } = this;
    const bytes = random.damage(new Uint8Array(Buffer.from(`${this.text()}${random.once(4) ? '' : '\n'}`)), 12);
    const cut = random.below(bytes.length + 1);
    await this.session.receive(bytes.subarray(0, cut));
    await this.session.receive(bytes.subarray(cut));
    for (const text of this.sent.splice(0)) {
      const answer = JSON.parse(text) as Json;
      must(isObject(answer) && text.endsWith('\r\n'), 'what is sent is no line with an object');
    }
    if (random.once(200)) this.session = this.connect();
  }
}

/** A client of the monitor, whose commands nearly fit. */
export const qmpTarget: FuzzTarget = { name: 'qmp', share: 8, length: 500, start: (random) => new Session(random) };
