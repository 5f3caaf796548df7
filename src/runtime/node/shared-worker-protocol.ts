/** Between the worker that machines share and whoever starts it: apart from what a machine and its owner say, whose types users of the library see. */
import type { MessagePort } from 'node:worker_threads';
import type { WorkerData } from './protocol.js';

/** What the worker is given that machines share. */
export interface SharedWorkerData {
  /** What it sleeps on. */
  readonly word: Int32Array<SharedArrayBuffer>;
}

/** What it is told. */
export type SharedWorkerCommand =
  | { readonly kind: 'machine'; readonly data: WorkerData; readonly port: MessagePort }
  /** Nobody needs it any more. */
  | { readonly kind: 'end' };
