import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Other threads that do the same take the flag back in between now and then. */
const ATTEMPTS = 20;

/** Garbage is collected later, then. */
const nothing = (): void => {};
let gc: (() => void) | undefined;

/** V8 gives the function to contexts that are made after the flag was set, which is the process's. */
function findGc(): () => void {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    setFlagsFromString('--expose-gc');
    const found = runInNewContext('globalThis.gc') as (() => void) | undefined;
    setFlagsFromString('--no-expose-gc');
    if (found) return found;
  }
  return nothing;
}

/** Collects what nobody needs any more: a thread that waits does not do so by itself, nor one whose machine is idle. */
export function collectGarbage(): void {
  gc ??= findGc();
  gc();
}
