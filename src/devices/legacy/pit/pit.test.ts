import { beforeEach, describe, expect, it } from 'vitest';
import { nanoseconds } from '../../../base/units.js';
import { FakeClock } from '../../../host/fake/clock.js';
import { RecordingLine } from '../../../host/fake/lines.js';
import { snapshotSuite } from '../../../testing/snapshot-suite.js';
import { Oscillator } from '../oscillator.js';
import { PIT_HZ } from './pit-state.js';
import { Pit } from './pit.js';

const CONTROL = 3;

describe('the 8254', () => {
  let clock: FakeClock;
  let irq: RecordingLine;
  let pit: Pit;
  let clk: Oscillator;
  beforeEach(() => {
    clock = new FakeClock(1_000_000);
    irq = new RecordingLine();
    pit = new Pit(irq, clock);
    clk = new Oscillator(clock, PIT_HZ);
  });
  const out = (port: number, value: number): void => pit.ports.write(port, 1, value);
  const read = (port: number): number => pit.ports.read(port, 1);
  /** Lets CLK periods pass. */
  const periods = (count: number): void => clock.runTo(clk.time(clk.now() + count));
  const program = (counter: number, mode: number, count: number): void => {
    out(CONTROL, (counter << 6) | 0x30 | (mode << 1));
    out(counter, count & 0xff);
    out(counter, count >> 8);
  };
  const latched = (counter: number): number => {
    out(CONTROL, counter << 6);
    return read(counter) | (read(counter) << 8);
  };
  const status = (counter: number): number => {
    out(CONTROL, 0xe0 | (2 << counter));
    return read(counter);
  };
  const gate2 = (level: boolean): void => pit.systemControl.write(0, 1, level ? 1 : 0);
  const out2 = (): boolean => (pit.systemControl.read(0, 1) & 0x20) !== 0;

  it('mode 2 interrupts every N periods, without drift over an hour', () => {
    program(0, 2, 11_932);
    const start = clk.now() + 1;
    const before = irq.edges;
    clock.advance(3600e9);
    expect(irq.edges - before).toBe(Math.floor((clk.now() - start) / 11_932));
    expect(clock.nextDeadline).toBe(clk.time(start + (irq.edges - before + 1) * 11_932));
  });

  it('makes up for periods that a busy host missed, one for each that the guest has done with, and keeps the phase', () => {
    program(0, 2, 1000);
    const start = clk.now() + 1;
    const before = irq.edges;
    clock.advance(1_000_000);
    pit.acknowledged();
    clock.jump(10_500_000);
    const passed = Math.floor((clk.now() - start) / 1000);
    expect(irq.edges - before).toBe(2);
    const { deadline } = pit.save();
    expect((clk.ticks(nanoseconds(deadline ?? 0)) - start) % 1000).toBe(0);
    for (let n = 3; n <= passed; n++) {
      pit.acknowledged();
      expect(irq.edges - before).toBe(n);
    }
    // Nothing is owed any more.
    pit.acknowledged();
    expect(irq.edges - before).toBe(passed);
  });

  it('gives what it owes at an eighth of the period where nobody acknowledges, and forgets it when it is set anew', () => {
    program(0, 2, 11_932);
    const start = clk.now() + 1;
    const before = irq.edges;
    clock.jump(105e6);
    expect(irq.edges - before).toBe(1);
    clock.advance(5.2e6);
    expect(irq.edges - before).toBe(1 + 4 + 1);
    clock.advance(20e6);
    expect(irq.edges - before).toBe(Math.floor((clk.now() - start) / 11_932));
    clock.jump(105e6);
    program(0, 2, 11_932);
    const again = irq.edges;
    clock.advance(9e6);
    expect(irq.edges).toBe(again);
  });

  it('owes nothing of periods that nobody counts time by', () => {
    program(0, 2, 100);
    clock.jump(10e6);
    const before = irq.edges;
    pit.acknowledged();
    expect(irq.edges).toBe(before);
  });

  it('mode 0 raises OUT N + 1 periods after the count, once', () => {
    program(0, 0, 100);
    periods(100);
    expect(irq.level).toBe(false);
    expect(status(0)).toBe(0x30);
    periods(1);
    expect(irq.level).toBe(true);
    expect(status(0)).toBe(0xb0);
    periods(1_000_000);
    expect(irq.edges).toBe(1);
    expect(latched(0)).toBe(-1_000_000 & 0xffff);
  });

  it('mode 0 lowers OUT at the first byte of a new count and counts again', () => {
    program(0, 0, 100);
    periods(200);
    out(0, 50);
    expect(status(0) & 0x80).toBe(0);
    periods(200);
    out(0, 0);
    periods(51);
    expect(irq.level).toBe(true);
  });

  it('mode 4 strobes one period after N + 1 and interrupts at its end', () => {
    program(0, 4, 10);
    const before = irq.edges;
    periods(10);
    expect(status(0) & 0x80).toBe(0x80);
    periods(1);
    expect(status(0) & 0x80).toBe(0);
    periods(1);
    expect(status(0) & 0x80).toBe(0x80);
    expect(irq.edges - before).toBe(1);
  });

  it('mode 3 is high for the longer half of an odd count', () => {
    program(2, 3, 5);
    gate2(true);
    periods(1);
    const levels = Array.from({ length: 10 }, () => {
      const level = out2();
      periods(1);
      return level ? 1 : 0;
    });
    expect(levels).toEqual([1, 1, 1, 0, 0, 1, 1, 1, 0, 0]);
  });

  it('mode 3 counts down by two', () => {
    program(2, 3, 8);
    gate2(true);
    periods(1);
    const values = Array.from({ length: 8 }, () => {
      const value = latched(2);
      periods(1);
      return value;
    });
    expect(values).toEqual([8, 6, 4, 2, 8, 6, 4, 2]);
  });

  it('mode 2 takes a new count at the end of the period', () => {
    program(0, 2, 100);
    periods(31);
    out(0, 40);
    out(0, 0);
    expect(status(0) & 0x40).toBe(0x40);
    expect(latched(0)).toBe(70);
    periods(70);
    expect(latched(0)).toBe(40);
    expect(status(0) & 0x40).toBe(0);
  });

  it('mode 1 is triggered, and triggered again, by GATE', () => {
    program(2, 1, 20);
    expect(out2()).toBe(true);
    gate2(true);
    periods(15);
    expect(out2()).toBe(false);
    gate2(false);
    gate2(true);
    periods(15);
    expect(out2()).toBe(false);
    periods(6);
    expect(out2()).toBe(true);
  });

  it('mode 5 strobes N + 1 periods after GATE rises', () => {
    program(2, 5, 20);
    periods(50);
    gate2(true);
    periods(20);
    expect(out2()).toBe(true);
    periods(1);
    expect(out2()).toBe(false);
    periods(1);
    expect(out2()).toBe(true);
  });

  it('GATE stops modes 0 and 4 and restarts modes 2 and 3', () => {
    gate2(true);
    program(2, 0, 100);
    periods(41);
    gate2(false);
    periods(500);
    expect(latched(2)).toBe(60);
    gate2(true);
    periods(59);
    expect(out2()).toBe(false);
    periods(1);
    expect(out2()).toBe(true);
    program(2, 2, 100);
    periods(71);
    gate2(false);
    expect(out2()).toBe(true);
    gate2(true);
    periods(1);
    expect(latched(2)).toBe(100);
  });

  it('counts in BCD', () => {
    out(CONTROL, 0x35);
    out(0, 0x00);
    out(0, 0x10);
    periods(2);
    expect(latched(0)).toBe(0x0999);
    out(CONTROL, 0x31);
    out(0, 0x00);
    out(0, 0x00);
    periods(2);
    expect(latched(0)).toBe(0x9999);
  });

  it('latches a count until it is read, and reads single bytes', () => {
    program(0, 2, 0x1234);
    periods(5);
    out(CONTROL, 0x00);
    periods(7);
    out(CONTROL, 0x00);
    expect([read(0), read(0)]).toEqual([0x30, 0x12]);
    out(CONTROL, 0x24);
    out(0, 0x7f);
    periods(1);
    expect(read(0)).toBe(0x7f);
    periods(1);
    expect(read(0)).toBe(0x7e);
    out(CONTROL, 0x14);
    out(0, 0x7f);
    periods(2);
    expect(read(0)).toBe(0x7e);
  });

  it('reads back status before count', () => {
    program(0, 2, 500);
    program(2, 3, 600);
    periods(1);
    out(CONTROL, 0xc2 | 8);
    expect(read(0)).toBe(0xb4);
    expect(read(0) | (read(0) << 8)).toBe(500);
    // Counter 2 is not gated: its count was never loaded.
    expect(read(2)).toBe(0xf6);
  });

  it('port 0x61 shows the refresh toggle, OUT 2 and what was written', () => {
    const seen = new Set<number>();
    for (let i = 0; i < 20; i++) {
      seen.add(pit.systemControl.read(0, 1) & 0x10);
      periods(7);
    }
    expect(seen).toEqual(new Set([0, 0x10]));
    pit.systemControl.write(0, 1, 0xfe);
    expect(pit.systemControl.read(0, 1) & 0xcf).toBe(0x0e);
    program(2, 3, 1000);
    pit.systemControl.write(0, 1, 3);
    expect(pit.speaker).toBe(true);
  });

  it('goes on from a state of version 1, which owed nothing', () => {
    program(0, 2, 11_932);
    clock.advance(5e6);
    const { catchUp: _, ...old } = pit.save();
    const copy = new Pit(irq, clock);
    copy.restore(copy.stateSchema.check(copy.upgrade(old), 'pit'));
    expect(copy.save()).toEqual(pit.save());
  });

  it('answers anything without harm', () => {
    for (let word = 0; word < 256; word++)
      for (const counter of [0, 1, 2]) {
        out(CONTROL, word);
        out(counter, word & 1);
        out(counter, word & 2);
        pit.systemControl.write(0, 1, word);
        clock.advance(3000);
        read(counter);
        expect(pit.ports.peek?.(counter, 1)).toBe(read(counter));
      }
    expect(read(CONTROL)).toBe(0);
  });
});

snapshotSuite('the 8254', {
  create: (clock) => new Pit(new RecordingLine(), clock),
  change(pit, clock) {
    pit.systemControl.write(0, 1, 3);
    for (const [port, value] of [
      [3, 0x34],
      [0, 0x00],
      [0, 0x40],
      [3, 0xb7],
      [2, 0x99],
      [2, 0x01],
      [3, 0x70],
      [1, 0x12],
    ])
      pit.ports.write(port, 1, value);
    pit.acknowledged();
    clock.jump(60_000_000);
    pit.ports.write(3, 1, 0xce);
    pit.ports.read(0, 1);
  },
  observe: (pit, clock) => {
    const seen: unknown[] = [];
    for (let i = 0; i < 50; i++) {
      clock.advance(1_234_567);
      seen.push(pit.ports.read(0, 1), pit.ports.read(2, 1), pit.systemControl.read(0, 1), clock.nextDeadline);
    }
    return seen;
  },
});
