/** A program in a guest on this process's terminal or pipes: what is typed, what it writes, the window's size. */
import type { WriteStream } from 'node:tty';
import type { ExitStatus } from '../sdk/exec.js';
import type { TerminalSize } from '../sdk/agent/protocol.js';
import type { ProgramIo } from './program-options.js';
import type { Terminal } from './terminal.js';

/** A program that runs in a guest, of this process or of another. */
export interface RunningProgram {
  readonly stdout: ReadableStream<Uint8Array>;
  readonly stderr: ReadableStream<Uint8Array>;
  /** How it ends. Rejected when it could not begin, or the machine has gone. */
  readonly exited: Promise<ExitStatus>;
  /** Resolves when there is room for more. */
  write(bytes: Uint8Array): Promise<void>;
  /** No more input comes. */
  end(): void;
  resize(size: TerminalSize): void;
  kill(signal: string): void;
}

export interface AttachOptions extends ProgramIo {
  readonly terminal: Terminal;
  /** What of what is typed the program gets. */
  readonly filter?: (bytes: Uint8Array) => Uint8Array;
  /** Told what it writes to its standard output. */
  readonly seen?: (bytes: Uint8Array) => void;
}

/** The size of the terminal that standard output is; 80 by 24 where that is not known. */
export function terminalSize(): TerminalSize {
  // A terminal may not know its size: both are 0 then.
  return { columns: process.stdout.columns || 80, rows: process.stdout.rows || 24 };
}

/** Copies what a program writes; its failure is told by `exited`. What cannot be written goes nowhere. */
async function copy(
  from: ReadableStream<Uint8Array>,
  to: Pick<WriteStream, 'write'>,
  seen: (bytes: Uint8Array) => void = () => {},
): Promise<void> {
  try {
    for await (const bytes of from as AsyncIterable<Uint8Array>) {
      seen(bytes);
      await new Promise<void>((resolve) => to.write(bytes, () => resolve()));
    }
  } catch {
    // Whatever ended it ended the program.
  }
}

/** Connects a program until it has ended and all that it wrote is written. Rejected as `exited` is. */
export async function attach(program: RunningProgram, options: AttachOptions): Promise<ExitStatus> {
  const { terminal, tty, input, filter = (bytes: Uint8Array) => bytes, seen } = options;
  const outputs = Promise.all([copy(program.stdout, process.stdout, seen), copy(program.stderr, process.stderr)]);
  const resize = (): void => program.resize(terminalSize());
  if (tty) process.stdout.on('resize', resize);
  if (input)
    terminal.open({
      data: (bytes) => {
        const typed = filter(bytes);
        if (typed.length === 0) return;
        terminal.pause();
        void program.write(typed).then(() => terminal.resume());
      },
      end: () => program.end(),
    });
  else if (!tty) program.end();
  try {
    const status = await program.exited;
    await outputs;
    return status;
  } finally {
    process.stdout.off('resize', resize);
    terminal.close();
  }
}
