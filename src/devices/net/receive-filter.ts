import { array, bool, bytes, struct, type Infer } from '../../snapshot/schema.js';

const filterSchema = struct({
  promiscuous: bool,
  allMulticast: bool,
  allUnicast: bool,
  noMulticast: bool,
  noUnicast: bool,
  noBroadcast: bool,
  mac: bytes(6),
  unicast: array(bytes(6), { max: 64 }),
  multicast: array(bytes(6), { max: 64 }),
  unicastOverflow: bool,
  multicastOverflow: bool,
  vlans: bytes(512),
});
export type FilterState = Infer<typeof filterSchema>;
export { filterSchema };

/** Addresses that a table holds; of more the card takes all. */
export const TABLE_SIZE = 64;

const same = (frame: Uint8Array, mac: Uint8Array): boolean =>
  frame[0] === mac[0] &&
  frame[1] === mac[1] &&
  frame[2] === mac[2] &&
  frame[3] === mac[3] &&
  frame[4] === mac[4] &&
  frame[5] === mac[5];

/** Which frames a card with tables of addresses takes, VIRTIO 1.2 §5.1.6.5.1 … §5.1.6.5.3. */
export class ReceiveFilter {
  state: FilterState;

  constructor(private readonly mac: Uint8Array) {
    this.state = this.initial();
  }

  private initial(): FilterState {
    return {
      // As the device does until the driver says otherwise.
      promiscuous: true,
      allMulticast: false,
      allUnicast: false,
      noMulticast: false,
      noUnicast: false,
      noBroadcast: false,
      mac: this.mac.slice(),
      unicast: [],
      multicast: [],
      unicastOverflow: false,
      multicastOverflow: false,
      vlans: new Uint8Array(512),
    };
  }

  reset(): void {
    this.state = this.initial();
  }

  set(change: Partial<FilterState>): void {
    this.state = { ...this.state, ...change };
  }

  setVlan(id: number, on: boolean): void {
    const { vlans } = this.state;
    if (on) vlans[id >> 3] |= 1 << (id & 7);
    else vlans[id >> 3] &= ~(1 << (id & 7));
  }

  /** `vlans`: the driver filters them. */
  takes(frame: Uint8Array, vlans: boolean): boolean {
    const { state } = this;
    if (vlans && frame[12] === 0x81 && frame[13] === 0 && frame.length >= 16) {
      const id = ((frame[14] << 8) | frame[15]) & 0xfff;
      if (!(state.vlans[id >> 3] & (1 << (id & 7)))) return false;
    }
    if (state.promiscuous) return true;
    if (!(frame[0] & 1)) {
      if (state.noUnicast) return false;
      if (state.allUnicast || state.unicastOverflow || same(frame, state.mac)) return true;
      return state.unicast.some((mac) => same(frame, mac));
    }
    if (same(frame, BROADCAST)) return !state.noBroadcast;
    if (state.noMulticast) return false;
    if (state.allMulticast || state.multicastOverflow) return true;
    return state.multicast.some((mac) => same(frame, mac));
  }

  save(): FilterState {
    const copy = (macs: readonly Uint8Array[]): Uint8Array[] => macs.map((mac) => mac.slice());
    const { state } = this;
    return {
      ...state,
      mac: state.mac.slice(),
      vlans: state.vlans.slice(),
      unicast: copy(state.unicast),
      multicast: copy(state.multicast),
    };
  }

  restore(state: FilterState): void {
    this.state = state;
  }
}

const BROADCAST = new Uint8Array(6).fill(0xff);
