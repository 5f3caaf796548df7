/**
 * What a thread can ask of Linux about itself, and Node does not have: its processor time, and the processors that it keeps to. Where
 * that cannot be had, `threadCalls` gives undefined, and whoever wants it does without.
 */
import { onLinux } from './c-library.js';

/** clock_gettime(2), as all architectures of Linux have it. */
const CLOCK_THREAD_CPUTIME_ID = 3;
/** Bytes of a cpu_set_t. */
const CPU_SET = 128;

export interface ThreadCalls {
  /** Nanoseconds of processor time that this thread has had. */
  time(): number;
  /** Keeps this thread to processors, by their numbers below 1024. 0, or an error number. */
  keepTo(processors: readonly number[]): number;
}

/** struct timespec is two words of 64 bits there. */
const ARCHITECTURES = ['x64', 'arm64', 'riscv64', 'loong64', 'ppc64', 's390x'];

const load = (): ThreadCalls | undefined =>
  onLinux(({ koffi, library }) => {
    const gettime = library.func('int clock_gettime(int clock, void *time)') as (clock: number, time: object) => number;
    const setaffinity = library.func('int sched_setaffinity(int thread, size_t size, void *set)') as (
      thread: number,
      size: number,
      set: object,
    ) => number;
    const time = new BigInt64Array(2);
    if (gettime(CLOCK_THREAD_CPUTIME_ID, time) !== 0) return undefined;
    return {
      time: () => {
        gettime(CLOCK_THREAD_CPUTIME_ID, time);
        return Number(time[0]) * 1e9 + Number(time[1]);
      },
      keepTo: (processors) => {
        // An array of unsigned longs, in the host's own order of bytes.
        const set = new BigUint64Array(CPU_SET / 8);
        for (const number of processors) set[number >> 6] |= 1n << BigInt(number & 63);
        return setaffinity(0, CPU_SET, set) === 0 ? 0 : koffi.errno();
      },
    };
  }, ARCHITECTURES);

let loaded: { readonly calls: ThreadCalls | undefined } | undefined;

/** Looked for when it is wanted: many machines never do. */
export function threadCalls(): ThreadCalls | undefined {
  loaded ??= { calls: load() };
  return loaded.calls;
}
