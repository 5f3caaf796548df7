/** Starts a machine, and waits until the agent in its guest answers. */
import { randomBytes } from 'node:crypto';
import { UsageError } from '../../base/errors.js';
import type { FrameNews } from '../../display/frame-news.js';
import type { AcceleratorName } from '../../runtime/node/accelerator-names.js';
import { MachineHandle } from '../../runtime/node/machine-handle.js';
import type { WorkerKind } from '../../runtime/node/worker-kind.js';
import type { MachineStart } from '../../runtime/node/protocol.js';
import { AgentConnection, AgentGoneError } from '../agent/connection.js';
import { AGENT_PORT } from '../agent/protocol.js';
import { BOOT_TIMEOUT, describeExit, lastWords } from '../boot.js';
import { after } from '../deadline.js';
import { errnoText } from '../errno.js';
import { asError, VmError } from '../errors.js';
import { SerialPort } from '../serial.js';
import { Monitor } from './monitor.js';

/** What every start of a machine takes. */
export interface StartOptions {
  /** Milliseconds until the guest must answer; 120,000 unless given. */
  readonly bootTimeout?: number;
  /** Aborted: what was started so far is stopped, and the promise is rejected with the signal's reason. */
  readonly signal?: AbortSignal;
  /** What the guest writes to its first serial port: its kernel's messages. */
  readonly onSerial?: (bytes: Uint8Array) => void;
  /** What has changed on its screen, once for each `machine.requestFrame()`. */
  readonly onFrame?: (news: FrameNews) => void;
  /**
   * `shared`: the worker that such machines of this process share, where one that is idle takes a few MiB instead of some 40. They take turns on its thread, and are
   * meant to be idle most of the time: one that computes slows the others down, and while one waits for files of the host, for an image on a server or for
   * being saved, all do. One CPU, on `wasm` or `interp`. Unless given it is `own`, and for a fork what the other machine has.
   */
  readonly worker?: WorkerKind;
}

/** Throws what is wrong with them, or the signal's reason. */
export function checkStart({ signal, bootTimeout = BOOT_TIMEOUT }: StartOptions): void {
  signal?.throwIfAborted();
  if (!(bootTimeout > 0)) throw new UsageError(`a boot timeout of ${bootTimeout} ms`);
}

export interface StartedMachine {
  readonly machine: MachineHandle;
  readonly connection: AgentConnection;
  readonly serial: SerialPort;
  readonly monitor: Monitor;
}

/** Rejected with a one-line error when the machine does not come up; then nothing of it is left. */
export async function startMachine(
  start: MachineStart,
  options: StartOptions & {
    readonly version: string;
    readonly accel?: AcceleratorName;
    /** What the guest is to be known by: `identityWords`. */
    readonly identity?: readonly string[] | undefined;
  },
): Promise<StartedMachine> {
  const { signal, onSerial, onFrame, bootTimeout = BOOT_TIMEOUT, worker, version, accel, identity } = options;
  checkStart(options);
  const serial = new SerialPort();
  const monitor = new Monitor();
  const late: { connection?: AgentConnection } = {};
  if (onSerial) serial.onData(onSerial);
  const machine = new MachineHandle(
    start,
    {
      output: (channel, bytes, done) => {
        if (channel === 'serial') serial.receive(bytes);
        done();
      },
      drain: () => serial.drained(),
      ...(onFrame && { frame: onFrame }),
      report: (text) => monitor.tell({ kind: 'report', text }),
      reset: () => {
        late.connection?.machineReset();
        monitor.tell({ kind: 'reset' });
      },
    },
    { version, ...(accel && { accel }), ...(worker && { worker }) },
  );
  serial.connect({ send: (bytes) => machine.send('serial', bytes) });
  monitor.connect(machine);
  const end = machine.exited.then(
    (exit) => new VmError(`the machine has ended: ${describeExit(exit)}; ${lastWords(serial)}`),
    (error: unknown) => asError(error),
  );
  const gone = machine.exited.then(
    (exit) => new AgentGoneError(`the machine has ended: ${describeExit(exit)}`),
    (error: unknown) => new AgentGoneError(`the machine broke: ${asError(error).message}`, { cause: error }),
  );
  void gone.then((error) => serial.close(error));
  let timer: ReturnType<typeof setTimeout> | undefined;
  let abort: (() => void) | undefined;
  const trouble = Promise.race([
    end,
    new Promise<Error>((resolve) => {
      timer = after(bootTimeout, () => {
        resolve(new VmError(`the guest did not answer within ${bootTimeout} ms; ${lastWords(serial)}`));
      });
    }),
    new Promise<Error>((resolve) => {
      abort = () => resolve(asError(signal?.reason));
      signal?.addEventListener('abort', abort);
    }),
  ]);
  const orTrouble = async <T>(what: Promise<T>): Promise<T> =>
    Promise.race([
      what,
      trouble.then((error) => {
        throw error;
      }),
    ]);
  try {
    await orTrouble(machine.started);
    const connection = new AgentConnection(
      (listener) => {
        const stream = machine.connectPort(AGENT_PORT, listener);
        if (!stream) throw new VmError('this machine was made without the port of an agent');
        return stream;
      },
      { time: () => Date.now(), random: (bytes) => randomBytes(bytes), why: () => gone, identity },
      start.kind !== 'create',
    );
    late.connection = connection;
    void gone.then((error) => connection.fail(error));
    const { identityErrno } = await orTrouble(connection.ready);
    if (identityErrno !== 0)
      throw new VmError(`the guest refuses its name, id or address: ${errnoText(identityErrno)}`);
    return { machine, connection, serial, monitor };
  } catch (error) {
    machine.stop();
    await end;
    throw error;
  } finally {
    clearTimeout(timer);
    if (abort) signal?.removeEventListener('abort', abort);
  }
}
