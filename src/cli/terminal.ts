/** The terminal that a guest's console is on: in raw mode, and given back however the process ends. */
import { closeSync } from 'node:fs';
import { isatty, type ReadStream } from 'node:tty';

export interface TerminalInput {
  data(bytes: Uint8Array): void;
  /** There will be no more. */
  end?(): void;
}

/**
 * On exit Node puts terminals back as they were and aborts when that fails, as it does on one that was hung up. What is
 * closed it leaves alone.
 */
function closeIfHungUp(): void {
  if (isatty(0)) return;
  for (const fd of [0, 1, 2]) {
    try {
      closeSync(fd);
    } catch {
      // Closed already.
    }
  }
}

export class Terminal {
  /** Whether a person types, so that keys mean something to us. */
  readonly interactive: boolean;
  private raw = false;
  private readonly leave = (): void => this.restore();
  private readonly wake = (): void => this.enterRaw();

  /** `raw`: whether a terminal's keys are passed on as they are; otherwise it is read as a pipe is, line by line. */
  constructor(
    private readonly input: ReadStream,
    raw = true,
  ) {
    this.interactive = raw && input.isTTY;
  }

  /** Starts reading; a terminal goes into raw mode. */
  open(to: TerminalInput): void {
    const { input } = this;
    if (this.interactive) {
      process.on('exit', closeIfHungUp);
      // Runs on every exit of the process that is an exit at all: by exit(), by an exception, by a signal that is handled.
      process.on('exit', this.leave);
      // Whoever stopped us may have changed the terminal's mode meanwhile.
      process.on('SIGCONT', this.wake);
      this.enterRaw();
    }
    input.on('data', (bytes: Buffer) => to.data(bytes));
    input.on('end', () => to.end?.());
    // A terminal that was hung up: SIGHUP tells the same.
    input.on('error', () => to.end?.());
  }

  /** Node's raw mode leaves output alone: a line feed still returns the carriage. */
  private enterRaw(): void {
    this.input.setRawMode(true);
    this.raw = true;
  }

  pause(): void {
    this.input.pause();
  }

  resume(): void {
    this.input.resume();
  }

  /** Gives the terminal back. Can be called any number of times. */
  restore(): void {
    if (!this.raw) return;
    this.raw = false;
    process.off('SIGCONT', this.wake);
    this.input.setRawMode(false);
  }

  /** Stops reading, so that the process can end. */
  close(): void {
    this.restore();
    this.input.pause();
    this.input.removeAllListeners('data');
    process.off('exit', this.leave);
  }
}
