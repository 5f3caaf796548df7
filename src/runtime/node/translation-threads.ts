/**
 * The threads that translate for all CPUs of a machine with several. There are fewer of them than CPUs, since what one CPU has had made the others
 * are given too. Which thread it is depends on the page of memory where the code begins.
 */
import { availableParallelism } from 'node:os';
import { MessageChannel, Worker } from 'node:worker_threads';
import type { TranslationGuest, TranslationLink, TranslationWorkerData } from './translation-protocol.js';

/** One for each two CPUs that can run at a time. */
const threadsFor = (cpus: number): number => Math.max(1, Math.floor(Math.min(cpus, availableParallelism()) / 2));

/** Starts a thread that translates; `links` are its ends. */
export function startTranslationThread(data: TranslationWorkerData, entry?: URL): Worker {
  const worker = new Worker(entry ?? new URL('./translation-worker.js', import.meta.url), {
    workerData: data,
    transferList: data.links.map(({ port }) => port),
  });
  // It must not keep a process or a thread alive that has nothing else to do; their end is its end.
  worker.unref();
  return worker;
}

/** Both ends of a way between a CPU and a thread: the CPU's, and the thread's. */
export function translationLink(): readonly [TranslationLink, TranslationLink] {
  const { port1, port2 } = new MessageChannel();
  const answers = new SharedArrayBuffer(8);
  port1.unref();
  return [
    { port: port1, answers },
    { port: port2, answers },
  ];
}

/** The thread that translates for machines of one CPU that are on one thread. It starts when one of them has something to translate. */
export class JoinedTranslation {
  private worker: Worker | undefined;

  /** `entry` is the thread's, for tests. */
  constructor(private readonly entry?: URL) {}

  /** A way to it for one machine, which ends when its port is closed. */
  join(): TranslationLink {
    const [own, link] = translationLink();
    this.worker ??= this.start();
    this.worker.postMessage({ link } satisfies TranslationGuest, [link.port]);
    return own;
  }

  private start(): Worker {
    const worker = startTranslationThread({ links: [], anyCpu: false, numbers: { first: 0, step: 1 } }, this.entry);
    // Machines that come later have another.
    const gone = (): void => {
      if (this.worker === worker) this.worker = undefined;
    };
    worker.on('error', gone);
    worker.on('exit', gone);
    return worker;
  }

  close(): void {
    void this.worker?.terminate();
    this.worker = undefined;
  }
}

export class TranslationThreads {
  private readonly workers: Worker[] = [];
  /** By CPU, then by thread. */
  private readonly ends: TranslationLink[][];

  /** `entry` is the threads', for tests. */
  constructor(cpus: number, entry?: URL) {
    this.ends = Array.from({ length: cpus }, () => []);
    const step = threadsFor(cpus);
    for (let first = 0; first < step; first++) {
      const pairs = this.ends.map(() => translationLink());
      for (const [cpu, [own]] of pairs.entries()) this.ends[cpu].push(own);
      const links = pairs.map(([, other]) => other);
      this.workers.push(startTranslationThread({ links, anyCpu: true, numbers: { first, step } }, entry));
    }
  }

  /** The ways from a CPU to each of the threads. */
  links(cpu: number): readonly TranslationLink[] {
    return this.ends[cpu];
  }

  close(): void {
    for (const worker of this.workers) void worker.terminate();
  }
}
