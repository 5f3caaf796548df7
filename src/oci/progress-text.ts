import type { PullProgress } from './image-store.js';

const WORDS: Readonly<Record<PullProgress['phase'], (name: string) => string>> = {
  resolve: (name) => `looking for ${name}`,
  fetch: (name) => `pulling ${name}`,
  build: (name) => `making a disk of ${name}`,
};

/** The steps of a pull as words and a fraction from 0 to 1, for whoever shows progress of any kind. */
export function pullProgress(
  name: string,
  show: (event: { readonly text: string; readonly fraction: number | undefined }) => void,
): (step: PullProgress) => void {
  return ({ phase, done, total }) =>
    show({ text: WORDS[phase](name), fraction: total > 0 ? Math.min(1, done / total) : undefined });
}
