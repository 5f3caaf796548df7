import { UsageError } from '../../base/errors.js';
import type { UserNetConfig } from '../../iface/net-config.js';
import {
  addressIn,
  addressText,
  isWithin,
  parseAddress,
  parsePrefix,
  type Address,
  type Prefix,
} from '../addresses.js';
import { checkTexts } from './dhcp.js';
import { unbracket } from './forward-text.js';
import { get16 } from './packet.js';

/** The network's own Ethernet address, 52:55:0a:00:02:02. */
export const GATEWAY_MAC = Uint8Array.of(0x52, 0x55, 0x0a, 0x00, 0x02, 0x02);

/** Where name servers are asked. */
export const DNS_PORT = 53;

/** Addresses of a user network. */
export interface Plan {
  readonly net: Prefix;
  readonly gateway: Address;
  readonly dns: Address;
  /** The first that DHCP gives away. */
  readonly firstGuest: Address;
  /** Undefined: no IPv6. */
  readonly six:
    | { readonly net: Prefix; readonly gateway: Address; readonly dns: Address; readonly linkLocal: Address }
    | undefined;
}

/** Whether an address is of the network. */
export const isInside = ({ net, six }: Plan, address: Address): boolean =>
  isWithin(address, net) || (six !== undefined && isWithin(address, six.net));

/** Whether an address is one that cards of the network have: RFC 4291 §2.5.6 for those that begin with fe80. */
export const isNeighbour = (plan: Plan, address: Address): boolean =>
  isInside(plan, address) || (plan.six !== undefined && address.length === 16 && get16(address, 0) >> 6 === 0x3fa);

function address(text: string, option: string): Address {
  const found = parseAddress(text);
  if (found?.length !== 4) throw new UsageError(`${option}=${text} is not an IPv4 address`);
  return found;
}

/** `address` or `address:port`; undefined: it is neither. */
export function parseResolver(text: string): { readonly address: string; readonly port: number } | undefined {
  if (parseAddress(text)) return { address: text, port: DNS_PORT };
  const [, host, number] = /^(\[[^\]]+\]|[^:]+):(\d{1,5})$/.exec(text) ?? [];
  const [address, port] = [unbracket(host ?? ''), Number(number)];
  return parseAddress(address) && port > 0 && port <= 65535 ? { address, port } : undefined;
}

/** Throws a one-line error when the addresses do not go together. */
export function planNetwork(config: UserNetConfig): Plan {
  const net = parsePrefix(config.net);
  if (net?.address.length !== 4 || net.length > 29 || net.length < 4)
    throw new UsageError(`net=${config.net} is not an IPv4 network such as 10.0.2.0/24`);
  if (config.resolver !== '' && !parseResolver(config.resolver))
    throw new UsageError(`resolver=${config.resolver} is not written as address or address:port`);
  const pick = (text: string, option: string, offset: number): Address => {
    const found = text === '' ? addressIn(net, offset) : address(text, option);
    if (!isWithin(found, net)) throw new UsageError(`${option}=${text} is not within net=${config.net}`);
    return found;
  };
  // In a small network there is less room than the usual numbers need.
  const guest = net.length > 27 ? 4 : 15;
  const plan = {
    net: { address: addressIn(net, 0), length: net.length },
    gateway: pick(config.host, 'host', 2),
    dns: pick(config.dns, 'dns', 3),
    firstGuest: pick(config.dhcpStart, 'dhcpstart', guest),
  };
  checkApart(plan, config);
  checkTexts(config);
  return { ...plan, six: planSix(config.net6) };
}

/** Hosts have addresses of their own, and neither the first of a network nor the last, which is for broadcasts. */
function checkApart({ net, gateway, dns, firstGuest }: Omit<Plan, 'six'>, config: UserNetConfig): void {
  const last = addressIn(net, 2 ** (32 - net.length) - 1);
  const taken = new Map([
    [addressText(net.address), "the network's own"],
    [addressText(last), 'that of broadcasts'],
  ]);
  for (const [option, found] of [
    ['host', gateway],
    ['dns', dns],
    ['dhcpstart', firstGuest],
  ] as const) {
    const text = addressText(found);
    const whose = taken.get(text);
    if (whose !== undefined) throw new UsageError(`${option}=${text} of net=${config.net} is ${whose} already`);
    taken.set(text, `that of ${option}=`);
  }
}

function planSix(text: string): Plan['six'] {
  if (text === '') return undefined;
  const net = parsePrefix(text);
  if (net?.address.length !== 16 || net.length !== 64)
    throw new UsageError(`net6=${text} is not an IPv6 network of 64 bits such as fec0::/64`);
  const linkLocal = new Uint8Array(16);
  linkLocal.set([0xfe, 0x80]);
  linkLocal[15] = 2;
  return { net, gateway: addressIn(net, 2), dns: addressIn(net, 3), linkLocal };
}
