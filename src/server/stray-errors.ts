import type { Log } from './log.js';

/**
 * One request or machine that goes wrong in a way that nobody thought of must not end the others': what nobody waits for is logged, not
 * fatal, until the result is called.
 */
export function outliveStrayErrors(log: Log): () => void {
  const stray = (error: unknown): void =>
    log.error('internal', { message: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  process.on('unhandledRejection', stray);
  return () => void process.off('unhandledRejection', stray);
}
