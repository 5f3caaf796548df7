/** A virtual machine as a program has it. */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { UsageError, VitrineError } from '../../base/errors.js';
import type { AcceleratorName } from '../../runtime/node/accelerators.js';
import { MachineHandle } from '../../runtime/node/machine-handle.js';
import { keepSpareWorker } from '../../runtime/node/spare-worker.js';
import type { MachineStart } from '../../runtime/node/protocol.js';
import type { MachineExit } from '../../vmm/machine.js';
import { AgentConnection, AgentGoneError } from '../agent/connection.js';
import type { TerminalSize } from '../agent/protocol.js';
import { runApplet } from '../applet.js';
import { after } from '../deadline.js';
import { errnoText } from '../errno.js';
import { asError, VmError } from '../errors.js';
import {
  exec,
  type CommandDefaults,
  type CommandLine,
  type ExecOptions,
  type ExecResult,
  type SpawnOptions,
} from '../exec.js';
import { GuestProcess } from '../process.js';
import { HostGuestFiles } from './host-files.js';
import { prepareLaunch, readNote, type VmOptions } from './launch.js';
import { PortForwards } from './ports.js';
import { pulledImage } from './pulled-image.js';
import { hasTemplate, makeRoom, momentaryFile, templateFile } from './template.js';

/** What every start of a machine takes. */
export interface StartOptions {
  /** Milliseconds until the guest must answer; 120,000 unless given. */
  readonly bootTimeout?: number;
  /** Aborted: what was started so far is stopped, and the promise is rejected with the signal's reason. */
  readonly signal?: AbortSignal;
  /** What the guest writes to its first serial port: its kernel's messages. */
  readonly onSerial?: (bytes: Uint8Array) => void;
}

/** A machine that is to be made. */
export interface CreateOptions extends VmOptions, StartOptions {
  /**
   * Begin with a machine of the same configuration as it was when it had started, saved the first time and kept in the cache:
   * a fraction of a second instead of a boot. Its memory is shared with others of the kind until it is written to. Its image and
   * disks are as they were, and what it writes to them goes with it.
   */
  readonly warm?: boolean;
}

/** How a saved machine goes on. */
export interface RestoreOptions extends StartOptions {
  /** Without it the best that works here; it need not be the one that the machine was saved on. */
  readonly accel?: AcceleratorName;
  /** Also where the guest misses features of the processor that it has seen. */
  readonly forceCpu?: boolean;
}

/** An interactive shell. */
export interface ShellOptions extends SpawnOptions {
  /** The shell, `/bin/sh` unless given. */
  readonly command?: readonly string[];
  /** 80 columns and 24 rows unless given. */
  readonly size?: TerminalSize;
}

/** Bytes of the serial port that are kept for messages. */
const KEPT_SERIAL = 16_384;
const BOOT_TIMEOUT = 120_000;

/** Templates that are being made. */
const making = new Map<string, Promise<unknown>>();

const version = (): string => {
  const text = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { readonly version: string }).version;
};

/** The last lines that a guest wrote, as one. */
function lastWords(serial: Uint8Array): string {
  const lines = new TextDecoder()
    .decode(serial)
    .split(/[\r\n]+/)
    .filter((line) => line.trim() !== '');
  return lines.slice(-3).join(' / ').slice(0, 400);
}

const describeExit = (exit: MachineExit): string =>
  ({
    'power-off': 'it was switched off',
    exit: 'the guest ended it',
    reset: 'it was reset',
    'triple-fault': 'its processor gave up (triple fault)',
    debug: 'a debugger ended it',
    stopped: 'it was stopped',
  })[exit.kind];

/**
 * A virtual machine with Linux in it, in a worker of this process.
 *
 *   await using vm = await Vm.create();
 *   const { stdout } = await vm.exec('uname -a');
 *
 * All methods are rejected with an AgentGoneError when the machine has ended or was reset meanwhile.
 */
export class Vm {
  /** Files of the guest. */
  readonly fs: HostGuestFiles;
  /** Ports of this host that lead into the guest. */
  readonly ports: PortForwards;
  private over = false;

  private constructor(
    /** The machine underneath: its screen, its drives, its buttons. */
    readonly machine: MachineHandle,
    private readonly connection: AgentConnection,
    private readonly defaults: CommandDefaults,
  ) {
    this.fs = new HostGuestFiles(connection);
    this.ports = new PortForwards(connection);
    const ended = (): void => {
      this.over = true;
      this.ports.close();
    };
    machine.exited.then(ended, ended);
  }

  /** Boots a machine; resolves when commands can be run. Rejected with a one-line error when it cannot be. */
  static async create(options: CreateOptions = {}): Promise<Vm> {
    options.signal?.throwIfAborted();
    if (options.warm) return Vm.createWarm(options);
    const { config, defaults } = await prepareLaunch(options, options.signal);
    return Vm.start({ kind: 'create', config }, options, options.accel, () => defaults);
  }

