import type { CpuBases } from '../../cpu/x86/interpreter/handlers.js';
import type { Compiled, Compiler, RegionRequest } from './compiler.js';
import { compileRegions, type Observe } from './region-module.js';

/** Compiles at once, on the thread that asks. */
export class InThreadCompiler implements Compiler {
  readonly isReady = true;
  private readonly done: Compiled[] = [];

  /** `now` is in milliseconds. */
  constructor(
    private readonly bases: CpuBases,
    private readonly now: () => number,
    private readonly observe?: Observe,
  ) {}

  request(region: RegionRequest): void {
    this.done.push(compileRegions([region], this.bases, { now: this.now, observe: this.observe }));
  }

  take(): Compiled | undefined {
    return this.done.shift();
  }

  close(): void {
    this.done.length = 0;
  }
}
