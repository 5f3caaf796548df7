/** Commands for what a user would do in front of the machine, and its memory balloon. */
import type { QmpCommand } from './command.js';
import { query } from './command.js';
import type { Json } from './json-text.js';
import { checkDisplay } from './input-commands.js';
import { text, QmpError, arrayOf, INT, NOTHING, object, oneOf, STR } from './types.js';
import { keyName } from './keys.js';

const KEY = { ...object({ type: oneOf('qcode', 'number') }), isOpen: true } as const;
/** Milliseconds that keys are held when nothing else is said, and at most. */
const HOLD_TIME = 100;
const LONGEST_HOLD = 60_000;

export const USER_COMMANDS: Readonly<Record<string, QmpCommand>> = {
  screendump: {
    arguments: object({ filename: STR, 'device?': STR, 'head?': INT, 'format?': oneOf('ppm', 'png') }),
    returns: NOTHING,
    run: async (machine, given) => {
      checkDisplay(given);
      await machine.screendump(text(given, 'filename') ?? '', text(given, 'format') === 'png' ? 'png' : 'ppm');
      return {};
    },
  },
  'send-key': {
    arguments: object({ keys: arrayOf(KEY), 'hold-time?': INT }),
    returns: NOTHING,
    run: (machine, { keys, 'hold-time': hold = HOLD_TIME }) => {
      const names = Array.isArray(keys) ? (keys as readonly Json[]).map((key, i) => keyName(key, `keys[${i}]`)) : [];
      if (typeof hold !== 'number' || hold < 0 || hold > LONGEST_HOLD)
        throw new QmpError(`Parameter 'hold-time' expects 0 … ${LONGEST_HOLD} milliseconds`);
      machine.typeKeys(names, hold);
      return {};
    },
  },
  'query-balloon': query(object({ actual: INT }), async (machine) => ({ actual: await machine.balloon() })),
  balloon: {
    arguments: object({ value: INT }),
    returns: NOTHING,
    run: async (machine, { value }) => {
      // First: without a balloon no size is right.
      await machine.balloon();
      if (typeof value !== 'number' || value <= 0) throw new QmpError("Parameter 'target' expects a size");
      await machine.balloon(value);
      return {};
    },
  },
};
