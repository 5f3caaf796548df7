/**
 * What was added to a machine while it runs, as plain data: block nodes, networks and folders by names of their own, and cards, which use
 * them. Saved with the machine, so that it goes on with all of it.
 */
import type { NetworkConfig } from '../iface/net-config.js';
import { array, bool, nullable, oneOf, range, str, struct, type Infer, type Plain } from '../snapshot/schema.js';
import { networkFields, networkOf, saveNetwork } from './net-config.js';

/** What a node is read by: files themselves, and formats. */
export const NODE_DRIVERS = ['file', 'http', 'https', 'raw', 'qcow2'] as const;
export type NodeDriver = (typeof NODE_DRIVERS)[number];

/** A block node: what a disk is read from, or a format over another node. */
export interface NodeConfig {
  readonly name: string;
  readonly driver: NodeDriver;
  /** A file, or the address of one. */
  readonly path: string;
  readonly readOnly: boolean;
  /** Past the host's cache; with `file`, as that node is. */
  readonly direct: boolean;
  /** The node whose file this is the format of; null: it has its file to itself. */
  readonly file: string | null;
}

/** A network that cards can be connected to. */
export interface NetdevConfig {
  readonly id: string;
  readonly network: NetworkConfig;
}

/** A folder of the host that cards can share. */
export interface FolderConfig {
  readonly id: string;
  /** A folder of the host. */
  readonly path: string;
  readonly readOnly: boolean;
}

/** Kinds of cards. */
export const CARD_DRIVERS = ['virtio-blk', 'virtio-net', 'e1000', 'virtio-rng', 'virtio-9p', 'virtio-fs'] as const;
export type CardDriver = (typeof CARD_DRIVERS)[number];

/** As QEMU calls them. */
export const CARD_MODELS: Readonly<Record<CardDriver, string>> = {
  'virtio-blk': 'virtio-blk-pci',
  'virtio-net': 'virtio-net-pci',
  e1000: 'e1000',
  'virtio-rng': 'virtio-rng-pci',
  'virtio-9p': 'virtio-9p-pci',
  'virtio-fs': 'vhost-user-fs-pci',
};

/** A card. */
export interface CardConfig {
  readonly id: string;
  readonly driver: CardDriver;
  readonly slot: number;
  /** The node, network or folder that it uses; null: it needs none. */
  readonly backend: string | null;
  /** Queues of a virtio disk, pairs of queues of a virtio network card. */
  readonly queues: number;
  /** Of a disk: what the guest reads; null: one made of the file's name. */
  readonly serial: string | null;
  /** Of a network card, `52:54:00:12:34:56`; null: it is none. */
  readonly mac: string | null;
  /** Of a network card: largest packet, bytes. */
  readonly mtu: number;
  /** What the guest mounts a folder by; null: it is none. */
  readonly tag: string | null;
}

/** What was added to a machine while it ran. */
export interface PluggedConfig {
  readonly nodes: readonly NodeConfig[];
  readonly netdevs: readonly NetdevConfig[];
  readonly folders: readonly FolderConfig[];
  /** In the order in which they were plugged. */
  readonly cards: readonly CardConfig[];
}

export const NOTHING_PLUGGED: PluggedConfig = { nodes: [], netdevs: [], folders: [], cards: [] };

/** Of each kind at most. */
export const MAX_BACKENDS = 64;
export const MAX_QUEUES = { disk: 16, net: 8 } as const;
export const MTU = { low: 1280, high: 65521, usual: 1500 } as const;

export const pluggedSchema = struct({
  nodes: array(
    struct({
      name: str,
      driver: oneOf(...NODE_DRIVERS),
      path: str,
      readOnly: bool,
      direct: bool,
      file: nullable(str),
    }),
    { max: MAX_BACKENDS },
  ),
  netdevs: array(struct({ id: str, ...networkFields }), { max: MAX_BACKENDS }),
  folders: array(struct({ id: str, path: str, readOnly: bool }), { max: MAX_BACKENDS }),
  cards: array(
    struct({
      id: str,
      driver: oneOf(...CARD_DRIVERS),
      slot: range(0, 31),
      backend: nullable(str),
      queues: range(1, MAX_QUEUES.disk),
      serial: nullable(str),
      mac: nullable(str),
      mtu: range(MTU.low, MTU.high),
      tag: nullable(str),
    }),
    { max: 32 },
  ),
});

/** `locate`: the name of a file in whatever folder the machine goes on. */
export function savePlugged(plugged: PluggedConfig, locate: (path: string) => string): Plain {
  const { nodes, netdevs, folders, cards } = plugged;
  const located = <T extends { readonly path: string }>(one: T): T => ({ ...one, path: locate(one.path) });
  return {
    nodes: nodes.map((node) => ({ ...located(node) })),
    netdevs: netdevs.map(({ id, network }) => ({ id, ...saveNetwork(network) })),
    folders: folders.map((folder) => ({ ...located(folder) })),
    cards: cards.map((card) => ({ ...card })),
  };
}

export const restorePlugged = (saved: Infer<typeof pluggedSchema>): PluggedConfig => ({
  ...saved,
  netdevs: saved.netdevs.map(({ id, ...network }) => ({ id, network: networkOf(network) })),
});

/** The node that has another one's file open in its place. */
export const nodeAbove = ({ nodes }: PluggedConfig, name: string): NodeConfig | undefined =>
  nodes.find(({ file }) => file === name);
