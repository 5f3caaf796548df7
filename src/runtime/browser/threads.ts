/**
 * Starts workers. A browser starts a worker with the help of the thread that asked for it, so all that a machine needs are started
 * before its thread begins to block.
 */
import { HostError } from '../../base/errors.js';
import { READY } from './protocol.js';

/** Resolves when the worker has taken its first message and is ready. Rejected with a one-line error when it fails to. */
export function startThread(entry: string, first: unknown): Promise<Worker> {
  // Beside this one: each entry is a file of its own, in one folder.
  const worker = new Worker(new URL(entry, import.meta.url), { type: 'module' });
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => {
      if (data === READY) resolve(worker);
    };
    worker.onerror = (event) => {
      reject(new HostError(`the worker ${entry} does not start${event.message ? `: ${event.message}` : ''}`));
    };
    worker.postMessage(first);
  });
}
