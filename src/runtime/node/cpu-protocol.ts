/** What the thread of a CPU is given by the machine's. */
import type { MessagePort } from 'node:worker_threads';
import type { CpuidEntry } from '../../arch/x86/cpuid.js';
import type { AcceleratorName } from './accelerator-names.js';
import type { SeatData } from './cpu-turns.js';
import type { TranslationLink } from './translation-protocol.js';

export interface CpuWorkerData {
  readonly index: number;
  readonly cpus: number;
  /** Name of the CPU model. */
  readonly model: string;
  readonly tscHz: number;
  readonly backingSize: number;
  /** The CPU's. */
  readonly cpuid: readonly CpuidEntry[];
  readonly accel: AcceleratorName | undefined;
  /** `Vm.share` of the machine's. */
  readonly share: unknown;
  /** Ways to the threads that translate. */
  readonly translation: readonly TranslationLink[] | undefined;
  /** Of `SmpWords`. */
  readonly words: SharedArrayBuffer;
  /** A word that is 1 as soon as the thread has loaded what it needs, or failed to. */
  readonly loaded: SharedArrayBuffer;
  /** What the machine's thread sleeps on: a word of this, to be made 1. */
  readonly wake: { readonly buffer: SharedArrayBuffer; readonly index: number };
  /** Of the machine, among those of the process. */
  readonly seat: SeatData;
  /** CpuCommands come in, CpuMessages go out. */
  readonly port: MessagePort;
  /** Closed when the thread ends, whatever for: that tells the machine's owner. */
  readonly life: MessagePort;
}

/** Wakes the thread that sleeps on a word. */
export function wakeBy({ buffer, index }: CpuWorkerData['wake']): () => void {
  const words = new Int32Array(buffer);
  return () => {
    if (Atomics.exchange(words, index, 1) === 0) Atomics.notify(words, index);
  };
}