  private static async createWarm({ signal, onSerial, bootTimeout, warm: _, ...wanted }: CreateOptions): Promise<Vm> {
    const startOptions = {
      ...(signal && { signal }),
      ...(onSerial && { onSerial }),
      ...(bootTimeout !== undefined && { bootTimeout }),
    };
    keepSpareWorker();
    const { image, ...others } = wanted;
    const { onProgress } = others;
    const root = typeof image === 'string' ? await pulledImage(image, { onProgress, signal }) : image;
    const rest = { ...others, ...(root && { image: root }) };
    const file = await templateFile(rest, version());
    for (;;) {
      // Another machine of this process may be making it. Nothing is waited for between a look at that and saying that this one does.
      const other = making.get(file);
      if (other) {
        await other;
        continue;
      }
      if (!hasTemplate(file)) break;
      try {
        return await Vm.begin(file, startOptions, rest.accel);
      } catch (error) {
        // What the machine's own thread refuses: a template of another version, or a damaged one. It is made anew.
        if (!(error instanceof VitrineError) || error.name !== 'VitrineError') throw error;
        await rm(file, { force: true });
      }
    }
    const work = Vm.makeTemplate(file, { ...rest, ...startOptions });
    const settled = work.then(
      () => making.delete(file),
      () => making.delete(file),
    );
    making.set(file, settled);
    return work;
  }

  private static async makeTemplate(file: string, options: CreateOptions): Promise<Vm> {
    const vm = await Vm.create(options);
    try {
      await makeRoom();
      await vm.machine.save(file, { template: true });
      return vm;
    } catch (error) {
      await vm.stop();
      throw error;
    }
  }

  /** A machine that begins with a template. */
  private static begin(file: string, options: StartOptions, accel: AcceleratorName | undefined): Promise<Vm> {
    return Vm.start({ kind: 'resume', file, template: true }, options, accel, (note) => readNote(note).defaults);
  }

  /** Goes on with a machine that `snapshot` saved, at the moment of its save. The file is not used afterwards. */
  static async restore(file: string, options: RestoreOptions = {}): Promise<Vm> {
    options.signal?.throwIfAborted();
    const { forceCpu } = options;
    const start: MachineStart = { kind: 'resume', file, ...(forceCpu !== undefined && { forceCpu }) };
    return Vm.start(start, options, options.accel, (note) => readNote(note).defaults);
  }

