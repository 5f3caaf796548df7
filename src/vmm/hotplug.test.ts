/** Cards that come and go, as the registers of the board and snapshots have it; Linux in src/cli/plug.test.ts. */
import { describe, expect, it } from 'vitest';
import { UnevenDiskError } from '../base/errors.js';
import { buildDemo } from '../cpu/x86/demo/image.js';
import type { BlockBackend } from '../iface/block.js';
import type { BootSource } from '../machine/common/board.js';
import type { Plain } from '../snapshot/schema.js';
import { SnapshotWriter } from '../snapshot/container.js';
import { SnapshotBuffer } from '../snapshot/snapshot-buffer.js';
import { FakeNetwork } from '../testing/fake-network.js';
import { deflate } from '../testing/deflate.js';
import { saveMachine, TestHost } from '../testing/machine-host.js';
import type { DiskConfig } from './config.js';
import type { CardRequest, HotplugRequest } from './hotplug.js';
import { inspect } from './inspect.js';
import type { VirtualMachine } from './machine.js';
import { DEFAULT_USER_NETWORK, type NetHost } from './net-config.js';
import { NOTHING_PLUGGED, type NodeConfig } from './plugged-config.js';

const boot: BootSource = { kernel: { name: 'demo', data: buildDemo().image, commandLine: '', modules: [] } };

/** Registers of the board: what came, what shall go, what the guest lets go. */
const [UP, DOWN, EJECT] = [0xcc0, 0xcc4, 0xcc8];

/** A network whose state can be saved. */
class Network extends FakeNetwork {
  override readonly stateSchema = { check: (): never => null as never };
}

class PlugHost extends TestHost {
  readonly opened: string[] = [];
  readonly closed: string[] = [];
  readonly removed: string[] = [];
  readonly networks: NetHost = {
    openNetworks: () => [],
    openNetwork: (_config, id) => {
      if (id === 'none') throw new Error('there is no such network');
      return { backend: Object.assign(new Network(), { id: `net.${id}` }), close: () => this.closed.push(id) };
    },
  };

  override openDisk = (config?: DiskConfig): BlockBackend => {
    const { path = '', format = '' } = config ?? {};
    if (path === '/none') throw new Error('no such file');
    if (path === '/uneven' && format === 'raw') throw new UnevenDiskError('not whole sectors');
    this.opened.push(`${format}:${path}`);
    return {
      ...{ size: 1 << 20, readOnly: false, serial: 'x', identity: path, files: [path], format },
      flush: (done: (status: 'ok') => void) => done('ok'),
      close: () => this.closed.push(`${format}:${path}`),
    } as unknown as BlockBackend;
  };
  cardRemoved(id: string): void {
    this.removed.push(id);
  }
}

const node = (name: string, more: Partial<NodeConfig> = {}): HotplugRequest => ({
  action: 'add-node',
  node: { name, driver: 'qcow2', path: `/${name}`, readOnly: false, direct: false, file: null, ...more },
});
const card = (id: string, driver: CardRequest['driver'], more: Partial<CardRequest> = {}): HotplugRequest => ({
  action: 'add-card',
  card: {
    id,
    driver,
    slot: undefined,
    backend: null,
    queues: 1,
    serial: null,
    mac: null,
    mtu: 1500,
    tag: null,
    ...more,
  },
});
const netdev = (id: string): HotplugRequest => ({ action: 'add-netdev', id, network: DEFAULT_USER_NETWORK });

function create(config: Parameters<TestHost['create']>[0] = { boot }): {
  readonly host: PlugHost;
  readonly machine: VirtualMachine;
} {
  const host = new PlugHost();
  return { host, machine: host.create({ clock: 'host', ...config }) };
}

const cardsOf = (machine: VirtualMachine): [number, string][] =>
  inspect(machine)
    .pci.filter(({ slot }) => slot >= 17 && slot <= 24)
    .map(({ slot, name }) => [slot, name]);

/** With a disk, both kinds of network cards and a source of entropy. */
function withCards(): { readonly host: PlugHost; readonly machine: VirtualMachine } {
  const made = create();
  for (const request of [
    node('d1'),
    netdev('n1'),
    netdev('n2'),
    card('disk', 'virtio-blk', { backend: 'd1', serial: 'number 1'.replace(' ', '') }),
    card('nic', 'virtio-net', { backend: 'n1' }),
    card('old', 'e1000', { backend: 'n2', slot: 24 }),
    card('rng', 'virtio-rng'),
  ])
    made.machine.plug(request);
  return made;
}

