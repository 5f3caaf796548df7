/** Where regions are made into WebAssembly: on the CPU's thread or on another, which the translator does not see. */
import type { RecordReader } from '../../cpu/x86/translate/code-view.js';
import type { RegionEntry } from '../../cpu/x86/translate/region.js';
import type { RegionGraph } from '../../cpu/x86/translate/scan.js';

export interface RegionRequest {
  /** Names it in the answer. */
  readonly ticket: number;
  /** Index that the function will have in the table of regions. */
  readonly index: number;
  readonly graph: RegionGraph;
  /** The records of the graph, now: a compiler that answers later copies them. */
  readonly records: RecordReader;
}

export interface CompiledRegion {
  readonly ticket: number;
  readonly entries: readonly RegionEntry[];
}

export type Compiled =
  | {
      readonly kind: 'module';
      /** Imports `env.memory` and functions of `h`; exports each region under its ticket. */
      readonly module: WebAssembly.Module;
      readonly regions: readonly CompiledRegion[];
      /** Size of the module. */
      readonly bytes: number;
      /** Milliseconds. */
      readonly emitTime: number;
      readonly compileTime: number;
    }
  | { readonly kind: 'failed'; readonly tickets: readonly number[]; readonly error: Error };

export interface Compiler {
  /** False: too much is under way, ask again later. */
  readonly isReady: boolean;
  request(region: RegionRequest): void;
  /** Something that has been compiled since, if there is more. */
  take(): Compiled | undefined;
  /** Ends it; what is under way is lost. */
  close(): void;
}
