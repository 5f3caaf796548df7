import { LogFile } from './log-file.js';

/** Characters that are collected before they are written. */
const PIECE = 0x1_0000;

/** Writes many short lines to a file. */
export class LineWriter {
  private readonly file: LogFile;
  private waiting: string[] = [];
  private length = 0;

  /** Throws a one-line error when the file cannot be written. `what` is what messages call it. */
  constructor(file: string, what: string) {
    this.file = new LogFile(file, what);
  }

  /** Begins the file anew; without it, nothing of the file changes. */
  begin(): void {
    this.file.begin();
  }

  line(text: string): void {
    this.waiting.push(text, '\n');
    this.length += text.length + 1;
    if (this.length >= PIECE) this.flush();
  }

  flush(): void {
    const text = this.waiting.join('');
    this.waiting = [];
    this.length = 0;
    if (text !== '') this.file.write(Buffer.from(text));
  }

  close(): void {
    try {
      this.flush();
    } finally {
      this.file.close();
    }
  }
}
