/** The host's processors that this process may use, and what its threads have had of them. */
import * as fs from 'node:fs';
import { availableParallelism } from 'node:os';

/** Reads a list as Linux writes it: `0-3,6`. */
function readList(text: string): number[] {
  return text.split(',').flatMap((part) => {
    const [first, last = first] = part.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
}

/** By the host's numbers, in ascending order; at least one. Where the host does not say: as many as there are, from 0 on. */
export function usableProcessors(): readonly number[] {
  try {
    const list = /^Cpus_allowed_list:\s*([\d,-]+)$/m.exec(fs.readFileSync('/proc/self/status', 'utf8'))?.[1];
    if (list !== undefined) return readList(list);
  } catch {
    // Not Linux.
  }
  return Array.from({ length: availableParallelism() }, (_, number) => number);
}

/** Nanoseconds of processor time that a thread of this process has had, by its number. Undefined: this host does not say. */
export function timeOfThread(number: number): number | undefined {
  try {
    // Documentation/scheduler/sched-stats.rst: the first field of schedstat, in nanoseconds.
    const [time] = fs.readFileSync(`/proc/self/task/${String(number)}/schedstat`, 'latin1').split(' ');
    const nanoseconds = Number(time);
    return nanoseconds > 0 ? nanoseconds : undefined;
  } catch {
    return undefined;
  }
}
