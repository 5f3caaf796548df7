/** A command of the guest while it runs. */
import type { AgentConnection } from './agent/connection.js';
import type { TerminalSize } from './agent/protocol.js';
import type { AgentRequest } from './agent/request.js';
import {
  checkCommand,
  checkSignal,
  checkSize,
  commandRequest,
  describeCommand,
  SPAWN_OPTIONS,
  statusOf,
  type CommandDefaults,
  type CommandLine,
  type ExitStatus,
  type SpawnOptions,
} from './exec.js';
import { asError, ExecError } from './errors.js';
import { bytesOf, checkOptions, checkSignalOption } from './kinds.js';

/** One output of a process, as a stream: what is not read makes the process wait. */
class Output {
  readonly stream: ReadableStream<Uint8Array>;
  private controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  private untold = 0;

  constructor(consumed: (bytes: number) => void) {
    this.stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.controller = controller;
        },
        pull: () => {
          // Whatever was queued has been read.
          const count = this.untold;
          this.untold = 0;
          if (count > 0) consumed(count);
        },
        cancel: () => {
          this.controller = undefined;
          const count = this.untold;
          this.untold = 0;
          this.discard = consumed;
          if (count > 0) consumed(count);
        },
      },
      { highWaterMark: 1 },
    );
  }

  /** Where bytes go that nobody wants. */
  private discard: ((bytes: number) => void) | undefined;

  add(bytes: Uint8Array): void {
    if (this.discard) {
      this.discard(bytes.length);
      return;
    }
    this.untold += bytes.length;
    this.controller?.enqueue(bytes);
  }

  end(error?: Error): void {
    const { controller } = this;
    this.controller = undefined;
    if (error) controller?.error(error);
    else controller?.close();
  }
}

/** A process in the guest, with its streams. */
export class GuestProcess {
  /** Its number in the guest, once it is there. */
  readonly pid: Promise<number>;
  /** Standard input, or what is typed at its terminal. */
  readonly stdin: WritableStream<Uint8Array | string>;
  /** Standard output, or what its terminal shows. */
  readonly stdout: ReadableStream<Uint8Array>;
  /** Standard error; ends at once where there is a terminal. */
  readonly stderr: ReadableStream<Uint8Array>;
  /** How it ends. Rejected when it could not begin, or the machine has gone. */
  readonly exited: Promise<ExitStatus>;
  private readonly request: AgentRequest;
  private readonly fail: (error: Error) => void;

  /** @internal Made by `vm.spawn` and `vm.shell`. */
  constructor(connection: AgentConnection, command: CommandLine, options: SpawnOptions, defaults: CommandDefaults) {
    checkOptions(options, SPAWN_OPTIONS);
    checkCommand(command);
    const { signal } = options;
    checkSignalOption(signal);
    signal?.throwIfAborted();
    const what = describeCommand(command);
    const outputs = ([1, 2] as const).map((channel) => new Output((count) => this.request.consume(channel, count)));
    let begun: (pid: number) => void = () => {};
    let missed: (error: Error) => void = () => {};
    let ended: (status: ExitStatus) => void = () => {};
    let broken: (error: Error) => void = () => {};
    this.pid = new Promise((resolve, reject) => ([begun, missed] = [resolve, reject]));
    this.exited = new Promise((resolve, reject) => ([ended, broken] = [resolve, reject]));
    // Nobody need wait for either.
    this.pid.catch(() => {});
    this.exited.catch(() => {});
    const abort = (): void => {
      this.request.close(true);
      fail(asError(signal?.reason));
    };
    const fail = (error: Error): void => {
      signal?.removeEventListener('abort', abort);
      missed(error);
      broken(error);
      for (const output of outputs) output.end(error);
    };
    this.fail = fail;
    this.request = connection.request(
      { ...commandRequest(command, options, defaults), stdin: true },
      {
        started: (pid) => begun(pid),
        data: (channel, bytes) => outputs[channel - 1].add(bytes),
        closed: (channel) => outputs[channel - 1].end(),
        ended: (ending) => {
          try {
            const status = statusOf(ending, what);
            signal?.removeEventListener('abort', abort);
            for (const output of outputs) output.end();
            ended(status);
          } catch (error) {
            fail(asError(error));
          }
        },
        failed: fail,
      },
    );
    signal?.addEventListener('abort', abort);
    this.stdout = outputs[0].stream;
    this.stderr = outputs[1].stream;
    this.stdin = new WritableStream<Uint8Array | string>({
      write: (part) => this.write(part),
      close: () => this.request.end(),
      abort: () => this.request.end(),
    });
  }

  /** Sends input; resolves when there is room for more. Beside `stdin`, not through it. */
  async write(input: Uint8Array | string): Promise<void> {
    await this.request.write(bytesOf(input, 'input').slice());
  }

  /** No more input comes. */
  end(): void {
    this.request.end();
  }

  /** Sends a signal, SIGTERM unless another is given, to the process and all in its process group. */
  kill(signal: string | number = 'SIGTERM'): void {
    this.request.signal(checkSignal(signal));
  }

  /** The terminal has another size; without a terminal nothing happens. */
  resize(size: TerminalSize): void {
    this.request.resize(checkSize(size));
  }

  /** Ends it, where it has not ended. */
  [Symbol.asyncDispose](): Promise<void> {
    if (this.request.open) {
      this.request.close(true);
      this.fail(new ExecError('the process was disposed of'));
    }
    return Promise.resolve();
  }
}
