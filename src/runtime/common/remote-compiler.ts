/**
 * Compiles regions on another thread. The thread that asks may block for as long as it likes: it never waits, and looks for
 * answers whenever it comes by. When the other thread does not answer, or cannot be had, work goes on without it.
 */
import type { Compiled, Compiler, RegionRequest } from '../../accel/wasm/compiler.js';
import { InThreadCompiler } from '../../accel/wasm/in-thread-compiler.js';
import { toPortable, type PortableRequest } from '../../accel/wasm/portable-region.js';
import { assert } from '../../base/assert.js';
import type { CpuBases } from '../../cpu/x86/interpreter/handlers.js';
import type { Variant } from '../../cpu/x86/variants.js';

/** Regions under way at most: later ones are better chosen when their turn has come. */
const QUEUE = 32;
/** Milliseconds without an answer after which the thread is given up. */
const PATIENCE = 30_000;

export interface RemoteCompilerOptions {
  readonly bases: CpuBases;
  /** Holds the records of regions. */
  readonly memory: Uint8Array;
  /** The list that the thread has, too. */
  readonly variants: readonly Variant[];
  /** Is told what the user should know, in one line. */
  readonly report: (text: string) => void;
  readonly patience?: number;
  /** Milliseconds. */
  readonly now?: () => number;
}

/** Requests are numbered over all compilers of this thread: a machine that was reset has new ones, and old answers may still come. */
let lastNumber = 0;

export abstract class RemoteCompiler implements Compiler {
  /** Instead of the thread, after that has failed. */
  private substitute: InThreadCompiler | undefined;
  private readonly numbers: ReadonlyMap<Variant, number>;
  /** By their numbers. */
  private readonly waiting = new Map<number, RegionRequest>();
  /** When something was last heard, or asked after a time of nothing to do. */
  private heard = 0;
  private readonly now: () => number;

  constructor(private readonly settings: RemoteCompilerOptions) {
    this.numbers = new Map(settings.variants.map((variant, i) => [variant, i]));
    this.now = settings.now ?? (() => performance.now());
  }

  /** Hands a request to the thread. Its ticket is its number, as in answers. */
  protected abstract send(request: PortableRequest): void;
  /** The thread's next answer, if one is there. */
  protected abstract receive(): Compiled | undefined;
  /** It is known that no answer will come. */
  protected abstract readonly isBroken: boolean;
  /** The thread is not needed any more: it is `lost`, or this compiler is closed. */
  protected abstract letGo(lost: boolean): void;

  get isReady(): boolean {
    return this.waiting.size < QUEUE;
  }

  request(region: RegionRequest): void {
    if (this.substitute) {
      this.substitute.request(region);
      return;
    }
    if (this.waiting.size === 0) this.heard = this.now();
    const ticket = ++lastNumber;
    this.waiting.set(ticket, region);
    const portable = toPortable({ ...region, ticket }, this.settings.memory, (variant) => {
      const number = this.numbers.get(variant);
      assert(number !== undefined, 'the thread knows every variant');
      return number;
    });
    this.send(portable);
  }

  take(): Compiled | undefined {
    if (this.substitute) return this.substitute.take();
    for (let answer = this.receive(); answer; answer = this.receive()) {
      this.heard = this.now();
      const own = this.withTickets(answer);
      if (own) return own;
    }
    return this.waiting.size > 0 && this.isLost() ? this.giveUp().take() : undefined;
  }

  /** An answer with the tickets of the questions; undefined when nobody has asked. */
  private withTickets(answer: Compiled): Compiled | undefined {
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
    return this.isBroken || this.now() - this.heard > (this.settings.patience ?? PATIENCE);
  }

  /** Goes on without the thread. */
  private giveUp(): InThreadCompiler {
    const why = this.isBroken ? 'has failed' : 'does not answer';
    this.settings.report(
      `the thread that translates guest code ${why}: the guest's own thread does it now, and is slower`,
    );
    const substitute = new InThreadCompiler(this.settings.bases, this.now);
    this.letGo(true);
    this.substitute = substitute;
    for (const region of this.waiting.values()) substitute.request(region);
    this.waiting.clear();
    return substitute;
  }

  close(): void {
    this.waiting.clear();
    this.letGo(false);
    this.substitute?.close();
  }
}
