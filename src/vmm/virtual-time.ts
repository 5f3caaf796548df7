import { assert } from '../base/assert.js';
import type { Vcpu } from '../iface/vcpu.js';
import { int, struct, type Infer } from '../snapshot/schema.js';
import type { TimeSource } from './machine-clock.js';

/** Nanoseconds that an instruction takes: a machine of 100 MIPS. */
const NS_PER_INSTRUCTION = 10;
/**
 * Time moves in steps of this many instructions, because only between slices is it known how many there were. Counted from
 * power-on, so that an interrupted slice changes nothing.
 */
const STEP = 2000;

export const virtualTimeSchema = struct({
  /** Retired since the machine was made. */
  instructions: int,
  /** Nanoseconds that were skipped while the CPU was halted. */
  skipped: int,
  /** Milliseconds since 1970-01-01 UTC at time 0. */
  epoch: int,
});
/** Where a machine of virtual time begins: a day of no meaning. */
export const VIRTUAL_START = { instructions: 0, skipped: 0, epoch: Date.UTC(2026, 0, 1) } as const;

export type VirtualTimeState = Infer<typeof virtualTimeSchema>;

/** Time that is a function of what the guest did: instructions, and skipped waiting. The same in every run. */
export class VirtualTime implements TimeSource {
  private cpu: Pick<Vcpu, 'retired'> | undefined;
  /** What the CPU had retired when it was attached. */
  private first = 0n;

  /** `epoch` in milliseconds since 1970-01-01 UTC. */
  constructor(private state: VirtualTimeState) {}

  /** Takes over the count of a new CPU. */
  attach(cpu: Pick<Vcpu, 'retired'>): void {
    this.state = this.save();
    this.cpu = cpu;
    this.first = this.retired();
  }

  private retired(): bigint {
    const retired = this.cpu?.retired;
    assert(retired !== undefined, 'virtual time needs an accelerator that counts instructions');
    return retired;
  }

  private get instructions(): number {
    return this.state.instructions + (this.cpu ? Number(this.retired() - this.first) : 0);
  }

  now(): number {
    const { instructions } = this;
    return (instructions - (instructions % STEP)) * NS_PER_INSTRUCTION + this.state.skipped;
  }

  wallClock(): number {
    return this.state.epoch + Math.floor(this.now() / 1e6);
  }

  /** Instructions until time moves. */
  budget(): number {
    return STEP - (this.instructions % STEP);
  }

  /** Nothing happens until then: let it be then. */
  skipTo(time: number): void {
    const { skipped } = this.state;
    this.state = { ...this.state, skipped: skipped + Math.max(0, time - this.now()) };
  }

  save(): VirtualTimeState {
    return { ...this.state, instructions: this.instructions };
  }
}
