/**
 * Turns on the host's processors, when CPUs of several machines want to run and there are too few. A CPU's thread runs guest code while
 * it has one of the processors that this process may use; it is for the system to say on which one it really is, unless the
 * machine is pinned. Who has had enough gives its processor to whoever waits with the least time by shares: start-time fair queueing
 * (Goyal, Guo, Vin, SIGCOMM 1996), of machines, and among CPUs of a machine by their time.
 *
 * There are no locks, so a thread that dies or is held up spoils nothing: what it has is taken away when it has not renewed it
 * for LEASE milliseconds, as while a device works for long.
 */
import { MAX_VCPUS } from '../../memory/layout.js';
import { DEFAULT_SHARES } from './settings.js';
import { PLACE, type SchedulerWords, type Seat } from './words.js';

/** Nanoseconds after which somebody else may have the processor. */
const QUANTUM = 3e6;
/** Milliseconds without a sign after which it is taken away. */
const LEASE = 40;
/** Nanoseconds after which somebody who waits looks for processors that can be taken away. */
const PATIENCE = 5e6;
/** Nanoseconds between two looks of somebody whom others cannot wake, and for which a processor is kept that somebody shall take. */
const POLL = 1e6;
const OVERLAP = 500_000;
/** Quanta by which machines may be apart in their time by shares: what one did not use long ago is lost, and so is what it had too much. */
const WINDOW = 16;

interface Rival {
  readonly seat: Seat;
  readonly cpu: number;
  readonly virtual: number;
  readonly ran: number;
}

const milliseconds = (now: number): number => Math.floor(now / 1e6) | 0;

/** Time by shares that a machine has in a quantum. */
const quantumOf = (seat: Seat): number => (QUANTUM * DEFAULT_SHARES) / seat.shares;

/** What is held by the thread of one CPU. */
export class ProcessorLease {
  private readonly all: SchedulerWords;
  private readonly ints: Int32Array;
  private readonly key: number;
  private readonly place: number;
  /** Which it has; -1: none. */
  private processor = -1;
  private since = 0;

  constructor(
    private readonly seat: Seat,
    private readonly cpu: number,
  ) {
    this.all = seat.all;
    this.ints = seat.all.ints;
    this.key = seat.key(cpu);
    this.place = seat.placeAt(cpu);
  }

  /** The CPU wants to run. Nanoseconds for which it may; negative: those that it has to wait at most, unless it is woken. */
  take(now: number, yields: boolean): number {
    if (this.keeps()) {
      Atomics.store(this.ints, this.all.renewedAt(this.processor), milliseconds(now));
      const left = this.since + QUANTUM - now;
      if (left > 0 && !yields) return left;
      switch (this.passOn(now, yields)) {
        case 'kept':
          this.since = now;
          return QUANTUM;
        case 'offered':
          return OVERLAP;
        case 'given':
          break;
      }
    }
    return this.find(now);
  }

  /** Whether it still has a processor, and one that it may use. */
  private keeps(): boolean {
    const { processor } = this;
    if (processor < 0) return false;
    if (Atomics.load(this.ints, this.all.ownerAt(processor)) === this.key) {
      if (this.seat.mayUse(processor)) return true;
      this.free(processor, 0);
    }
    this.processor = -1;
    return false;
  }

  /** Gives the processor to somebody who has had less, or to anybody. */
  private passOn(now: number, yields: boolean): 'kept' | 'given' | 'offered' {
    const { processor } = this;
    const rival = this.choose(processor);
    if (rival === undefined) return 'kept';
    if (!yields && !this.isBehind(rival)) {
      this.catchUp(rival);
      return 'kept';
    }
    if (this.all.isPolled) {
      // It would stand idle until that one looks.
      Atomics.store(this.ints, this.all.offeredAt(processor), rival.seat.key(rival.cpu));
      rival.seat.wake(rival.cpu);
      return 'offered';
    }
    if (!this.grant(processor, this.key, rival, now)) return 'kept';
    this.processor = -1;
    return 'given';
  }

  private isBehind({ seat, virtual, ran }: Rival): boolean {
    if (seat.index === this.seat.index) return ran < this.ran(this.seat, this.cpu);
    return virtual < this.seat.virtual;
  }

  /** A machine that has too few CPUs for its shares does not save up what it does not use. */
  private catchUp({ seat, virtual }: Rival): void {
    if (seat.index === this.seat.index) return;
    const apart = WINDOW * Math.max(quantumOf(seat), quantumOf(this.seat));
    this.seat.keepVirtual(virtual - apart, Infinity);
  }

  private ran(seat: Seat, cpu: number): number {
    return Number(Atomics.load(this.all.longs, seat.ranAt(cpu)));
  }

  /** Takes a processor that somebody has given, that is free, or whose owner gives no sign. */
  private find(now: number): number {
    const { ints, place } = this;
    const before = Atomics.load(ints, place);
    if (before === PLACE.IDLE || before === PLACE.RUNNING) {
      if (before === PLACE.IDLE) this.arrive();
      // From here on it may be given one.
      Atomics.store(ints, place, PLACE.WAITING);
    }
    const found = this.findGiven();
    if (found >= 0) return this.run(found, now);
    for (let processor = 0; processor < this.all.processors; processor++) {
      if (!this.seat.mayUse(processor)) continue;
      const at = this.all.ownerAt(processor);
      const owner = Atomics.load(ints, at);
      const isOffered = Atomics.compareExchange(ints, this.all.offeredAt(processor), this.key, 0) === this.key;
      const isFree = owner === 0 || isOffered || (this.isOverdue(processor, now) && this.isNext(processor, owner, now));
      if (isFree && Atomics.compareExchange(ints, at, owner, this.key) === owner) return this.run(processor, now);
    }
    // Whoever chose this CPU has been overtaken.
    if (before === PLACE.CHOSEN) Atomics.compareExchange(ints, place, PLACE.CHOSEN, PLACE.WAITING);
    return this.all.isPolled ? -POLL : -PATIENCE;
  }

