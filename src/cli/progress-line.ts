import type { WriteStream } from 'node:tty';
import type { Progress } from '../guests/index.js';

/** What a progress display writes to: a terminal, or a file or pipe. */
export type ProgressOutput = Pick<WriteStream, 'write'> & Partial<Pick<WriteStream, 'isTTY' | 'columns'>>;

export interface ProgressLine {
  readonly progress: Progress;
  readonly done: () => void;
}

/** Signals that end what is under way, by their numbers. */
const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;

/** Carriage return, and erase to the end of the line (ECMA-48 EL). */
const CLEAR_LINE = '\r\x1b[K';

/**
 * Shows progress: on a terminal as one line that is rewritten, elsewhere as one line per step. `done` takes the line away
 * again, so that it must be called before anything else is written.
 */
export function progressLine(output: ProgressOutput): ProgressLine {
  let shown = '';
  return {
    progress: ({ text, fraction }) => {
      if (output.isTTY !== true) {
        if (text !== shown) output.write(`${text}\n`);
        shown = text;
        return;
      }
      const percent = fraction === undefined ? '' : ` ${Math.floor(fraction * 100)} %`;
      // A line that wraps could not be rewritten.
      const { columns = 0 } = output;
      const room = Math.max((columns > 0 ? columns : 80) - percent.length - 1, 1);
      const line = `${text.length > room ? `${text.slice(0, room - 1)}…` : text}${percent}`;
      if (line !== shown) output.write(`${CLEAR_LINE}${line}`);
      shown = line;
    },
    done: () => {
      if (output.isTTY === true && shown !== '') output.write(CLEAR_LINE);
      shown = '';
    },
  };
}

/**
 * Progress on stderr of what leaves nothing half-made when the process exits, until `done` is called. A signal ends it with a line that
 * says what it ended, and 128 and its number as the exit code, as a shell reports it.
 */
export function interruptibleProgress(): ProgressLine {
  const { progress, done } = progressLine(process.stderr);
  let doing = '';
  const ended = (signal: keyof typeof SIGNALS): never => {
    done();
    process.stderr.write(`vitrine: stopped by ${signal}${doing === '' ? '' : ` while ${doing}`}\n`);
    process.exit(128 + SIGNALS[signal]);
  };
  const signals = Object.keys(SIGNALS) as (keyof typeof SIGNALS)[];
  for (const signal of signals) process.once(signal, ended);
  return {
    progress: (event) => {
      doing = event.text;
      progress(event);
    },
    done: () => {
      done();
      for (const signal of signals) process.off(signal, ended);
    },
  };
}
