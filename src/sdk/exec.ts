/** Commands in the guest. */
import { UsageError } from '../base/errors.js';
import type { AgentConnection } from './agent/connection.js';
import type { Ending, Request, TerminalSize } from './agent/protocol.js';
import type { AgentRequest } from './agent/request.js';
import { join } from './bytes.js';
import { after } from './deadline.js';
import { errnoCode, errnoText } from './errno.js';
import { asError, ExecError, ExecTimeoutError, ExitError } from './errors.js';
import {
  bytesOf,
  checkFlag,
  checkFunction,
  checkNumber,
  checkObject,
  checkOptions,
  checkSignalOption,
  checkText,
  checkTexts,
} from './kinds.js';
import { signalName, signalNumber } from './signals.js';

/** A program with its arguments; or a script for the guest's `/bin/sh`. */
export type CommandLine = readonly string[] | string;

/** What input a command gets. */
export type Input = string | Uint8Array | AsyncIterable<Uint8Array | string> | Iterable<Uint8Array | string>;

/** What a command finds around it. */
export interface SpawnOptions {
  /** The folder that it runs in; without it that of the image, else `/`. */
  readonly cwd?: string;
  /** Variables besides those of the image; undefined removes one. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** `name` or `number`, each with `:group` behind it; without it that of the image, else root. */
  readonly user?: string;
  /** A terminal of its own, of 80 columns and 24 rows unless a size is given. Standard error comes with standard output. */
  readonly tty?: boolean | TerminalSize;
  /** Aborted: the command is killed, and what waits for it is rejected with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** The names of `SpawnOptions`. */
export const SPAWN_OPTIONS: readonly (keyof SpawnOptions)[] = ['cwd', 'env', 'user', 'tty', 'signal'];

/** How a command is run to its end. */
export interface ExecOptions extends SpawnOptions {
  /** Its standard input; without it there is none. */
  readonly stdin?: Input;
  /** Milliseconds until it is killed, and `exec` is rejected with an ExecTimeoutError. */
  readonly timeout?: number;
  /** Takes standard output (and the terminal's) as it comes instead of `stdout`; a promise makes the guest wait. */
  readonly onStdout?: (bytes: Uint8Array) => void | Promise<void>;
  /** Likewise standard error. */
  readonly onStderr?: (bytes: Uint8Array) => void | Promise<void>;
  /** Bytes that are kept of both outputs at most; more kills the command and rejects. 64 MiB unless given. */
  readonly maxOutput?: number;
  /** Rejects with an ExitError unless the exit code is 0. */
  readonly check?: boolean;
}

const EXEC_OPTIONS: readonly (keyof ExecOptions)[] = [
  ...SPAWN_OPTIONS,
  'stdin',
  'timeout',
  'onStdout',
  'onStderr',
  'maxOutput',
  'check',
];

/** How a command ended. */
export interface ExitStatus {
  /** 0 … 255; 128 and the signal's number behind a signal, as a shell has it. */
  readonly exitCode: number;
  /** The signal that ended it, `SIGKILL`. */
  readonly signal?: string;
}

/** What a command came to. */
export interface ExecResult extends ExitStatus {
  /** Its outputs as UTF-8. */
  readonly stdout: string;
  readonly stderr: string;
  /** The same as bytes. */
  readonly stdoutBytes: Uint8Array;
  readonly stderrBytes: Uint8Array;
}

/** What commands get unless they are given something else: the image's. */
export interface CommandDefaults {
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly user: string;
}

const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const DEFAULT_SIZE: TerminalSize = { columns: 80, rows: 24 };
const MAX_OUTPUT = 64 * 1024 * 1024;

/** Throws a UsageError for what is no command. */
export function checkCommand(command: CommandLine): void {
  checkTexts(typeof command === 'string' ? [command] : command, 'a command');
}

/** How a message calls a command. */
export function describeCommand(command: CommandLine): string {
  const text = typeof command === 'string' ? command : command.join(' ');
  const line = text.replace(/\s+/g, ' ').trim();
  return line.length > 60 ? `${line.slice(0, 57)}...` : line;
}

export function checkSize(size: TerminalSize): TerminalSize {
  checkObject(size, 'columns and rows');
  for (const name of ['columns', 'rows'] as const) {
    const value: unknown = size[name];
    if (!Number.isInteger(value) || size[name] < 1 || size[name] > 65535)
      throw new UsageError(`a terminal cannot have ${String(value)} ${name}: 1 to 65535`);
  }
  return size;
}

/** The request for a command. Throws a UsageError for what cannot be. */
export function commandRequest(command: CommandLine, options: SpawnOptions, defaults: CommandDefaults): Request {
  checkCommand(command);
  const argv = typeof command === 'string' ? ['/bin/sh', '-c', command] : command;
  if (options.cwd !== undefined) checkText(options.cwd, 'cwd');
  if (options.user !== undefined) checkText(options.user, 'user');
  if (argv.length === 0 || argv[0] === '') throw new UsageError('give a program to run');
  if (options.env !== undefined) checkObject(options.env, 'variables');
  const { tty = false } = options;
  const size = tty === false ? undefined : checkSize(tty === true ? DEFAULT_SIZE : tty);
  const variables: Record<string, string | undefined> = {
    PATH: DEFAULT_PATH,
    ...(size && { TERM: 'xterm-256color' }),
    ...defaults.env,
    ...options.env,
  };
  const env = Object.entries(variables).flatMap(([name, value]) => {
    if (name === '' || name.includes('=')) throw new UsageError(`a variable cannot be called "${name}"`);
    if (value === undefined) return [];
    checkText(value, `the variable ${name}`);
    return [`${name}=${value}`];
  });
  return { argv, env, tty: size, cwd: options.cwd ?? defaults.cwd, user: options.user ?? defaults.user };
}

/** The status that an ending is; throws an ExecError when the command did not begin. */
export function statusOf(ending: Ending, what: string): ExitStatus {
  switch (ending.kind) {
    case 'code':
      return { exitCode: ending.code };
    case 'signal':
      return { exitCode: 128 + ending.signal, signal: signalName(ending.signal) };
    case 'failed': {
      const text = errnoText(ending.errno);
      const where = { user: 'there is no such user', folder: `its folder: ${text}`, program: text };
      const reason = ending.stage in where ? where[ending.stage as keyof typeof where] : text;
      throw new ExecError(`cannot run "${what}" in the guest: ${reason}`, errnoCode(ending.errno));
    }
  }
}

/** The number of a signal. Throws a UsageError. */
export function checkSignal(signal: string | number): number {
  const number = signalNumber(signal);
  if (number === undefined) throw new UsageError(`there is no signal ${signal}`);
  return number;
}

class Collected {
  private readonly parts: Uint8Array[] = [];
  length = 0;

