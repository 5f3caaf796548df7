/** What the translator of a CPU and its thread say to each other. */
import type { MessagePort } from 'node:worker_threads';
import type { PortableRequest } from '../../accel/wasm/portable-region.js';
import type { Compiled } from '../../accel/wasm/compiler.js';

export interface TranslationWorkerData {
  /** Takes PortableRequests and gives TranslationAnswers. */
  readonly port: MessagePort;
  /** Word 0: how many answers there have been, so that nobody has to look into the port for nothing. */
  readonly answers: SharedArrayBuffer;
  /** The code is for any CPU of the machine. */
  readonly anyCpu: boolean;
}

export type { PortableRequest };

/** Errors lose their class on the way. */
export type TranslationAnswer = Compiled;
