/** A command of a machine behind a WebSocket, at the client's end. */
import { ApiError } from './errors.js';
import type { ExecControl, ExecNews, ExecStart, TerminalSize } from './schemas.js';
import type { ClientSocket, Transport } from './transport.js';

/** The first byte of a binary message of the server. */
export const EXEC_CHANNEL = { STDOUT: 1, STDERR: 2 } as const;

export interface ExecHandlers {
  /** Standard output, or what the terminal shows; a promise makes the command wait. */
  stdout(bytes: Uint8Array): void | Promise<void>;
  stderr?(bytes: Uint8Array): void | Promise<void>;
  started?(pid: number): void;
}

export interface ExecStatus {
  /** 0 … 255; 128 and the signal's number behind a signal. */
  readonly exitCode: number;
  readonly signal?: string;
}

const asNews = (message: string): ExecNews => {
  try {
    return JSON.parse(message) as ExecNews;
  } catch {
    return { type: 'error', error: { code: 'failed', message: 'the server sends what is no JSON' } };
  }
};

/** A command that runs. Who loses the connection ends it. */
export class ExecSession {
  /** How it ends; rejected with a one-line error when it could not begin, or the connection is lost. */
  readonly exited: Promise<ExecStatus>;
  private readonly socket: ClientSocket;
  private over = false;

  constructor(transport: Transport, path: string, start: ExecStart, handlers: ExecHandlers) {
    let done: (status: ExecStatus) => void = () => {};
    let fail: (error: Error) => void = () => {};
    this.exited = new Promise((resolve, reject) => ([done, fail] = [resolve, reject]));
    // Nobody need wait for it.
    this.exited.catch(() => {});
    this.socket = transport.webSocket(path, {
      open: () => void this.socket.send(JSON.stringify(start)),
      text: (message) => {
        const news = asNews(message);
        switch (news.type) {
          case 'started':
            handlers.started?.(news.pid);
            break;
          case 'exit': {
            const { exitCode, signal } = news;
            this.over = true;
            done({ exitCode, ...(signal !== undefined && { signal }) });
            break;
          }
          case 'error':
            this.over = true;
            fail(new ApiError(news.error.code, news.error.message));
            break;
        }
      },
      binary: (bytes) => {
        const rest = bytes.subarray(1);
        return bytes[0] === EXEC_CHANNEL.STDERR ? handlers.stderr?.(rest) : handlers.stdout(rest);
      },
      closed: (error) => {
        this.over = true;
        fail(error ?? new ApiError('failed', 'the connection to the server was lost'));
      },
    });
  }

  /** Sends input; resolves when there is room for more. */
  async write(bytes: Uint8Array): Promise<void> {
    if (!this.over) await this.socket.send(bytes);
  }

  private control(message: ExecControl): void {
    if (!this.over) void this.socket.send(JSON.stringify(message));
  }

  /** No more input comes. */
  end(): void {
    this.control({ type: 'eof' });
  }

  resize({ columns, rows }: TerminalSize): void {
    this.control({ type: 'resize', columns, rows });
  }

  /** Sends a signal to the command's process group: `SIGINT`, or a number. */
  kill(signal: string | number): void {
    this.control({ type: 'signal', signal });
  }

  /** Hangs up, which kills the command where it runs. */
  close(): void {
    this.socket.close();
  }
}