  /** Whether nobody else should have a processor; or else that one has it now. */
  private isNext(processor: number, owner: number, now: number): boolean {
    const next = this.choose(processor);
    if (next === undefined || (next.seat.index === this.seat.index && next.cpu === this.cpu)) return true;
    this.grant(processor, owner, next, now);
    return false;
  }

  private isOverdue(processor: number, now: number): boolean {
    return ((milliseconds(now) - Atomics.load(this.ints, this.all.renewedAt(processor))) | 0) > LEASE;
  }

  private findGiven(): number {
    for (let processor = 0; processor < this.all.processors; processor++)
      if (Atomics.load(this.ints, this.all.ownerAt(processor)) === this.key) return processor;
    return -1;
  }

  private run(processor: number, now: number): number {
    const { ints, all, key } = this;
    this.processor = processor;
    this.since = now;
    Atomics.store(ints, all.renewedAt(processor), milliseconds(now));
    Atomics.store(ints, this.place, PLACE.RUNNING);
    // Somebody may have given it another one at the same moment.
    for (let other = 0; other < all.processors; other++)
      if (other !== processor && Atomics.load(ints, all.ownerAt(other)) === key) this.free(other, 0);
    return QUANTUM;
  }

  /** A CPU that did nothing begins where the others are: as far apart as they may be. */
  private arrive(): void {
    let least = Infinity;
    for (let index = 0; index < this.all.seats; index++) {
      if (index === this.seat.index) continue;
      const seat = this.all.seat(index);
      if (seat.isTaken && this.isActive(seat)) least = Math.min(least, seat.virtual);
    }
    if (least === Infinity) return;
    const quantum = quantumOf(this.seat);
    this.seat.keepVirtual(least - quantum, least + WINDOW * quantum);
  }

  private isActive(seat: Seat): boolean {
    for (let cpu = 0; cpu < seat.cpus; cpu++)
      if (Atomics.load(this.ints, seat.placeAt(cpu)) !== PLACE.IDLE) return true;
    return false;
  }

  /** Who waits for a processor and has had the least. */
  private choose(processor: number): Rival | undefined {
    let best: Rival | undefined;
    for (let index = 0; index < this.all.seats; index++) {
      const seat = this.all.seat(index);
      if (!seat.isTaken || !seat.mayUse(processor)) continue;
      for (let cpu = 0; cpu < Math.min(seat.cpus, MAX_VCPUS); cpu++) {
        if (Atomics.load(this.ints, seat.placeAt(cpu)) !== PLACE.WAITING) continue;
        const rival = { seat, cpu, virtual: seat.virtual, ran: this.ran(seat, cpu) };
        if (!best || rival.virtual < best.virtual || (index === best.seat.index && rival.ran < best.ran)) best = rival;
      }
    }
    return best;
  }

  /** Gives a processor to somebody who waits. False: meanwhile that one does not, or somebody else has the processor. */
  private grant(processor: number, from: number, { seat, cpu }: Rival, now: number): boolean {
    const { ints, all } = this;
    const place = seat.placeAt(cpu);
    if (Atomics.compareExchange(ints, place, PLACE.WAITING, PLACE.CHOSEN) !== PLACE.WAITING) return false;
    if (now !== 0) Atomics.store(ints, all.renewedAt(processor), milliseconds(now));
    const given = Atomics.compareExchange(ints, all.ownerAt(processor), from, seat.key(cpu)) === from;
    if (!given) Atomics.compareExchange(ints, place, PLACE.CHOSEN, PLACE.WAITING);
    seat.wake(cpu);
    return given;
  }

  /** Somebody else may have a processor of this CPU's. `now` 0: it stays as old as it is. */
  private free(processor: number, now: number): void {
    const { ints, key } = this;
    const at = this.all.ownerAt(processor);
    for (let from = key; ;) {
      const rival = this.choose(processor);
      if (rival) {
        if (this.grant(processor, from, rival, now) || Atomics.load(ints, at) !== from) return;
        continue;
      }
      // Who begins to wait behind this look finds it free, or is found by the next look.
      if (from === 0 || Atomics.compareExchange(ints, at, from, 0) !== from) return;
      from = 0;
    }
  }

  /** What is offered to it is for others. */
  private refuse(): void {
    for (let processor = 0; processor < this.all.processors; processor++)
      Atomics.compareExchange(this.ints, this.all.offeredAt(processor), this.key, 0);
  }

  /** The CPU wants nothing for now. */
  rest(now: number): void {
    const { ints, place, processor } = this;
    if (processor < 0 && Atomics.load(ints, place) === PLACE.IDLE) return;
    if (this.all.isPolled) this.refuse();
    Atomics.store(ints, place, PLACE.IDLE);
    this.processor = -1;
    for (let other = 0; other < this.all.processors; other++)
      if (Atomics.load(ints, this.all.ownerAt(other)) === this.key) this.free(other, now);
  }
}
