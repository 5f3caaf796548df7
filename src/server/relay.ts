/**
 * A network for a machine that runs in a page: Ethernet frames come and go as messages of a WebSocket, and what they carry goes through
 * sockets of this host, as for a machine that runs here (src/net/user), within what the tenant may reach.
 */
import { ApiError } from '../api/errors.js';
import { ClosableSockets } from '../host/node/net/closable-sockets.js';
import { FINISHED, MIN_FRAME } from '../iface/net.js';
import { parseMac } from '../net/addresses.js';
import type { FrameSink } from '../net/user/ip-output.js';
import { UserStack } from '../net/user/user-stack.js';
import { DEFAULT_USER_NETWORK } from '../vmm/net-config.js';
import type { Call } from './call.js';
import type { Peer } from './peer.js';
import { networkOf } from './plan-machine.js';
import type { Tenant } from './tenant.js';

const MTU = 1500;
const LONGEST = 14 + MTU;
const MAC = '52:54:00:12:34:56';
/** Networks of a tenant at a time. */
const MOST_RELAYS = 64;
/** Connections and UDP sockets of one network at a time. */
const MOST_SOCKETS = 512;
/** Bytes that wait for a slow page; beyond it frames have no room, as in a card. */
const MOST_WAITING = 1 << 20;

class PeerSink implements FrameSink {
  readonly offloads = { checksum: false, tcp4: false, tcp6: false };
  private frame: Uint8Array | undefined;

  constructor(private readonly peer: Peer) {}

  reserve(length: number): Uint8Array | undefined {
    if (this.peer.waiting > MOST_WAITING || length > LONGEST) return undefined;
    this.frame = new Uint8Array(length);
    return this.frame;
  }

  commit(): void {
    if (this.frame) this.peer.write(this.frame);
    this.frame = undefined;
  }
}

const relays = new WeakMap<Tenant, number>();

/** Looks whether the tenant may; gives what to do with the connection. */
export function openRelay({ tenant, query }: Call): (peer: Peer) => void {
  const network = networkOf(undefined, tenant.policy, tenant.local);
  if (network === false) throw new ApiError('forbidden', 'there is no network for you here');
  if ((relays.get(tenant) ?? 0) >= MOST_RELAYS)
    throw new ApiError('limit', `there are ${MOST_RELAYS} networks of yours already`);
  const { restrict = false, allow = [] } = network === true ? {} : network;
  const mac = parseMac(query['mac'] ?? MAC) ?? new Uint8Array(6);
  return (peer) => {
    relays.set(tenant, (relays.get(tenant) ?? 0) + 1);
    const sockets = new ClosableSockets({ most: MOST_SOCKETS });
    const stack = new UserStack({
      config: { ...DEFAULT_USER_NETWORK, restrict, allow: allow.map(({ host, port = 0 }) => ({ host, port })) },
      mac,
      mtu: MTU,
      sink: new PeerSink(peer),
      sockets,
    });
    peer.listen({
      binary: (frame) => {
        if (frame.length < MIN_FRAME || frame.length > LONGEST) return;
        stack.receive(frame, FINISHED);
        stack.endBatch();
      },
      drained: () => stack.room(),
      closed: () => {
        relays.set(tenant, (relays.get(tenant) ?? 1) - 1);
        stack.reset();
        sockets.close();
      },
    });
  };
}
