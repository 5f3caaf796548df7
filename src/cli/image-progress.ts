import type { Progress } from '../guests/index.js';
import type { PullProgress } from '../oci/index.js';

const WORDS: Readonly<Record<PullProgress['phase'], (name: string) => string>> = {
  resolve: (name) => `looking for ${name}`,
  fetch: (name) => `pulling ${name}`,
  build: (name) => `making a disk of ${name}`,
};

/** Shows how far a pull is. */
export function pullProgress(name: string, progress: Progress): (step: PullProgress) => void {
  return ({ phase, done, total }) =>
    progress({ text: WORDS[phase](name), fraction: total > 0 ? Math.min(1, done / total) : undefined });
}
