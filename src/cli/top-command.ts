/** `vitrine top`: the machines of this user that run, and what they do. */
import { setTimeout as delay } from 'node:timers/promises';
import { Command } from 'commander';
import { VitrineError } from '../base/errors.js';
import { NobodyListens } from '../runtime/node/listen-unix.js';
import { QmpClient } from '../runtime/node/qmp-client.js';
import { forgetMachine, registered, type RegisteredMachine } from '../runtime/node/registry.js';
import { rowOf, showRows, type MachineRow, type UsageAnswer } from './top-view.js';

/** Milliseconds between two looks. */
const INTERVAL = 1000;

const CURSOR_HOME = '\x1b[H';
const CLEAR_LINE = '\x1b[K';
const CLEAR_BELOW = '\x1b[J';
const OTHER_SCREEN = '\x1b[?1049h\x1b[?25l';
const OWN_SCREEN = '\x1b[?25h\x1b[?1049l';

/** q and Q, Ctrl-C and Ctrl-D. */
const QUIT_KEYS = [0x71, 0x51, 0x03, 0x04];

interface TopOptions {
  readonly once?: boolean;
  readonly json?: boolean;
}

export function topCommand(): Command {
  return new Command('top')
    .description('show the machines that run, and what they do')
    .option('--once', 'once, for one second, instead of every second')
    .option('--json', 'for programs: an array on a line for each look')
    .addHelpText(
      'after',
      `
Shows the machines of this user, of whatever process, the busiest first; q ends it.
  %CPU     processor time of its CPUs, and of its devices where they share a thread with
           them: percent of a processor
  SHARES, CAP, PIN  what it may have of the processors: see vitrine run --help
  MIPS     millions of instructions in a second, where the accelerator counts them
  EXITS/S  how often its CPUs were left for a device, to sleep, or at the end of a slice`,
    )
    .action(top);
}

/** What was seen of a machine. */
interface Watched {
  readonly client: QmpClient;
  readonly last: UsageAnswer;
}

class Watcher {
  private readonly machines = new Map<string, Watched>();

  /** What has happened since the last look, with the machines that were there then. */
  async look(): Promise<MachineRow[]> {
    const found = registered();
    const rows = await Promise.all(found.map((machine) => this.lookAt(machine)));
    return rows.filter((row) => row !== undefined);
  }

  private async lookAt(machine: RegisteredMachine): Promise<MachineRow | undefined> {
    const { name } = machine;
    const before = this.machines.get(name);
    try {
      const client = before?.client ?? (await QmpClient.connect(machine.socket));
      // What answers is ours, or something that called itself so within the user's own folder.
      const last = (await client.ask('x-vitrine-query-usage')) as unknown as UsageAnswer;
      this.machines.set(name, { client, last });
      return before && rowOf(name, before.last, last);
    } catch (error) {
      if (!(error instanceof VitrineError)) throw error;
      if (error instanceof NobodyListens) forgetMachine(machine, Date.now());
      before?.client.close();
      this.machines.delete(name);
      return undefined;
    }
  }

  close(): void {
    for (const { client } of this.machines.values()) client.close();
  }
}

/** The table as it fits a terminal. */
function draw(rows: readonly MachineRow[]): void {
  // A terminal may not know its size.
  const columns = process.stdout.columns || 80;
  const height = process.stdout.rows || 24;
  const time = new Date().toTimeString().slice(0, 8);
  const total = rows.reduce((sum, { cpuPercent }) => sum + cpuPercent, 0);
  const count = rows.length === 1 ? '1 machine' : `${String(rows.length)} machines`;
  const lines = [`vitrine top - ${time}  ${count}, ${total.toFixed(1)} %CPU`, '', ...showRows(rows)];
  const fitting = lines.slice(0, height - 1).map((line) => line.slice(0, columns) + CLEAR_LINE);
  process.stdout.write(`${CURSOR_HOME}${fitting.join('\r\n')}\r\n${CLEAR_BELOW}`);
}

/** Calls back when somebody wants no more. The function that it gives ends that. */
function untilAsked(quit: () => void): () => void {
  const { stdin } = process;
  const keys = (data: Buffer): void => {
    if (data.some((byte) => QUIT_KEYS.includes(byte))) quit();
  };
  const isRaw = stdin.isTTY && process.stdout.isTTY;
  if (isRaw) {
    stdin.setRawMode(true);
    stdin.on('data', keys);
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, quit);
  return () => {
    if (!isRaw) return;
    stdin.off('data', keys);
    stdin.setRawMode(false);
    stdin.pause();
  };
}

async function top({ once, json }: TopOptions): Promise<void> {
  const live = process.stdout.isTTY && !once && !json;
  const stop = new AbortController();
  const restore = untilAsked(() => stop.abort());
  const watcher = new Watcher();
  const show = (rows: readonly MachineRow[]): void => {
    if (json) process.stdout.write(`${JSON.stringify(rows)}\n`);
    else if (live) draw(rows);
    else process.stdout.write(`${showRows(rows).join('\n')}\n`);
  };
  try {
    await watcher.look();
    if (live) process.stdout.write(OTHER_SCREEN);
    for (let ended = false; !ended;) {
      await delay(INTERVAL, undefined, { signal: stop.signal }).catch(() => {});
      if (stop.signal.aborted) break;
      show(await watcher.look());
      ended = once ?? false;
    }
  } finally {
    if (live) process.stdout.write(OWN_SCREEN);
    watcher.close();
    restore();
  }
}
