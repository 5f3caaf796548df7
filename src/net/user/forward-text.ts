/** A port of the host that leads into the guest, as people write it. */
import { UsageError } from '../../base/errors.js';
import type { ForwardConfig } from '../../iface/net-config.js';
import { parseAddress } from '../addresses.js';

const PORT = '\\d{1,5}';

/** Throws a one-line error, which begins with `where`, when a text is no port. */
export function parsePort(text: string, where: string): number {
  const value = Number(text);
  if (!/^\d{1,5}$/.test(text) || value > 65535) throw new UsageError(`${where}: ${text} is no port`);
  return value;
}

const HOST = '\\[[^\\]]*\\]|[^:\\[\\]]*';
/** `tcp:[address]:port-[address]:port`, as QEMU has it. */
const FORWARD = new RegExp(`^(?:(tcp|udp)?:)?(${HOST}):(${PORT})-(${HOST}):(${PORT})$`);
/** `tcp:8080:80`. */
const SHORT_FORWARD = new RegExp(`^(tcp|udp):(${PORT}):(${PORT})$`);

/** An address without the brackets that IPv6 has in front of ports. */
export const unbracket = (text: string): string => text.replace(/^\[|\]$/g, '');

/** Throws a one-line error, which begins with `option`. */
export function parseForward(text: string, option = ''): ForwardConfig {
  const where = `${option}hostfwd=${text}`;
  const short = SHORT_FORWARD.exec(text);
  if (short) {
    const [, protocol, from, to] = short;
    return forward(protocol, ['127.0.0.1', parsePort(from, where)], ['', parsePort(to, where)], option);
  }
  const match = FORWARD.exec(text);
  if (!match) throw new UsageError(`${where} is not written as tcp:[address]:8080-:80 or tcp:8080:80`);
  const [, protocol, from, fromPort, to, toPort] = match;
  for (const address of [from, to].map(unbracket))
    if (address !== '' && !parseAddress(address)) throw new UsageError(`${where}: ${address} is no address`);
  const host = from === '' ? '127.0.0.1' : unbracket(from);
  return forward(
    protocol ?? 'tcp',
    [host, parsePort(fromPort, where)],
    [unbracket(to), parsePort(toPort, where)],
    option,
  );
}

function forward(
  protocol: string,
  from: readonly [string, number],
  to: readonly [string, number],
  option: string,
): ForwardConfig {
  if (to[1] === 0) throw new UsageError(`${option}hostfwd: the guest has no port 0`);
  return {
    protocol: protocol === 'udp' ? 'udp' : 'tcp',
    hostAddress: from[0],
    hostPort: from[1],
    guestAddress: to[0],
    guestPort: to[1],
  };
}
