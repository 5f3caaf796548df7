/** Runs a machine with one CPU on the thread it is called on, devices included. */
import { assertNever } from '../base/assert.js';
import type { DebugReason, Vcpu } from '../iface/vcpu.js';
import type { MachineClock } from './machine-clock.js';

/** Why the loop ended. */
export type LoopExit =
  | { readonly kind: 'power-off' }
  | { readonly kind: 'reset' }
  | { readonly kind: 'exit'; readonly code: number }
  | { readonly kind: 'shutdown' }
  | { readonly kind: 'debug'; readonly reason: DebugReason }
  /** `stop` was called. */
  | { readonly kind: 'stopped' };

/** What a slice comes to that nothing has ended. */
export type Pause =
  /** It is over, and the CPU has more to do. */
  | { readonly kind: 'slice-over' }
  /** There is nothing to do until something arrives from outside, or so many nanoseconds have passed (undefined: for ever). */
  | { readonly kind: 'asleep'; readonly nanoseconds: number | undefined };

/** What executes instructions, as far as the loop is concerned. */
export type Runnable = Pick<Vcpu, 'run' | 'kick' | 'isTimed' | 'isAsleep'>;

/** Whoever has processors of the host to give. */
export interface Turn {
  /** Asked before each slice. Nanoseconds that the CPU may run; negative: those that it has to wait at most, and ask again then or when something arrives. */
  ask(): number;
  /** The CPU executes nothing for now. */
  rest(): void;
}

/** That of a machine's CPU, with somebody who is told what the CPU does. */
export interface MachineTurn extends Turn {
  /** `accesses`: of devices, so far. */
  watch(cpu: Pick<Vcpu, 'retired'>, accesses: () => number): void;
}

export interface RunLoopOptions {
  readonly cpu: Runnable;
  /** Absent: it may always run. */
  readonly turn?: Turn | undefined;
  readonly clock: MachineClock;
  /** Takes what has arrived from outside: console input, commands. Called between slices; must be cheap. */
  poll(): void;
  /** Sleeps until something arrives from outside, at most `nanoseconds` long (undefined: for ever). */
  sleep(nanoseconds: number | undefined): void;
  /**
   * The CPU is halted, and is going to wait for interrupts by itself: passes on what waits for that. True: there is more. Absent: nothing ever waits for it, or CPUs that are
   * halted come back.
   */
  settle?(): boolean;
  /** Virtual time, if time is virtual. */
  readonly virtual?: VirtualPlan | undefined;
}

/** What virtual time asks of the loop. */
export interface VirtualPlan {
  /** Instructions of the next slice, behind which time moves. */
  budget(): number;
  /** Moves time forward to the next deadline while the CPU is halted. */
  skipTo(deadline: number): void;
}

/** Instructions between two looks at timers and input, at most and at least. */
const MAX_SLICE = 200_000;
const MIN_SLICE = 2_000;
/** Nanoseconds of a slice, where the accelerator does not count instructions. */
const MAX_TIME = 4e6;
const MIN_TIME = 20_000;
/** Of one in which the CPU is halted at first: what arrives from outside takes it out of that. */
const ASLEEP_TIME = 100e6;
/** Instructions per nanosecond that a slice is planned with, until measured. */
const ASSUMED_SPEED = 0.05;

/** A slice is at least as long as what the host took between it and the one before, times this: a slow one would do nothing else. Nanoseconds are all that is known there. */
const WORTH = 2;

const SLICE_OVER: Pause = { kind: 'slice-over' };

export class RunLoop {
  private request: LoopExit | undefined;
  private speed = ASSUMED_SPEED;
  /** When the slice that runs now should end; never, between slices. */
  private sliceEnd = -Infinity;
  /** When the last one ended; undefined: the machine has slept since. */
  private ended: number | undefined;

  constructor(private readonly options: RunLoopOptions) {
    const { clock, cpu } = options;
    clock.onArm = (deadline) => {
      if (deadline < this.sliceEnd) cpu.kick();
    };
    // What is due comes before the guest sees that it is: it may count one against the other.
    clock.onLate = () => {
      if (this.sliceEnd !== -Infinity) cpu.kick();
    };
  }

  /** Ends the loop when the current instruction has finished. Callable from device callbacks. The first reason wins. */
  stop(exit: LoopExit): void {
    this.request ??= exit;
    this.options.cpu.kick();
  }

