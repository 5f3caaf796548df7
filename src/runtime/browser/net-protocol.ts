/** What passes between a page's machine and the thread of its networks. */
import type { NetConfig } from '../../iface/net-config.js';
import type { RingPair } from '../common/network-end.js';

/** A WebSocket that leads to a network, which all networks of the machine then are. */
export interface RelayAddress {
  /** `wss://HOST/v1/relay` of a `vitrine serve`, or any other that carries one Ethernet frame in each binary message. */
  readonly url: string;
  /** For a `vitrine serve`: it is changed into a ticket for each connection (POST /v1/tickets). */
  readonly token?: string;
}

/** The first message to the thread. It answers by READY, or by what is wrong. */
export interface NetStart {
  readonly networks: readonly (RingPair & { readonly config: NetConfig })[];
  /** NET_STATUS words. */
  readonly status: SharedArrayBuffer;
  readonly relay: RelayAddress | undefined;
  /** What the machine sleeps on. */
  readonly wake: Int32Array<SharedArrayBuffer> | undefined;
  /** A MessageRing of what is saved of networks. */
  readonly answers: SharedArrayBuffer;
}

export const NET_STATUS = {
  /** The first of the words that say whether there is a network: 1, or 0. */
  LINK: 0,
} as const;

export type NetCommand =
  /** There are frames, or room for them. */
  | { readonly kind: 'ring' }
  | { readonly kind: 'reset'; readonly network: number }
  | { readonly kind: 'save'; readonly network: number }
  | { readonly kind: 'restore'; readonly network: number; readonly connections: Uint8Array };