  add(bytes: Uint8Array): void {
    this.parts.push(bytes);
    this.length += bytes.length;
  }

  bytes(): Uint8Array {
    return join(this.parts);
  }
}

function resultOf(status: ExitStatus, [out, err]: readonly Collected[]): ExecResult {
  const [stdoutBytes, stderrBytes] = [out.bytes(), err.bytes()];
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  return { ...status, stdout: text(stdoutBytes), stderr: text(stderrBytes), stdoutBytes, stderrBytes };
}

type Pieces = Exclude<Input, string | Uint8Array>;

const isPieces = (input: unknown): input is Pieces =>
  typeof input === 'object' &&
  input !== null &&
  !(input instanceof Uint8Array) &&
  (Symbol.asyncIterator in input || Symbol.iterator in input);

/** Sends all of an input, as fast as it is taken; nothing more is asked for when nobody takes it. */
export async function sendInput(request: AgentRequest, input: Input): Promise<void> {
  if (isPieces(input))
    for await (const part of input) {
      if (!request.takesInput) return;
      await request.write(bytesOf(part, 'a piece of stdin'));
    }
  else await request.write(bytesOf(input, 'stdin'));
  request.end();
}

/** Runs a command to its end. */
export function exec(
  connection: AgentConnection,
  command: CommandLine,
  options: ExecOptions,
  defaults: CommandDefaults,
): Promise<ExecResult> {
  return new Promise((resolve, reject) => {
    checkOptions(options, EXEC_OPTIONS);
    checkCommand(command);
    const { stdin, timeout, signal, check = false, maxOutput = MAX_OUTPUT } = options;
    const what = describeCommand(command);
    checkSignalOption(signal);
    checkFunction(options.onStdout, 'onStdout');
    checkFunction(options.onStderr, 'onStderr');
    signal?.throwIfAborted();
    checkNumber(maxOutput, 'maxOutput');
    checkNumber(timeout, 'timeout');
    checkFlag(check, 'check');
    if (!(maxOutput >= 0)) throw new UsageError(`outputs of ${maxOutput} bytes at most`);
    if (timeout !== undefined && !(timeout > 0)) throw new UsageError(`a timeout of ${timeout} ms`);
    const kept = [new Collected(), new Collected()];
    const handlers = [options.onStdout, options.onStderr];
    let timer: ReturnType<typeof setTimeout> | undefined;
    /** What takes output and has not done so. */
    let taking: Promise<unknown> = Promise.resolve();
    const settle = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', aborted);
    };
    const stop = (error: unknown): void => {
      settle();
      request.close(true);
      reject(asError(error));
    };
    const aborted = (): void => stop(signal?.reason);
    const killed: ExitStatus = { exitCode: 137, signal: 'SIGKILL' };
    const request = connection.request(
      { ...commandRequest(command, options, defaults), stdin: stdin !== undefined },
      {
        data: (channel, bytes) => {
          const handler = handlers[channel - 1];
          if (!handler) {
            kept[channel - 1].add(bytes);
            request.consume(channel, bytes.length);
            if (kept[0].length + kept[1].length > maxOutput)
              stop(new ExecError(`"${what}" was killed: it wrote more than ${maxOutput} bytes (maxOutput)`));
            return;
          }
          // In their order, the next one when the one before has been taken.
          taking = taking
            .then(() => handler(bytes))
            .then(() => request.consume(channel, bytes.length))
            .catch(stop);
        },
        ended: (ending) => {
          void taking.then(() => {
            settle();
            try {
              const result = resultOf(statusOf(ending, what), kept);
              if (!check || result.exitCode === 0) resolve(result);
              else reject(new ExitError(failureOf(what, result), result));
            } catch (error) {
              reject(asError(error));
            }
          });
        },
        failed: (error) => {
          settle();
          reject(error);
        },
      },
    );
    signal?.addEventListener('abort', aborted);
    if (timeout !== undefined)
      timer = after(timeout, () => {
        stop(new ExecTimeoutError(`"${what}" took longer than ${timeout} ms and was killed`, resultOf(killed, kept)));
      });
    if (stdin !== undefined) sendInput(request, stdin).catch(stop);
  });
}

function failureOf(what: string, { exitCode, signal, stderr }: ExecResult): string {
  const last = stderr.trim().split('\n').at(-1)?.slice(0, 200);
  return `"${what}" ${signal ? `was ended by ${signal}` : `ended with exit code ${exitCode}`}${last ? `: ${last}` : ''}`;
}