  /** What the next run will end with at once, if so. */
  get asked(): LoopExit | undefined {
    return this.request;
  }

  /** Runs until something ends it. */
  run(): LoopExit {
    try {
      for (;;) {
        const end = this.slice();
        if (end.kind === 'asleep') this.options.sleep(end.nanoseconds);
        else if (end.kind !== 'slice-over') return end;
      }
    } finally {
      this.options.turn?.rest();
    }
  }

  /** Runs one slice, and comes back instead of sleeping: for whoever has several machines on a thread. */
  turn(): LoopExit | Pause {
    let isAsleep = false;
    try {
      const end = this.slice();
      isAsleep = end.kind === 'asleep';
      return end;
    } finally {
      // A CPU that waits for a processor goes on waiting for it.
      if (!isAsleep) this.options.turn?.rest();
    }
  }

  private slice(): LoopExit | Pause {
    const { cpu, clock, virtual, turn } = this.options;
    this.options.poll();
    clock.runTimers();
    if (this.request !== undefined) {
      const { request } = this;
      this.request = undefined;
      return request;
    }
    const isAsleep = cpu.isAsleep === true;
    if (isAsleep) turn?.rest();
    const longest = !isAsleep ? MAX_TIME : this.options.settle?.() ? MIN_TIME : ASLEEP_TIME;
    const allowed = turn ? turn.ask() : Infinity;
    if (allowed < 0) return this.wait(-allowed);
    const started = clock.now();
    const least = cpu.isTimed ? this.worthwhile(started) : 0;
    const budget = virtual ? virtual.budget() : this.plan(started, allowed, longest, least);
    // Virtual time stands still during a slice, so only what is due at once is early.
    this.sliceEnd = virtual ? started + 1 : started + budget / (cpu.isTimed ? 1 : this.speed);
    const exit = cpu.run(budget, least);
    this.sliceEnd = -Infinity;
    this.ended = cpu.isTimed && exit.kind !== 'halt' ? clock.now() : undefined;
    switch (exit.kind) {
      case 'budget':
        if (!cpu.isTimed) this.measure(budget, clock.now() - started);
        return SLICE_OVER;
      case 'kicked':
        return SLICE_OVER;
      case 'halt':
        return this.halted();
      case 'shutdown':
        return { kind: 'shutdown' };
      case 'debug':
        return exit;
      default:
        return assertNever(exit);
    }
  }

  /** The CPU does nothing until it is interrupted. */
  private halted(): Pause {
    const { clock, virtual, turn } = this.options;
    const next = clock.nextDeadline;
    if (next !== undefined && virtual) {
      virtual.skipTo(next);
      return SLICE_OVER;
    }
    const nanoseconds = next === undefined ? undefined : next - clock.now();
    if (nanoseconds !== undefined && nanoseconds <= 0) return SLICE_OVER;
    turn?.rest();
    return { kind: 'asleep', nanoseconds };
  }

  /** Lets time pass without the CPU; devices go on. */
  private wait(most: number): Pause {
    this.ended = undefined;
    const { clock, virtual } = this.options;
    const next = virtual ? undefined : clock.nextDeadline;
    const left = next === undefined ? most : Math.min(most, next - clock.now());
    return left > 0 ? { kind: 'asleep', nanoseconds: left } : SLICE_OVER;
  }

  /** Nanoseconds of a slice that begins now, at least. */
  private worthwhile(now: number): number {
    return this.ended === undefined ? 0 : Math.min(MAX_TIME, WORTH * (now - this.ended));
  }

  /** Instructions until the next deadline, as far as one can tell, or nanoseconds, `longest` at most; `allowed` are nanoseconds, and so are `least`. */
  private plan(now: number, allowed: number, longest: number, least: number): number {
    const deadline = this.options.clock.nextDeadline;
    const left = deadline === undefined ? allowed : Math.min(allowed, deadline - now);
    if (this.options.cpu.isTimed) return Math.max(MIN_TIME, least, Math.min(longest, left));
    return Math.max(MIN_SLICE, Math.min(MAX_SLICE, Math.floor(left * this.speed)));
  }

  /** Keeps a moving average of the speed, for planning slices. */
  private measure(instructions: number, elapsed: number): void {
    if (elapsed > 0) this.speed = this.speed * 0.9 + (instructions / elapsed) * 0.1;
  }
}
