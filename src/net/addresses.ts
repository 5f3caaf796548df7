/** IP addresses: 4 or 16 bytes, and as text. */

export type Address = Uint8Array;

const IPV4 = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/;

/** Undefined: the text is no address. */
export function parseAddress(text: string): Address | undefined {
  return text.includes(':') ? parseV6(text) : parseV4(text);
}

function parseV4(text: string): Address | undefined {
  const parts = IPV4.exec(text)?.slice(1).map(Number);
  return parts?.every((part) => part <= 255) ? Uint8Array.from(parts) : undefined;
}

/** RFC 4291 §2.2. */
function parseV6(text: string): Address | undefined {
  const tail = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  if (tail) {
    const v4 = parseV4(tail[2]);
    if (!v4) return undefined;
    const [a, b, c, d] = v4;
    return parseV6(`${tail[1]}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`);
  }
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const groups = halves.map((half) => (half === '' ? [] : half.split(':')));
  const count = groups.reduce((sum, { length }) => sum + length, 0);
  if (halves.length === 1 ? count !== 8 : count > 7) return undefined;
  if (!groups.flat().every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return undefined;
  const [head, rest = []] = groups;
  const all = [...head, ...new Array<string>(8 - count).fill('0'), ...rest].map((group) => parseInt(group, 16));
  return Uint8Array.from(all.flatMap((group) => [group >> 8, group & 0xff]));
}

export function addressText(address: Address): string {
  if (address.length === 4) return address.join('.');
  const groups = Array.from({ length: 8 }, (_, i) => (address[2 * i] << 8) | address[2 * i + 1]);
  // The first of the longest runs of zeros becomes "::", RFC 5952 §4.2.
  let [from, longest] = [0, 0];
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (end < 8 && groups[end] === 0) end++;
    if (end - i > longest) [from, longest] = [i, end - i];
  }
  const text = (part: readonly number[]): string => part.map((group) => group.toString(16)).join(':');
  if (longest < 2) return text(groups);
  return `${text(groups.slice(0, from))}::${text(groups.slice(from + longest))}`;
}

/** A network, as in `10.0.2.0/24`. */
export interface Prefix {
  readonly address: Address;
  readonly length: number;
}

export function parsePrefix(text: string): Prefix | undefined {
  const [base, bits, ...more] = text.split('/');
  const address = parseAddress(base);
  const length = Number(bits);
  const valid = address && more.length === 0 && /^\d+$/.test(bits ?? '') && length <= address.length * 8;
  return valid ? { address, length } : undefined;
}

export function isWithin(address: Address, { address: net, length }: Prefix): boolean {
  if (address.length !== net.length) return false;
  for (let i = 0; i < length; i++) {
    const bit = 0x80 >> (i & 7);
    if ((address[i >> 3] ^ net[i >> 3]) & bit) return false;
  }
  return true;
}

export const sameAddress = (a: Address, b: Address): boolean =>
  a.length === b.length && a.every((byte, i) => byte === b[i]);

/** The address `offset` behind the start of a network. */
export function addressIn({ address, length }: Prefix, offset: number): Address {
  const result = address.slice();
  for (let i = length; i < result.length * 8; i++) result[i >> 3] &= ~(0x80 >> (i & 7));
  const low = new DataView(result.buffer).getUint32(result.length - 4);
  new DataView(result.buffer).setUint32(result.length - 4, (low + offset) >>> 0);
  return result;
}

const prefixes = (texts: readonly string[]): readonly Prefix[] =>
  texts.map((text) => parsePrefix(text) ?? { address: new Uint8Array(0), length: 0 });

const BAD = prefixes([
  '0.0.0.0/8',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '224.0.0.0/4',
  '240.0.0.0/4',
  '::/96',
  '::ffff:0:0/96',
  'fe80::/10',
  'ff00::/8',
]);

/** An address that leads nowhere beyond the machine that uses it: on the host it would be the host itself. */
export const isLocalOnly = (address: Address): boolean => BAD.some((prefix) => isWithin(address, prefix));

/** Not globally reachable by RFC 6890 and its registries, or another way to write an IPv4 address (RFC 6052, 3056, 4380). */
const PRIVATE = prefixes([
  '10.0.0.0/8',
  '100.64.0.0/10',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '64:ff9b::/96',
  '64:ff9b:1::/48',
  '100::/64',
  '2001::/23',
  '2001:db8::/32',
  '2002::/16',
  'fc00::/7',
  'fec0::/10',
]);

/** An address of the internet: of no host that only this one, or its own network, can reach. */
export const isPublic = (address: Address): boolean =>
  !isLocalOnly(address) && !PRIVATE.some((prefix) => isWithin(address, prefix));

export function parseMac(text: string): Uint8Array | undefined {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) return undefined;
  return Uint8Array.from(text.split(':').map((part) => parseInt(part, 16)));
}
