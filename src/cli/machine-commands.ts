/** Commands for machines that run detached: what there is of them, and how they end. */
import { Command } from 'commander';
import type { ApiClient } from '../api/client.js';
import { ApiError } from '../api/errors.js';
import type { MachineInfo } from '../api/schemas.js';
import { UsageError } from '../base/errors.js';
import { ask, askOrStart, otherMachines, printJson, printTable, untilInterrupted } from './machine-client.js';
import { readableSize } from './readable-size.js';
import { findSupervisor, startSupervisor } from '../api/node-supervisor.js';
import { checkMachineName } from '../runtime/node/registry.js';

interface JsonOption {
  readonly json?: boolean;
}

const JSON_OPTION = ['--json', 'as JSON'] as const;

/** How long ago something was, in its largest unit. */
export function age(then: string, now: number): string {
  const seconds = Math.max(0, Math.floor((now - Date.parse(then)) / 1000));
  const units = [
    [86_400, 'd'],
    [3600, 'h'],
    [60, 'min'],
  ] as const;
  const found = units.find(([size]) => seconds >= size);
  return found ? `${Math.floor(seconds / found[0])} ${found[1]}` : `${seconds} s`;
}

/** `running`, `ended (3)`. */
function stateOf({ state, command, exit }: MachineInfo): string {
  if (state !== 'ended') return state;
  const how = command?.signal ?? command?.exitCode?.toString() ?? exit?.kind;
  return how === undefined ? state : `${state} (${how})`;
}

const portsOf = ({ ports }: MachineInfo): string =>
  ports.map(({ hostAddress, hostPort, guestPort }) => `${hostAddress}:${hostPort}->${guestPort}`).join(' ');

function rowOf(machine: MachineInfo, now: number): string[] {
  const { name, image, origin, command, created, memory } = machine;
  const line = (command?.line ?? []).join(' ').replace(/[\s\p{Cc}]+/gu, ' ');
  return [
    name,
    stateOf(machine),
    image ?? origin ?? '-',
    line.length > 30 ? `${line.slice(0, 29)}…` : line || '-',
    `${memory} MiB`,
    age(created, now),
    portsOf(machine) || '-',
  ];
}

interface ListOptions extends JsonOption {
  readonly quiet?: boolean;
  readonly snapshots?: boolean;
}

export function listCommand(): Command {
  return new Command('ls')
    .description('list the machines, also those that have ended and were not removed')
    .option('-q, --quiet', 'names alone')
    .option('-s, --snapshots', 'the snapshots instead')
    .option(...JSON_OPTION)
    .addHelpText(
      'after',
      `
Machines that were not started with --detach are those of other processes: they are listed with
their names, and vitrine top tells what they do.`,
    )
    .action(list);
}

async function list({ quiet, snapshots, json }: ListOptions): Promise<void> {
  // Snapshots are there without any machine, so without a supervisor; machines are not.
  const client = await (snapshots ? startSupervisor() : findSupervisor());
  try {
    if (snapshots) {
      const all = client ? await client.snapshots() : [];
      if (json) printJson(all);
      else if (quiet) printNames(all.map(({ name }) => name));
      else
        printTable([
          ['NAME', 'MACHINE', 'SIZE', 'CREATED'],
          ...all.map(({ name, machine, size, created }) => [
            name,
            machine,
            readableSize(size),
            age(created, Date.now()),
          ]),
        ]);
      return;
    }
    const machines = client ? await client.list() : [];
    const others = await otherMachines(machines.map(({ name }) => name));
    if (json) printJson([...machines, ...others.map((name) => ({ name, state: 'running', detached: false }))]);
    else if (quiet) printNames([...machines.map(({ name }) => name), ...others]);
    else
      printTable([
        ['NAME', 'STATE', 'IMAGE', 'COMMAND', 'MEMORY', 'CREATED', 'PORTS'],
        ...machines.map((machine) => rowOf(machine, Date.now())),
        ...others.map((name) => [name, 'not detached', '-', '-', '-', '-', '-']),
      ]);
  } finally {
    client?.close();
  }
}

const printNames = (names: readonly string[]): void => {
  process.stdout.write(names.map((name) => `${name}\n`).join(''));
};

/** Does something with each machine; the first failure is told when all have had their turn. */
const each = (
  names: readonly string[],
  json: boolean | undefined,
  work: (client: ApiClient, name: string) => Promise<MachineInfo | undefined>,
): Promise<void> => eachOf(names, json, (name) => ask(name, (client) => work(client, name)));

async function eachOf(
  names: readonly string[],
  json: boolean | undefined,
  work: (name: string) => Promise<MachineInfo | undefined>,
): Promise<void> {
  const done: (MachineInfo | { readonly name: string })[] = [];
  const failures: unknown[] = [];
  for (const name of names)
    try {
      const answer = await work(name);
      done.push(answer ?? { name });
      if (!json) printNames([name]);
    } catch (error) {
      failures.push(error);
    }
  if (json) printJson(done);
  for (const error of failures.slice(1)) process.stderr.write(`vitrine: ${(error as Error).message}\n`);
  if (failures.length > 0) throw failures[0];
}

