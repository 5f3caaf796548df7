/** Compiles regions with the help of another thread, which emits them; this one only has the browser take them in. */
import type { Compiled, CompiledRegion } from '../../accel/wasm/compiler.js';
import type { PortableRequest } from '../../accel/wasm/portable-region.js';
import { array, bytes, int, str, struct, type Plain } from '../../snapshot/schema.js';
import { MessageRing } from '../common/message-ring.js';
import { RemoteCompiler, type RemoteCompilerOptions } from '../common/remote-compiler.js';
import type { TranslationStart } from './protocol.js';
import { startThread } from './threads.js';

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

/** A thread that translates, for all CPUs that are on one thread, before and after a reset. */
export class TranslationThread {
  /** Who has asked, by the numbers of requests. */
  private readonly asked = new Map<number, ThreadCompiler>();
  private stopped = false;

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

  /** Whoever still waits will wait in vain. */
  get isStopped(): boolean {
    return this.stopped;
  }

  request(by: ThreadCompiler, request: PortableRequest): void {
    this.asked.set(request.ticket, by);
    this.worker.postMessage(request, [request.contents.buffer as ArrayBuffer]);
  }

  /** Gives what has come to those who asked. */
  poll(): void {
    for (let answer = this.answers.take(); answer !== undefined; answer = this.answers.take()) this.takeIn(answer);
  }

  private find(number: number): ThreadCompiler | undefined {
    const found = this.asked.get(number);
    this.asked.delete(number);
    return found;
  }

  private takeIn(answer: Plain): void {
    const isFailure = typeof answer === 'object' && answer !== null && 'tickets' in answer;
    if (isFailure) {
      const { tickets, message, stack } = failedSchema.check(answer, 'answer');
      const error = new Error(message, { cause: stack });
      for (const number of tickets) this.find(number)?.give({ kind: 'failed', tickets: [number], error });
      return;
    }
    const { code, regions, links, emitTime } = moduleSchema.check(answer, 'answer');
    const own = new Map<ThreadCompiler, CompiledRegion[]>();
    for (const { links: words, ...region } of regions) {
      const by = this.find(region.ticket);
      if (!by) continue;
      const pairs = new Int32Array(words.slice().buffer);
      own.set(by, [...(own.get(by) ?? []), { ...region, links: pairs }]);
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

  stop(): void {
    this.stopped = true;
    this.asked.clear();
    this.worker.terminate();
  }
}

export class ThreadCompiler extends RemoteCompiler {
  private readonly done: Compiled[] = [];

  constructor(
    private readonly thread: TranslationThread,
    options: RemoteCompilerOptions,
  ) {
    super(options);
  }

  protected override get isBroken(): boolean {
    return this.thread.isStopped;
  }

  protected override send(request: PortableRequest): void {
    this.thread.request(this, request);
  }

  /** Something that this one has asked for. */
  give(compiled: Compiled): void {
    this.done.push(compiled);
  }

  protected override receive(): Compiled | undefined {
    if (this.done.length === 0) this.thread.poll();
    return this.done.shift();
  }

  /** The thread goes on for other CPUs, and after a reset. */
  protected override letGo(lost: boolean): void {
    this.done.length = 0;
    if (lost) this.thread.stop();
  }
}
