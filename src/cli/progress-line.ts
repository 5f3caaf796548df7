import type { WriteStream } from 'node:tty';
import type { Progress } from '../guests/index.js';

/** What a progress display writes to: a terminal, or a file or pipe. */
export type ProgressOutput = Pick<WriteStream, 'write'> & Partial<Pick<WriteStream, 'isTTY' | 'columns'>>;

/** Carriage return, and erase to the end of the line (ECMA-48 EL). */
const CLEAR_LINE = '\r\x1b[K';

/**
 * Shows progress: on a terminal as one line that is rewritten, elsewhere as one line per step. `done` takes the line away
 * again, so that it must be called before anything else is written.
 */
export function progressLine(output: ProgressOutput): { readonly progress: Progress; readonly done: () => void } {
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
