/** What the commands for detached machines share: how they reach the supervisor, and what they say when they cannot. */
import { ApiError } from '../api/errors.js';
import type { ApiClient } from '../api/client.js';
import { UsageError } from '../base/errors.js';
import { isInUse } from '../runtime/node/listen-unix.js';
import { registered } from '../runtime/node/registry.js';
import { findSupervisor, startSupervisor } from '../api/node-supervisor.js';

/** One line for a machine that is not there, or whose place is taken. */
async function explain(error: ApiError, name: string | undefined): Promise<Error> {
  if (error.code === 'not-found' && name !== undefined)
    return new UsageError(await noSuchMachine(name), { cause: error });
  return error;
}

/** Machines of other processes than the supervisor's, `known` apart, in the order of their names; nobody but these reach into them. */
export async function otherMachines(known: readonly string[]): Promise<string[]> {
  const others = registered().filter(({ name }) => !known.includes(name));
  // Killed processes leave sockets behind.
  const alive = await Promise.all(others.map(({ socket }) => isInUse(socket)));
  return others.filter((_, i) => alive[i]).map(({ name }) => name);
}

async function noSuchMachine(name: string): Promise<string> {
  return (await otherMachines([])).includes(name)
    ? `${name} was not started with --detach: nobody but its own process reaches into it`
    : `there is no machine ${name}; vitrine ls lists them`;
}

/** Asks something of the supervisor, of a machine as a rule. Throws a one-line error where there is none, or it refuses. */
export async function ask<T>(name: string | undefined, question: (client: ApiClient) => Promise<T>): Promise<T> {
  const client = await findSupervisor();
  if (!client) throw new UsageError(name === undefined ? 'no machine runs detached' : await noSuchMachine(name));
  return asking(client, name, question);
}

/** The same, with a supervisor that is started if need be. */
export async function askOrStart<T>(name: string | undefined, question: (client: ApiClient) => Promise<T>): Promise<T> {
  return asking(await startSupervisor(), name, question);
}

async function asking<T>(
  client: ApiClient,
  name: string | undefined,
  question: (client: ApiClient) => Promise<T>,
): Promise<T> {
  try {
    return await question(client);
  } catch (error) {
    throw error instanceof ApiError ? await explain(error, name) : error;
  } finally {
    client.close();
  }
}

/** Whether the supervisor has a machine of that name. */
export async function isDetached(name: string): Promise<boolean> {
  const client = await findSupervisor();
  try {
    return client !== undefined && (await client.list()).some((machine) => machine.name === name);
  } finally {
    client?.close();
  }
}

/** Prints what programs read. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

/** Rows with columns as wide as what is in them; the first row is the heading. */
export function printTable(rows: readonly (readonly string[])[]): void {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]))
      .join('  ')
      .trimEnd(),
  );
  process.stdout.write(`${lines.join('\n')}\n`);
}

/** Does something that Ctrl-C and SIGTERM give up, which the exit code tells then; `quiet`: it alone. */
export async function untilInterrupted(
  work: (signal: AbortSignal) => Promise<void>,
  { quiet = false }: { readonly quiet?: boolean } = {},
): Promise<void> {
  const abort = new AbortController();
  const codes = { SIGINT: 130, SIGTERM: 143 } as const;
  const handlers = Object.entries(codes).map(([name, code]) => {
    const handler = (): void => {
      process.exitCode = code;
      abort.abort(new UsageError('given up'));
    };
    process.once(name, handler);
    return [name, handler] as const;
  });
  try {
    await work(abort.signal);
  } catch (error) {
    if (!abort.signal.aborted) throw error;
    if (!quiet) process.stderr.write('vitrine: given up\n');
  } finally {
    for (const [name, handler] of handlers) process.off(name, handler);
  }
}
