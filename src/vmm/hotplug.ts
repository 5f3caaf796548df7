/**
 * What is added to a machine while it runs, and taken away again: back ends first, then cards that use them. The messages of errors are
 * QEMU's: monitors and their clients know them.
 */
import { assert, assertNever } from '../base/assert.js';
import { UnevenDiskError, UsageError } from '../base/errors.js';
import type { BlockBackend } from '../iface/block.js';
import type { NetworkConfig } from '../iface/net-config.js';
import type { SharedFolder } from '../iface/shared-folder.js';
import type { BoardCard, HotplugSlots } from '../machine/common/cards.js';
import type { DiskConfig } from './config.js';
import type { MachineImage } from './machine-snapshot.js';
import { macBytes, type LateNetwork, type NetHost } from './net-config.js';
import {
  CARD_MODELS,
  MAX_BACKENDS,
  nodeAbove,
  NOTHING_PLUGGED,
  type CardConfig,
  type FolderConfig,
  type NetdevConfig,
  type NodeConfig,
  type PluggedConfig,
} from './plugged-config.js';
import type { SharingHost } from './sharing-config.js';

/** A card that is to be plugged. */
export type CardRequest = Omit<CardConfig, 'slot' | 'mac'> & {
  /** Absent: the lowest one that is free. */
  readonly slot: number | undefined;
  /** Of a network card; null: one that no other card of the machine has. */
  readonly mac: string | null;
};

/** What is to be added to a machine that runs, or taken from it. */
export type HotplugRequest =
  | { readonly action: 'add-node'; readonly node: NodeConfig }
  | { readonly action: 'remove-node'; readonly name: string }
  | { readonly action: 'add-netdev'; readonly id: string; readonly network: NetworkConfig }
  | { readonly action: 'remove-netdev'; readonly id: string }
  | { readonly action: 'add-folder'; readonly folder: FolderConfig }
  | { readonly action: 'remove-folder'; readonly id: string }
  | { readonly action: 'add-card'; readonly card: CardRequest }
  | { readonly action: 'remove-card'; readonly id: string };

/** What a machine gives for it. */
export interface HotplugMachine {
  openDisk(disk: DiskConfig): BlockBackend;
  readonly networks: NetHost | undefined;
  readonly sharing: SharingHost | undefined;
  /** Whether what comes from outside may differ from run to run. */
  readonly mayDiffer: boolean;
  /** MAC addresses of cards that are always there. */
  readonly macs: readonly string[];
  /** The description is another one now. */
  changed(plugged: PluggedConfig): void;
}

/** The disk that a node would be. */
export const nodeDisk = ({ path, driver, readOnly, direct }: NodeConfig): DiskConfig => ({
  path,
  format: driver === 'qcow2' ? 'qcow2' : 'raw',
  readOnly,
  temporary: false,
  attach: 'virtio',
  media: 'disk',
  serial: null,
  internal: null,
  cache: direct ? 'none' : 'writeback',
});

/** The address that a user-mode network sends to before it has learnt the guest's own. */
const FIRST_MAC = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56] as const;

const isNic = ({ driver }: Pick<CardConfig, 'driver'>): boolean => driver === 'virtio-net' || driver === 'e1000';

export class Hotplug {
  private config: PluggedConfig;
  private readonly nodes = new Map<string, BlockBackend>();
  private readonly networks = new Map<string, LateNetwork>();
  private readonly folders = new Map<string, SharedFolder>();

  /** Opens all that a saved machine had. Throws a one-line error when something cannot be had; nothing is open then. */
  constructor(
    config: PluggedConfig | undefined,
    private readonly machine: HotplugMachine,
  ) {
    this.config = config ?? NOTHING_PLUGGED;
    try {
      for (const node of this.config.nodes) if (!nodeAbove(this.config, node.name)) this.openNode(node);
      for (const netdev of this.config.netdevs) this.openNetwork(netdev);
      for (const folder of this.config.folders) this.openFolder(folder);
    } catch (error) {
      for (const node of this.nodes.values()) node.close();
      for (const network of this.networks.values()) network.close();
      throw error;
    }
  }

  private change(changed: Partial<PluggedConfig>): void {
    this.config = { ...this.config, ...changed };
    this.machine.changed(this.config);
  }

  /** Nodes that have their image open. */
  get openNodes(): readonly { readonly node: NodeConfig; readonly image: BlockBackend }[] {
    return this.config.nodes.flatMap((node) => {
      const image = this.nodes.get(node.name);
      return image ? [{ node, image }] : [];
    });
  }

  /** Files that the machine stands on. */
  get images(): readonly MachineImage[] {
    return this.openNodes.map(({ node, image }) => ({ name: node.path, image }));
  }