export function stopCommand(): Command {
  return new Command('stop')
    .description('switch machines off')
    .argument('<machine...>', 'names')
    .option('-t, --time <seconds>', 'how long their processes have to end', '5')
    .option('-f, --force', 'as if their cord were pulled')
    .option(...JSON_OPTION)
    .action(
      async (
        names: readonly string[],
        { time, force, json }: JsonOption & { readonly time: string; readonly force?: boolean },
      ) => {
        const seconds = Number(time);
        if (!/^\d{1,4}(\.\d{1,3})?$/.test(time) || seconds > 3600)
          throw new UsageError(`--time ${time} is not a number of seconds, 3600 at most`);
        await each(names, json, (client, name) =>
          force ? client.stop(name) : client.shutdown(name, { grace: Math.round(seconds * 1000) }),
        );
      },
    );
}

interface RemoveOptions extends JsonOption {
  readonly force?: boolean;
  readonly snapshot?: boolean;
}

export function removeCommand(): Command {
  return new Command('rm')
    .description('remove machines that have ended, with their logs')
    .argument('<machine...>', 'names')
    .option('-f, --force', 'also those that run; nothing is asked of what is not there')
    .option('-s, --snapshot', 'the names are those of snapshots')
    .option(...JSON_OPTION)
    .action(async (names: readonly string[], { force = false, snapshot, json }: RemoveOptions) => {
      if (snapshot) await eachOf(names, json, removeSnapshot);
      else await each(names, json, (client, name) => removeMachine(client, name, force));
    });
}

/** Snapshots are there without any machine, so without a supervisor. */
async function removeSnapshot(name: string): Promise<undefined> {
  checkMachineName(name, 'snapshot');
  await askOrStart(undefined, (client) => client.removeSnapshot(name));
}

async function removeMachine(client: ApiClient, name: string, force: boolean): Promise<undefined> {
  if (!force) {
    const { state } = await client.get(name);
    if (state !== 'ended')
      throw new UsageError(`${name} is ${state}: vitrine stop ${name} ends it, or --force does both`);
  }
  try {
    await client.remove(name);
  } catch (error) {
    if (!force || !(error instanceof ApiError) || error.code !== 'not-found') throw error;
  }
}

export function pauseCommand(): Command {
  return new Command('pause')
    .description('make machines stand still')
    .argument('<machine...>', 'names')
    .option(...JSON_OPTION)
    .action((names: readonly string[], { json }: JsonOption) =>
      each(names, json, (client, name) => client.pause(name)),
    );
}

export function unpauseCommand(): Command {
  return new Command('unpause')
    .description('let machines go on that stand still')
    .argument('<machine...>', 'names')
    .option(...JSON_OPTION)
    .action((names: readonly string[], { json }: JsonOption) =>
      each(names, json, (client, name) => client.resume(name)),
    );
}

interface LogsOptions extends JsonOption {
  readonly follow?: boolean;
  readonly serial?: boolean;
  readonly tail?: string;
}

/** `4K`, or a number of bytes. */
function parseTail(text: string): number {
  const [, digits, unit] = /^(\d{1,9})([KM]?)$/i.exec(text) ?? [];
  if (digits === undefined) throw new UsageError(`--tail ${text} is not a size such as 4K`);
  return Number(digits) * { '': 1, K: 1024, M: 1024 * 1024 }[unit.toUpperCase() as '' | 'K' | 'M'];
}

export function logsCommand(): Command {
  return new Command('logs')
    .description('print what a machine has written')
    .argument('<machine>', 'its name')
    .option('-f, --follow', 'and what it writes, until it ends')
    .option('--serial', "what its kernel wrote to the serial port, instead of its program's output")
    .option('--tail <size>', 'the end of it alone: 4K')
    .option('--json', 'an object on a line for each line')
    .action(logs);
}

async function logs(name: string, { follow = false, serial, tail, json }: LogsOptions): Promise<void> {
  await untilInterrupted(
    (signal) =>
      ask(name, async (client) => {
        const options = {
          follow,
          signal,
          ...(serial && { source: 'serial' as const }),
          ...(tail !== undefined && { tail: parseTail(tail) }),
        };
        const decoder = new TextDecoder();
        let rest = '';
        const lines = (text: string): void => {
          const parts = (rest + text).split(/\r?\n/);
          rest = parts.pop() ?? '';
          process.stdout.write(parts.map((line) => `${JSON.stringify({ line })}\n`).join(''));
        };
        for await (const bytes of await client.logs(name, options))
          if (json) lines(decoder.decode(bytes, { stream: true }));
          else await new Promise<void>((resolve) => process.stdout.write(bytes, () => resolve()));
        if (json && rest !== '') lines('\n');
      }),
    // What goes on for ever is ended so.
    { quiet: follow },
  );
}
