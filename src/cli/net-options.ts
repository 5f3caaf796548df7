/** What `--net` says, as the machine's description. */
import { randomBytes } from 'node:crypto';
import * as path from 'node:path';
import type { Command } from 'commander';
import { UsageError } from '../base/errors.js';
import {
  NIC_MODELS,
  type AllowConfig,
  type NetConfig,
  type NetworkConfig,
  type UserNetConfig,
} from '../iface/net-config.js';
import { parseAddress, parseMac } from '../net/addresses.js';
import { parseForward, parsePort, unbracket } from '../net/user/forward-text.js';
import { parseResolver, planNetwork } from '../net/user/plan.js';
import type { ClockKind } from '../vmm/config.js';
import { DEFAULT_USER_NETWORK } from '../vmm/net-config.js';
import { splitCommas } from './parse.js';

export interface NetOptions {
  readonly net?: readonly string[];
}

export const NET_HELP = `
A network is a kind and words; more than one --net gives more than one card:
  user                   a network of the guest's own: DHCP, names, and what it sends goes
                         out through this program. The default, but for --clock virtual
    hostfwd=tcp:[addr]:8080-:80   a port of this host that leads into the guest; udp too,
                         and short: tcp:8080:80. Without addr: 127.0.0.1
    restrict=on          nothing else goes out, but
    allow=host[:port]    to there; as often as you like
    net=10.0.2.0/24, host=, dns=, dhcpstart=, net6=fec0::/64 (or ipv6=off)
    hostname=, domain=   what DHCP tells; bootfile= for network boot
    resolver=addr[:port] who is asked for names, instead of this host's servers
  link,path=FILE         a Unix socket at which machines meet
  tap[,ifname=NAME]      a tap interface of this host (Linux)
  none                   no network
  all but none:          model=virtio-net (the default) or e1000 (an Intel 82540EM), mac=,
                         mtu=, queues=, pcap=FILE`;

/** As questions of names have them: what ends in a number is an address, or was meant to be one. */
const NAME = /^(?!(?:.*\.)?\d+\.?$)[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?$/i;

/** `host`, `host:port`, `address`, `[v6]:port`. */
export function parseAllow(text: string): AllowConfig {
  if (parseAddress(text)) return { host: text, port: 0 };
  const match = /^(\[[^\]]+\]|[^:]+)(?::(\d{1,5}))?$/.exec(text);
  if (!match) throw new UsageError(`--net allow=${text} is not written as host:port`);
  const [, host, number] = match;
  if (!parseAddress(unbracket(host)) && !NAME.test(host))
    throw new UsageError(`--net allow=${text}: ${host} is neither the name nor the address of a host`);
  const port = number === undefined ? 0 : parsePort(number, `--net allow=${text}`);
  // To the network it would be every port.
  if (number !== undefined && port === 0) throw new UsageError(`--net allow=${text}: 0 is no port`);
  return { host: unbracket(host), port };
}

const onOff = (key: string, value: string): boolean => {
  const known = { on: true, yes: true, '': true, off: false, no: false }[value];
  if (known === undefined) throw new UsageError(`--net ${key}=${value}: there are on and off`);
  return known;
};

/** Words that are taken as they are. */
const TEXTS: Readonly<Record<string, keyof UserNetConfig>> = {
  net: 'net',
  host: 'host',
  dns: 'dns',
  dhcpstart: 'dhcpStart',
  hostname: 'hostname',
  domain: 'domain',
  domainname: 'domain',
  net6: 'net6',
  bootfile: 'bootFile',
};

function userWord(config: UserNetConfig, key: string, value: string): UserNetConfig | undefined {
  const field = TEXTS[key];
  if (field) return { ...config, [field]: value };
  switch (key) {
    case 'hostfwd':
      return { ...config, forwards: [...config.forwards, parseForward(value, '--net ')] };
    case 'restrict':
      return { ...config, restrict: onOff(key, value) };
    case 'allow':
      return { ...config, allow: [...config.allow, parseAllow(value)] };
    case 'ipv6':
      return { ...config, net6: onOff(key, value) ? config.net6 : '' };
    case 'resolver':
      if (!parseResolver(value))
        throw new UsageError(`--net resolver=${value} is not written as address or address:port`);
      return { ...config, resolver: value };
    default:
      return undefined;
  }
}

function networkWord(network: NetworkConfig, key: string, value: string): NetworkConfig | undefined {
  if (network.kind === 'user') return userWord(network, key, value);
  if (network.kind === 'tap' && key === 'ifname') {
    // As the kernel has it: dev_valid_name, 15 bytes.
    if (!/^[^\s/:%]{1,15}$/.test(value) || value === '.' || value === '..')
      throw new UsageError(`--net tap: ${value} is no name of an interface`);
    return { ...network, ifname: value };
  }
  if (network.kind === 'link' && key === 'path') return { ...network, path: value && path.resolve(value) };
  return undefined;
}

