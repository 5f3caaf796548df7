import { beforeEach, describe, expect, it } from 'vitest';
import { nanoseconds } from '../../../base/units.js';
import { FakeClock } from '../../../host/fake/clock.js';
import { RecordingLine } from '../../../host/fake/lines.js';
import { snapshotSuite } from '../../../testing/snapshot-suite.js';
import { Hpet } from './hpet.js';

const [CONF, STATUS, COUNTER] = [0x10, 0x20, 0xf0];
const timer = (n: number): number => 0x100 + 0x20 * n;
const [EDGE, LEVEL, PERIODIC, VAL_SET, MODE_32] = [0x4, 0x6, 0x8, 0x40, 0x100];
const route = (pin: number): number => pin << 9;

class Lines {
  readonly isa0 = new RecordingLine();
  readonly isa8 = new RecordingLine();
  readonly pins = new Map<number, RecordingLine>();
  ioApic(pin: number): RecordingLine {
    const line = this.pins.get(pin) ?? new RecordingLine();
    this.pins.set(pin, line);
    return line;
  }
}

describe('the HPET', () => {
  let clock: FakeClock;
  let lines: Lines;
  let hpet: Hpet;
  beforeEach(() => {
    clock = new FakeClock(123_456_789);
    lines = new Lines();
    hpet = new Hpet(lines, clock);
  });
  const read = (offset: number): number => hpet.read(offset, 4);
  const write = (offset: number, value: number): void => hpet.write(offset, 4, value);
  const pin20 = (): RecordingLine => lines.ioApic(20);

  it('identifies itself: four 64-bit comparators, legacy route, 10 ns', () => {
    expect([read(0), read(4)]).toEqual([0x8086_a301, 10_000_000]);
    for (let n = 0; n < 4; n++) expect(read(timer(n))).toBe(0x30);
    expect(read(timer(2) + 4)).toBe(0x00f0_0800);
    expect(hpet.read(2, 2)).toBe(0x8086);
  });

  it('counts only while enabled, and can be set', () => {
    clock.advance(1000);
    expect(read(COUNTER)).toBe(0);
    write(CONF, 1);
    clock.advance(1000);
    expect(read(COUNTER)).toBe(100);
    write(CONF, 0);
    clock.advance(1000);
    expect(read(COUNTER)).toBe(100);
    write(COUNTER, 0xffff_ffff);
    write(COUNTER + 4, 1);
    write(CONF, 1);
    clock.advance(10);
    expect([read(COUNTER), read(COUNTER + 4)]).toEqual([0, 2]);
  });

  it('loses no event that comes due while another one is handled', () => {
    // Time goes on at every look at it, by almost a period.
    let [late, moving] = [0, 0];
    const real = clock.now.bind(clock);
    clock.now = () => nanoseconds(real() + (late += moving));
    write(timer(0), EDGE | PERIODIC | VAL_SET | MODE_32 | route(20));
    write(timer(0) + 8, 400);
    write(timer(0) + 8, 400);
    write(CONF, 1);
    moving = 3990;
    for (let i = 0; i < 20; i++) read(COUNTER);
    clock.now = real;
    clock.jump(late);
    const before = pin20().edges;
    clock.advance(8000);
    expect(pin20().edges - before).toBeGreaterThanOrEqual(2);
  });

  it('gives both halves of one moment when the low one is read first', () => {
    write(COUNTER, 0xffff_ffff);
    write(CONF, 1);
    expect(read(COUNTER)).toBe(0xffff_ffff);
    clock.advance(10);
    expect(read(COUNTER + 4)).toBe(0);
    expect(read(COUNTER + 4)).toBe(1);
    expect(hpet.peek(COUNTER + 4, 4)).toBe(1);
  });

  it('interrupts once by a one-shot comparator, at the exact tick', () => {
    write(CONF, 1);
    write(timer(0), EDGE | route(20));
    write(timer(0) + 8, 500);
    write(timer(0) + 12, 0);
    clock.advance(4990);
    expect(pin20().edges).toBe(0);
    clock.advance(10);
    expect([pin20().edges, read(COUNTER)]).toEqual([1, 500]);
    clock.advance(1e12);
    expect(pin20().edges).toBe(1);
    expect(read(STATUS)).toBe(0);
  });

  it('compares 32 bits in 32-bit mode, again at every wrap', () => {
    write(CONF, 1);
    write(COUNTER + 4, 7);
    write(timer(1), EDGE | MODE_32 | route(20));
    write(timer(1) + 8, 1000);
    write(timer(1) + 12, 0x55);
    expect(read(timer(1) + 12)).toBe(0);
    clock.advance(10_000);
    expect(pin20().edges).toBe(1);
    clock.advance(2 ** 32 * 10);
    expect(pin20().edges).toBe(2);
  });

  it('repeats without drift, set up as Linux does it', () => {
    write(CONF, 3);
    write(timer(0), EDGE | PERIODIC | VAL_SET | MODE_32);
    write(timer(0) + 8, 1000);
    write(timer(0) + 8, 333);
    expect(read(timer(0)) & VAL_SET).toBe(0);
    clock.advance(10_000);
    expect(lines.isa0.edges).toBe(1);
    clock.advance(3330 * 100_000);
    expect(lines.isa0.edges).toBe(100_001);
    expect((read(timer(0) + 8) - 1000) % 333).toBe(0);
  });

  it('in the 8254’s place makes up for events that a busy host missed, one for each that the guest has done with', () => {
    write(CONF, 3);
    write(timer(0), EDGE | PERIODIC | VAL_SET | MODE_32);
    write(timer(0) + 8, 100_000);
    write(timer(0) + 8, 100_000);
    clock.advance(1_000_000);
    hpet.acknowledged();
    const before = lines.isa0.edges;
    clock.jump(5_500_000);
    expect(lines.isa0.edges - before).toBe(1);
    for (let n = 2; n <= 5; n++) {
      hpet.acknowledged();
      expect(lines.isa0.edges - before).toBe(n);
    }
    hpet.acknowledged();
    expect(lines.isa0.edges - before).toBe(5);
  });

  it('goes on from a state of version 1, which owed nothing', () => {
    write(CONF, 1);
    write(timer(0), EDGE | PERIODIC | VAL_SET | MODE_32 | route(20));
    write(timer(0) + 8, 1000);
    const { catchUp: _, ...old } = hpet.save();
    const copy = new Hpet(lines, clock);
    copy.restore(copy.stateSchema.check(copy.upgrade(old), 'hpet'));
    expect(copy.save()).toEqual(hpet.save());
  });

  it('gives one event for those that a busy host missed, and keeps the phase', () => {
    write(CONF, 1);
    write(timer(0), EDGE | PERIODIC | VAL_SET | route(20));
    write(timer(0) + 8, 1000);
    write(timer(0) + 12, 0);
    write(timer(0) + 8, 1000);
    write(timer(0) + 12, 0);
    clock.jump(12_345_678);
    expect(pin20().edges).toBe(1);
    expect(read(timer(0) + 8)).toBe(Math.ceil(1_234_567 / 1000) * 1000);
  });

  it('writes a 64-bit comparator and period by halves', () => {
    write(timer(0), PERIODIC | VAL_SET);
    write(timer(0) + 8, 0x1111_1111);
    write(timer(0) + 12, 0x2222_2222);
    write(timer(0) + 8, 5);
    write(timer(0) + 12, 0);
    expect(hpet.save().timers[0]).toMatchObject({ comparator: 0x2222_2222_1111_1111n, period: 5n });
  });

  it('holds a level until its status bit is cleared', () => {
    write(CONF, 1);
    write(timer(2), LEVEL | route(11));
    write(timer(2) + 8, 10);
    write(timer(2) + 12, 0);
    clock.advance(100);
    expect([lines.ioApic(11).level, read(STATUS)]).toEqual([true, 4]);
    write(STATUS, 3);
    expect(lines.ioApic(11).level).toBe(true);
    write(STATUS, 4);
    expect([lines.ioApic(11).level, read(STATUS)]).toEqual([false, 0]);
  });

  it('takes the place of the 8254 and the RTC in legacy replacement mode, and gives it back', () => {
    hpet.pit.set(true);
    expect(lines.isa0.level).toBe(true);
    write(CONF, 3);
    expect(lines.isa0.level).toBe(false);
    hpet.pit.set(false);
    hpet.pit.set(true);
    hpet.rtc.set(true);
    expect([lines.isa0.edges, lines.isa8.edges]).toEqual([1, 0]);
    write(timer(1), EDGE);
    write(timer(1) + 8, 100);
    write(timer(1) + 12, 0);
    clock.advance(1000);
    expect(lines.isa8.edges).toBe(1);
    write(CONF, 0);
    expect([lines.isa0.level, lines.isa8.level]).toEqual([true, true]);
  });

  it('ignores impossible routes, narrow writes and unknown registers', () => {
    write(CONF, 1);
    write(timer(0), EDGE | route(5));
    write(timer(0) + 8, 10);
    clock.advance(1e6);
    expect([...lines.pins.values()].some((line) => line.level)).toBe(false);
    hpet.write(CONF, 1, 0);
    expect(read(CONF)).toBe(1);
    for (let offset = 0; offset < 0x400; offset += 4) {
      write(offset, 0xffff_ffff);
      read(offset);
    }
    clock.advance(1e6);
  });
});

snapshotSuite('the HPET', {
  create: (clock) => new Hpet(new Lines(), clock),
  change(hpet, clock) {
    const write = (offset: number, value: number): void => hpet.write(offset, 4, value);
    hpet.pit.set(true);
    write(COUNTER, 77);
    write(CONF, 3);
    write(timer(0), EDGE | PERIODIC | VAL_SET | MODE_32);
    write(timer(0) + 8, 1000);
    write(timer(0) + 8, 30_000);
    write(timer(3), LEVEL | route(12));
    write(timer(3) + 8, 900);
    write(timer(3) + 12, 0);
    clock.advance(1_000_000);
    hpet.acknowledged();
    clock.jump(2_000_000);
    hpet.read(COUNTER, 4);
  },
  observe(hpet, clock) {
    const seen: unknown[] = [];
    for (let i = 0; i < 10; i++) {
      for (const offset of [CONF, STATUS, COUNTER + 4, COUNTER, timer(0) + 8, timer(3)])
        seen.push(hpet.read(offset, 4));
      clock.advance(12_345);
      seen.push(clock.nextDeadline);
    }
    return seen;
  },
});
