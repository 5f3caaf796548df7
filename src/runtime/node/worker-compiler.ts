/** Compiles regions on a worker: one of those that all CPUs of a machine have, or one of its own. */
import { receiveMessageOnPort, type Worker } from 'node:worker_threads';
import type { PortableRequest } from '../../accel/wasm/portable-region.js';
import { RemoteCompiler, type RemoteCompilerOptions } from '../common/remote-compiler.js';
import { ANSWERS, type TranslationAnswer, type TranslationLink } from './translation-protocol.js';
import { startTranslationThread, translationLink } from './translation-threads.js';

export interface WorkerCompilerOptions extends RemoteCompilerOptions {
  /** To threads that are there already, for all CPUs of the machine; absent: one is started for this CPU alone. */
  readonly links?: readonly TranslationLink[] | undefined;
  /** Gives a way to a thread that is there for others, too, which this compiler ends by closing its port; absent: a thread is started. */
  readonly join?: (() => TranslationLink) | undefined;
  /** The thread's entry; for tests. */
  readonly entry?: URL;
}

interface Thread extends TranslationLink {
  /** Of `answers`. */
  readonly words: Int32Array;
}

export class WorkerCompiler extends RemoteCompiler {
  private threads: Thread[] = [];
  /** The one that was started for this CPU. */
  private worker: Worker | undefined;
  private broken = false;

  constructor(private readonly options: WorkerCompilerOptions) {
    super(options);
    for (const link of options.links ?? []) this.connect(link);
  }

  protected override get isBroken(): boolean {
    return this.broken;
  }

  protected override send(request: PortableRequest): void {
    // It takes a while to start, so it is not started for guests that do next to nothing.
    if (this.threads.length === 0) this.start();
    const { port } = this.threads[(request.host >>> 12) % this.threads.length];
    port.postMessage(request, [request.contents.buffer as ArrayBuffer]);
  }

  private connect(link: TranslationLink): void {
    this.threads.push({ ...link, words: new Int32Array(link.answers) });
  }

  private start(): void {
    const { join } = this.options;
    if (join) {
      this.connect(join());
      return;
    }
    const [own, other] = translationLink();
    this.connect(own);
    const { bases, entry } = this.options;
    const data = { links: [other], anyCpu: bases.anyCpu, numbers: { first: 0, step: 1 } };
    this.worker = startTranslationThread(data, entry);
    this.worker.on('error', () => {
      this.broken = true;
    });
  }

  protected override receive(): TranslationAnswer | undefined {
    for (const { port, words } of this.threads) {
      if (Atomics.load(words, ANSWERS.POSTED) === words[ANSWERS.TAKEN]) continue;
      const answer = receiveMessageOnPort(port)?.message as TranslationAnswer | undefined;
      if (answer === undefined) continue;
      words[ANSWERS.TAKEN]++;
      return answer;
    }
    return undefined;
  }

  /** Threads that are the machine's go on for other CPUs. */
  protected override letGo(): void {
    if (this.options.links) return;
    for (const { port } of this.threads) port.close();
    this.threads = [];
    void this.worker?.terminate();
    this.worker = undefined;
  }
}