  /** For a new board. Throws a one-line error when a saved card has lost what it uses. */
  get cards(): readonly BoardCard[] {
    return this.config.cards.map((card) => this.boardCard(card));
  }

  private openNode(node: NodeConfig): void {
    try {
      this.nodes.set(node.name, this.machine.openDisk(nodeDisk(node)));
    } catch (error) {
      // QEMU's programs leave out what is not used of a qcow2 image's last cluster: it is no disk before its format stands on it.
      if (!(error instanceof UnevenDiskError) || node.driver === 'raw') throw error;
    }
  }

  private openNetwork({ id, network }: NetdevConfig): void {
    const { networks, mayDiffer } = this.machine;
    if (!mayDiffer)
      throw new UsageError('--clock virtual has no network: what comes from outside is not the same in every run');
    if (!networks?.openNetwork) throw new UsageError('networks cannot be added here');
    const mac = this.freeMac();
    this.networks.set(
      id,
      networks.openNetwork({ network, model: 'virtio-net', mac, queues: 1, mtu: 1500, pcap: '' }, id),
    );
  }

  private openFolder({ id, path, readOnly }: FolderConfig): void {
    const { sharing } = this.machine;
    if (!sharing) throw new UsageError('nothing of the host can be shared here');
    this.folders.set(id, sharing.openFolder({ path, readOnly, tag: id, driver: 'virtiofs' }));
  }

  /** Throws a one-line error when it cannot be done; nothing has changed then. `slots`: of the board, if it has any. */
  carryOut(request: HotplugRequest, slots: HotplugSlots | undefined): void {
    switch (request.action) {
      case 'add-node':
        this.addNode(request.node);
        break;
      case 'remove-node':
        this.removeNode(request.name);
        break;
      case 'add-netdev': {
        const { id, network } = request;
        const { netdevs } = this.config;
        if (netdevs.some((one) => one.id === id)) throw new UsageError(`Duplicate ID '${id}' for netdev`);
        limit(netdevs);
        this.openNetwork({ id, network });
        this.change({ netdevs: [...netdevs, { id, network }] });
        break;
      }
      case 'remove-netdev': {
        const { id } = request;
        this.checkUnused(id, isNic, `Netdev '${id}' is in use`);
        this.networks.get(id)?.close();
        this.networks.delete(id);
        this.change({ netdevs: this.config.netdevs.filter((one) => one.id !== id) });
        break;
      }
      case 'add-folder': {
        const { folder } = request;
        const { folders } = this.config;
        if (folders.some(({ id }) => id === folder.id)) throw new UsageError(`Duplicate ID '${folder.id}' for fsdev`);
        limit(folders);
        this.openFolder(folder);
        this.change({ folders: [...folders, folder] });
        break;
      }
      case 'remove-folder': {
        const { id } = request;
        this.checkUnused(id, ({ tag }) => tag !== null, `Folder '${id}' is in use`);
        this.folders.delete(id);
        this.change({ folders: this.config.folders.filter((one) => one.id !== id) });
        break;
      }
      case 'add-card':
        this.addCard(request.card, slots);
        break;
      case 'remove-card':
        slots?.requestUnplug(request.id);
        break;
      default:
        assertNever(request);
    }
  }

  private checkUnused(backend: string, uses: (card: CardConfig) => boolean, message: string): void {
    if (this.config.cards.some((card) => card.backend === backend && uses(card))) throw new UsageError(message);
  }

  private addNode(node: NodeConfig): void {
    const { nodes } = this.config;
    const { name, file } = node;
    if (nodes.some((one) => one.name === name)) throw new UsageError(`Duplicate nodes with node-name='${name}'`);
    limit(nodes);
    const under = file === null ? undefined : nodes.find((one) => one.name === file);
    if (file !== null && !under) throw new UsageError(`Cannot find device='${file}' nor node-name='${file}'`);
    const full = under
      ? { ...node, path: under.path, readOnly: node.readOnly || under.readOnly, direct: under.direct }
      : node;
    if (under) this.letGo(under);
    try {
      this.openNode(full);
    } catch (error) {
      if (under) this.openNode(under);
      throw error;
    }
    this.change({ nodes: [...nodes, full] });
  }

  /** A node gives its file to a format. */
  private letGo({ name }: NodeConfig): void {
    this.checkUnused(name, ({ driver }) => driver === 'virtio-blk', `Node ${name} is in use`);
    if (nodeAbove(this.config, name)) throw new UsageError(`Node ${name} is in use`);
    this.nodes.get(name)?.close();
    this.nodes.delete(name);
  }

