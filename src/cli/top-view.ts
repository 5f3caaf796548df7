/** What `vitrine top` shows of machines: rates between two looks, and a table of them. */
import { MIB } from '../base/units.js';
import { showProcessors } from '../vmm/sched/settings.js';

/** What a machine's monitor says of it: `x-vitrine-query-usage`. */
export interface UsageAnswer {
  readonly pid: number;
  readonly accelerator?: string;
  readonly cpus: number;
  readonly memory: number;
  readonly now: number;
  readonly threads: readonly { readonly time?: number; readonly retired?: number; readonly exits: number }[];
  readonly 'process-time': number;
  readonly limits: { readonly shares: number; readonly cap?: number; readonly pin?: readonly number[] };
}

/** A row; `vitrine top --json` gives it as it is. */
export interface MachineRow {
  readonly name: string;
  readonly pid: number;
  /** Undefined: the machine has not started yet. */
  readonly accelerator: string | undefined;
  readonly cpus: number;
  /** Percent of a processor. */
  readonly cpuPercent: number;
  readonly shares: number;
  /** Percent of a processor. */
  readonly cap: number | undefined;
  readonly pin: readonly number[] | undefined;
  /** Millions of instructions in a second; undefined where they are not counted. */
  readonly mips: number | undefined;
  /** How often CPUs were left for a device, to sleep, or at the end of a slice, in a second. */
  readonly exitsPerSecond: number;
  /** MiB of RAM. */
  readonly memory: number;
}

type Thread = UsageAnswer['threads'][number];

/** Of all threads; undefined when one does not know. */
function sum(threads: readonly Thread[], of: (thread: Thread) => number | undefined): number | undefined {
  let total = 0;
  for (const thread of threads) {
    const part = of(thread);
    if (part === undefined) return undefined;
    total += part;
  }
  return total;
}

/** What has happened between two looks at a machine. */
export function rowOf(name: string, before: UsageAnswer, after: UsageAnswer): MachineRow {
  const passed = Math.max(1, after.now - before.now);
  const grown = (of: (thread: Thread) => number | undefined): number | undefined => {
    const [from, to] = [sum(before.threads, of), sum(after.threads, of)];
    return from === undefined || to === undefined ? undefined : Math.max(0, to - from);
  };
  const time = grown(({ time }) => time) ?? after['process-time'] - before['process-time'];
  const retired = grown(({ retired }) => retired);
  const { shares, cap, pin } = after.limits;
  return {
    name,
    pid: after.pid,
    accelerator: after.accelerator,
    cpus: after.cpus,
    cpuPercent: Math.round((time / passed) * 1000) / 10,
    shares,
    cap,
    pin,
    mips: retired === undefined ? undefined : Math.round((retired / passed) * 10_000) / 10,
    exitsPerSecond: Math.round(((grown(({ exits }) => exits) ?? 0) / passed) * 1e9),
    memory: after.memory / MIB,
  };
}

const COLUMNS: readonly { readonly title: string; readonly left?: true; readonly text: (row: MachineRow) => string }[] =
  [
    { title: 'NAME', left: true, text: ({ name }) => name },
    { title: 'PID', text: ({ pid }) => String(pid) },
    { title: 'ACCEL', left: true, text: ({ accelerator = 'starts' }) => accelerator },
    { title: 'CPUS', text: ({ cpus }) => String(cpus) },
    { title: '%CPU', text: ({ cpuPercent }) => cpuPercent.toFixed(1) },
    { title: 'SHARES', text: ({ shares }) => String(shares) },
    { title: 'CAP', text: ({ cap }) => (cap === undefined ? '-' : `${String(cap)}%`) },
    { title: 'PIN', left: true, text: ({ pin }) => (pin ? showProcessors(pin) : '-') },
    { title: 'MIPS', text: ({ mips }) => (mips === undefined ? '-' : mips.toFixed(1)) },
    { title: 'EXITS/S', text: ({ exitsPerSecond }) => String(exitsPerSecond) },
    { title: 'MEMORY', text: ({ memory }) => `${String(memory)}M` },
  ];

/** A table with a line of titles, the busiest machine first. */
export function showRows(rows: readonly MachineRow[]): string[] {
  const sorted = [...rows].sort((a, b) => b.cpuPercent - a.cpuPercent || a.name.localeCompare(b.name));
  const cells = [COLUMNS.map(({ title }) => title), ...sorted.map((row) => COLUMNS.map(({ text }) => text(row)))];
  const widths = COLUMNS.map((_, column) => Math.max(...cells.map((line) => line[column].length)));
  return cells.map((line) =>
    line
      .map((cell, i) => (COLUMNS[i].left ? cell.padEnd(widths[i]) : cell.padStart(widths[i])))
      .join('  ')
      .trimEnd(),
  );
}
