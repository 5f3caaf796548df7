/** What a program in a guest is given: options that `vitrine run`, `exec` and `shell` share, as Docker's users know them. */
import { readFileSync, statSync } from 'node:fs';
import type { Command } from 'commander';
import { HostError, UsageError } from '../base/errors.js';

export interface VariableOptions {
  readonly env?: readonly string[];
  readonly envFile?: readonly string[];
}

export interface ProgramOptions extends VariableOptions {
  readonly user?: string;
  readonly workdir?: string;
  readonly tty?: boolean;
  readonly interactive?: boolean;
}

/** Bytes of a file of variables. */
const MOST_ENV_FILE = 1024 * 1024;

export const collect = (value: string, before: readonly string[] = []): string[] => [...before, value];

export function addProgramOptions(command: Command): Command {
  return command
    .option(
      '-e, --env <name[=value]>',
      'a variable for the program; without a value, the one that is set here',
      collect,
    )
    .option('--env-file <file>', 'variables, NAME=VALUE or NAME on each line', collect)
    .option('-u, --user <user[:group]>', 'whom it runs as: names of the guest, or numbers')
    .option('-w, --workdir <folder>', 'where it runs')
    .option('-i, --interactive', 'it is given standard input')
    .option('-t, --tty', 'it has a terminal of its own');
}

export const TERMINAL_HELP = `
On a terminal the program has a terminal of its own, which follows the size of the window, and
Ctrl-C is a key like others. Otherwise standard input, output and error are pipes, and signals go
to the program. -i and -t say otherwise, as in Docker: -i alone is a pipe, -t alone has no input.`;

/** One `-e`, or a line of a file; undefined: a variable that is not set here. Throws a UsageError. */
function readVariable(text: string, where: string): readonly [string, string] | undefined {
  const at = text.indexOf('=');
  const name = at < 0 ? text : text.slice(0, at);
  if (name === '' || /[\s\0]/.test(name) || text.includes('\0'))
    throw new UsageError(`${where} is not NAME=VALUE, nor the NAME of a variable`);
  const value = at < 0 ? process.env[name] : text.slice(at + 1);
  return value === undefined ? undefined : [name, value];
}

function readEnvFile(file: string): string[] {
  let text: string;
  try {
    if (statSync(file).size > MOST_ENV_FILE)
      throw new UsageError(`--env-file ${file} has more than ${MOST_ENV_FILE} bytes`);
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    if (cause instanceof UsageError) throw cause;
    const { code = String(cause) } = cause as NodeJS.ErrnoException;
    throw new HostError(`cannot read --env-file ${file}: ${code === 'ENOENT' ? 'no such file' : code}`, { cause });
  }
  return text
    .split('\n')
    .map((line) => line.replace(/\r$/, '').trimStart())
    .filter((line) => line !== '' && !line.startsWith('#'));
}

/** The variables that a program is given: of files, and what is said for itself counts more. Throws a one-line error. */
export function readVariables({ env = [], envFile = [] }: VariableOptions): Record<string, string> {
  const files = envFile.flatMap((file) => readEnvFile(file).map((line) => readVariable(line, `"${line}" in ${file}`)));
  const words = env.map((text) => readVariable(text, `--env ${text}`));
  return Object.fromEntries([...files, ...words].filter((pair) => pair !== undefined));
}

/** How this process and a program are connected. */
export interface ProgramIo {
  /** It has a terminal of its own. */
  readonly tty: boolean;
  /** It is given what is typed, or comes by a pipe. */
  readonly input: boolean;
}

interface MaybeTerminal {
  readonly isTTY?: boolean;
}

/** What -i and -t say; without them a terminal where this is one. Throws a UsageError. */
export function chooseIo(
  { tty, interactive }: Pick<ProgramOptions, 'tty' | 'interactive'>,
  stdin: MaybeTerminal = process.stdin,
  stdout: MaybeTerminal = process.stdout,
): ProgramIo {
  if (tty === undefined && interactive === undefined)
    return { tty: stdin.isTTY === true && stdout.isTTY === true, input: true };
  if (tty && interactive && stdin.isTTY !== true)
    throw new UsageError('-i and -t together need a terminal, which standard input is not: leave -t away for a pipe');
  return { tty: tty ?? false, input: interactive ?? false };
}

/** Throws a UsageError for a folder of the guest that is none. */
export function checkWorkdir(folder: string | undefined): void {
  if (folder !== undefined && !folder.startsWith('/'))
    throw new UsageError(`--workdir ${folder} is no folder of a guest: it begins with /`);
}