  private static async start(
    start: MachineStart,
    { signal, onSerial, bootTimeout = BOOT_TIMEOUT }: StartOptions,
    accel: AcceleratorName | undefined,
    defaultsOf: (note: string | undefined) => CommandDefaults,
  ): Promise<Vm> {
    signal?.throwIfAborted();
    if (!(bootTimeout > 0)) throw new UsageError(`a boot timeout of ${bootTimeout} ms`);
    let serial: Buffer = Buffer.alloc(0);
    const late: { connection?: AgentConnection } = {};
    const machine = new MachineHandle(
      start,
      {
        output: (channel, bytes, done) => {
          if (channel === 'serial') {
            serial = Buffer.concat([serial, bytes]).subarray(-KEPT_SERIAL);
            onSerial?.(bytes);
          }
          done();
        },
        reset: () => late.connection?.machineReset(),
      },
      { version: version(), ...(accel && { accel }) },
    );
    const end = machine.exited.then(
      (exit) => new VmError(`the machine has ended: ${describeExit(exit)}; it wrote: ${lastWords(serial)}`),
      (error: unknown) => (error instanceof Error ? error : new Error(String(error))),
    );
    const gone = machine.exited.then(
      (exit) => new AgentGoneError(`the machine has ended: ${describeExit(exit)}`),
      (error: unknown) => new AgentGoneError(`the machine broke: ${asError(error).message}`, { cause: error }),
    );
    let timer: ReturnType<typeof setTimeout> | undefined;
    let abort: (() => void) | undefined;
    const trouble = Promise.race([
      end,
      new Promise<Error>((resolve) => {
        timer = after(bootTimeout, () => {
          resolve(new VmError(`the guest did not answer within ${bootTimeout} ms; it wrote: ${lastWords(serial)}`));
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
          const stream = machine.connectPort('vitrine.agent', listener);
          if (!stream) throw new VmError('this machine was made without the port of an agent');
          return stream;
        },
        { time: () => Date.now(), random: (bytes) => randomBytes(bytes), why: () => gone },
        start.kind === 'resume',
      );
      late.connection = connection;
      void gone.then((error) => connection.fail(error));
      await orTrouble(connection.ready);
      return new Vm(machine, connection, defaultsOf(machine.facts?.note));
    } catch (error) {
      machine.stop();
      await end;
      throw error;
    } finally {
      clearTimeout(timer);
      if (abort) signal?.removeEventListener('abort', abort);
    }
  }

  /** How the machine ends; rejected when it breaks. */
  get exited(): Promise<MachineExit> {
    return this.machine.exited;
  }

  /**
   * Runs a command to its end: a program with its arguments, or a script for `/bin/sh`. It has ended when its process has;
   * what that left running goes on, unheard. Rejected with an ExecError when it cannot be started.
   */
  exec(command: CommandLine, options: ExecOptions = {}): Promise<ExecResult> {
    return exec(this.connection, command, options, this.defaults);
  }

  /** Starts a command, whose streams can be used while it runs. */
  spawn(command: CommandLine, options: SpawnOptions = {}): GuestProcess {
    return new GuestProcess(this.connection, command, options, this.defaults);
  }

  /** An interactive shell on a terminal of its own. */
  shell(options: ShellOptions = {}): GuestProcess {
    const { command = ['/bin/sh', '-i'], size, ...rest } = options;
    return new GuestProcess(this.connection, command, { tty: size ?? true, ...rest }, this.defaults);
  }

  /** Makes the machine stand still, and its time with it. */
  pause(): Promise<void> {
    return this.machine.pause();
  }

  /** Lets it go on. */
  resume(): Promise<void> {
    return this.machine.resume();
  }

  /** Presses the reset button; resolves when commands can be run again. What ran is gone. */
  async reset(): Promise<void> {
    // The news of the reset comes behind the answer, or ahead of it.
    await Promise.all([this.connection.nextReset(), this.machine.press('reset')]);
    await this.connection.ready;
  }

  /** Saves the machine to a file, for `Vm.restore`; it goes on afterwards. The file is this user's only: it holds all memory. */
  async snapshot(file: string): Promise<void> {
    await this.machine.save(file);
  }

  /**
   * A second machine that is as this one is now; both go on. They share the memory that neither of them writes to. Its disks are
   * temporary or read-only. Give one of them another name (`identify`).
   */
  async fork(options: RestoreOptions = {}): Promise<Vm> {
    keepSpareWorker();
    const file = await momentaryFile();
    try {
      await this.machine.save(file, { template: true, momentary: true });
      return await Vm.begin(file, options, options.accel ?? this.machine.facts?.accel);
    } finally {
      await rm(file, { force: true });
    }
  }

  /** The guest's file systems have written everything to their disks. */
  async sync(): Promise<void> {
    await this.administer(['sync']);
  }

  /** Gives the guest a name, and an id of its machine (32 hexadecimal digits): two that were one need names of their own. */
  async identify({ hostname, machineId }: { readonly hostname?: string; readonly machineId?: string }): Promise<void> {
    if (hostname !== undefined) {
      if (!/^[\w.-]{1,64}$/.test(hostname)) throw new UsageError(`a guest cannot be called "${hostname}"`);
      await this.administer(['hostname', hostname]);
    }
    if (machineId !== undefined) {
      if (!/^[0-9a-f]{32}$/.test(machineId)) throw new UsageError(`"${machineId}" is no id of a machine`);
      await this.administer(['machine-id', machineId]);
    }
  }

  /** Sets the guest's clock by this host's, as every restore does. */
  async setClock(): Promise<void> {
    const now = Date.now();
    await this.administer(['clock', String(Math.floor(now / 1000)), String((now % 1000) * 1e6)]);
  }

  private async administer(argv: readonly string[]): Promise<void> {
    const answer = await runApplet(this.connection, argv);
    if ('errno' in answer) throw new VmError(`the guest refuses ${argv[0]}: ${errnoText(answer.errno)}`);
  }

  /**
   * Has the guest end its processes, write everything to its disks and switch the machine off. `grace`: milliseconds that
   * processes have to end, 5,000 unless given; when the guest has not ended twice that later, the machine is stopped.
   */
  async shutdown({ grace = 5000 }: { readonly grace?: number } = {}): Promise<void> {
    if (!Number.isInteger(grace) || grace < 0 || grace > 3_600_000) throw new UsageError(`a grace of ${grace} ms`);
    if (this.over) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, 2 * grace + 10_000);
    });
    const asked = runApplet(this.connection, ['power-off', String(grace)]).then(
      // An init of the image's sees to it itself.
      async (answer) => ('errno' in answer ? this.machine.press('power') : undefined),
      () => undefined,
    );
    await Promise.race([Promise.all([asked, this.machine.exited]), late]);
    clearTimeout(timer);
    await this.stop();
  }

  /** Ends the machine at once, as if its cord were pulled. */
  async stop(): Promise<void> {
    this.ports.close();
    if (!this.over) this.machine.stop();
    await this.machine.exited.catch(() => undefined);
  }

  /** `stop`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}
