/** What threads are started with by the thread of a program that uses Vitrine; those that they start have it from them. */
import type { WorkerOptions } from 'node:worker_threads';
// The first of them to be there: the threads have it from this one.
import './native/loading.js';

/**
 * Threads inherit the options of the process. One of them says of what kind the program is that `node --input-type=module -e '…'` is
 * given as text, and Node then refuses to run a file, as threads do.
 */
export const THREAD_OPTIONS: Pick<WorkerOptions, 'execArgv'> = process.execArgv.some((option) =>
  option.startsWith('--input-type'),
)
  ? { execArgv: [] }
  : {};
