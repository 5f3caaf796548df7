/** A machine as its monitor sees it, from another thread. */
import type { Inspection } from '../inspect.js';

export interface QmpMachine {
  /** What it is called, if it has a name. */
  readonly name?: string;
  isPaused(): boolean;
  inspect(): Promise<Inspection>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  press(button: 'reset' | 'power' | 'nmi'): Promise<void>;
  /** Ends it, like pulling the plug. */
  quit(): void;
}
