/** Networks of a page's machine, on the thread that they live on. */
import { fetchForGuest } from '../../host/browser/fetcher.js';
import { FetchSockets } from '../../host/browser/fetch-sockets.js';
import { RelaySocket } from '../../host/browser/relay-socket.js';
import type { NetConfig, UserNetConfig } from '../../iface/net-config.js';
import { HttpGateway } from '../../net/http/gateway.js';
import { addressOf, passedOn } from '../../net/http/outgoing.js';
import { BadRequest } from '../../net/http/request-parser.js';
import type { RingSink } from '../../net/ring-sink.js';
import { FakeNames } from '../../net/user/fake-names.js';
import { plainEnd, runNetwork, userEnd, type NetworkEnd, type RunningNetwork } from '../common/network-end.js';
import { NET_STATUS, type NetCommand, type NetStart } from './net-protocol.js';

/** Where the user-mode stack sends what is for its gateway: the host itself, which is the page's own server here. */
const OWN = ['127.0.0.1', '::1'];

/** Sockets of a page, for one network. */
function pageSockets({ restrict }: UserNetConfig): FetchSockets {
  const names = new FakeNames();
  return new FetchSockets({
    answer: (message) => names.answer(message),
    serve: (address, events) =>
      new HttpGateway(events, (request, signal) => {
        const { method, body } = request;
        const peer = names.nameOf(address) ?? address;
        let url = addressOf(request, peer);
        if (OWN.includes(address)) url = new URL(url.pathname + url.search, location.origin);
        else {
          url.hostname = names.nameOf(url.hostname) ?? url.hostname;
          // What may be reached was decided by the address.
          if (restrict && (url.hostname !== peer || url.port !== ''))
            throw new BadRequest(403, `${url.host} is not where this connection may go`);
        }
        return fetchForGuest({ method, url, headers: passedOn(request), body, redirects: !restrict }, signal);
      }),
  });
}

function openEnd({ config, relay, setLink }: EndParts, sink: RingSink): Promise<NetworkEnd> {
  const { network } = config;
  if (relay) {
    const frame = (bytes: Uint8Array): void => sink.sendWhole(bytes);
    const socket = new RelaySocket(relay, config.mac, { frame, link: setLink });
    return Promise.resolve(plainEnd((bytes) => socket.send(bytes)));
  }
  if (network.kind === 'user') return userEnd(config, network, sink, pageSockets(network));
  // A page reaches neither sockets nor interfaces of its host.
  setLink(false);
  return Promise.resolve(plainEnd(() => {}));
}

interface EndParts extends Pick<NetStart, 'relay'> {
  readonly config: NetConfig;
  readonly setLink: (up: boolean) => void;
}

/** All networks of a machine. */
export class PageNetworks {
  private scheduled = false;
  private readonly turn = new MessageChannel();

  private constructor(private readonly running: readonly RunningNetwork[]) {
    this.turn.port1.onmessage = () => this.work();
  }

  /** Rejected with a one-line error when one of them cannot be had. `wakeMachine`: there is something for it. */
  static async start({ networks, status, relay }: NetStart, wakeMachine: () => void): Promise<PageNetworks> {
    const words = new Int32Array(status);
    const running: RunningNetwork[] = [];
    for (const [i, { config, ...rings }] of networks.entries()) {
      const setLink = (up: boolean): void => {
        Atomics.store(words, NET_STATUS.LINK + i, up ? 1 : 0);
        wakeMachine();
      };
      const open = (sink: RingSink): Promise<NetworkEnd> => openEnd({ config, relay, setLink }, sink);
      running.push(await runNetwork(rings, { wakeMachine, open }));
    }
    return new PageNetworks(running);
  }

  /** Moves frames until there are none; sockets get their turn in between. */
  work(): void {
    this.scheduled = false;
    let more = false;
    for (const network of this.running) more = network.move() || more;
    if (!more || this.scheduled) return;
    this.scheduled = true;
    this.turn.port2.postMessage(0);
  }

  command(command: NetCommand): void {
    if (command.kind === 'ring') this.work();
    else if (command.kind === 'reset') this.running.at(command.network)?.reset();
    else if (command.kind === 'restore') this.running.at(command.network)?.restore(command.connections);
  }

  save(network: number): Uint8Array {
    return this.running.at(network)?.save() ?? new Uint8Array(0);
  }
}