  private removeNode(name: string): void {
    const { nodes } = this.config;
    const node = nodes.find((one) => one.name === name);
    if (!node) throw new UsageError(`Failed to find node with node-name='${name}'`);
    this.letGo(node);
    const under = nodes.find((one) => one.name === node.file);
    this.change({ nodes: nodes.filter((one) => one !== node) });
    if (!under) return;
    try {
      this.openNode(under);
    } catch (error) {
      // Its file has gone meanwhile.
      this.change({ nodes: this.config.nodes.filter((one) => one !== under) });
      throw error;
    }
  }

  private addCard({ slot: wanted, ...request }: CardRequest, slots: HotplugSlots | undefined): void {
    if (!slots) throw new UsageError('the machine has no slots for cards: --machine pc has');
    const { cards } = this.config;
    const { id, driver, backend } = request;
    if (cards.some((card) => card.id === id)) throw new UsageError(`Duplicate device ID '${id}'`);
    if (cards.some((card) => card.backend !== null && card.backend === backend && sameKind(card, request)))
      throw new UsageError(`${driver}: '${backend ?? ''}' is in use by another card`);
    const slot = wanted ?? slots.free;
    if (slot === undefined)
      throw new UsageError(`PCI: no slot/function available for ${CARD_MODELS[driver]}, all in use or reserved`);
    if (!slots.slots.includes(slot) || cards.some((card) => card.slot === slot))
      throw new UsageError(`PCI: slot ${slot} function 0 not available for ${CARD_MODELS[driver]}`);
    const card: CardConfig = { ...request, slot, mac: isNic(request) ? (request.mac ?? this.freeMac()) : null };
    slots.plug(this.boardCard(card));
    this.change({ cards: [...cards, card] });
  }

  /** Throws a one-line error when there is no such back end. */
  private boardCard(card: CardConfig): BoardCard {
    const { id, slot, driver, queues, mtu, mac, serial, tag } = card;
    const name = card.backend ?? '';
    const lacks = (property: string): UsageError =>
      new UsageError(`Property '${CARD_MODELS[driver]}.${property}' can't find value '${name}'`);
    switch (driver) {
      case 'virtio-blk': {
        const backend = this.nodes.get(name);
        if (!backend) throw lacks('drive');
        return { id, slot, kind: 'disk', backend, queues, ...(serial !== null && { serial }) };
      }
      case 'virtio-net':
      case 'e1000': {
        const network = this.networks.get(name);
        if (!network) throw lacks('netdev');
        assert(mac !== null, 'a network card has an address');
        return {
          id,
          slot,
          kind: 'nic',
          nic: { model: driver, backend: network.backend, mac: macBytes(mac), queues, mtu },
        };
      }
      case 'virtio-rng':
        return { id, slot, kind: 'entropy' };
      case 'virtio-9p':
      case 'virtio-fs': {
        const folder = this.folders.get(name);
        if (!folder) throw lacks('fsdev');
        const share = {
          tag: tag ?? name,
          folder,
          driver: driver === 'virtio-fs' ? ('virtiofs' as const) : ('9p' as const),
        };
        return { id, slot, kind: 'share', share };
      }
      default:
        return assertNever(driver);
    }
  }

  /** The first address that no card has. */
  private freeMac(): string {
    const taken = new Set([...this.machine.macs, ...this.config.cards.map(({ mac }) => mac)]);
    for (let n = 0; ; n++) {
      const last = FIRST_MAC[5] + n;
      const mac = [...FIRST_MAC.slice(0, 4), FIRST_MAC[4] + (last >> 8), last & 0xff]
        .map((byte) => byte.toString(16).padStart(2, '0'))
        .join(':');
      if (!taken.has(mac)) return mac;
    }
  }

  /** The guest has let go of a card. Its back end stays. */
  ejected(id: string): void {
    this.change({ cards: this.config.cards.filter((card) => card.id !== id) });
  }

  /** Ends the networks; files are closed with the machine's other images. */
  close(): void {
    for (const network of this.networks.values()) network.close();
  }
}

/** Both use nodes, or networks, or folders. */
const sameKind = (a: Pick<CardConfig, 'driver'>, b: Pick<CardConfig, 'driver'>): boolean =>
  a.driver === b.driver || (isNic(a) && isNic(b)) || (isFolder(a) && isFolder(b));
const isFolder = ({ driver }: Pick<CardConfig, 'driver'>): boolean => driver === 'virtio-9p' || driver === 'virtio-fs';

function limit(some: readonly unknown[]): void {
  if (some.length >= MAX_BACKENDS) throw new UsageError(`there are ${MAX_BACKENDS} already`);
}
