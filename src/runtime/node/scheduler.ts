/** Machines of this process, and what each may have of the host's processors: the side of their owner. */
import { cpus as hostProcessors } from 'node:os';
import path from 'node:path';
import { getEnvironmentData, setEnvironmentData } from 'node:worker_threads';
import { HostError, UsageError } from '../../base/errors.js';
import { mapSharedFile } from '../../host/node/native/shared-file.js';
import { threadCalls } from '../../host/node/native/thread.js';
import { isAlive } from '../../host/node/processes.js';
import { timeOfThread, usableProcessors } from '../../host/node/processors.js';
import { makeRuntimeFolder } from '../../host/node/runtime-folder.js';
import {
  checkLimits,
  isCrowded,
  NO_LIMITS,
  readLimits,
  setCrowded,
  writeLimits,
  type CpuLimits,
} from '../../vmm/sched/settings.js';
import { SchedulerWords, type Seat } from '../../vmm/sched/words.js';

/** What a CPU has done since its machine started. */
export interface CpuUsage {
  /** Nanoseconds of processor time of its thread, devices included where they are on it; undefined: the host does not say. */
  readonly time: number | undefined;
  /** Instructions; undefined where the accelerator does not count them. */
  readonly retired: bigint | undefined;
  /** How often it was left for a device, to sleep, or at the end of a slice. */
  readonly exits: number;
}

/** Processors that this process may use, by the host's numbers. */
let processors: readonly number[] | undefined;
const KEY = 'vitrine.scheduler';
/** Of the layout of words: processes with another one are not in the same group. */
const LAYOUT = 1;
/** Milliseconds between two looks whether processes of a group have died. */
const SWEEP = 1000;
const GROUP = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/;

/** One for the process, whichever thread came first; threads that were started before that have their own. */
function processWords(): SchedulerWords {
  const known = getEnvironmentData(KEY);
  if (known instanceof SharedArrayBuffer) return new SchedulerWords(known);
  processors ??= usableProcessors();
  const words = SchedulerWords.create(processors);
  setEnvironmentData(KEY, words.buffer);
  return words;
}

/** One for all processes of this user that name the group; in each of them once. */
function groupWords(group: string): SchedulerWords {
  const key = `${KEY}:${group}`;
  const known = getEnvironmentData(key);
  if (known instanceof SharedArrayBuffer) return new SchedulerWords(known);
  const file = path.join(makeRuntimeFolder(), `${checkCpuGroup(group)}.cpus-${String(LAYOUT)}`);
  const all = hostProcessors().map((_, number) => number);
  const words = SchedulerWords.join(mapSharedFile(file, SchedulerWords.size), all);
  setEnvironmentData(key, words.buffer);
  return words;
}

/** Throws a one-line error when a group cannot be called that. */
export function checkCpuGroup(name: string): string {
  if (!GROUP.test(name))
    throw new UsageError(
      `a CPU group cannot be called "${name}": a name has letters, digits, and _ . - behind the first`,
    );
  return name;
}

/** Throws a one-line error when this host cannot do that. */
export function checkCpuLimits(limits: CpuLimits): void {
  processors ??= usableProcessors();
  checkLimits(limits, processors);
  if (limits.pin && !threadCalls())
    throw new HostError('CPUs cannot be pinned here: that takes Linux, and the npm package koffi for this platform');
}

/** A machine's place among those of the process. */
export class MachineSeat {
  private readonly words: SchedulerWords;
  private readonly sweeper: NodeJS.Timeout | undefined;
  readonly seat: Seat;
  /** What is told when another machine may have the seat. */
  private last: { readonly limits: CpuLimits; readonly usage: readonly CpuUsage[] } | undefined;

  /**
   * `group`: of processes of this user, whose machines share processors; absent: those of this process do. Throws a one-line error when
   * this host cannot do that, or there are too many machines.
   */
  constructor(limits: Partial<CpuLimits> = {}, group?: string) {
    const all = { ...NO_LIMITS, ...limits };
    checkCpuLimits(all);
    this.words = group === undefined ? processWords() : groupWords(group);
    this.words.sweep(isAlive);
    const seat = this.words.take(process.pid);
    if (!seat) throw new HostError('there are as many machines as there can be');
    this.seat = seat;
    this.write(all);
    if (group === undefined) return;
    this.sweeper = setInterval(() => this.update(), SWEEP);
    this.sweeper.unref();
  }

  private write(limits: CpuLimits): void {
    const usable = processors ?? usableProcessors();
    writeLimits(this.seat, limits, usable.length < this.words.processors ? usable : undefined);
    this.update();
  }

  /** The seat may be another machine's by now. */
  get isClosed(): boolean {
    return this.last !== undefined;
  }

  get limits(): CpuLimits {
    return this.last?.limits ?? readLimits(this.seat);
  }

  /** Throws a one-line error when this host cannot do that. */
  change(limits: Partial<CpuLimits>): void {
    const all = { ...this.limits, ...limits };
    checkCpuLimits(all);
    if (this.last) return;
    this.write(all);
    for (let cpu = 0; cpu < this.seat.cpus; cpu++) this.seat.wake(cpu);
  }

  /** The machine's CPUs are on so many threads. */
  started(threads: number): void {
    Atomics.store(this.seat.all.ints, this.seat.cpusAt, threads);
    this.update();
  }

  /** None of the machine's threads is left. */
  close(): void {
    clearInterval(this.sweeper);
    this.last = { limits: this.limits, usage: this.usage };
    this.seat.leave();
    this.update();
  }

  private update(): void {
    const { words } = this;
    if (words.isPolled) words.sweep(isAlive);
    const taken = Array.from({ length: words.seats }, (_, index) => words.seat(index)).filter(({ isTaken }) => isTaken);
    setCrowded(taken, isCrowded(taken));
  }

  /** What each CPU has done, up to some slices ago; all of them together where they are on one thread. */
  get usage(): readonly CpuUsage[] {
    const { seat, last } = this;
    if (last) return last.usage;
    const { ints, longs } = seat.all;
    return Array.from({ length: seat.cpus }, (_, cpu) => {
      const retired = Atomics.load(longs, seat.retiredAt(cpu));
      const thread = Atomics.load(ints, seat.threadAt(cpu));
      return {
        time: thread === 0 ? undefined : timeOfThread(thread),
        retired: retired === 0n ? undefined : retired,
        exits: Number(Atomics.load(longs, seat.exitsAt(cpu))),
      };
    });
  }
}
