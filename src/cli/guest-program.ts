/** The program of `vitrine run IMAGE`: run by the guest's agent, on this process's terminal or pipes, to its end. */
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { VitrineError } from '../base/errors.js';
import type { MachineHandle } from '../runtime/node/machine-handle.js';
import { AgentConnection, AgentGoneError } from '../sdk/agent/connection.js';
import { AGENT_PORT } from '../sdk/agent/protocol.js';
import { runApplet } from '../sdk/applet.js';
import { ExecError, GuestFileError } from '../sdk/errors.js';
import type { CommandDefaults } from '../sdk/exec.js';
import { GuestFiles } from '../sdk/files.js';
import { furnish } from '../sdk/furnish.js';
import { PortForwards } from '../sdk/node/ports.js';
import { GuestProcess } from '../sdk/process.js';
import { attach, terminalSize, type AttachOptions } from './program-io.js';
import type { ProgramIo } from './program-options.js';
import type { Publication } from './volume-options.js';

export interface GuestProgramOptions extends ProgramIo {
  /** The program and what it is given. */
  readonly argv: readonly string[];
  readonly defaults: CommandDefaults;
  /** Who is asked for names, where the guest's network has been set up by the agent. */
  readonly nameserver: string | undefined;
  readonly publications: readonly Publication[];
  /** Something that outlives the machine is written to: it is to be whole at the end. */
  readonly writesBack: boolean;
}

/** Exit codes where the program could not be started, as shells and Docker have them. */
export const EXIT = { BROKEN: 125, NOT_EXECUTABLE: 126, NOT_FOUND: 127 } as const;

/** The exit code for a program that could not begin. */
export function failureCode({ code }: ExecError): number {
  if (code === 'ENOENT' || code === 'ENOTDIR') return EXIT.NOT_FOUND;
  return code === undefined ? EXIT.BROKEN : EXIT.NOT_EXECUTABLE;
}

/** Milliseconds in which a signal that comes twice is one, as timeout(1) sends it. */
const SAME = 500;
/** So often somebody asks for the program's end before the machine is ended. */
const PATIENCE = 3;
/** Milliseconds that the guest has to write what outlives it. */
const SYNC_LIMIT = 20_000;

/** Signals by which somebody asks for the end. */
const ASKING = ['SIGINT', 'SIGTERM', 'SIGQUIT'];

export class GuestProgram {
  private process: GuestProcess | undefined;
  private ended = false;
  private asked = 0;
  private askedLast = -Infinity;

  constructor(
    private readonly options: GuestProgramOptions,
    private readonly handle: MachineHandle,
  ) {}

  /** Whether it has been started. */
  get begun(): boolean {
    return this.process !== undefined;
  }

  /**
   * Hands a signal on to the program. False: it is the machine that is to end, since there is no program, the terminal has gone,
   * or the program was asked to end several times and does not.
   */
  forward(signal: string): boolean {
    if (!this.process || this.ended || signal === 'SIGHUP') return false;
    if (ASKING.includes(signal)) {
      const now = performance.now();
      if (now - this.askedLast < SAME) return true;
      this.askedLast = now;
      if (++this.asked >= PATIENCE) return false;
    }
    this.process.kill(signal);
    return true;
  }

  /**
   * Runs it on a machine that has started. Returns its exit code; rejected with an ExecError where it cannot begin, with an
   * AgentGoneError when the machine has ended meanwhile. `say`: takes lines for the user.
   */
  async run(io: Pick<AttachOptions, 'terminal' | 'filter' | 'seen'>, say: (line: string) => void): Promise<number> {
    const { argv, defaults, nameserver, publications, tty, input, writesBack } = this.options;
    const connection = this.connect();
    const ports = new PortForwards(connection);
    try {
      await connection.ready;
      const files = new GuestFiles(connection);
      await furnish(files, { hostname: defaults.env['HOSTNAME'] ?? 'vitrine', nameserver, workdir: '' });
      await this.makeWorkdir(files);
      for (const { guestPort, hostAddress, hostPort } of publications) {
        const open = await ports.forward({ guestPort, hostAddress, hostPort });
        if (hostPort === 0) say(`port ${open.hostPort} leads to the guest's ${guestPort}`);
      }
      const size = tty && { tty: terminalSize() };
      this.process = new GuestProcess(connection, argv, { ...size }, defaults);
      const { exitCode } = await attach(this.process, { ...io, tty, input });
      this.ended = true;
      if (writesBack)
        await Promise.race([runApplet(connection, ['sync']), delay(SYNC_LIMIT, undefined, { ref: false })]);
      return exitCode;
    } finally {
      this.ended = true;
      ports.close();
    }
  }

  private connect(): AgentConnection {
    const { handle } = this;
    const gone = handle.exited.then(
      () => new AgentGoneError('the machine has ended'),
      (error: unknown) => new AgentGoneError(`the machine broke: ${String(error)}`, { cause: error }),
    );
    const connection = new AgentConnection(
      (listener) => {
        const stream = handle.connectPort(AGENT_PORT, listener);
        if (!stream) throw new VitrineError('this machine was made without the port of an agent');
        return stream;
      },
      { time: () => Date.now(), random: (bytes) => randomBytes(bytes), why: () => gone },
      false,
    );
    void gone.then((error) => connection.fail(error));
    return connection;
  }

  /** The folder that it runs in; made if it is not there, as Docker has it. */
  private async makeWorkdir(files: GuestFiles): Promise<void> {
    const { cwd } = this.options.defaults;
    if (cwd === '' || cwd === '/') return;
    try {
      await files.mkdir(cwd, { parents: true });
    } catch (error) {
      if (!(error instanceof GuestFileError)) throw error;
      throw new ExecError(`the image has no folder ${cwd}: ${error.message}`);
    }
  }
}
