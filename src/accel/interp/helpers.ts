/** The exports of helpers.wasm and interpreter.wasm that TypeScript calls. Numbers are unsigned where they are addresses. */

export interface HelperExports {
  /** Power-on state, from the fields that describe the CPU model. */
  reset_cpu(bootstrap: number): void;
  /** Brings everything derived (mode key, TLB context, traps) up to date after the state was written from outside. */
  state_restored(): void;
  /** Drops translations: the memory map changed. */
  memory_map_changed(): void;
  flush_code_cache(): void;
  /** `length` bytes at `host` were changed by a device. */
  invalidate_range(host: number, length: number): void;
  /** Physical address of a linear one in SCRATCH, as peekTranslate finds it; 0: not mapped. */
  debug_translate(): number;
  /** BREAK_ADDR was written. */
  breakpoints_changed(): void;
  /** Recomputes what is watched from WATCH_* and DR7. */
  updateBreakpoints(): void;
  readonly [name: string]: unknown;
}

export interface InterpreterExports {
  /** See docs/interpreter.md, "Driver". */
  run(budget: number): number;
}
