import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { access, open } from 'node:fs/promises';
import path from 'node:path';
import { HostError } from '../base/errors.js';

/** What a command of the host did. */
export interface CommandResult {
  /** Exit status, or 128 + signal number as a shell reports it, or 127 where the program does not exist. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly cwd?: string;
  /** Variables besides those of this process; undefined removes one. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** A file that takes the standard output instead of `CommandResult.stdout`. */
  readonly stdoutFile?: string;
  /** Gets each line that the program writes to its file descriptor 3 (apt's progress). */
  readonly onStatusLine?: (line: string) => void;
}

/** Runs a program of the host to its end. A failing program is a result, not an exception. */
export async function runCommand(
  program: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const file = options.stdoutFile === undefined ? undefined : await open(options.stdoutFile, 'w');
  try {
    return await run(program, args, options, file?.fd);
  } finally {
    await file?.close();
  }
}

function run(
  program: string,
  args: readonly string[],
  options: CommandOptions,
  stdoutFd: number | undefined,
): Promise<CommandResult> {
  return new Promise((resolve) => {
    // Messages are parsed and shown, so they come in one language.
    const env: NodeJS.ProcessEnv = { ...process.env, LC_ALL: 'C', ...options.env };
    const child = spawn(program, args, {
      cwd: options.cwd,
      env,
      stdio: ['ignore', stdoutFd ?? 'pipe', 'pipe', 'pipe'],
    });
    // Whoever ends this process early expects what it started to end too.
    const end = (): void => void child.kill();
    process.on('exit', end);
    let stdout = '';
    let stderr = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    let partial = '';
    child.stdio[3]?.on('data', (bytes: Buffer) => {
      const lines = (partial + bytes.toString()).split('\n');
      partial = lines.pop() ?? '';
      for (const line of lines) options.onStatusLine?.(line);
    });
    child.on('error', (error) => {
      process.off('exit', end);
      resolve({ status: 127, stdout, stderr: error.message });
    });
    child.on('close', (code, signal) => {
      process.off('exit', end);
      // A shell's convention; the number itself is of no interest here, only that it is not 0.
      resolve({ status: code ?? 128, stdout, stderr: signal === null ? stderr : `${stderr}\nended by ${signal}` });
    });
  });
}

/** Like runCommand, but a failure throws `what failed` with the last line that the program printed. */
export async function runChecked(
  what: string,
  program: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<string> {
  const { status, stdout, stderr } = await runCommand(program, args, options);
  if (status !== 0) throw new HostError(`${what}: ${lastLine(stderr) || `${program} ended with status ${status}`}`);
  return stdout;
}

/** The last line of a program's messages that says something, without passwords in addresses. */
export function lastLine(messages: string): string {
  const lines = messages.split('\n').filter((line) => line.trim() !== '');
  // apt marks errors with "E:"; what follows them is often only advice.
  const line = lines.findLast((text) => text.startsWith('E: ')) ?? lines.at(-1) ?? '';
  return line
    .replace(/^E: /, '')
    .replace(/\/\/[^/@\s]*@/g, '//')
    .trim();
}

/** The path of a program on this machine, looked for where a user's PATH may not lead too; undefined if there is none. */
export async function findProgram(name: string): Promise<string | undefined> {
  const folders = (process.env['PATH'] ?? '').split(path.delimiter).filter((folder) => folder !== '');
  for (const folder of [...folders, '/usr/sbin', '/sbin']) {
    const file = path.join(folder, name);
    try {
      await access(file, constants.X_OK);
      return file;
    } catch {
      // Not here; the next folder may have it.
    }
  }
  return undefined;
}
