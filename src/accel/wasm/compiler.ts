/** Where regions are made into WebAssembly: on the CPU's thread or on another, which the translator does not see. */
import type { RecordReader } from '../../cpu/x86/translate/code-view.js';
import type { RegionEntry } from '../../cpu/x86/translate/region.js';
import type { RegionGraph } from '../../cpu/x86/translate/scan.js';
import type { PortableRequest } from './portable-region.js';

export interface RegionRequest {
  /** Names it in the answer. */
  readonly ticket: number;
  /** Index that the function will have in the table of regions. */
  readonly index: number;
  readonly graph: RegionGraph;
  /** The records of the graph, now: a compiler that answers later copies them. */
  readonly records: RecordReader;
  /** Where it begins: address of the instruction in the machine's memory, and the mode key of its pages. */
  readonly host: number;
  readonly key: number;
  /** Whether it is one that has grown along the jumps out of another. */
  readonly hasGrown: boolean;
  /** Whether it has to be made anew, because what others have does not fit. */
  readonly isFresh: boolean;
}

export interface CompiledRegion {
  readonly ticket: number;
  /** Of the function that the module exports. */
  readonly name: string;
  readonly entries: readonly RegionEntry[];
  /** In code for any CPU: pairs of LINK and value, and how many links of the module come before. */
  readonly links: Int32Array;
  readonly firstLink: number;
}

/** A module, wherever it was made. */
export interface CompiledModule {
  /** Imports `env.memory` and functions of `h`, in code for any CPU also what differs between them; exports the regions. */
  readonly module: WebAssembly.Module;
  /** Size of the module. */
  readonly bytes: number;
  /** Links of all its regions. */
  readonly links: number;
  /** Names the module where several CPUs can have it. */
  readonly id?: number;
}

/** A region as it was made for some CPU: its graph and records are as that one has them. */
export interface SharedRegion extends CompiledRegion {
  readonly request: PortableRequest;
}

export type Compiled =
  | ({
      readonly kind: 'module';
      readonly regions: readonly CompiledRegion[];
      /** Milliseconds. */
      readonly emitTime: number;
      readonly compileTime: number;
    } & CompiledModule)
  /** One that was made for another CPU, or for this one before. */
  | { readonly kind: 'shared'; readonly ticket: number; readonly module: CompiledModule; readonly region: SharedRegion }
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
