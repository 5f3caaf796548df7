/**
 * Compiles regions on another thread. The thread that asks may block for as long as it likes: it never waits, and looks for
 * answers whenever it comes by. When the other thread does not answer, or cannot be had, work goes on without it.
 */
import { MessageChannel, receiveMessageOnPort, Worker, type MessagePort } from 'node:worker_threads';
import { assert } from '../../base/assert.js';
import type { Compiled, Compiler, RegionRequest } from '../../accel/wasm/compiler.js';
import { InThreadCompiler } from '../../accel/wasm/in-thread-compiler.js';
import { toPortable } from '../../accel/wasm/portable-region.js';
import type { CpuBases } from '../../cpu/x86/interpreter/handlers.js';
import type { Variant } from '../../cpu/x86/variants.js';
import type { TranslationAnswer, TranslationWorkerData } from './translation-protocol.js';

/** Regions under way at most: later ones are better chosen when their turn has come. */
const QUEUE = 32;
/** Milliseconds without an answer after which the thread is given up. */
const PATIENCE = 30_000;

export interface WorkerCompilerOptions {
  readonly bases: CpuBases;
  /** Holds the records of regions. */
  readonly memory: Uint8Array;
  /** The list that the thread has, too. */
  readonly variants: readonly Variant[];
  /** Is told what the user should know, in one line. */
  readonly report: (text: string) => void;
  /** The thread's entry; for tests. */
  readonly entry?: URL;
  readonly patience?: number;
  /** Milliseconds. */
  readonly now?: () => number;
}

interface Thread {
  readonly worker: Worker;
  readonly port: MessagePort;
  readonly answers: Int32Array;
}

export class WorkerCompiler implements Compiler {
  private thread: Thread | undefined;
  /** Instead of the thread, after that has failed. */
  private substitute: InThreadCompiler | undefined;
  private readonly numbers: ReadonlyMap<Variant, number>;
  private readonly waiting = new Map<number, RegionRequest>();
  private seen = 0;
  /** When something was last heard, or asked after a time of nothing to do. */
  private heard = 0;
  private broken = false;
  private readonly now: () => number;

  constructor(private readonly options: WorkerCompilerOptions) {
    this.numbers = new Map(options.variants.map((variant, i) => [variant, i]));
    this.now = options.now ?? (() => performance.now());
  }

  get isReady(): boolean {
    return this.waiting.size < QUEUE;
  }

  request(region: RegionRequest): void {
    if (this.substitute) {
      this.substitute.request(region);
      return;
    }
    // It takes a while to start, so it is not started for guests that do next to nothing.
    this.thread ??= this.start();
    if (this.waiting.size === 0) this.heard = this.now();
    this.waiting.set(region.ticket, region);
    const { memory } = this.options;
    const portable = toPortable(region, memory, (variant) => {
      const number = this.numbers.get(variant);
      assert(number !== undefined, 'the thread knows every variant');
      return number;
    });
    this.thread.port.postMessage(portable, [portable.contents.buffer as ArrayBuffer]);
  }

  private start(): Thread {
    const { port1, port2 } = new MessageChannel();
    const answers = new SharedArrayBuffer(4);
    const data: TranslationWorkerData = { port: port2, answers, anyCpu: this.options.bases.anyCpu };
    const entry = this.options.entry ?? new URL('./translation-worker.js', import.meta.url);
    const worker = new Worker(entry, { workerData: data, transferList: [port2] });
    // It must not keep a process or a thread alive that has nothing else to do; their end is its end.
    worker.unref();
    port1.unref();
    worker.on('error', () => {
      this.broken = true;
    });
    return { worker, port: port1, answers: new Int32Array(answers) };
  }

  take(): Compiled | undefined {
    if (this.substitute) return this.substitute.take();
    if (this.thread === undefined) return undefined;
    if (Atomics.load(this.thread.answers, 0) === this.seen) {
      if (this.waiting.size === 0 || !this.isLost()) return undefined;
      return this.giveUp().take();
    }
    const answer = receiveMessageOnPort(this.thread.port)?.message as TranslationAnswer | undefined;
    if (answer === undefined) return undefined;
    this.seen++;
    this.heard = this.now();
    const tickets = answer.kind === 'failed' ? answer.tickets : answer.regions.map(({ ticket }) => ticket);
    for (const ticket of tickets) this.waiting.delete(ticket);
    return answer;
  }

  private isLost(): boolean {
    return this.broken || this.now() - this.heard > (this.options.patience ?? PATIENCE);
  }

  /** Goes on without the thread. */
  private giveUp(): InThreadCompiler {
    const why = this.broken ? 'has failed' : 'does not answer';
    this.options.report(
      `the thread that translates guest code ${why}: the guest's own thread does it now, and is slower`,
    );
    const substitute = new InThreadCompiler(this.options.bases, this.now);
    this.stop();
    this.substitute = substitute;
    for (const region of this.waiting.values()) substitute.request(region);
    this.waiting.clear();
    return substitute;
  }

  private stop(): void {
    this.thread?.port.close();
    void this.thread?.worker.terminate();
    this.thread = undefined;
  }

  close(): void {
    this.waiting.clear();
    this.stop();
    this.substitute?.close();
  }
}
