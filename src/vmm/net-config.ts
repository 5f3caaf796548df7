/** Networks of a machine as plain data, as the rest of its description. */
import { UsageError } from '../base/errors.js';
import type { NetConfig, NetworkConfig, UserNetConfig } from '../iface/net-config.js';
import { NIC_MODELS } from '../iface/net-config.js';
import type { NetBackend } from '../iface/net.js';
import type { BoardNic } from '../machine/common/nics.js';
import {
  array,
  bool,
  nullable,
  oneOf,
  range,
  SchemaError,
  str,
  struct,
  u16,
  type Infer,
  type Plain,
} from '../snapshot/schema.js';

/** The user-mode network with nothing said of it. */
export const DEFAULT_USER_NETWORK: UserNetConfig = {
  kind: 'user',
  net: '10.0.2.0/24',
  host: '',
  dns: '',
  dhcpStart: '',
  hostname: '',
  domain: '',
  net6: 'fec0::/64',
  resolver: '',
  bootFile: '',
  forwards: [],
  restrict: false,
  allow: [],
};

const userSchema = struct({
  net: str,
  host: str,
  dns: str,
  dhcpStart: str,
  hostname: str,
  domain: str,
  net6: str,
  resolver: str,
  bootFile: str,
  forwards: array(
    struct({
      protocol: oneOf('tcp', 'udp'),
      hostAddress: str,
      hostPort: u16,
      guestAddress: str,
      guestPort: u16,
    }),
    { max: 1024 },
  ),
  restrict: bool,
  allow: array(struct({ host: str, port: u16 }), { max: 1024 }),
});

/** One of the kinds is there, the others are null. */
export const networkFields = {
  user: nullable(userSchema),
  link: nullable(struct({ path: str })),
  tap: nullable(struct({ ifname: str })),
};
type SavedNetwork = { readonly [K in keyof typeof networkFields]: Infer<(typeof networkFields)[K]> };

const netSchema = struct({
  model: oneOf(...NIC_MODELS),
  mac: str,
  queues: range(1, 8),
  mtu: range(576, 65521),
  pcap: str,
  ...networkFields,
});

export const networksSchema = array(netSchema, { max: 16 });

export function saveNetworks(networks: readonly NetConfig[]): Plain {
  return networks.map(({ network, ...rest }) => ({ ...rest, ...saveNetwork(network) }));
}

export function saveNetwork({ kind, ...values }: NetworkConfig): { readonly [kind: string]: Plain } {
  return { user: null, link: null, tap: null, [kind]: values as unknown as Plain };
}

export function networkOf({ user, link, tap }: SavedNetwork): NetworkConfig {
  if (user) return { kind: 'user', ...user } satisfies UserNetConfig;
  if (link) return { kind: 'link', ...link };
  if (tap) return { kind: 'tap', ...tap };
  throw new SchemaError('networks: one is of no kind');
}

export function restoreNetworks(saved: Infer<typeof networksSchema>): NetConfig[] {
  return saved.map((net) => {
    const { model, mac, queues, mtu, pcap } = net;
    return { network: networkOf(net), model, mac, queues, mtu, pcap };
  });
}

/** What a host gives a machine for its networks. */
export interface NetHost {
  /** Networks for cards, all at once. Throws a one-line error when one cannot be had. */
  openNetworks(networks: readonly NetConfig[]): readonly NetBackend[];
  /** One more network while the machine runs; absent: there can be none. Throws a one-line error. */
  openNetwork?(network: NetConfig, id: string): LateNetwork;
}

/** A network that was added to a machine that runs. */
export interface LateNetwork {
  readonly backend: NetBackend;
  /** Lets go of the host's sockets. */
  close(): void;
}

/** 6 bytes. */
export const macBytes = (mac: string): Uint8Array => Uint8Array.from(mac.split(':'), (part) => parseInt(part, 16));

/** Cards for the board. */
export function openNics(networks: readonly NetConfig[], host: NetHost | undefined): BoardNic[] {
  if (networks.length === 0) return [];
  if (!host) throw new UsageError('there are no networks here');
  const backends = host.openNetworks(networks);
  return networks.map(({ model, mac, queues, mtu }, i) => ({
    model,
    mac: macBytes(mac),
    queues,
    mtu,
    backend: backends[i],
  }));
}
