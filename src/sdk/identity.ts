/** What two machines that were one must not share. */
import { UsageError } from '../base/errors.js';
import { checkObject } from './kinds.js';
import type { Note } from './note.js';

/** What a guest is known by. */
export interface Identity {
  readonly hostname?: string;
  /** 32 hexadecimal digits: /etc/machine-id, where the guest has one. */
  readonly machineId?: string;
  /** The hardware address of its network card, `52:54:00:12:34:56`. */
  readonly mac?: string;
  /** The card's address with the bits of its network, `10.0.2.16/24`. Connections that the guest has are lost. */
  readonly address?: string;
}

const LONGEST_HOSTNAME = 64;

/** Addresses of the user-mode network that nobody else there has: beyond gateway, name server and the one that machines are made with. */
const [FIRST, LAST] = [16, 250];

/** Which of them the last fork of this process was given: the next one is given the next, so that few have the same. */
let turn: number | undefined;

/** What a fork gets: what is given, the rest chosen at `random`, which gives so many bytes. */
export function forkIdentity(note: Note, random: (count: number) => Uint8Array, given: Identity = {}): Identity {
  const digits = (count: number): string[] => [...random(count)].map((byte) => byte.toString(16).padStart(2, '0'));
  const suffix = `-${digits(3).join('')}`;
  const count = LAST - FIRST + 1;
  turn = ((turn ?? parseInt(digits(4).join(''), 16)) + 1) % count;
  const card = note.network && {
    mac: `52:54:00:${digits(3).join(':')}`,
    address: `10.0.2.${FIRST + turn}/24`,
  };
  const chosen: Identity = {
    hostname: note.hostname.slice(0, LONGEST_HOSTNAME - suffix.length) + suffix,
    machineId: digits(16).join(''),
    ...card,
  };
  // Undefined is what is not given.
  return { ...chosen, ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) };
}

function isAddress(text: string): boolean {
  const parts = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\/(\d{1,2})$/.exec(text)?.slice(1).map(Number);
  return parts?.every((part, i) => part <= (i < 4 ? 255 : 32)) ?? false;
}

/** The words of the agent's applet `identity`. Throws a UsageError for what cannot be. */
export function identityWords(identity: Identity, { network }: Note): string[] {
  checkObject(identity, 'names and addresses');
  const { hostname, machineId, mac, address, ...others } = identity;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw new UsageError(`an identity has no "${unknown}"`);
  if (hostname !== undefined && !/^[\w.-]{1,64}$/.test(hostname))
    throw new UsageError(`a guest cannot be called "${hostname}"`);
  if (machineId !== undefined && !/^[0-9a-f]{32}$/.test(machineId))
    throw new UsageError(`"${machineId}" is no id of a machine`);
  // Not one of a group (IEEE 802-2014 §8.2: the lowest bit of the first byte).
  if (mac !== undefined && !/^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/.test(mac))
    throw new UsageError(`"${mac}" is no hardware address of a card: six bytes, as 52:54:00:12:34:56`);
  if (address !== undefined && !isAddress(address))
    throw new UsageError(`"${address}" is no address of a card: as 10.0.2.16/24`);
  if ((mac !== undefined || address !== undefined) && !network)
    throw new UsageError('the guest has no network card, or its own init sees to it');
  const card = mac === undefined && address === undefined ? undefined : network;
  return [
    hostname ?? '',
    machineId ?? '',
    card?.interface ?? '',
    mac ?? '',
    address ?? '',
    address === undefined ? '' : (card?.gateway ?? ''),
  ];
}
