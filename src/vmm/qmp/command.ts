/** What a command of the monitor is. */
import type { Json } from './json-text.js';
import type { QmpMachine } from './machine.js';
import { NOTHING, type JsonObject, type QmpObject, type QmpType } from './types.js';

export interface QmpCommand {
  readonly arguments: QmpObject;
  readonly returns: QmpType;
  /** `given` fits `arguments`. Throws a QmpError when it cannot be done. */
  run(machine: QmpMachine, given: JsonObject): Json | Promise<Json>;
}

/** A command that answers a question and takes no arguments. */
export const query = (returns: QmpType, run: (machine: QmpMachine) => Json | Promise<Json>): QmpCommand => ({
  arguments: NOTHING,
  returns,
  run,
});

/** A command that does something and takes no arguments. */
export const action = (run: (machine: QmpMachine) => void | Promise<void>): QmpCommand => ({
  arguments: NOTHING,
  returns: NOTHING,
  run: async (machine) => {
    await run(machine);
    return {};
  },
});