type Common = Omit<NetConfig, 'network'>;

function commonWord(common: Common, key: string, value: string): Common | undefined {
  switch (key) {
    case 'model': {
      const model = NIC_MODELS.find((known) => known === value || known === `${value}-net`);
      if (!model) throw new UsageError(`--net model=${value}: there are ${NIC_MODELS.join(' and ')}`);
      return { ...common, model };
    }
    case 'mac': {
      const mac = parseMac(value);
      // With that of zeros, which is nobody's, Linux cannot switch the card on.
      if (mac === undefined || (mac[0] & 1) !== 0 || mac.every((byte) => byte === 0))
        throw new UsageError(`--net mac=${value} is not an address of a card such as 52:54:00:12:34:56`);
      return { ...common, mac: value.toLowerCase() };
    }
    case 'mtu':
    case 'queues': {
      const [low, high] = key === 'mtu' ? [1280, 65521] : [1, 8];
      if (!/^\d{1,5}$/.test(value) || Number(value) < low || Number(value) > high)
        throw new UsageError(`--net ${key}=${value} is not in ${low} … ${high}`);
      return { ...common, [key]: Number(value) };
    }
    case 'pcap':
      if (value === '') throw new UsageError('--net pcap= names no file');
      return { ...common, pcap: path.resolve(value) };
    default:
      return undefined;
  }
}

const START: Readonly<Record<string, NetworkConfig>> = {
  user: DEFAULT_USER_NETWORK,
  link: { kind: 'link', path: '' },
  tap: { kind: 'tap', ifname: '' },
};

/** The one of a guest that is alone on its network; where others are, one that nobody else has. */
function macFor(kind: NetworkConfig['kind'], index: number): string {
  const own = kind === 'user' ? [0x12, 0x34, 0x56 + index] : [...randomBytes(3)];
  return [0x52, 0x54, 0x00, ...own].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/** One `--net`. */
export function parseNet(text: string, index: number): NetConfig {
  const [kind, ...words] = splitCommas(text);
  let network: NetworkConfig | undefined = Object.hasOwn(START, kind) ? START[kind] : undefined;
  if (kind === 'none') throw new UsageError('--net none is alone, and takes no words');
  if (!network) throw new UsageError(`--net does not know "${kind}"; there are user, link, tap and none`);
  let common: Common = { model: 'virtio-net', mac: macFor(network.kind, index), queues: 1, mtu: 1500, pcap: '' };
  for (const word of words) {
    const [, key, value] = /^([a-z0-9]+)=(.*)$/s.exec(word) ?? [undefined, word, ''];
    const changed: Common | undefined = commonWord(common, key, value);
    const other: NetworkConfig | undefined = changed ? network : networkWord(network, key, value);
    if (!other) throw new UsageError(`--net ${kind} does not know "${word}"`);
    common = changed ?? common;
    network = other;
  }
  if (common.model !== 'virtio-net' && common.queues > 1)
    throw new UsageError(`--net queues=: only model=virtio-net has several, ${common.model} has not`);
  if (network.kind === 'link' && network.path === '') throw new UsageError('--net link names no socket: path=FILE');
  if (network.kind === 'user') {
    if (network.allow.length > 0 && !network.restrict) throw new UsageError('--net allow= needs restrict=on');
    planNetwork(network);
  }
  return { ...common, network };
}

/** Without `--net` there is a network of the guest's own, unless every run is to be the same. */
export function configureNetworks({ net }: NetOptions, clock: ClockKind, wanted: boolean): readonly NetConfig[] {
  const texts = net ?? (clock === 'virtual' || !wanted ? [] : ['user']);
  if (texts.includes('none')) {
    if (texts.length > 1) throw new UsageError('--net none is alone');
    return [];
  }
  if (texts.length > 0 && clock === 'virtual')
    throw new UsageError('--clock virtual has no network: what comes from outside is not the same in every run');
  const networks = texts.map(parseNet);
  const twice = networks.find(({ pcap }, i) => pcap !== '' && networks.findIndex((other) => other.pcap === pcap) < i);
  if (twice) throw new UsageError(`two cards cannot write one capture: --net pcap=${twice.pcap}`);
  return networks;
}

const collect = (value: string, before: readonly string[] = []): string[] => [...before, value];

export function addNetOptions(command: Command): Command {
  return command.option('--net <kind[,words]>', 'a network card: user, link, tap or none; words: see below', collect);
}
