/** Commands that QEMU does not have: what a machine does, and what it may have of the host's processors. */
import type { CpuLimits } from '../sched/settings.js';
import { query, type QmpCommand } from './command.js';
import type { Json } from './json-text.js';
import { arrayOf, INT, NOTHING, object, STR, type JsonObject, type QmpType } from './types.js';

const NUMBER: QmpType = { kind: 'number' };

const LIMITS = object({ shares: INT, 'cap?': NUMBER, 'pin?': arrayOf(INT) });

const USAGE = object({
  pid: INT,
  'accelerator?': STR,
  cpus: INT,
  memory: INT,
  now: INT,
  threads: arrayOf(object({ 'time?': INT, 'retired?': INT, exits: INT })),
  'process-time': INT,
  limits: LIMITS,
});

/** A cap of 0 and a pin to nothing take them away. */
function readLimits({ shares, cap, pin }: JsonObject): Partial<CpuLimits> {
  return {
    ...(typeof shares === 'number' && { shares }),
    ...(typeof cap === 'number' && { cap: cap === 0 ? undefined : cap }),
    ...(Array.isArray(pin) && { pin: pin.length === 0 ? undefined : (pin as readonly Json[]).map(Number) }),
  };
}

export const LIMIT_COMMANDS: Readonly<Record<string, QmpCommand>> = {
  'x-vitrine-query-usage': query(USAGE, (machine) => {
    const { pid, accel, cpus, memory, now, threads, processTime, limits } = machine.usage();
    const { shares, cap, pin } = limits;
    return {
      pid,
      ...(accel !== undefined && { accelerator: accel }),
      cpus,
      memory,
      now,
      threads: threads.map(({ time, retired, exits }) => ({
        ...(time !== undefined && { time }),
        ...(retired !== undefined && { retired: Number(retired) }),
        exits,
      })),
      'process-time': processTime,
      limits: { shares, ...(cap !== undefined && { cap }), ...(pin && { pin }) },
    };
  }),
  'x-vitrine-set-limits': {
    arguments: object({ 'shares?': INT, 'cap?': NUMBER, 'pin?': arrayOf(INT) }),
    returns: NOTHING,
    run: (machine, given) => {
      machine.limit(readLimits(given));
      return {};
    },
  },
};