describe('cards of a machine that runs', () => {
  it('come into slots, and the guest is told', () => {
    const { machine } = withCards();
    expect(cardsOf(machine)).toEqual([
      [17, 'disk'],
      [18, 'nic'],
      [19, 'rng'],
      [24, 'old'],
    ]);
    const { bus } = machine.board;
    // GPE0_STS: the event has happened.
    expect(bus.portRead(0x620, 1)).toBe(2);
    expect(bus.portRead(UP, 4)).toBe((1 << 17) | (1 << 18) | (1 << 19) | (1 << 24));
    expect(bus.portRead(UP, 4)).toBe(0);
    const { plugged, disks, nodes } = inspect(machine);
    expect(plugged.cards.map(({ mac }) => mac)).toEqual([null, '52:54:00:12:34:56', '52:54:00:12:34:57', null]);
    expect(disks).toMatchObject([{ id: 'disk', node: 'd1', medium: { path: '/d1', format: 'qcow2' } }]);
    expect(nodes).toMatchObject([{ name: 'd1' }]);
  });

  it('go when the guest lets them go, with all that they reached', () => {
    const { host, machine } = withCards();
    const { bus, pci } = machine.board;
    const found = pci?.attached.get(17 * 8);
    found?.config.write(0x10 + 4, 4, 0xd000_0000);
    found?.config.write(4, 2, 6);
    expect(bus.mmioRead(0xd000_0000, 4)).not.toBe(0xffff_ffff);
    machine.plug({ action: 'remove-card', id: 'disk' });
    expect(bus.portRead(DOWN, 4)).toBe(1 << 17);
    expect(cardsOf(machine)).toHaveLength(4);
    expect(() => machine.plug({ action: 'remove-node', name: 'd1' })).toThrow('Node d1 is in use');
    bus.portWrite(EJECT, 4, 1 << 17);
    expect(host.removed).toEqual(['disk']);
    expect(cardsOf(machine)).toHaveLength(3);
    expect([bus.mmioRead(0xd000_0000, 4), found?.busMaster, bus.portRead(DOWN, 4)]).toEqual([0xffff_ffff, false, 0]);
    machine.plug({ action: 'remove-node', name: 'd1' });
    expect(host.closed).toEqual(['qcow2:/d1']);
    // What the guest says of slots without cards, and of those of the board, does nothing.
    bus.portWrite(EJECT, 4, 0x00ff_ffff);
    expect(host.removed).toEqual(['disk', 'nic', 'rng']);
    machine.plug({ action: 'remove-netdev', id: 'n1' });
    expect(host.closed).toEqual(['qcow2:/d1', 'n1']);
    machine.plug(card('again', 'virtio-rng'));
    expect(cardsOf(machine)).toEqual([
      [17, 'again'],
      [24, 'old'],
    ]);
  });

  it('are there again in a restored machine, in their slots, with what the guest had to be told', () => {
    const { host, machine } = withCards();
    machine.board.bus.portRead(UP, 4);
    machine.plug({ action: 'remove-card', id: 'rng' });
    const file = saveMachine(machine);
    const other = new PlugHost();
    const restored = other.restore(file);
    expect(cardsOf(restored)).toEqual(cardsOf(machine));
    expect(restored.config.plugged).toEqual(machine.config.plugged);
    const { bus } = restored.board;
    expect([bus.portRead(UP, 4), bus.portRead(DOWN, 4)]).toEqual([0, 1 << 19]);
    expect(saveMachine(restored).toBytes()).toEqual(file.toBytes());
    bus.portWrite(EJECT, 4, 1 << 19);
    expect([host.removed, other.removed]).toEqual([[], ['rng']]);
  });

  it('stay through a reset, but for those that were to go', () => {
    const { host, machine } = withCards();
    machine.plug({ action: 'remove-card', id: 'nic' });
    const before = machine.board;
    host.poll = () => {
      if (machine.board === before) machine.pressReset();
      else machine.stop();
    };
    Object.assign(machine, { currentConfig: { ...machine.config, noReboot: false } });
    expect(machine.run()).toEqual({ kind: 'stopped' });
    expect(machine.board).not.toBe(before);
    expect(host.removed).toEqual(['nic']);
    expect(cardsOf(machine).map(([, name]) => name)).toEqual(['disk', 'rng', 'old']);
    expect(machine.config.plugged?.netdevs).toHaveLength(2);
  });

  it('are not in machines that were saved before there were any', () => {
    const { machine } = create();
    const file = new SnapshotBuffer('test.snap');
    const writer = new SnapshotWriter(file, deflate);
    const add = writer.add.bind(writer);
    writer.add = (name, version, value) => {
      if (name === 'pci-hotplug') return;
      if (name !== 'machine') add(name, version, value);
      else {
        const { plugged: _, ...config } = (value as { readonly config: { readonly [key: string]: Plain } }).config;
        add(name, 5, { ...(value as { readonly [key: string]: Plain }), config });
      }
    };
    machine.save(writer);
    expect(new PlugHost().restore(file).config.plugged).toEqual(NOTHING_PLUGGED);
  });

  it.each<[string, readonly HotplugRequest[], string]>([
    ['a name twice', [card('rng', 'virtio-rng')], "Duplicate device ID 'rng'"],
    ['the name of a card of the board', [card('virtio-rng0', 'virtio-rng')], "Duplicate device ID 'virtio-rng0'"],
    ['no such node', [card('x', 'virtio-blk', { backend: 'd9' })], "can't find value 'd9'"],
    ['no such network', [card('x', 'e1000', { backend: 'd1' })], "can't find value 'd1'"],
    ['a node that another card has', [card('x', 'virtio-blk', { backend: 'd1' })], "'d1' is in use by another card"],
    ['a network that another card has', [card('x', 'e1000', { backend: 'n1' })], "'n1' is in use by another card"],
    ['a slot that is taken', [card('x', 'virtio-rng', { slot: 17 })], 'PCI: slot 17 function 0 not available'],
    ['a slot of the board', [card('x', 'virtio-rng', { slot: 1 })], 'PCI: slot 1 function 0 not available'],
    [
      'more cards than slots',
      ['a', 'b', 'c', 'd', 'e'].map((id) => card(id, 'virtio-rng')),
      'PCI: no slot/function available for virtio-rng-pci, all in use or reserved',
    ],
    ['a node twice', [node('d1')], "Duplicate nodes with node-name='d1'"],
    ['a node of a file that cannot be opened', [node('d2', { path: '/none' })], 'no such file'],
    ['a node of another that there is not', [node('d2', { file: 'f' })], "nor node-name='f'"],
    ['a node of one that is in use', [node('d2', { file: 'd1' })], 'Node d1 is in use'],
    ['no such node to remove', [{ action: 'remove-node', name: 'd2' }], "Failed to find node with node-name='d2'"],
    ['a network twice', [netdev('n1')], "Duplicate ID 'n1' for netdev"],
    ['a network that cannot be had', [netdev('none')], 'there is no such network'],
    ['a network that is in use', [{ action: 'remove-netdev', id: 'n1' }], "Netdev 'n1' is in use"],
    [
      'folders where nothing is shared',
      [{ action: 'add-folder', folder: { id: 'f', path: '/', readOnly: true } }],
      'nothing of the host can be shared here',
    ],
  ])('%s: refused, and nothing has changed', (_name, requests, message) => {
    const { machine } = withCards();
    for (const request of requests.slice(0, -1)) machine.plug(request);
    const before = machine.config.plugged;
    const [last] = requests.slice(-1);
    expect(() => machine.plug(last)).toThrow(message);
    expect(machine.config.plugged).toEqual(before);
  });

  it('nodes stand on nodes, which get their file back', () => {
    const { host, machine } = create();
    machine.plug(node('file', { driver: 'file' }));
    machine.plug(node('disk', { file: 'file', path: '' }));
    expect([host.opened, host.closed]).toEqual([['raw:/file', 'qcow2:/file'], ['raw:/file']]);
    expect(() => machine.plug({ action: 'remove-node', name: 'file' })).toThrow('Node file is in use');
    const restored = new PlugHost();
    expect(restored.restore(saveMachine(machine)).config.plugged?.nodes).toHaveLength(2);
    expect(restored.opened).toEqual(['qcow2:/file']);
    machine.plug({ action: 'remove-node', name: 'disk' });
    expect(inspect(machine).nodes.map(({ name, medium }) => [name, medium.format])).toEqual([['file', 'raw']]);
    machine.close();
    expect(host.closed).toEqual(['raw:/file', 'qcow2:/file', 'raw:/file']);
  });

  it('nodes stand on files that are no disks by themselves, as qcow2 images of other programs are', () => {
    const { host, machine } = create();
    machine.plug(node('file', { driver: 'file', path: '/uneven' }));
    const request = card('disk', 'virtio-blk', { backend: 'file' });
    expect(() => machine.plug(request)).toThrow("can't find value 'file'");
    expect(() => machine.plug(node('raw', { driver: 'raw', file: 'file', path: '' }))).toThrow('not whole sectors');
    machine.plug(node('disk', { file: 'file', path: '' }));
    expect(() => machine.plug(node('again', { file: 'file', path: '' }))).toThrow('Node file is in use');
    expect(host.opened).toEqual(['qcow2:/uneven']);
    machine.plug({ action: 'remove-node', name: 'disk' });
    machine.plug({ action: 'remove-node', name: 'file' });
    expect(machine.config.plugged?.nodes).toEqual([]);
    expect(host.closed).toEqual(host.opened);
  });

  it('a machine without slots refuses them, and one whose runs are to be the same has no networks', () => {
    const { machine } = create({ boot, machine: 'microvm', display: { vga: 'none', rom: null, input: 'ps2' } });
    expect(() => machine.plug(card('x', 'virtio-rng'))).toThrow('no slots for cards');
    expect(() => new PlugHost().create({ boot }).plug(netdev('n'))).toThrow('--clock virtual has no network');
  });
});
