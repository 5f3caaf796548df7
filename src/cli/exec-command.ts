/** `vitrine exec` and `vitrine shell`: commands in machines that run detached. */
import { Command } from 'commander';
import type { ApiClient } from '../api/client.js';
import { ApiError } from '../api/errors.js';
import type { ExecStart } from '../api/schemas.js';
import { EXIT } from './guest-program.js';
import { ask, printJson } from './machine-client.js';
import { attach, terminalSize, type RunningProgram } from './program-io.js';
import {
  addProgramOptions,
  checkWorkdir,
  chooseIo,
  readVariables,
  TERMINAL_HELP,
  type ProgramIo,
  type ProgramOptions,
} from './program-options.js';
import { Terminal } from './terminal.js';

interface ExecOptions extends ProgramOptions {
  readonly json?: boolean;
}

export function execCommand(): Command {
  const command = new Command('exec')
    .description('run a command in a machine')
    .argument('<machine>', 'its name')
    .argument('<command...>', 'the command, with all that it is given')
    .passThroughOptions();
  return addProgramOptions(command)
    .option('--json', 'print how it ended, and what it wrote, as JSON')
    .addHelpText(
      'after',
      `${TERMINAL_HELP}

The exit code is the command's; 127 when there is no such program, 126 when it cannot be executed.

Examples:
  vitrine exec box ls -l /etc
  vitrine exec -e LANG=C -w /srv box make
  tar c . | vitrine exec box tar x -C /srv`,
    )
    .action(exec);
}

export function shellCommand(): Command {
  const command = new Command('shell').description('open a shell in a machine').argument('<machine>', 'its name');
  return addProgramOptions(command)
    .addHelpText('after', '\nbash where the machine has it, otherwise its /bin/sh.')
    .action(shell);
}

/** What of the API's session the terminal needs, as streams. */
function start(client: ApiClient, name: string, request: ExecStart): RunningProgram & { close(): void } {
  const [out, err] = [new TransformStream<Uint8Array>(), new TransformStream<Uint8Array>()];
  const writers = [out, err].map(({ writable }) => writable.getWriter());
  const session = client.execStream(name, request, {
    stdout: (bytes) => writers[0].write(bytes),
    stderr: (bytes) => writers[1].write(bytes),
  });
  const finish = (): void => {
    for (const writer of writers) writer.close().catch(() => {});
  };
  session.exited.then(finish, finish);
  return {
    stdout: out.readable,
    stderr: err.readable,
    exited: session.exited,
    write: (bytes) => session.write(bytes),
    end: () => session.end(),
    resize: (size) => session.resize(size),
    kill: (signal) => session.kill(signal),
    close: () => session.close(),
  };
}

/** Signals that go to the command. */
const PASSED = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const;

/** Runs a command on this process's terminal or pipes. Returns its exit code. */
async function runHere(
  client: ApiClient,
  name: string,
  request: Omit<ExecStart, 'tty'>,
  io: ProgramIo,
): Promise<number> {
  const program = start(client, name, { ...request, ...(io.tty && { tty: terminalSize() }) });
  const handlers = PASSED.map((signal) => [signal, () => program.kill(signal)] as const);
  for (const [signal, handler] of handlers) process.on(signal, handler);
  try {
    return (await attach(program, { ...io, terminal: new Terminal(process.stdin, io.tty) })).exitCode;
  } catch (error) {
    const code = error instanceof ApiError ? startFailure(error) : undefined;
    if (code === undefined) throw error;
    process.stderr.write(`vitrine: ${(error as Error).message}\n`);
    return code;
  } finally {
    for (const [signal, handler] of handlers) process.off(signal, handler);
  }
}

/** The exit code for a command that could not begin; undefined: it is something else that failed. */
function startFailure({ code }: ApiError): number | undefined {
  if (code === 'ENOENT' || code === 'ENOTDIR') return EXIT.NOT_FOUND;
  return /^E[A-Z0-9]+$/.test(code) ? EXIT.NOT_EXECUTABLE : undefined;
}

function described({ user, workdir, ...options }: ProgramOptions): Omit<ExecStart, 'tty' | 'command'> {
  checkWorkdir(workdir);
  return {
    env: readVariables(options),
    ...(user !== undefined && { user }),
    ...(workdir !== undefined && { cwd: workdir }),
  };
}

async function exec(name: string, command: readonly string[], options: ExecOptions): Promise<void> {
  const request = { ...described(options), command: [...command] };
  if (options.json) {
    printJson(await ask(name, (client) => client.exec(name, request)));
    return;
  }
  const io = chooseIo(options);
  process.exitCode = await ask(name, (client) => runHere(client, name, request, io));
}

/** Goes on as bash where there is one. */
const SHELL = ['/bin/sh', '-c', 'if command -v bash >/dev/null 2>&1; then exec bash; else exec /bin/sh; fi'];

async function shell(name: string, options: ProgramOptions): Promise<void> {
  const io = chooseIo(options);
  const request = { ...described(options), command: SHELL };
  process.exitCode = await ask(name, (client) => runHere(client, name, request, io));
}
