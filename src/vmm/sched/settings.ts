/** What a machine may have of the host's processors, as its owner says it. */
import { UsageError } from '../../base/errors.js';
import { MAX_VCPUS } from '../../memory/layout.js';
import { LIMIT, MAX_PROCESSORS, type Seat } from './words.js';

/** What a machine has that nobody said anything about: as much as any other. */
export const DEFAULT_SHARES = 1024;
const MIN_SHARES = 2;
const MAX_SHARES = 262_144;

/** Hundredths of a percent. */
const CAP_UNIT = 100;

/** What a machine may have of the host's processors (docs/scheduling.md). */
export interface CpuLimits {
  /** When CPUs of machines wait for processors, each machine gets time in proportion to this: 2 … 262,144. */
  readonly shares: number;
  /** All CPUs of the machine together get at most so many percent of a processor, 1 … 1600; undefined: no limit. */
  readonly cap: number | undefined;
  /** The only processors that they run on, by the host's numbers; undefined: any. */
  readonly pin: readonly number[] | undefined;
}

export const NO_LIMITS: CpuLimits = { shares: DEFAULT_SHARES, cap: undefined, pin: undefined };

/** Throws a one-line error when a host with these processors cannot do that. */
export function checkLimits({ shares, cap, pin }: CpuLimits, processors: readonly number[]): void {
  if (!Number.isInteger(shares) || shares < MIN_SHARES || shares > MAX_SHARES)
    throw new UsageError(`CPU shares are a number from ${String(MIN_SHARES)} to ${String(MAX_SHARES)}`);
  const most = MAX_VCPUS * 100;
  if (cap !== undefined && !(cap >= 1 && cap <= most))
    throw new UsageError(`a CPU cap is 1 to ${String(most)} percent of a processor`);
  if (pin === undefined) return;
  if (pin.length === 0) throw new UsageError('a CPU pin names processors of the host');
  const missing = pin.find((number) => !processors.includes(number));
  if (missing !== undefined)
    throw new UsageError(
      `there is no processor ${String(missing)} to pin to: there ${processors.length === 1 ? 'is' : 'are'} ${showProcessors(processors)}`,
    );
}

/** Processors in the way that taskset(1) writes them: `0-3,6`. */
export function showProcessors(numbers: readonly number[]): string {
  const sorted = [...new Set(numbers)].sort((a, b) => a - b);
  const ranges: string[] = [];
  for (let i = 0; i < sorted.length;) {
    let end = i;
    while (sorted[end + 1] === sorted[end] + 1) end++;
    ranges.push(end === i ? String(sorted[i]) : `${String(sorted[i])}-${String(sorted[end])}`);
    i = end + 1;
  }
  return ranges.join(',');
}

/** Reads what `showProcessors` writes. Undefined: that is no list. */
export function readProcessors(text: string): number[] | undefined {
  const numbers = new Set<number>();
  for (const part of text.split(',')) {
    const match = /^(\d{1,4})(?:-(\d{1,4}))?$/.exec(part.trim());
    if (!match) return undefined;
    const [first, last] = [Number(match[1]), Number(match[2] ?? match[1])];
    if (first > last || last >= MAX_PROCESSORS) return undefined;
    for (let number = first; number <= last; number++) numbers.add(number);
  }
  return [...numbers].sort((a, b) => a - b);
}

/** Tells the threads of a machine. `usable`: by the host's numbers, where its process may not use all processors. */
export function writeLimits(seat: Seat, { shares, cap, pin }: CpuLimits, usable?: readonly number[]): void {
  const { ints } = seat.all;
  Atomics.store(ints, seat.sharesAt, shares);
  Atomics.store(ints, seat.capAt, cap === undefined ? 0 : Math.round(cap * CAP_UNIT));
  seat.keepTo(pin, usable);
  for (;;) {
    const before = Atomics.load(ints, seat.limitsAt);
    const kept = (before + LIMIT.CHANGE) & ~LIMIT.CAPPED;
    const after = kept | (cap === undefined ? 0 : LIMIT.CAPPED);
    if (Atomics.compareExchange(ints, seat.limitsAt, before, after) === before) return;
  }
}

export function readLimits(seat: Seat): CpuLimits {
  const { shares, cap, pin } = seat;
  return { shares, cap: cap === 0 ? undefined : cap / CAP_UNIT, pin };
}

/** Of CREDIT for each nanosecond that passes. */
export const capRate = (seat: Seat): number => seat.cap / (100 * CAP_UNIT);

/** Whether CPUs of several machines may have to wait for processors, as far as that can be told from what they may use. */
export function isCrowded(seats: readonly Seat[]): boolean {
  const [first] = seats;
  if (seats.length < 2) return false;
  const { all } = first;
  const every = Array.from({ length: all.processors }, (_, processor) => processor);
  const sets = seats.map((seat) => every.filter((processor) => seat.mayUse(processor)));
  const pins = sets.filter((set) => set.length < every.length);
  // Those that have nothing but a set must find room in it.
  const candidates = [...pins, [...new Set(pins.flat())], every];
  return candidates.some((room) => {
    const inside = new Set(room);
    const cpus = seats.reduce((sum, seat, i) => sum + (sets[i].every((p) => inside.has(p)) ? seat.cpus : 0), 0);
    return cpus > room.length;
  });
}

/** Tells the threads of machines whether they have to take turns. */
export function setCrowded(seats: readonly Seat[], crowded: boolean): void {
  for (const seat of seats)
    if (crowded) Atomics.or(seat.all.ints, seat.limitsAt, LIMIT.CROWDED);
    else Atomics.and(seat.all.ints, seat.limitsAt, ~LIMIT.CROWDED);
}
