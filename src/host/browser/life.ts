/**
 * Whether a thread of this page lives. It holds a lock (Web Locks API, W3C) for as long as it does, which the browser takes from it however it
 * ends; nothing else tells of a worker that was started by one that blocks.
 */

/** Of no other page's. */
export const lifeName = (): string => `vitrine-life-${crypto.randomUUID()}`;

/** For the thread: resolves when its life can be watched. */
export function holdLife(name: string): Promise<void> {
  return new Promise((resolve) => {
    // Pages that are not secure have no locks, and no memory that several threads share either.
    if (!('locks' in navigator)) {
      resolve();
      return;
    }
    void navigator.locks.request(name, () => {
      resolve();
      return new Promise(() => {});
    });
  });
}

/** For another thread, that has an event loop: `ended` is called when the thread has ended, unless the signal is aborted before. */
export function watchLife(name: string, signal: AbortSignal, ended: () => void): void {
  if (!('locks' in navigator)) return;
  navigator.locks
    .request(name, { signal }, () => {
      if (!signal.aborted) ended();
    })
    .catch(() => undefined);
}
