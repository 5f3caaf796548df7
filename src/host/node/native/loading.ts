/**
 * A process that ends stops its threads, and one that is just then loading koffi takes the whole process down with it (SIGABRT: with koffi 3.3.4, N-API refuses it something,
 * and refuses the exception as well). So a process that ends waits for threads that are at it, which takes some milliseconds, and no other begins.
 */
import { getEnvironmentData, setEnvironmentData } from 'node:worker_threads';

/** Threads have it from those that started them. */
const KEY = 'vitrine.loading';
/** Words: how many threads are loading, with a bit for that none may begin; and one that never changes. */
const [COUNT, NEVER] = [0, 1];
const CLOSED = 0x4000_0000;
/** Milliseconds that a process waits at most, and looks between. */
const [PATIENCE, LOOK] = [2000, 50];

const inherited = getEnvironmentData(KEY);
const isFirst = !(inherited instanceof SharedArrayBuffer);
const words = new Int32Array(isFirst ? new SharedArrayBuffer(8) : inherited);

if (isFirst) {
  setEnvironmentData(KEY, words.buffer);
  process.once('exit', () => {
    const end = performance.now() + PATIENCE;
    Atomics.or(words, COUNT, CLOSED);
    for (let now = NaN; now !== CLOSED && performance.now() < end;) {
      now = Atomics.load(words, COUNT);
      if (now !== CLOSED) Atomics.wait(words, COUNT, now, LOOK);
    }
  });
}

function enter(): void {
  for (;;) {
    const count = Atomics.load(words, COUNT);
    // The thread is about to be stopped.
    if ((count & CLOSED) !== 0) Atomics.wait(words, NEVER, 0);
    else if (Atomics.compareExchange(words, COUNT, count, count + 1) === count) return;
  }
}

/** Does what must not be stopped with the process. */
export function loading<T>(work: () => T): T {
  // What the first thread does ends before it does.
  if (isFirst) return work();
  enter();
  try {
    return work();
  } finally {
    Atomics.sub(words, COUNT, 1);
    Atomics.notify(words, COUNT);
  }
}
