/** Starts the threads of CPUs. */
import { availableParallelism } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { MessageChannel, receiveMessageOnPort, Worker, type MessagePort } from 'node:worker_threads';
import { HostError } from '../../base/errors.js';
import { CpuLost } from '../../vmm/smp/words.js';
import type { CpuMessage } from '../../vmm/smp/messages.js';
import type { ThreadHost } from '../../vmm/smp/cpu-threads.js';
import { wakeBy, type CpuWorkerData } from './cpu-protocol.js';
import { openSeat } from './cpu-turns.js';
import type { TranslationLink } from './translation-protocol.js';

/** Milliseconds that a thread which has ended may take to say why. */
const LAST_WORDS = 300;

export interface CpuThreadSettings {
  readonly accel: CpuWorkerData['accel'];
  readonly wake: CpuWorkerData['wake'];
  readonly seat: CpuWorkerData['seat'];
  readonly yields: () => boolean;
  readonly report: (text: string) => void;
  /** The machine's owner shall say when the thread of a CPU has ended: this one never looks at its events. */
  readonly watch: (index: number, life: MessagePort, words: SharedArrayBuffer) => void;
  /** The ways of a CPU to the threads that translate, if there are any. */
  readonly translation: (cpu: number) => readonly TranslationLink[] | undefined;
}

/** Milliseconds that threads may take to load what they need. */
const LOADING = 10_000;

/** Threads, and why they have ended. */
export interface CpuThreadHost extends ThreadHost {
  /** What is wrong, with the reason where it can be had. Lets events of this thread happen. */
  explain(error: unknown): Promise<unknown>;
  /**
   * Waits until no thread is loading. Native code that is loading when its thread is made to end ends the process: to be called before the machine's thread,
   * and those with it, end.
   */
  settle(): void;
}

export function cpuThreads({
  accel,
  wake,
  seat,
  yields,
  report,
  watch,
  translation,
}: CpuThreadSettings): CpuThreadHost {
  const reasons = new Map<number, Promise<string>>();
  const started: SharedArrayBuffer[] = [];
  return {
    report,
    settle: () => {
      if (accel === 'kvm') for (const loaded of started) Atomics.wait(new Int32Array(loaded), 0, 0, LOADING);
    },
    processors: availableParallelism(),
    wakes: openSeat(seat).wakes,
    yields,
    wakeMachine: wakeBy(wake),
    startCpu: (index, { request, vm, words }) => {
      const { port1, port2 } = new MessageChannel();
      const { port1: ours, port2: theirs } = new MessageChannel();
      const { cpus, model, tscHz, backingSize } = request;
      const links = translation(index);
      const loaded = new SharedArrayBuffer(4);
      started.push(loaded);
      const data: CpuWorkerData = {
        loaded,
        index,
        cpus,
        model: model.name,
        tscHz,
        backingSize,
        cpuid: request.cpuid(index),
        accel,
        share: vm.share,
        translation: links,
        words,
        wake,
        seat,
        port: port2,
        life: theirs,
      };
      const worker = new Worker(new URL('./cpu-worker.js', import.meta.url), {
        workerData: data,
        transferList: [port2, theirs, ...(links ?? []).map((link) => link.port)],
      });
      reasons.set(
        index,
        new Promise((resolve) => {
          worker.on('error', ({ message }) => resolve(message));
          worker.on('exit', (code) => resolve(`its thread ended with code ${String(code)}`));
        }),
      );
      watch(index, ours, words);
      // Its end is the end of the machine's thread.
      worker.unref();
      port1.unref();
      return {
        post: (command) => {
          port1.postMessage(command);
        },
        take: () => receiveMessageOnPort(port1)?.message as CpuMessage | undefined,
      };
    },
    explain: async (error) => {
      if (!(error instanceof CpuLost)) return error;
      const reason = await Promise.race([reasons.get(error.index), delay(LAST_WORDS)]);
      if (reason === undefined) return error;
      return new HostError(`CPU ${String(error.index)} has failed: ${reason}`, { cause: error });
    },
  };
}
