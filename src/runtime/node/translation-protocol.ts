/** What the translators of CPUs and the threads that compile for them say to each other. */
import type { MessagePort } from 'node:worker_threads';
import type { PortableRequest } from '../../accel/wasm/portable-region.js';
import type { Compiled } from '../../accel/wasm/compiler.js';

/** How many answers there have been, so that nobody has to look into the port for nothing, and how many of them were taken. */
export const ANSWERS = { POSTED: 0, TAKEN: 1 } as const;

/** One end of the way between a CPU and a thread. */
export interface TranslationLink {
  /** PortableRequests go one way, TranslationAnswers the other. */
  readonly port: MessagePort;
  /** Words: ANSWERS. */
  readonly answers: SharedArrayBuffer;
}

export interface TranslationWorkerData {
  /** By the CPU's index, or one for the only CPU; none where machines come and go. */
  readonly links: readonly TranslationLink[];
  /** The code is for any CPU of the machine, and what one has had made is given to the others. */
  readonly anyCpu: boolean;
  /** Modules are numbered from the first in steps, so that no two threads of a machine use the same number. */
  readonly numbers: { readonly first: number; readonly step: number };
}

export type { PortableRequest };

/** What a thread is told that translates for machines that come and go: one more. */
export interface TranslationGuest {
  readonly link: TranslationLink;
}

/** Errors lose their class on the way. */
export type TranslationAnswer = Compiled;
