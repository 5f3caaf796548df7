/**
 * Compiles regions on another thread. The thread that asks may block for as long as it likes: it never waits, and looks for
 * answers whenever it comes by. When the other thread does not answer, or cannot be had, work goes on without it.
 */
import { receiveMessageOnPort, type Worker } from 'node:worker_threads';
import { assert } from '../../base/assert.js';
import type { Compiled, Compiler, RegionRequest } from '../../accel/wasm/compiler.js';
import { InThreadCompiler } from '../../accel/wasm/in-thread-compiler.js';
import { toPortable } from '../../accel/wasm/portable-region.js';
import type { CpuBases } from '../../cpu/x86/interpreter/handlers.js';
import type { Variant } from '../../cpu/x86/variants.js';
import { ANSWERS, type TranslationAnswer, type TranslationLink } from './translation-protocol.js';
import { startTranslationThread, translationLink } from './translation-threads.js';

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
  /** To threads that are there already, for all CPUs of the machine; absent: one is started for this CPU alone. */
  readonly links?: readonly TranslationLink[] | undefined;
  /** Is told what the user should know, in one line. */
  readonly report: (text: string) => void;
  /** The thread's entry; for tests. */
  readonly entry?: URL;
  readonly patience?: number;
  /** Milliseconds. */
  readonly now?: () => number;
}

/** Requests are numbered over all compilers of this thread: a machine that was reset has new ones, and old answers may still come. */
let lastNumber = 0;

interface Thread extends TranslationLink {
  /** Of `answers`. */
  readonly words: Int32Array;
}

export class WorkerCompiler implements Compiler {
  private threads: Thread[] = [];
  /** The one that was started for this CPU. */
  private worker: Worker | undefined;
  /** Instead of the thread, after that has failed. */
  private substitute: InThreadCompiler | undefined;
  private readonly numbers: ReadonlyMap<Variant, number>;
  /** By their numbers. */
  private readonly waiting = new Map<number, RegionRequest>();
  /** When something was last heard, or asked after a time of nothing to do. */
  private heard = 0;
  private broken = false;
  private readonly now: () => number;

  constructor(private readonly options: WorkerCompilerOptions) {
    this.numbers = new Map(options.variants.map((variant, i) => [variant, i]));
    this.now = options.now ?? (() => performance.now());
    for (const link of options.links ?? []) this.connect(link);
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
    if (this.threads.length === 0) this.start();
    if (this.waiting.size === 0) this.heard = this.now();
    const ticket = ++lastNumber;
    this.waiting.set(ticket, region);
    const { memory } = this.options;
    const portable = toPortable({ ...region, ticket }, memory, (variant) => {
      const number = this.numbers.get(variant);
      assert(number !== undefined, 'the thread knows every variant');
      return number;
    });
    const { port } = this.threads[(region.host >>> 12) % this.threads.length];
    port.postMessage(portable, [portable.contents.buffer as ArrayBuffer]);
  }

  private connect(link: TranslationLink): void {
    this.threads.push({ ...link, words: new Int32Array(link.answers) });
  }

  private start(): void {
    const [own, other] = translationLink();
    this.connect(own);
    const { bases, entry } = this.options;
    const data = { links: [other], anyCpu: bases.anyCpu, numbers: { first: 0, step: 1 } };
    this.worker = startTranslationThread(data, entry);
    this.worker.on('error', () => {
      this.broken = true;
    });
  }

  take(): Compiled | undefined {
    if (this.substitute) return this.substitute.take();
    for (const { port, words } of this.threads)
      while (Atomics.load(words, ANSWERS.POSTED) !== words[ANSWERS.TAKEN]) {
        const answer = receiveMessageOnPort(port)?.message as TranslationAnswer | undefined;
        if (answer === undefined) break;
        words[ANSWERS.TAKEN]++;
        this.heard = this.now();
        const own = this.withTickets(answer);
        if (own) return own;
      }
    return this.waiting.size > 0 && this.isLost() ? this.giveUp().take() : undefined;
  }

  /** An answer with the tickets of the questions; undefined when nobody has asked. */
  private withTickets(answer: TranslationAnswer): Compiled | undefined {
    const asked = (number: number): number[] => {
      const region = this.waiting.get(number);
      this.waiting.delete(number);
      return region ? [region.ticket] : [];
    };
    switch (answer.kind) {
      case 'failed': {
        const tickets = answer.tickets.flatMap(asked);
        return tickets.length > 0 ? { ...answer, tickets } : undefined;
      }
      case 'module': {
        const regions = answer.regions.flatMap((region) =>
          asked(region.ticket).map((ticket) => ({ ...region, ticket })),
        );
        return regions.length > 0 ? { ...answer, regions } : undefined;
      }
      case 'shared': {
        const ticket = asked(answer.ticket).at(0);
        return ticket === undefined ? undefined : { ...answer, ticket };
      }
    }
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
    if (!this.worker) return;
    for (const { port } of this.threads) port.close();
    this.threads = [];
    void this.worker.terminate();
    this.worker = undefined;
  }

  close(): void {
    this.waiting.clear();
    this.stop();
    this.substitute?.close();
  }
}
