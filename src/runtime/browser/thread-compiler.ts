/** Compiles regions with the help of another thread, which emits them; this one only has the browser take them in. */
import type { Compiled, CompiledRegion, Compiler, RegionRequest } from '../../accel/wasm/compiler.js';
import { InThreadCompiler } from '../../accel/wasm/in-thread-compiler.js';
import { toPortable, type PortableRequest } from '../../accel/wasm/portable-region.js';
import { assert } from '../../base/assert.js';
import type { CpuBases } from '../../cpu/x86/interpreter/handlers.js';
import type { Variant } from '../../cpu/x86/variants.js';
import { array, bytes, int, str, struct, type Plain } from '../../snapshot/schema.js';
import { MessageRing } from '../common/message-ring.js';
import type { TranslationStart } from './protocol.js';
import { startThread } from './threads.js';

/** Regions under way at most: later ones are better chosen when their turn has come. */
const QUEUE = 32;
/** Milliseconds without an answer after which the thread is given up. */
const PATIENCE = 30_000;
/** Bytes of the ring for answers. */
const RING = 2 ** 21;

const regionSchema = struct({
  ticket: int,
  name: str,
  entries: array(struct({ number: int, record: int }), { max: 2 ** 16 }),
  /** 32-bit words, little-endian as all hosts of browsers. */
  links: bytes(),
  firstLink: int,
});
const moduleSchema = struct({
  code: bytes(),
  regions: array(regionSchema, { max: 2 ** 16 }),
  links: int,
  /** Microseconds. */
  emitTime: int,
});
const failedSchema = struct({ tickets: array(int, { max: 2 ** 16 }), message: str, stack: str });

/** Who has asked, and for what. */
interface Asked {
  readonly by: ThreadCompiler;
  readonly ticket: number;
}

/** A thread that translates, for all CPUs that are on one thread, before and after a reset. */
export class TranslationThread {
  private readonly asked = new Map<number, Asked>();
  private lastNumber = 0;

  private constructor(
    private readonly worker: Worker,
    private readonly answers: MessageRing,
  ) {}

  /** Resolves when it is ready. */
  static async start(variants: Uint8Array, anyCpu: boolean): Promise<TranslationThread> {
    const answers = MessageRing.create(RING);
    const first: TranslationStart = { variants, answers: answers.shared, anyCpu };
    return new TranslationThread(await startThread('./translation-worker.js', first), answers);
  }

  request(by: ThreadCompiler, request: PortableRequest): void {
    const number = ++this.lastNumber;
    this.asked.set(number, { by, ticket: request.ticket });
    this.worker.postMessage({ ...request, ticket: number }, [request.contents.buffer as ArrayBuffer]);
  }

  /** Gives what has come to those who asked. */
  poll(): void {
    for (let answer = this.answers.take(); answer !== undefined; answer = this.answers.take()) this.takeIn(answer);
  }

  private find(number: number): Asked | undefined {
    const found = this.asked.get(number);
    this.asked.delete(number);
    return found;
  }

  private takeIn(answer: Plain): void {
    const isFailure = typeof answer === 'object' && answer !== null && 'tickets' in answer;
    if (isFailure) {
      const { tickets, message, stack } = failedSchema.check(answer, 'answer');
      const error = new Error(message, { cause: stack });
      for (const { by, ticket } of tickets.flatMap((number) => this.find(number) ?? []))
        by.give({ kind: 'failed', tickets: [ticket], error });
      return;
    }
    const { code, regions, links, emitTime } = moduleSchema.check(answer, 'answer');
    const own = new Map<ThreadCompiler, CompiledRegion[]>();
    for (const { ticket: number, links: words, ...region } of regions) {
      const asked = this.find(number);
      if (!asked) continue;
      const pairs = new Int32Array(words.slice().buffer);
      own.set(asked.by, [...(own.get(asked.by) ?? []), { ...region, ticket: asked.ticket, links: pairs }]);
    }
    const began = performance.now();
    let module: WebAssembly.Module;
    try {
      module = new WebAssembly.Module(code as Uint8Array<ArrayBuffer>);
    } catch (cause) {
      const error = cause instanceof Error ? cause : new Error(String(cause));
      for (const [by, mine] of own) by.give({ kind: 'failed', tickets: mine.map(({ ticket }) => ticket), error });
      return;
    }
    const compileTime = performance.now() - began;
    for (const [by, mine] of own)
      by.give({
        kind: 'module',
        module,
        bytes: code.length,
        links,
        regions: mine,
        emitTime: emitTime / 1000,
        compileTime,
      });
  }

  /** Whoever still waits will wait in vain. */
  stop(): void {
    this.worker.terminate();
  }
}

export class ThreadCompiler implements Compiler {
  /** Instead of the thread, after that has failed. */
  private substitute: InThreadCompiler | undefined;
  private readonly numbers: ReadonlyMap<Variant, number>;
  private readonly waiting = new Map<number, RegionRequest>();
  private readonly done: Compiled[] = [];
  /** When something was last heard, or asked after a time of nothing to do. */
  private heard = 0;

  constructor(
    private readonly thread: TranslationThread,
    private readonly bases: CpuBases,
    private readonly memory: Uint8Array,
    variants: readonly Variant[],
    private readonly report: (text: string) => void,
  ) {
    this.numbers = new Map(variants.map((variant, i) => [variant, i]));
  }

  get isReady(): boolean {
    return this.waiting.size < QUEUE;
  }

  request(region: RegionRequest): void {
    if (this.substitute) {
      this.substitute.request(region);
      return;
    }
    if (this.waiting.size === 0) this.heard = performance.now();
    this.waiting.set(region.ticket, region);
    const portable = toPortable(region, this.memory, (variant) => {
      const found = this.numbers.get(variant);
      assert(found !== undefined, 'the thread knows every variant');
      return found;
    });
    this.thread.request(this, portable);
  }

  /** Something that this one has asked for. */
  give(compiled: Exclude<Compiled, { kind: 'shared' }>): void {
    this.heard = performance.now();
    const tickets = compiled.kind === 'failed' ? compiled.tickets : compiled.regions.map(({ ticket }) => ticket);
    for (const ticket of tickets) this.waiting.delete(ticket);
    this.done.push(compiled);
  }

  take(): Compiled | undefined {
    if (this.substitute) return this.substitute.take();
    this.thread.poll();
    const next = this.done.shift();
    if (next || this.waiting.size === 0 || performance.now() - this.heard < PATIENCE) return next;
    return this.giveUp().take();
  }

  /** Goes on without the thread. */
  private giveUp(): InThreadCompiler {
    this.report(
      "the thread that translates guest code does not answer: the guest's own thread does it now, and is slower",
    );
    const substitute = new InThreadCompiler(this.bases, () => performance.now());
    this.thread.stop();
    this.substitute = substitute;
    for (const region of this.waiting.values()) substitute.request(region);
    this.waiting.clear();
    return substitute;
  }

  close(): void {
    this.waiting.clear();
    this.done.length = 0;
    this.substitute?.close();
  }
}
