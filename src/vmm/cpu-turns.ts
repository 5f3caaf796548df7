/** Several CPUs on one thread, one after the other. So they do the same in every run. */
import { assert } from '../base/assert.js';
import type { Vcpu, VcpuExit } from '../iface/vcpu.js';
import type { Runnable } from './run-loop.js';

/** Instructions of a turn, at most: as long as a CPU spins for what another one is about to do, and no longer. */
const TURN = 2000;
/** Nanoseconds of a turn, where the accelerator does not count instructions. */
const TIMED_TURN = 200_000;

/** Runs CPUs, and counts what they all have retired. */
export type Turns = Runnable & Pick<Vcpu, 'retired'>;

/** The CPU itself, where there is one. */
export function inTurns(cpus: readonly Vcpu[]): Turns {
  const [only] = cpus;
  assert(cpus.length > 0, 'a board has a CPU');
  return cpus.length === 1 ? only : new CpuTurns(cpus);
}

class CpuTurns implements Turns {
  private next = 0;
  private kicked = false;

  constructor(private readonly cpus: readonly Vcpu[]) {}

  get isTimed(): boolean {
    return this.cpus[0].isTimed ?? false;
  }

  get retired(): bigint | undefined {
    let sum = 0n;
    for (const { retired } of this.cpus) {
      if (retired === undefined) return undefined;
      sum += retired;
    }
    return sum;
  }

  kick(): void {
    this.kicked = true;
    for (const cpu of this.cpus) cpu.kick();
  }

  /** Ends early with `halt` when all CPUs are halted. */
  run(budget: number): VcpuExit {
    this.kicked = false;
    let left = budget;
    for (let halted = 0; halted < this.cpus.length;) {
      const cpu = this.cpus[this.next];
      const before = cpu.retired;
      const turn = Math.min(left, this.isTimed ? TIMED_TURN : TURN);
      const exit = cpu.run(turn);
      left -= before === undefined ? turn : Number((cpu.retired ?? 0n) - before);
      if (exit.kind === 'shutdown' || exit.kind === 'debug') return exit;
      halted = exit.kind === 'halt' ? halted + 1 : 0;
      this.next = (this.next + 1) % this.cpus.length;
      if (this.kicked) return { kind: 'kicked' };
      if (left <= 0) return { kind: 'budget' };
    }
    return { kind: 'halt' };
  }
}
