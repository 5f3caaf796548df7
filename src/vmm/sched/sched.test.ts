import { describe, expect, it } from 'vitest';
import { CpuTurn } from './cpu-turn.js';
import {
  isCrowded,
  NO_LIMITS,
  readProcessors,
  setCrowded,
  showProcessors,
  writeLimits,
  type CpuLimits,
} from './settings.js';
import { MAX_SEATS, SchedulerWords, type Seat } from './words.js';

/** Nanoseconds of a step of the simulation, and those for which a CPU runs before it asks again. */
const STEP = 50_000;
const SLICE = 500_000;

interface SimulatedCpu {
  readonly seat: Seat;
  readonly index: number;
  readonly turn: CpuTurn;
  /** Whether it wants to run. */
  isBusy: boolean;
  isDead: boolean;
  /** Processor time, and until when it runs or sleeps. */
  time: number;
  until: number;
  runs: boolean;
}

/** Threads of machines on processors, in steps; all that run at a time go on equally fast. */
class Simulation {
  now = 1e12;
  readonly words: SchedulerWords;
  readonly cpus: SimulatedCpu[] = [];
  /** The most that ran at a time. */
  most = 0;
  readonly pins: unknown[] = [];

  /** `apart`: machines are in processes of their own, which cannot wake each other. */
  constructor(
    processors: number,
    private readonly apart = false,
  ) {
    const numbers = Array.from({ length: processors }, (_, i) => i);
    this.words = apart
      ? SchedulerWords.join(new SharedArrayBuffer(SchedulerWords.size), numbers)
      : SchedulerWords.create(numbers);
  }

  add(cpus: number, limits: Partial<CpuLimits> = {}, threadTime = true): SimulatedCpu[] {
    const seat = this.words.take();
    if (!seat) throw new Error('no seat');
    Atomics.store(this.words.ints, seat.cpusAt, cpus);
    writeLimits(seat, { ...NO_LIMITS, ...limits });
    const made = Array.from({ length: cpus }, (_, index): SimulatedCpu => {
      const cpu: SimulatedCpu = {
        seat,
        index,
        turn: new CpuTurn(seat, index, {
          now: () => this.now,
          threadTime: () => (threadTime ? cpu.time : undefined),
          threadNumber: () => 0,
          pin: (to) => {
            this.pins.push(to);
            return undefined;
          },
          report: () => {},
        }),
        isBusy: true,
        isDead: false,
        time: 0,
        until: 0,
        runs: false,
      };
      return cpu;
    });
    this.cpus.push(...made);
    const seats = [...new Set(this.cpus.map((cpu) => cpu.seat))];
    setCrowded(seats, isCrowded(seats));
    return made;
  }

  private step(cpu: SimulatedCpu): void {
    if (cpu.isDead) return;
    const wake = cpu.index === 0 ? cpu.seat.shared : cpu.seat.wakes;
    const at = cpu.index;
    if (cpu.runs) cpu.time += STEP;
    const isWoken = Atomics.exchange(wake, at, 0) !== 0 && !this.apart;
    if (this.now < cpu.until && (cpu.runs || !isWoken)) return;
    cpu.runs = false;
    if (!cpu.isBusy) {
      cpu.turn.rest();
      cpu.until = this.now + STEP;
      return;
    }
    const allowed = cpu.turn.ask();
    cpu.runs = allowed > 0;
    cpu.until = this.now + Math.min(Math.abs(allowed), allowed > 0 ? SLICE : Infinity);
  }

  run(seconds: number): void {
    for (const end = this.now + seconds * 1e9; this.now < end; this.now += STEP) {
      for (const cpu of this.cpus) this.step(cpu);
      this.most = Math.max(this.most, this.cpus.filter(({ runs, isDead }) => runs && !isDead).length);
    }
  }

