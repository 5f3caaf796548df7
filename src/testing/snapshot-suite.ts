import { describe, expect, it } from 'vitest';
import { FakeClock } from '../host/fake/clock.js';
import type { Plain } from '../snapshot/schema.js';
import type { Snapshotable } from '../snapshot/snapshotable.js';

export interface SnapshotCase<D extends Snapshotable> {
  /** A device in its reset state, on this clock. */
  readonly create: (clock: FakeClock) => D;
  /** Brings the device into a state that differs from reset in as many fields as possible. Time may pass. */
  readonly change: (device: D, clock: FakeClock) => void;
  /** What the guest would see from now on: registers read, output after some time … Compared with the original's. */
  readonly observe?: (device: D, clock: FakeClock) => unknown;
  /** Top-level fields that `change` need not touch, each with a reason beside it. */
  readonly untouched?: readonly string[];
}

/** As a snapshot file gives it back: checked by the schema, sharing nothing with the original. */
function reload<S extends Plain>(device: Snapshotable<S>, saved: S): S {
  return device.stateSchema.check(structuredClone(saved), device.id);
}

/** What every device's saved state must fulfil: declare it once for each device. */
export function snapshotSuite<D extends Snapshotable>(name: string, parts: SnapshotCase<D>): void {
  const { create, change, observe, untouched = [] } = parts;

  function changed(): { device: D; clock: FakeClock } {
    const clock = new FakeClock(1_000_000);
    const device = create(clock);
    change(device, clock);
    return { device, clock };
  }

  describe(`saved state of ${name}`, () => {
    it('survives: change it, save, restore in a fresh one, equal', () => {
      const { device, clock } = changed();
      const saved = device.save();
      const copy = create(new FakeClock(clock.now(), clock.epoch));
      copy.restore(reload(device, saved));
      expect(copy.save()).toEqual(saved);
    });

    it('shows every change: no field stays as it was after reset', () => {
      const fresh = create(new FakeClock(1_000_000)).save();
      const saved = changed().device.save();
      if (typeof saved !== 'object' || saved === null || Array.isArray(saved)) expect(saved).not.toEqual(fresh);
      else {
        const record = saved as Readonly<Record<string, Plain>>;
        const same = Object.keys(record).filter((key) => {
          try {
            expect(record[key]).toEqual((fresh as Readonly<Record<string, Plain>>)[key]);
            return true;
          } catch {
            return false;
          }
        });
        expect(same.filter((key) => !untouched.includes(key))).toEqual([]);
      }
    });

    it('is a copy that later changes do not reach', () => {
      const clock = new FakeClock(1_000_000);
      const device = create(clock);
      const saved = device.save();
      const before = structuredClone(saved);
      change(device, clock);
      expect(saved).toEqual(before);
      const later = device.save();
      const afterwards = structuredClone(later);
      device.restore(reload(device, before));
      change(device, clock);
      expect(later).toEqual(afterwards);
    });

    it('brings a changed device back', () => {
      const { device, clock } = changed();
      const fresh = create(new FakeClock(clock.now(), clock.epoch)).save();
      device.restore(reload(device, fresh));
      expect(device.save()).toEqual(fresh);
    });

    it('is checked: missing, unknown and ill-typed fields are refused', () => {
      const { device } = changed();
      const saved = device.save();
      expect(() => device.stateSchema.check(undefined, device.id)).toThrow();
      if (typeof saved !== 'object' || saved === null || Array.isArray(saved)) return;
      const record = saved as Readonly<Record<string, Plain>>;
      expect(() => device.stateSchema.check({ ...record, surplus: 0 }, device.id)).toThrow(/surplus/);
      for (const key of Object.keys(record)) {
        const rest = Object.fromEntries(Object.entries(record).filter(([other]) => other !== key));
        expect(() => device.stateSchema.check(rest, device.id), key).toThrow(key);
        expect(() => device.stateSchema.check({ ...record, [key]: [[['odd']]] }, device.id), key).toThrow(key);
      }
    });

    if (observe)
      it('leads to the same behaviour', () => {
        const { device, clock } = changed();
        const copyClock = new FakeClock(clock.now(), clock.epoch);
        const copy = create(copyClock);
        copy.restore(reload(device, device.save()));
        expect(observe(copy, copyClock)).toEqual(observe(device, clock));
        expect(copy.save()).toEqual(device.save());
      });
  });
}
