/** What a server tells of itself: a line of JSON for each event. */

export type LogLevel = 'info' | 'warn' | 'error';
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

export class Log {
  /** `write` takes a line with its end; `now`: milliseconds since 1970. */
  constructor(
    private readonly write: (line: string) => void,
    private readonly now: () => number = Date.now,
  ) {}

  private line(level: LogLevel, event: string, fields: LogFields): void {
    this.write(`${JSON.stringify({ time: new Date(this.now()).toISOString(), level, event, ...fields })}\n`);
  }

  info(event: string, fields: LogFields = {}): void {
    this.line('info', event, fields);
  }

  warn(event: string, fields: LogFields = {}): void {
    this.line('warn', event, fields);
  }

  error(event: string, fields: LogFields = {}): void {
    this.line('error', event, fields);
  }
}

/** For whoever wants none. */
export const silent = new Log(() => {});
