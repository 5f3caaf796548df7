/** Slices of a CPU that is given time instead of instructions. */
import { expect, it } from 'vitest';
import { nanoseconds } from '../base/units.js';
import { MachineClock } from './machine-clock.js';
import { RunLoop, type Runnable } from './run-loop.js';

const [US, MS] = [1e3, 1e6];

/** Runs `count` slices on a host that takes so many nanoseconds between two of them. Budgets of the slices, and what they were to be at least. */
function slices(count: number, between: number, every?: number): { readonly budget: number; readonly least: number }[] {
  let now = 0;
  const clock = new MachineClock({ now: () => now, wallClock: () => 0 });
  const seen: { readonly budget: number; readonly least: number }[] = [];
  const cpu: Runnable = {
    isTimed: true,
    run: (budget, least = 0) => {
      seen.push({ budget, least });
      now += budget;
      if (seen.length === count) loop.stop({ kind: 'stopped' });
      return { kind: 'budget' };
    },
    kick: () => {},
  };
  const loop: RunLoop = new RunLoop({ cpu, clock, poll: () => (now += between), sleep: () => {} });
  if (every !== undefined) {
    const timer = clock.createTimer(() => {
      timer.arm(nanoseconds(clock.now() + every));
    });
    timer.arm(nanoseconds(every));
  }
  expect(loop.run()).toEqual({ kind: 'stopped' });
  return seen;
}

it('ends a slice for the next deadline', () => {
  expect(slices(5, 0, 300 * US).map(({ budget }) => budget)).toEqual(Array(5).fill(300 * US));
});

it('gives a CPU more time than the host takes between two slices, whatever deadlines there are', () => {
  const [first, ...others] = slices(5, MS, 50 * US);
  expect(first).toEqual({ budget: 50 * US, least: 0 });
  for (const { budget, least } of others) {
    expect(least).toBe(2 * MS);
    expect(budget).toBe(2 * MS);
  }
});

it('looks at what comes from outside every 4 ms, however slow the host is', () => {
  for (const { budget } of slices(5, 100 * MS)) expect(budget).toBe(4 * MS);
});
