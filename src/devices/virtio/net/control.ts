import type { FilterState, ReceiveFilter } from '../../net/receive-filter.js';
import { TABLE_SIZE } from '../../net/receive-filter.js';
import { CONTROL, FEATURE, MAC_COMMAND, RX_COMMAND, VLAN_COMMAND } from './registers.js';

/** What control commands change besides the filter. */
export interface ControlTarget {
  readonly features: bigint;
  readonly filter: ReceiveFilter;
  readonly maxPairs: number;
  setPairs(pairs: number): void;
  /** Features of the driver's side, a subset of those it accepted. False: they are not. */
  setGuestOffloads(bits: bigint): boolean;
}

const RX_FIELD: Readonly<Record<number, keyof FilterState>> = {
  [RX_COMMAND.PROMISC]: 'promiscuous',
  [RX_COMMAND.ALLMULTI]: 'allMulticast',
  [RX_COMMAND.ALLUNI]: 'allUnicast',
  [RX_COMMAND.NOMULTI]: 'noMulticast',
  [RX_COMMAND.NOUNI]: 'noUnicast',
  [RX_COMMAND.NOBCAST]: 'noBroadcast',
};

/** Carries out a command of the control queue, VIRTIO 1.2 §5.1.6.5. False: it is wrong, or was not negotiated. */
export function control(target: ControlTarget, message: Uint8Array): boolean {
  if (message.length < 2) return false;
  const [kind, command] = message;
  const data = message.subarray(2);
  const has = (feature: bigint): boolean => (target.features & feature) !== 0n;
  switch (kind) {
    case CONTROL.RX:
      return setReceiveMode(target, command, data);
    case CONTROL.MAC:
      if (command === MAC_COMMAND.ADDR_SET && has(FEATURE.CTRL_MAC_ADDR)) return setAddress(target.filter, data);
      return command === MAC_COMMAND.TABLE_SET && has(FEATURE.CTRL_RX) && setTable(target.filter, data);
    case CONTROL.VLAN: {
      if (!has(FEATURE.CTRL_VLAN) || data.length < 2 || command > VLAN_COMMAND.DEL) return false;
      const id = data[0] | (data[1] << 8);
      if (id > 0xfff) return false;
      target.filter.setVlan(id, command === VLAN_COMMAND.ADD);
      return true;
    }
    case CONTROL.MQ: {
      const pairs = data.length < 2 ? 0 : data[0] | (data[1] << 8);
      if (!has(FEATURE.MQ) || command !== 0 || pairs < 1 || pairs > target.maxPairs) return false;
      target.setPairs(pairs);
      return true;
    }
    case CONTROL.GUEST_OFFLOADS: {
      if (!has(FEATURE.CTRL_GUEST_OFFLOADS) || command !== 0 || data.length < 8) return false;
      return target.setGuestOffloads(new DataView(data.buffer, data.byteOffset).getBigUint64(0, true));
    }
    default:
      return false;
  }
}

function setReceiveMode({ features, filter }: ControlTarget, command: number, data: Uint8Array): boolean {
  const field = RX_FIELD[command];
  const feature = command >= RX_COMMAND.ALLUNI ? FEATURE.CTRL_RX_EXTRA : FEATURE.CTRL_RX;
  if (!field || data.length < 1 || (features & feature) === 0n) return false;
  filter.set({ [field]: data[0] !== 0 });
  return true;
}

function setAddress(filter: ReceiveFilter, data: Uint8Array): boolean {
  if (data.length < 6) return false;
  filter.set({ mac: data.slice(0, 6) });
  return true;
}

/** §5.1.6.5.2: two tables, each a count and so many addresses. */
function setTable(filter: ReceiveFilter, data: Uint8Array): boolean {
  const tables: { entries: Uint8Array[]; overflow: boolean }[] = [];
  let at = 0;
  for (let i = 0; i < 2; i++) {
    if (at + 4 > data.length) return false;
    const count = new DataView(data.buffer, data.byteOffset).getUint32(at, true);
    at += 4;
    if (count > (data.length - at) / 6) return false;
    const overflow = count > TABLE_SIZE;
    const entries = Array.from({ length: overflow ? 0 : count }, (_, n) => data.slice(at + 6 * n, at + 6 * n + 6));
    tables.push({ entries, overflow });
    at += 6 * count;
  }
  const [unicast, multicast] = tables;
  filter.set({
    unicast: unicast.entries,
    unicastOverflow: unicast.overflow,
    multicast: multicast.entries,
    multicastOverflow: multicast.overflow,
  });
  return true;
}
