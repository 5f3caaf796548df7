/** What passes between a machine's thread and the thread of its networks. */
import type { MessagePort } from 'node:worker_threads';
import type { NetConfig } from '../../iface/net-config.js';
import type { ErrorKind } from '../common/portable-error.js';

export interface NetWorkerData {
  readonly networks: readonly {
    readonly config: NetConfig;
    /** Frames from the guest, and to it. */
    readonly fromGuest: SharedArrayBuffer;
    readonly toGuest: SharedArrayBuffer;
  }[];
  /** The machine's words, see protocol.ts: WAKE wakes it. */
  readonly shared: Int32Array<SharedArrayBuffer>;
  /** The machine's thread may have to be woken by a signal besides. */
  readonly signals: boolean;
  /** `STATUS` words of this thread, and one LINK word for each network. */
  readonly status: SharedArrayBuffer;
  readonly port: MessagePort;
}

export const STATUS = {
  /** Not 0: the networks are there, or an error lies in the port. */
  READY: 0,
  /** Counts answers to `save`. */
  ANSWERS: 1,
  /** Counts what the machine's thread wakes this one for: there are frames, or room for them. */
  DOORBELL: 2,
  /** `NATIVE`: whether this thread is loading native code, during which it must not be ended. */
  NATIVE: 3,
  /** The first of the words that say whether there is a network: 1, or 0. */
  LINK: 4,
} as const;

/** NEVER: the thread is about to be ended, and does without. */
export const NATIVE = { IDLE: 0, LOADING: 1, NEVER: 2 } as const;

export type NetCommand =
  | { readonly kind: 'reset'; readonly network: number }
  | { readonly kind: 'save'; readonly network: number }
  | { readonly kind: 'restore'; readonly network: number; readonly connections: Uint8Array };

export type NetAnswer =
  | { readonly kind: 'error'; readonly message: string; readonly errorKind: ErrorKind }
  | { readonly kind: 'saved'; readonly connections: Uint8Array };
