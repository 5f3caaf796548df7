/** What a machine may reach, as it is typed: names or addresses with commas between, each with a port or without. */
import { ApiError } from '../../api/errors.js';

export interface Reachable {
  readonly host: string;
  readonly port?: number;
}

const isPort = (text: string): boolean => /^\d{1,5}$/.test(text) && Number(text) >= 1 && Number(text) <= 65535;

/** Throws a one-line error. */
export function parseReachable(text: string): Reachable[] {
  const words = text
    .split(/[\s,]+/)
    .map((word) => word.trim())
    .filter((word) => word !== '');
  if (words.length === 0) throw new ApiError('invalid', 'name what the machine may reach, or give it no network');
  return words.map((word) => {
    // An IPv6 address with a port has brackets.
    const match = /^(?:\[([^\]]+)\]|([^:]+))(?::([^:]*))?$/.exec(word);
    if (!match) return { host: word };
    const host = match[1] ?? match[2];
    if (match[3] === undefined) return { host };
    if (!isPort(match[3])) throw new ApiError('invalid', `${word}: the port is no number from 1 to 65535`);
    return { host, port: Number(match[3]) };
  });
}
