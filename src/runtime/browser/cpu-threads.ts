/** The threads of CPUs from the second one on. */
import { assert } from '../../base/assert.js';
import { lifeName } from '../../host/browser/life.js';
import type { CpuMessage } from '../../vmm/smp/messages.js';
import type { ThreadHost } from '../../vmm/smp/cpu-threads.js';
import { MessageRing } from '../common/message-ring.js';
import { plain } from './plain.js';
import type { Built, CpuGo, CpuPrepare } from './protocol.js';
import { startThread } from './threads.js';

/** Bytes of a ring: several times the state of a CPU. */
const RING = 2 ** 18;

export interface CpuThreadSettings {
  readonly built: Built;
  readonly cpus: number;
  readonly epoch: number;
  /** What the machine's thread sleeps on. */
  readonly wake: Int32Array<SharedArrayBuffer>;
  readonly report: (text: string) => void;
  /** The machine's owner shall say when the thread of a CPU has ended. */
  readonly watch: (index: number, life: string, words: SharedArrayBuffer) => void;
}

/** Wakes the thread that sleeps on a word. */
export const wakeBy =
  (word: Int32Array): (() => void) =>
  () => {
    if (Atomics.exchange(word, 0, 1) === 0) Atomics.notify(word, 0);
  };

/** Resolves when all threads are there and wait for their CPUs. */
export async function startCpuThreads(settings: CpuThreadSettings): Promise<ThreadHost> {
  const { built, cpus, epoch, wake, report, watch } = settings;
  const lives = Array.from({ length: cpus - 1 }, lifeName);
  const workers = await Promise.all(
    lives.map((life) => startThread('./cpu-worker.js', { built, cpus, epoch, life } satisfies CpuPrepare)),
  );
  const wakes = new Int32Array(new SharedArrayBuffer(cpus * 4));
  return {
    report,
    processors: navigator.hardwareConcurrency,
    wakes,
    yields: () => false,
    wakeMachine: wakeBy(wake),
    startCpu: (index, { request, vm, words }) => {
      const worker = workers.at(index - 1);
      assert(worker !== undefined, 'there is a thread for each CPU');
      const commands = MessageRing.create(RING);
      const messages = MessageRing.create(RING);
      const { model, tscHz, backingSize } = request;
      const go: CpuGo = {
        index,
        cpus,
        model: model.name,
        tscHz,
        backingSize,
        cpuid: request.cpuid(index),
        memory: vm.share as WebAssembly.Memory,
        words,
        wakes,
        wake,
        commands: commands.shared,
        messages: messages.shared,
      };
      watch(index, lives[index - 1], words);
      worker.postMessage(go);
      return {
        post: (command) => {
          commands.send(plain(command));
        },
        // From code of our own, on a thread of our own.
        take: () => messages.take() as unknown as CpuMessage | undefined,
      };
    },
  };
}
