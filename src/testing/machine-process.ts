/** The command line as a process that a test talks to, and machines whose screen a test reads. */
import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import type { MachineHandle } from '../runtime/node/machine-handle.js';
import type { AcceleratorName } from '../runtime/node/accelerator-names.js';
import type { MachineStart } from '../runtime/node/protocol.js';

const dist = new URL('../../dist/', import.meta.url);
const CLI = fileURLToPath(new URL('cli/main.js', dist));

/** How a process ended, and all that it wrote. */
export interface Ended {
  /** The exit code, or null after a signal. */
  readonly code: number | null;
  readonly output: string;
  readonly errors: string;
}

/** `vitrine …` with pipes instead of a terminal. Ends with the test at the latest. */
export class VitrineProcess {
  output = '';
  errors = '';
  readonly ended: Promise<Ended>;
  private readonly child: ChildProcess;
  private waiters: (() => void)[] = [];

  constructor(
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
    atEnd: (end: () => void) => void = onTestFinished,
  ) {
    this.child = spawn(process.execPath, [CLI, ...args], { env: { ...process.env, ...env }, stdio: 'pipe' });
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.output += text;
      this.wake();
    });
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.errors += text;
      this.wake();
    });
    atEnd(() => {
      this.child.kill('SIGKILL');
    });
    // It may end before it has read everything.
    this.child.stdin?.on('error', () => {});
    this.ended = new Promise((resolve) => {
      this.child.on('close', (code) => {
        resolve({ code, output: this.output, errors: this.errors });
        this.wake();
      });
    });
  }

  /** One that several tests use, such as a guest that takes long to boot: who makes it kills it behind them. */
  static ofSuite(args: readonly string[]): VitrineProcess {
    return new VitrineProcess(args, {}, () => {});
  }

  private wake(): void {
    const { waiters } = this;
    this.waiters = [];
    for (const waiter of waiters) waiter();
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  type(text: string): void {
    this.child.stdin?.write(text);
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Waits until a pattern stands behind `from` in the output, or among the errors, and returns where it ends. Fails when the process ends first. */
  async until(pattern: RegExp, from = 0, where: 'output' | 'errors' = 'output'): Promise<number> {
    const sticky = new RegExp(pattern.source, `${pattern.flags.replace('g', '')}g`);
    for (;;) {
      sticky.lastIndex = from;
      if (sticky.test(this[where])) return sticky.lastIndex;
      if (this.child.exitCode !== null || this.child.signalCode !== null)
        throw new Error(`no ${String(pattern)} before the end of: ${this.output.slice(-2000)}${this.errors}`);
      await new Promise<void>((resolve) => this.waiters.push(resolve));
    }
  }
}

/** A machine in a worker, with its output kept and its screen to be read. `accel`: what runs it; otherwise the best that works. */
export async function startMachine(
  start: MachineStart,
  accel?: AcceleratorName,
): Promise<{
  /** What the guest wrote, by channel. */
  readonly output: Record<string, string>;
  /** The rows of the text screen once it has what is looked for. */
  screenWith(pattern: RegExp): Promise<readonly string[]>;
  /** Waits for something on the first serial port. */
  serialWith(pattern: RegExp): Promise<void>;
  /** How it ends, by itself. */
  readonly ended: Promise<{ readonly kind: string }>;
  /** Ends the machine. */
  stop(): Promise<void>;
}> {
  // Workers come from dist/, and so does what starts them.
  const url = new URL('runtime/node/machine-handle.js', dist).href;
  const built = (await import(url)) as { readonly MachineHandle: typeof MachineHandle };
  const output: Record<string, string> = {};
  const handle = new built.MachineHandle(
    start,
    {
      output(channel, bytes, done) {
        output[channel] = (output[channel] ?? '') + Buffer.from(bytes).toString('latin1');
        done();
      },
    },
    { version: '0', ...(accel && { accel }) },
  );
  await Promise.race([handle.started, handle.exited]);
  let end: string | undefined;
  void handle.exited.then(({ kind }) => (end = kind));
  /** A short while; fails when the machine has ended. */
  const running = async (): Promise<void> => {
    await new Promise((resolve) => setTimeout(resolve, 50));
    if (end !== undefined) throw new Error(`the machine ended (${end}); it wrote: ${JSON.stringify(output)}`);
  };
  return {
    output,
    ended: handle.exited,
    async screenWith(pattern) {
      for (;;) {
        const rows = await handle.screen();
        if (pattern.test(rows.join('\n'))) return rows;
        await running();
      }
    },
    async serialWith(pattern) {
      while (!pattern.test(output['serial'] ?? '')) await running();
    },
    async stop() {
      handle.stop();
      await handle.exited;
    },
  };
}
