/** What is carried by WebSockets. */
import type { Static, TSchema } from '@sinclair/typebox';
import { ApiError } from '../../api/errors.js';
import { EXEC_CHANNEL } from '../../api/exec-session.js';
import { ExecControl, ExecStart, type EventMessage, type ExecNews } from '../../api/schemas.js';
import type { GuestProcess, Vm } from '../../sdk/index.js';
import { apiErrorOf } from '../answers.js';
import type { Call, SocketHandlers } from '../call.js';
import type { Peer } from '../peer.js';
import { openRelay } from '../relay.js';
import { problemOf } from '../validate.js';
import { machineOf } from './machines.js';

/** Milliseconds that a client has for its first message. */
const FIRST_MESSAGE = 30_000;
/** Bytes of news that wait for a slow client before it is given up. */
const MOST_NEWS = 4 << 20;

function failureOf(error: unknown, local: boolean): ApiError {
  return apiErrorOf(error, local) ?? new ApiError('internal', 'the server has failed');
}

/** Reads what a client says. Throws an ApiError. */
function message<T extends TSchema>(schema: T, text: string): Static<T> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new ApiError('invalid', 'the message is no JSON');
  }
  const problem = problemOf(schema, value);
  if (problem !== undefined) throw new ApiError('invalid', `the message: ${problem}`);
  return value;
}

/** One command behind a WebSocket, from its first message on. */
class ExecPeer {
  private process: GuestProcess | undefined;
  private timedOut = false;
  private readonly first: NodeJS.Timeout;

  constructor(
    private readonly vm: Vm,
    private readonly peer: Peer,
    private readonly local: boolean,
  ) {
    this.first = setTimeout(() => this.fail(new ApiError('timeout', 'no command came')), FIRST_MESSAGE);
    peer.listen({
      text: (text) => this.text(text),
      binary: (bytes) => this.process?.write(bytes),
      closed: () => {
        clearTimeout(this.first);
        void this.process?.[Symbol.asyncDispose]();
      },
    });
  }

  private fail(error: unknown): void {
    this.peer.fail(failureOf(error, this.local));
  }

  private text(text: string): void {
    try {
      if (this.process) this.control(this.process, message(ExecControl, text));
      else this.start(message(ExecStart, text));
    } catch (error) {
      this.fail(error);
    }
  }

  private control(process: GuestProcess, said: ExecControl): void {
    switch (said.type) {
      case 'eof':
        process.end();
        break;
      case 'resize':
        process.resize({ columns: said.columns, rows: said.rows });
        break;
      case 'signal':
        process.kill(said.signal);
        break;
    }
  }

  private start({ command, cwd, env, user, tty, timeout }: ExecStart): void {
    clearTimeout(this.first);
    const process = this.vm.spawn(command, {
      ...(cwd !== undefined && { cwd }),
      ...(env && { env }),
      ...(user !== undefined && { user }),
      ...(tty !== undefined && { tty }),
    });
    this.process = process;
    let timer: NodeJS.Timeout | undefined;
    if (timeout !== undefined)
      timer = setTimeout(() => {
        this.timedOut = true;
        this.fail(new ApiError('timeout', `the command took longer than ${timeout} ms and was killed`));
        void process[Symbol.asyncDispose]();
      }, timeout);
    void this.carry(process).finally(() => clearTimeout(timer));
  }

  private async carry(process: GuestProcess): Promise<void> {
    const { peer } = this;
    const news = (said: ExecNews): boolean => peer.write(JSON.stringify(said));
    process.pid.then(
      (pid) => news({ type: 'started', pid }),
      () => {},
    );
    const forward = async (stream: ReadableStream<Uint8Array>, channel: number): Promise<void> => {
      for await (const bytes of stream) {
        const part = new Uint8Array(bytes.length + 1);
        part[0] = channel;
        part.set(bytes, 1);
        await peer.send(part);
      }
    };
    // What goes wrong with a stream is told by the process.
    const streams = Promise.allSettled([
      forward(process.stdout, EXEC_CHANNEL.STDOUT),
      forward(process.stderr, EXEC_CHANNEL.STDERR),
    ]);
    try {
      const { exitCode, signal } = await process.exited;
      await streams;
      news({ type: 'exit', exitCode, ...(signal !== undefined && { signal }) });
      peer.close();
    } catch (error) {
      if (!this.timedOut) this.fail(error);
    }
  }
}

function serial(call: Call): (peer: Peer) => void {
  const machine = machineOf(call);
  const { vm } = machine;
  return (peer) => {
    peer.listen({
      binary: (bytes) => vm.serial.write(bytes),
    });
    void (async () => {
      for await (const bytes of machine.serial.read({ follow: true, signal: peer.signal })) await peer.send(bytes);
      peer.close();
    })();
  };
}

function display(call: Call): (peer: Peer) => void {
  const machine = machineOf(call);
  const { screen } = machine;
  if (!screen) throw new ApiError('conflict', `the machine ${machine.name} has no screen`);
  // It must be there.
  machine.assertThere();
  return (peer) => {
    const viewer = screen.accept(
      (bytes) => peer.write(bytes),
      () => peer.close(),
    );
    if (!viewer) return;
    peer.listen({
      binary: (bytes) => viewer.receive(bytes),
      drained: () => viewer.drained(),
      closed: () => viewer.close(),
    });
  };
}

const events =
  ({ tenant }: Call) =>
  (peer: Peer): void => {
    const tell = (event: EventMessage): void => {
      // Who does not listen must ask anew.
      if (peer.waiting > MOST_NEWS) peer.terminate();
      else peer.write(JSON.stringify(event));
    };
    for (const { name, info } of tenant.machines.values()) tell({ type: 'machine', name, machine: info });
    peer.listen({ closed: tenant.listen(tell) });
  };

export const socketHandlers: SocketHandlers = {
  execStream: (call) => {
    const { guest } = machineOf(call);
    return (peer) => {
      new ExecPeer(guest, peer, call.tenant.local);
    };
  },
  serial,
  display,
  events,
  relay: openRelay,
};
