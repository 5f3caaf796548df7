import { expect, it } from 'vitest';
import type * as Rehearsal from './rehearsal.js';

// What the build made is beside the built one.
const { rehearse } = (await import(
  new URL('../../../dist/runtime/node/rehearsal.js', import.meta.url).href
)) as typeof Rehearsal;

it('a machine is rehearsed: made, run, saved and restored', () => {
  // What goes wrong in a worker that waits is not told: it only starts later.
  expect(() => rehearse()).not.toThrow();
});
