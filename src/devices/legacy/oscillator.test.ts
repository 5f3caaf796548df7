import { describe, expect, it } from 'vitest';
import { nanoseconds } from '../../base/units.js';
import { FakeClock } from '../../host/fake/clock.js';
import { Oscillator } from './oscillator.js';

describe.each([32_768, 1_193_182, 3_579_545])('an oscillator of %i Hz', (hz) => {
  const oscillator = new Oscillator(new FakeClock(), hz);
  const exact = (ns: number): number => Number((BigInt(ns) * BigInt(hz)) / 1_000_000_000n);

  it('counts exactly, also after a hundred days', () => {
    for (const start of [0, 86_400e9, 8.64e15])
      for (let i = 0; i < 2000; i++) {
        const ns = start + i * 7919;
        expect(oscillator.ticks(nanoseconds(ns))).toBe(exact(ns));
      }
  });

  it('gives the first nanosecond of a tick', () => {
    for (const start of [0, hz * 86_400, hz * 8_000_000])
      for (let i = 1; i < 2000; i++) {
        const tick = start + i * 13;
        const time = oscillator.time(tick);
        expect(oscillator.ticks(time)).toBe(tick);
        expect(oscillator.ticks(nanoseconds(time - 1))).toBe(tick - 1);
      }
  });
});
