/** What a machine does, out of two looks at what it has done. */
import type { MachineMetrics } from '../../api/schemas.js';

export interface Rates {
  /** Millions of instructions a second; undefined: the accelerator does not count them. */
  readonly mips: number | undefined;
  /** Exits a second. */
  readonly exits: number;
  /** Percent of a processor of the host; undefined: that is not known. */
  readonly processor: number | undefined;
}

/** The sum over the CPUs; undefined: one does not say. */
function sum(
  cpus: MachineMetrics['cpus'],
  value: (cpu: MachineMetrics['cpus'][number]) => number | undefined,
): number | undefined {
  let total = 0;
  for (const cpu of cpus) {
    const one = value(cpu);
    if (one === undefined) return undefined;
    total += one;
  }
  return total;
}

/** Undefined: there is nothing between them, or it was reset. */
export function ratesBetween(before: MachineMetrics, after: MachineMetrics): Rates | undefined {
  const seconds = (after.now - before.now) / 1000;
  if (!(seconds > 0)) return undefined;
  const rate = (value: (cpu: MachineMetrics['cpus'][number]) => number | undefined): number | undefined => {
    const [from, to] = [sum(before.cpus, value), sum(after.cpus, value)];
    return from === undefined || to === undefined ? undefined : (to - from) / seconds;
  };
  const exits = rate((cpu) => cpu.exits) ?? 0;
  const retired = rate(({ retired }) => retired);
  const time = rate(({ time }) => time);
  if (exits < 0 || (retired ?? 0) < 0) return undefined;
  return {
    mips: retired === undefined ? undefined : retired / 1e6,
    exits,
    processor: time === undefined ? undefined : Math.max(0, time / 1e7),
  };
}

/** Bytes that a Linux guest uses, of its /proc/meminfo (proc(5)); undefined: it does not say. */
export function usedMemory(meminfo: string): number | undefined {
  const value = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(meminfo)?.[1] ?? NaN);
  const used = (value('MemTotal') - value('MemAvailable')) * 1024;
  return Number.isFinite(used) ? used : undefined;
}