  /** Seconds of processor time that machines get from now on. */
  measure(seconds: number, ...machines: readonly SimulatedCpu[][]): number[] {
    const total = (cpus: readonly SimulatedCpu[]): number => cpus.reduce((sum, { time }) => sum + time, 0);
    const before = machines.map(total);
    this.run(seconds);
    return machines.map((cpus, i) => (total(cpus) - before[i]) / 1e9);
  }
}

/** Each within so many percent of what is expected. */
function expectAbout(values: readonly number[], expected: readonly number[], percent = 5): void {
  for (const [i, value] of values.entries())
    expect(Math.abs(value / expected[i] - 1), `${String(values)} for ${String(expected)}`).toBeLessThan(percent / 100);
}

describe('machines that share processors', () => {
  it('get time in proportion to their shares', () => {
    const sim = new Simulation(1);
    const machines = [100, 200, 400].map((shares) => sim.add(1, { shares }));
    sim.run(0.5);
    expectAbout(sim.measure(7, ...machines), [1, 2, 4]);
    expect(sim.most).toBe(1);
  });

  it('do so in processes of their own', () => {
    const sim = new Simulation(1, true);
    const machines = [100, 200, 400].map((shares) => sim.add(1, { shares }));
    sim.run(0.5);
    // Now and then two run at a time: their time is more than there is.
    const got = sim.measure(7, ...machines);
    expectAbout(
      got.map((time) => time / got[0]),
      [1, 2, 4],
    );
    expect(got[0] + got[1] + got[2]).toBeGreaterThan(6.9);
    for (const [cpu] of machines.slice(1)) cpu.isBusy = false;
    expectAbout(sim.measure(1, machines[0]), [1]);
  });

  it('do so where the host does not tell the time of a thread', () => {
    const sim = new Simulation(1);
    const machines = [100, 300].map((shares) => sim.add(1, { shares }, false));
    sim.run(0.5);
    expectAbout(sim.measure(4, ...machines), [1, 3]);
  });

  it('leave no processor idle when one cannot use all of its shares', () => {
    const sim = new Simulation(2);
    const machines = [1024, 2048, 4096].map((shares) => sim.add(1, { shares }));
    sim.run(0.5);
    expectAbout(sim.measure(3, ...machines), [1, 2, 3]);
  });

  it('are what shares are between, not CPUs; CPUs of a machine get the same', () => {
    const sim = new Simulation(2);
    const wide = sim.add(4);
    const others = [sim.add(1), sim.add(1)];
    sim.run(0.5);
    expectAbout(sim.measure(3, wide, ...others), [2, 2, 2]);
    const [four, ...apart] = [sim.measure(2, ...wide.map((cpu) => [cpu])), wide];
    expect(apart).toHaveLength(1);
    expectAbout(four, [1 / 3, 1 / 3, 1 / 3, 1 / 3], 8);
  });

  it('do not make up for what they did not want', () => {
    const sim = new Simulation(1);
    const [idle, busy] = [sim.add(1), sim.add(1)];
    for (const cpu of idle) cpu.isBusy = false;
    expectAbout(sim.measure(3, busy), [3]);
    for (const cpu of idle) cpu.isBusy = true;
    expectAbout(sim.measure(1, idle, busy), [0.5, 0.5]);
    // Both slept, and neither has a debt.
    for (const cpu of [...idle, ...busy]) cpu.isBusy = false;
    sim.run(0.1);
    for (const cpu of [...idle, ...busy]) cpu.isBusy = true;
    expectAbout(sim.measure(1, idle, busy), [0.5, 0.5]);
  });

  it('change their shares while they run', () => {
    const sim = new Simulation(1);
    const [one, other] = [sim.add(1), sim.add(1)];
    expectAbout(sim.measure(1, one, other), [0.5, 0.5]);
    writeLimits(one[0].seat, { ...NO_LIMITS, shares: 3072 });
    expectAbout(sim.measure(2, one, other), [1.5, 0.5]);
  });

  it('take over from a thread that has died with a processor', () => {
    const sim = new Simulation(1);
    const [one, other] = [sim.add(1), sim.add(1)];
    sim.run(0.2);
    const holder = [...one, ...other].find(({ runs }) => runs);
    if (holder) holder.isDead = true;
    const [rest] = [...one, ...other].filter((cpu) => cpu !== holder);
    expectAbout(sim.measure(1, [rest]), [1]);
  });

  it('use the others when a machine is pinned', () => {
    const sim = new Simulation(2);
    const pinned = [sim.add(1, { pin: [0] }), sim.add(1, { pin: [0] })];
    const free = sim.add(1);
    sim.run(0.2);
    expectAbout(sim.measure(2, ...pinned, free), [1, 1, 2]);
    expect(sim.pins).toEqual([[0], [0]]);
  });

  it('do not ask while there is room for all', () => {
    const sim = new Simulation(4);
    const machines = [sim.add(1), sim.add(2)];
    expect(machines.flat().map(({ turn }) => turn.ask())).toEqual([Infinity, Infinity, Infinity]);
    sim.add(2);
    expect(machines.flat().every(({ turn }) => turn.ask() !== Infinity)).toBe(true);
  });
});

