import { beforeEach, describe, expect, it } from 'vitest';
import { FakeClock } from '../../../host/fake/clock.js';
import { RecordingLine } from '../../../host/fake/lines.js';
import { snapshotSuite } from '../../../testing/snapshot-suite.js';
import { decodeCalendar, encodeCalendar } from './calendar.js';
import { CMOS, Rtc } from './rtc.js';

const SECOND = 1e9;

function access(rtc: Rtc): { get: (index: number) => number; set: (index: number, value: number) => void } {
  return {
    get: (index) => {
      rtc.ports.write(0, 1, index);
      return rtc.ports.read(1, 1);
    },
    set: (index, value) => {
      rtc.ports.write(0, 1, index);
      rtc.ports.write(1, 1, value);
    },
  };
}

describe('the calendar bytes', () => {
  it('survive the round trip in all codings, over centuries', () => {
    for (const coding of [0, 2, 4, 6])
      for (let time = Date.UTC(1899, 0, 1); time < Date.UTC(2105, 0, 1); time += 7_919_123_000) {
        const calendar = encodeCalendar(time, coding, 3);
        expect(decodeCalendar(calendar, coding)).toEqual({ time: Math.floor(time / 1000) * 1000, shift: 3 });
      }
  });
});

describe('the MC146818A', () => {
  let clock: FakeClock;
  let irq: RecordingLine;
  let rtc: Rtc;
  let get: (index: number) => number;
  let set: (index: number, value: number) => void;
  let alarms: number;
  beforeEach(() => {
    // 2024-02-28 23:59:50 UTC, a Wednesday.
    clock = new FakeClock();
    irq = new RecordingLine();
    alarms = 0;
    rtc = new Rtc(irq, clock, () => alarms++);
    ({ get, set } = access(rtc));
  });
  const date = (): number[] => [CMOS.CENTURY, 9, 8, 7, 6, 4, 2, 0].map((index) => get(index));

  it('shows the wall clock in BCD, and a leap day', () => {
    expect(date()).toEqual([0x20, 0x24, 0x02, 0x28, 0x04, 0x23, 0x59, 0x50]);
    clock.advance(10 * SECOND);
    expect(date()).toEqual([0x20, 0x24, 0x02, 0x29, 0x05, 0x00, 0x00, 0x00]);
  });

  it('shows binary and 12-hour time', () => {
    set(CMOS.B, 0x04);
    expect(date()).toEqual([20, 24, 2, 28, 4, 0x80 | 11, 59, 50]);
    clock.advance(10 * SECOND);
    expect(get(CMOS.HOURS)).toBe(12);
    set(CMOS.B, 0x00);
    expect(get(CMOS.HOURS)).toBe(0x12);
    clock.advance(12 * 3600 * SECOND);
    expect(get(CMOS.HOURS)).toBe(0x92);
  });

  it('is set while SET stops it, the way Linux does it, and goes on half a second later', () => {
    const [a, b] = [get(CMOS.A), get(CMOS.B)];
    set(CMOS.B, b | 0x80);
    set(CMOS.A, a | 0x70);
    for (const [index, value] of [
      [CMOS.SECONDS, 0x58],
      [CMOS.MINUTES, 0x59],
      [CMOS.HOURS, 0x23],
      [CMOS.DAY, 0x31],
      [CMOS.MONTH, 0x12],
      [CMOS.YEAR, 0x99],
      [CMOS.CENTURY, 0x19],
      [CMOS.WEEKDAY, 0x06],
    ])
      set(index, value);
    clock.advance(5 * SECOND);
    expect(get(CMOS.SECONDS)).toBe(0x58);
    set(CMOS.B, b);
    set(CMOS.A, a);
    clock.advance(0.499 * SECOND);
    expect(get(CMOS.SECONDS)).toBe(0x58);
    clock.advance(0.001 * SECOND);
    expect(get(CMOS.SECONDS)).toBe(0x59);
    clock.advance(SECOND);
    expect(date()).toEqual([0x20, 0x00, 0x01, 0x01, 0x07, 0x00, 0x00, 0x00]);
  });

  it('keeps what the guest set relative to the wall clock', () => {
    set(CMOS.HOURS, 0x11);
    const saved = rtc.save();
    expect(saved.offset).toBe(-12 * 3_600_000);
    const later = new Rtc(irq, new FakeClock(0, clock.epoch + 3_600_000));
    later.restore(saved);
    expect(access(later).get(CMOS.HOURS)).toBe(0x12);
  });

  it('announces updates by UIP', () => {
    clock.advance(0.9 * SECOND);
    expect(get(CMOS.A)).toBe(0x26);
    clock.advance(0.0985 * SECOND);
    expect(get(CMOS.A)).toBe(0xa6);
    clock.advance(0.0015 * SECOND);
    expect(get(CMOS.A)).toBe(0x26);
  });

  it('interrupts after every update', () => {
    set(CMOS.A, 0x20);
    set(CMOS.B, 0x12);
    for (let i = 0; i < 5; i++) {
      clock.advance(SECOND);
      expect(irq.level).toBe(true);
      expect(get(CMOS.C)).toBe(0x90);
      expect(irq.level).toBe(false);
      expect(get(CMOS.C)).toBe(0);
    }
    set(CMOS.B, 0x92);
    expect(get(CMOS.B)).toBe(0x82);
    clock.advance(5 * SECOND);
    expect(irq.level).toBe(false);
  });

  it('interrupts periodically at the rate of register A, without drift', () => {
    // 1024 Hz, as Linux's /dev/rtc users choose it.
    set(CMOS.A, 0x26);
    set(CMOS.B, 0x42);
    get(CMOS.C);
    const countDuring = (seconds: number): number => {
      let count = 0;
      const end = clock.now() + seconds * SECOND;
      while (clock.now() < end) {
        clock.runTo(Math.min(end, clock.nextDeadline ?? end));
        if (irq.level && get(CMOS.C) & 0x40) count++;
      }
      return count;
    };
    expect(countDuring(10)).toBe(10_240);
    for (const [rate, hz] of [
      [1, 256],
      [2, 128],
      [3, 8192],
      [15, 2],
    ]) {
      set(CMOS.A, 0x20 | rate);
      get(CMOS.C);
      expect([rate, countDuring(1)]).toEqual([rate, hz]);
    }
    set(CMOS.A, 0x20);
    get(CMOS.C);
    clock.advance(2 * SECOND);
    expect(get(CMOS.C) & 0x40).toBe(0);
  });

  it('interrupts at the alarm, with wild cards, and wakes', () => {
    set(CMOS.A, 0x20);
    set(CMOS.SECONDS_ALARM, 0x05);
    set(CMOS.MINUTES_ALARM, 0x00);
    set(CMOS.HOURS_ALARM, 0xc0);
    set(CMOS.B, 0x22);
    clock.advance(14.9 * SECOND);
    expect(irq.level).toBe(false);
    clock.advance(0.1 * SECOND);
    expect([irq.level, alarms]).toEqual([true, 1]);
    expect(get(CMOS.C)).toBe(0xb0);
    clock.advance(3599 * SECOND);
    expect(alarms).toBe(1);
    clock.advance(SECOND);
    expect(alarms).toBe(2);
  });

  it('does not miss an alarm when the host was busy', () => {
    set(CMOS.A, 0x20);
    set(CMOS.SECONDS_ALARM, 0x05);
    set(CMOS.MINUTES_ALARM, 0x00);
    set(CMOS.HOURS_ALARM, 0x00);
    set(CMOS.B, 0x22);
    clock.jump(100 * SECOND);
    expect(get(CMOS.C)).toBe(0xb0);
  });

  it('has CMOS memory in two banks and the NMI mask', () => {
    rtc.setCmos(0x5b, 0x12);
    rtc.setCmos(0x80, 0x34);
    expect(get(0x5b)).toBe(0x12);
    expect(get(0xdb)).toBe(0x12);
    expect(rtc.nmiMasked).toBe(true);
    rtc.ports.write(2, 1, 0x80);
    expect([rtc.ports.read(2, 1), rtc.ports.read(3, 1)]).toEqual([0, 0x34]);
    rtc.ports.write(3, 1, 0x56);
    expect(rtc.ports.peek?.(3, 1)).toBe(0x56);
    set(0x0f, 0x0a);
    expect([get(0x0f), rtc.nmiMasked, get(CMOS.D), rtc.ports.read(0, 1)]).toEqual([0x0a, false, 0x80, 0xff]);
  });

  it('takes nonsense for a date', () => {
    for (let value = 0; value < 256; value++) for (let index = 0; index < 14; index++) set(index, value);
    set(CMOS.B, 0);
    set(CMOS.A, 0x20);
    clock.advance(10 * SECOND);
    for (let index = 0; index < 128; index++) expect(get(index)).toBeLessThan(256);
  });
});

snapshotSuite('the MC146818A', {
  create: (clock) => new Rtc(new RecordingLine(), clock),
  change(rtc, clock) {
    const { get, set } = access(rtc);
    set(CMOS.A, 0x2d);
    set(CMOS.B, 0x76);
    set(CMOS.HOURS, 5);
    set(CMOS.WEEKDAY, 1);
    set(CMOS.SECONDS_ALARM, 0x1);
    rtc.ports.write(2, 1, 0x11);
    rtc.ports.write(3, 1, 0x22);
    clock.advance(3.25 * SECOND);
    get(CMOS.C);
    clock.advance(SECOND);
    rtc.ports.write(0, 1, 0x8c);
  },
  observe(rtc, clock) {
    const { get } = access(rtc);
    const seen: number[] = [];
    for (let i = 0; i < 10; i++) {
      for (const index of [CMOS.C, CMOS.SECONDS, CMOS.HOURS, CMOS.WEEKDAY]) seen.push(get(index));
      clock.advance(0.3 * SECOND);
    }
    return seen;
  },
});
