/**
 * The time-stamp counter of a CPU, which stands still while its machine's clock does. Those of all CPUs are in step: what is measured is measured once,
 * for all, and the offset of each from the host's is computed from that.
 */
import { MSR } from '../../arch/x86/msrs.js';
import { KVM, TSC_OFFSET } from './abi.js';
import type { CpuWords } from './cpu-words.js';
import { addressOf, ioctl, monotonic, SystemError } from './libc.js';
import { Structure, type Registers } from './registers.js';

/** A clock that is behind by so much more than before has stood still. Nanoseconds. */
const PAUSE = 1e6;

/** Ticks. */
const FAR = 1n << 60n;

/** Nanoseconds between two looks at a clock, around one at another, that are one moment; and tries to have it so. */
const MOMENT = 20_000;
const TRIES = 8;

/** Looks at the host's clock and at something else at what is nearly one moment, though the host may take the processor away at any. */
function together<T>(look: () => T): { readonly time: number; readonly seen: T } {
  for (let tries = 1; ; tries++) {
    const before = monotonic();
    const seen = look();
    const after = monotonic();
    if (after - before <= MOMENT || tries === TRIES) return { time: Math.round((before + after) / 2), seen };
  }
}

export interface CounterParts {
  /** Of the CPU, and its index: the first one measures for all when they are set. */
  readonly fd: number;
  readonly index: number;
  readonly registers: Registers;
  readonly words: CpuWords;
  /** Ticks per second. */
  readonly hz: number;
}

export class TimeStampCounter {
  /** By how much the machine's clock was behind the host's, which never stops, when the counter was last looked after. Nanoseconds. */
  private behind = 0;
  /** In place: struct kvm_device_attr, and what it points to. */
  private readonly value = new Structure(8);
  private readonly attribute = new Structure(24);
  private readonly hasOffset: boolean;

  constructor(private readonly parts: CounterParts) {
    this.attribute.view.setUint32(4, TSC_OFFSET.GROUP, true);
    this.attribute.setU64(8, TSC_OFFSET.ATTRIBUTE);
    this.attribute.setU64(16, addressOf(this.value.bytes));
    this.hasOffset = this.findOffset();
  }

  private findOffset(): boolean {
    try {
      ioctl(this.parts.fd, KVM.HAS_DEVICE_ATTR, this.attribute.bytes, 'KVM_HAS_DEVICE_ATTR');
      return true;
    } catch (error) {
      if (error instanceof SystemError) return false;
      throw error;
    }
  }

  /** Now, by the host's clock, also while the machine's stands still. */
  read(): bigint {
    return this.parts.registers.msrs([MSR.TSC])[0][1];
  }

  /** When the machine's clock, which stands still, says `now`. */
  at(now: number): bigint {
    if (!this.hasOffset) return this.read();
    if (this.parts.index === 0) this.measure();
    return BigInt.asUintN(64, this.hostTicks(now + this.behind) + this.offset);
  }

  /** Sets the counter to `value` at a moment of the machine's clock, which says `now`; from there on they go together. */
  set(value: bigint, at: number, now: number): void {
    const { index, registers } = this.parts;
    this.align(now);
    if (!this.hasOffset) {
      registers.setMsrs([[MSR.TSC, value]]);
      return;
    }
    if (index === 0) this.measure();
    this.offset = value - this.hostTicks(at + this.behind);
  }

  /** Power came on at a moment of the machine's clock, which says `now`. Where the counter's offset cannot be set, it goes on. */
  reset(poweredAt: number, now: number): void {
    if (this.hasOffset) this.set(0n, poweredAt, now);
    else this.align(now);
  }

  /** The machine's clock says `now`: from there on they go together. */
  private align(now: number): void {
    const { index, words } = this.parts;
    if (index === 0) words.behind = Math.round(monotonic() - now);
    this.behind = words.behind;
  }

  /** Nanoseconds for which the machine's clock, which says `now`, has stood still since `follow` was called last. */
  stood(now: number): number {
    return Math.max(0, Math.round(monotonic() - now - this.behind));
  }

  /**
   * The machine's clock, which goes, says `now`: takes the counter back by as much as that has stood still. Returns that, nanoseconds; 0: it did not. `moved`: called
   * once for all CPUs, before any of them runs again.
   */
  follow(now: () => number, moved: () => void): number {
    const { words, hz } = this.parts;
    const { time, seen } = together(now);
    let agreed = words.behind;
    if (Math.abs(time - seen - agreed) >= PAUSE) agreed = words.moveBehind(agreed, Math.round(time - seen), moved);
    const stood = agreed - this.behind;
    if (stood === 0) return 0;
    this.behind = agreed;
    this.takeBack(BigInt(Math.round((stood * hz) / 1e9)));
    return stood;
  }

  private takeBack(ticks: bigint): void {
    if (this.hasOffset) {
      this.offset = this.offset - ticks;
      return;
    }
    // Such hosts take a value within a second of the present one for the wish that CPUs are in step, and ignore it: it comes from afar.
    const wanted = BigInt.asUintN(64, this.read() - ticks);
    this.parts.registers.setMsrs([[MSR.TSC, BigInt.asUintN(64, wanted + FAR)]]);
    this.parts.registers.setMsrs([[MSR.TSC, wanted]]);
  }

  /** What is added to the host's counter. */
  private get offset(): bigint {
    ioctl(this.parts.fd, KVM.GET_DEVICE_ATTR, this.attribute.bytes, 'KVM_VCPU_TSC_OFFSET');
    return this.value.view.getBigInt64(0, true);
  }

  private set offset(ticks: bigint) {
    this.value.setU64(0, BigInt.asUintN(64, ticks));
    ioctl(this.parts.fd, KVM.SET_DEVICE_ATTR, this.attribute.bytes, 'KVM_VCPU_TSC_OFFSET');
  }

  /** Finds out what the host's counter is now, for all CPUs. */
  private measure(): void {
    const { time, seen } = together(() => this.read());
    this.parts.words.reference = { time, ticks: BigInt.asIntN(64, seen - this.offset) };
  }

  /** The host's counter at a time of its clock. */
  private hostTicks(time: number): bigint {
    const { reference } = this.parts.words;
    return reference.ticks + BigInt(Math.round(((time - reference.time) * this.parts.hz) / 1e9));
  }
}