describe('a cap', () => {
  it.each([1, 5, 25, 80])('of %d percent holds', (cap) => {
    const sim = new Simulation(2);
    const machine = sim.add(1, { cap });
    sim.run(0.5);
    expectAbout(sim.measure(4, machine), [(4 * cap) / 100], cap < 5 ? 30 : 8);
  });

  it('holds for all CPUs of a machine together', () => {
    const sim = new Simulation(4);
    const machine = sim.add(4, { cap: 150 });
    sim.run(0.5);
    expectAbout(sim.measure(2, machine), [3], 8);
  });

  it('leaves the processor to others', () => {
    const sim = new Simulation(1);
    const machines = [sim.add(1, { cap: 20, shares: 8192 }), sim.add(1)];
    sim.run(0.5);
    expectAbout(sim.measure(2, ...machines), [0.4, 1.6], 8);
  });

  it('comes and goes while the machine runs', () => {
    const sim = new Simulation(1);
    const machine = sim.add(1);
    const { seat } = machine[0];
    writeLimits(seat, { ...NO_LIMITS, cap: 50 });
    sim.run(0.2);
    expectAbout(sim.measure(1, machine), [0.5], 8);
    writeLimits(seat, NO_LIMITS);
    sim.run(0.2);
    expectAbout(sim.measure(1, machine), [1]);
  });

  it('lets a machine that did nothing answer at once', () => {
    const sim = new Simulation(1);
    const [cpu] = sim.add(1, { cap: 20 });
    cpu.isBusy = false;
    sim.run(0.2);
    cpu.isBusy = true;
    expect(sim.measure(0.003, [cpu])[0]).toBeGreaterThan(0.0025);
  });
});

describe('words', () => {
  it('have a seat for each machine, which the next one takes over', () => {
    const words = SchedulerWords.create([0]);
    const seats = Array.from({ length: MAX_SEATS }, () => words.take());
    expect(new Set(seats.map((seat) => seat?.index)).size).toBe(MAX_SEATS);
    expect(words.take()).toBeUndefined();
    if (seats[7]) writeLimits(seats[7], { ...NO_LIMITS, cap: 5 });
    seats[7]?.leave();
    const next = words.take();
    expect([next?.index, next?.cap]).toEqual([7, 0]);
  });

  it('lose the seats of processes that have died', () => {
    const words = SchedulerWords.create([0]);
    words.take(10);
    const second = words.take(20);
    words.sweep((pid) => pid === 10);
    expect(second?.isTaken).toBe(false);
    expect(words.take(30)?.index).toBe(1);
  });

  it('read and write lists of processors', () => {
    expect(readProcessors('0-2,5, 7-8')).toEqual([0, 1, 2, 5, 7, 8]);
    expect(showProcessors([8, 5, 0, 1, 2, 7])).toBe('0-2,5,7-8');
    for (const wrong of ['', 'a', '3-1', '-1', '1,', '1024', '0-99999']) expect(readProcessors(wrong)).toBeUndefined();
  });
});
