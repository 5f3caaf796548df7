/** A machine with Linux in it, whatever the machine runs on: what its agent does for a program. */
import { UsageError } from '../base/errors.js';
import type { MachineExit } from '../vmm/machine.js';
import { AgentGoneError, type AgentConnection } from './agent/connection.js';
import type { TerminalSize } from './agent/protocol.js';
import { runApplet } from './applet.js';
import { after } from './deadline.js';
import { errnoText } from './errno.js';
import { asError, VmError } from './errors.js';
import { exec, type CommandLine, type ExecOptions, type ExecResult, type SpawnOptions } from './exec.js';
import type { GuestFiles } from './files.js';
import { checkObject, checkOptions } from './kinds.js';
import { identityWords, type Identity } from './identity.js';
import type { Note } from './note.js';
import { GuestProcess } from './process.js';

export interface ShellOptions extends SpawnOptions {
  /** The shell, `/bin/sh` unless given. */
  readonly command?: readonly string[];
  /** 80 columns and 24 rows unless given. */
  readonly size?: TerminalSize;
}

/** The machine underneath. */
export interface GuestMachine {
  readonly exited: Promise<MachineExit>;
  /** The machine stands still, and its time with it. */
  pause(): Promise<void>;
  /** It goes on after a pause. */
  resume(): Promise<void>;
  /** Presses a button; what comes of `power` is the guest's affair. */
  press(button: 'reset' | 'power'): Promise<void>;
  /** Ends it at once. */
  stop(): void;
}

/** What a guest is given. */
export interface GuestParts {
  readonly connection: AgentConnection;
  /** What it was made with. */
  readonly note: Note;
  /** Milliseconds since 1970. */
  readonly time: () => number;
}

/** All methods are rejected with an AgentGoneError when the machine has ended or was reset meanwhile. */
export class LinuxGuest<Machine extends GuestMachine, Files extends GuestFiles = GuestFiles> {
  /** It has ended, or broken. */
  protected over = false;

  /** @internal */
  protected constructor(
    /** The machine underneath: its screen, its drives, its buttons. */
    readonly machine: Machine,
    /** Files of the guest. */
    readonly fs: Files,
    /** @internal */
    protected readonly parts: GuestParts,
  ) {
    const ended = (): void => {
      this.over = true;
    };
    machine.exited.then(ended, ended);
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
    return exec(this.parts.connection, command, options, this.parts.note.defaults);
  }

  /** Starts a command, whose streams can be used while it runs. */
  spawn(command: CommandLine, options: SpawnOptions = {}): GuestProcess {
    return new GuestProcess(this.parts.connection, command, options, this.parts.note.defaults);
  }

  /** An interactive shell on a terminal of its own. */
  shell(options: ShellOptions = {}): GuestProcess {
    checkObject(options, 'options');
    const { command = ['/bin/sh', '-i'], size, ...rest } = options;
    return this.spawn(command, { tty: size ?? true, ...rest });
  }

  /** @internal What the machine itself is asked for fails as what its guest is asked for does when it has ended. */
  protected async orGone<T>(asked: Promise<T>): Promise<T> {
    try {
      return await asked;
    } catch (error) {
      throw this.over ? new AgentGoneError(asError(error).message, { cause: error }) : error;
    }
  }

  /** Makes the machine stand still, and its time with it. */
  pause(): Promise<void> {
    return this.orGone(this.machine.pause());
  }

  /** Lets it go on. */
  resume(): Promise<void> {
    return this.orGone(this.machine.resume());
  }

  /** Presses the reset button; resolves when commands can be run again. What ran is gone. */
  async reset(): Promise<void> {
    const { connection } = this.parts;
    // The news of the reset comes behind the answer, or ahead of it.
    await Promise.all([connection.nextReset(), this.machine.press('reset')]);
    await connection.ready;
  }

  /** The guest's file systems have written everything to their disks. */
  sync(): Promise<void> {
    return this.administer(['sync']);
  }

  /** Gives the guest what two machines that were one must not share. What is not given stays as it is. */
  async identify(identity: Identity): Promise<void> {
    const words = identityWords(identity, this.parts.note);
    if (words.some((word) => word !== '')) await this.administer(['identity', ...words]);
  }

  /** Sets the guest's clock by its host's, as every restore does. */
  setClock(): Promise<void> {
    const now = this.parts.time();
    return this.administer(['clock', String(Math.floor(now / 1000)), String((now % 1000) * 1e6)]);
  }

  private async administer(argv: readonly string[]): Promise<void> {
    const answer = await runApplet(this.parts.connection, argv);
    if ('errno' in answer) throw new VmError(`the guest refuses ${argv[0]}: ${errnoText(answer.errno)}`);
  }

  /**
   * Has the guest end its processes, write everything to its disks and switch the machine off. `grace`: milliseconds that
   * processes have to end, 5,000 unless given; when the guest has not ended twice that and ten seconds later, the machine is stopped.
   */
  async shutdown(options: { readonly grace?: number } = {}): Promise<void> {
    checkOptions(options, ['grace']);
    const { grace = 5000 } = options;
    if (!Number.isInteger(grace) || grace < 0 || grace > 3_600_000) throw new UsageError(`a grace of ${grace} ms`);
    if (this.over) return;
    let timer: ReturnType<typeof after>;
    const late = new Promise<void>((resolve) => {
      timer = after(2 * grace + 10_000, resolve);
    });
    const asked = runApplet(this.parts.connection, ['power-off', String(grace)]).then(
      // An init of the image's sees to it itself.
      (answer) => ('errno' in answer ? this.machine.press('power') : undefined),
      () => undefined,
    );
    await Promise.race([Promise.all([asked, this.machine.exited]), late]);
    clearTimeout(timer);
    await this.stop();
  }

  /** Ends the machine at once, as if its cord were pulled. */
  async stop(): Promise<void> {
    if (!this.over) this.machine.stop();
    await this.machine.exited.catch(() => undefined);
  }

  /** `stop`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}
