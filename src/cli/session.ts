/** A machine on this process's terminal, from its start to the process's exit code. */
import * as fs from 'node:fs';
import { assertNever } from '../base/assert.js';
import { VitrineError } from '../base/errors.js';
import { LogFile } from '../host/node/log-file.js';
import { writeNumbered } from '../host/node/output-file.js';
import { checkWritable, temporaryName } from '../host/node/snapshot-file.js';
import { GdbServer, type GdbAddress } from '../runtime/node/gdb-server.js';
import { QmpServer, type QmpAddress } from '../runtime/node/qmp-server.js';
import { MachineHandle } from '../runtime/node/machine-handle.js';
import { register } from '../runtime/node/registry.js';
import type { VncServer, VncOptions } from '../runtime/node/vnc-server.js';
import type { InputChannel, MachineStart, OutputChannel, WorkerOptions } from '../runtime/node/protocol.js';
import type { MachineExit } from '../vmm/machine.js';
import { AgentGoneError, ExecError } from '../sdk/errors.js';
import type { CpuLimits } from '../vmm/sched/settings.js';
import { ESCAPE_HELP, EscapeKeys, type EscapeAction } from './escape-keys.js';
import { EXIT, failureCode, GuestProgram, type GuestProgramOptions } from './guest-program.js';
import { Terminal } from './terminal.js';
import { productVersion } from './version.js';

export interface SessionOptions {
  /** Absent: the best that works. */
  readonly accel?: NonNullable<WorkerOptions['accel']>;
  readonly kernelIrqchip?: NonNullable<WorkerOptions['kernelIrqchip']>;
  /** Which of the guest's consoles the terminal is. */
  readonly console: InputChannel;
  /** Where the machine is saved when it is stopped from outside. */
  readonly saveOnExit?: string;
  /** Where the debug console's output goes. */
  readonly debugcon?: string;
  /** Where gdb can connect. */
  readonly gdb?: GdbAddress;
  /** What the machine is called. */
  readonly name?: string;
  /** What it may have of the host's processors. */
  readonly limits: Partial<CpuLimits>;
  /** With machines of what other processes it shares them. */
  readonly group?: string;
  /** Where clients of QMP can connect, besides the place where machines are looked for. */
  readonly qmp?: QmpAddress;
  /** Where VNC clients can connect. */
  readonly vnc?: VncOptions;
  /** The machine waits for gdb before its first instruction. */
  readonly startStopped?: boolean;
  readonly trace?: WorkerOptions['trace'];
  /** What was done and how is told at the end. */
  readonly stats?: boolean;
  /** What the guest writes to the virtio console before a program's exit code, which becomes this process's. */
  readonly exitMark?: string;
  /** What the guest's agent is to run on this process's terminal or pipes; its exit code becomes this process's. */
  readonly program?: GuestProgramOptions;
}

/** Signals that end the machine, with their numbers: the exit code is 128 more, as shells have it. */
const SIGNALS = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGABRT: 6,
  SIGUSR2: 12,
  SIGALRM: 14,
  SIGTERM: 15,
  SIGXCPU: 24,
} as const;
type Signal = keyof typeof SIGNALS;

/** Milliseconds between two requests to stop that are not the same. */
const IN_A_HURRY = 500;

/** Why the machine is to be stopped. */
type Reason = 'quit' | 'QMP' | 'output closed' | Signal;

/** Who can connect from outside. */
interface Servers {
  readonly gdb?: GdbServer;
  readonly qmp: QmpServer;
  /** Where `--qmp` listens. */
  readonly qmpAddress?: string;
  readonly vnc?: VncServer;
}

class Session {
  private readonly terminal: Terminal;
  private readonly program: GuestProgram | undefined;
  private readonly handle: MachineHandle;
  private readonly debugcon: LogFile | undefined;
  private stopReason: Reason | undefined;
  /** When, by `performance.now`. */
  private stopAsked = 0;
  private saved = false;
  /** What the host could not do: save, or write the log. */
  private failure: Error | undefined;
  /** What the guest wrote last, so that what we say begins on a line of its own. */
  private midLine = false;
  /** The end of what it wrote to the console that the terminal is not. */
  private side = '';
  private programExit: number | undefined;
  /** Why the agent could not run the program. */
  private agentFailure: Error | undefined;

  constructor(
    start: MachineStart,
    private readonly options: SessionOptions,
    private readonly servers: Servers,
  ) {
    const { gdb, qmp, vnc } = servers;
    const {
      accel,
      kernelIrqchip,
      saveOnExit,
      debugcon,
      startStopped = false,
      trace,
      stats = false,
      limits,
      group,
      name,
    } = options;
    const { program } = options;
    this.terminal = new Terminal(process.stdin, program?.tty);
    if (saveOnExit !== undefined) checkWritable(saveOnExit, 'snapshot');
    this.debugcon = debugcon === undefined ? undefined : new LogFile(debugcon, 'log');
    process.stdout.on('error', () => this.stop('output closed'));
    // A terminal that was hung up: nobody is left to be told.
    process.stderr.on('error', () => {});
    this.handle = new MachineHandle(
      start,
      {
        output: (channel, bytes, done) => this.output(channel, bytes, done),
        report: (text) => this.say(text.split('\n')),
        drain: () => this.terminal.resume(),
        reset: () => qmp.reset(),
        trayMoved: (disk, open) => qmp.trayMoved(disk, open),
        cardRemoved: (id) => qmp.cardRemoved(id),
        frame: (news) => vnc?.frame(news),
        debugger: (bytes) => {
          if (bytes) gdb?.send(bytes);
          else gdb?.hangUp();
        },
      },
      {
        ...(accel && { accel }),
        ...(kernelIrqchip && { kernelIrqchip }),
        holdInput: !this.terminal.interactive,
        startStopped,
        stats,
        limits,
        ...(group !== undefined && { group }),
        ...(trace && { trace }),
        version: productVersion(),
      },
    );
    this.program = program && new GuestProgram(program, this.handle);
    gdb?.attach(this.handle);
    vnc?.attach(this.handle);
    qmp.attach({
      handle: this.handle,
      ...(name !== undefined && { name }),
      version: productVersion(),
      now: () => Date.now(),
      vnc: () => vnc?.state,
      quit: () => this.stop('QMP'),
    });
  }

  private output(channel: OutputChannel, bytes: Uint8Array, done: () => void): void {
    if (channel === this.options.console && this.program) {
      // The kernel's last words, and what somebody in the guest tells its console.
      process.stderr.write(bytes, () => done());
      return;
    }
    if (channel === this.options.console) {
      this.midLine = bytes.at(-1) !== 0x0a;
      process.stdout.write(bytes, () => done());
      return;
    }
    if (channel === 'debug') this.log(bytes);
    if (channel === 'console') this.listen(bytes);
    done();
  }

  /** A program that the guest ran has ended, and with it the machine. */
  private listen(bytes: Uint8Array): void {
    const { exitMark } = this.options;
    if (exitMark === undefined || this.programExit !== undefined) return;
    this.side = (this.side + Buffer.from(bytes).toString('latin1')).slice(-80);
    const told = new RegExp(`${exitMark} (\\d{1,3})\\s`).exec(this.side)?.at(1);
    if (told === undefined) return;
    this.programExit = Number(told) & 0xff;
    this.handle.stop();
  }

  private log(bytes: Uint8Array): void {
    if (this.failure !== undefined) return;
    try {
      this.debugcon?.write(bytes);
    } catch (error) {
      this.failure = error instanceof Error ? error : new Error(String(error));
      this.handle.stop();
    }
  }

  /** Lines from us, not from the guest. */
  private say(lines: readonly string[]): void {
    const apart = this.midLine && this.terminal.interactive ? ['', ...lines] : lines;
    process.stderr.write(apart.map((line) => `${line}\n`).join(''));
    this.midLine = false;
  }

  /** A signal from outside: for the program that the guest runs, as a rule. */
  private signalled(signal: Signal): void {
    if (this.stopReason === undefined && this.program?.forward(signal)) return;
    this.stop(signal);
  }

  private stop(reason: Reason): void {
    // Asked a second time, by somebody in a hurry; one request may come as two signals, as timeout(1) sends them.
    if (this.stopReason !== undefined) {
      if (reason === 'output closed' || performance.now() - this.stopAsked < IN_A_HURRY) return;
      // What is being saved will not be finished.
      const { saveOnExit } = this.options;
      if (saveOnExit !== undefined) fs.rmSync(temporaryName(saveOnExit), { force: true });
      process.exit(reason === 'quit' || reason === 'QMP' ? 1 : 128 + SIGNALS[reason]);
    }
    this.stopReason = reason;
    this.stopAsked = performance.now();
    void this.saveAndStop();
  }

  private async saveAndStop(): Promise<void> {
    const { saveOnExit } = this.options;
    const saving = saveOnExit === undefined ? undefined : this.handle.save(saveOnExit);
    // At once: what the guest did between the two would be done again by the machine that is resumed.
    this.handle.stop();
    try {
      await saving;
      this.saved = saving !== undefined;
    } catch (error) {
      this.failure = error instanceof Error ? error : new Error(String(error));
    }
  }

  private act(action: EscapeAction): void {
    switch (action) {
      case 'quit':
        this.stop('quit');
        break;
      case 'help':
        this.say(ESCAPE_HELP);
        break;
      case 'screen':
        this.handle.screen().then(
          (rows) => this.say(rows.length > 0 ? rows : ['(the screen is in a graphics mode)']),
          () => {},
        );
        break;
      case 'picture':
        void this.takePicture();
        break;
      default:
        assertNever(action);
    }
  }

  private async takePicture(): Promise<void> {
    try {
      const picture = await this.handle.screenshot();
      this.say([`vitrine: the screen is in ${writeNumbered('vitrine-', '.png', 'picture', picture)}`]);
    } catch (error) {
      if (error instanceof VitrineError) this.say([`vitrine: ${error.message}`]);
      else throw error;
    }
  }

  /** Has the agent run what there is to be run, and ends the machine. */
  private async runProgram(program: GuestProgram): Promise<void> {
    const keys = new EscapeKeys((action) => this.act(action));
    const { terminal } = this;
    const io = {
      terminal,
      ...(terminal.interactive && { filter: (bytes: Uint8Array) => keys.filter(bytes) }),
      seen: (bytes: Uint8Array) => (this.midLine = bytes.at(-1) !== 0x0a),
    };
    try {
      this.programExit = await program.run(io, (line) => this.say([`vitrine: ${line}`]));
    } catch (error) {
      if (error instanceof ExecError) {
        this.programExit = failureCode(error);
        this.say([`vitrine: ${error.message}`]);
      } else if (error instanceof AgentGoneError) {
        // What became of the machine says why, if the program had begun.
        if (!program.begun) this.agentFailure = error;
      } else this.failure = error instanceof Error ? error : new Error(String(error));
    }
    this.handle.stop();
  }

  private openTerminal(): void {
    const { terminal, handle } = this;
    const keys = new EscapeKeys((action) => this.act(action));
    terminal.open({
      data: (bytes) => {
        const typed = terminal.interactive ? keys.filter(bytes) : bytes;
        if (typed.length > 0 && !handle.send(this.options.console, typed)) terminal.pause();
      },
    });
    const resize = (): void => {
      const { columns, rows } = process.stdout;
      if (columns > 0 && rows > 0) handle.resize(columns, rows);
    };
    if (process.stdout.isTTY) {
      resize();
      process.stdout.on('resize', resize);
    }
  }

  /** Runs the machine to its end. Returns the process's exit code; what is wrong is thrown. */
  async run(): Promise<number> {
    for (const signal of Object.keys(SIGNALS) as Signal[]) process.on(signal, () => this.signalled(signal));
    try {
      const { gdb, qmp, qmpAddress, vnc } = this.servers;
      if (gdb) this.say([`vitrine: gdb: target remote ${gdb.address}${this.options.startStopped ? ' (waiting)' : ''}`]);
      if (qmpAddress !== undefined) this.say([`vitrine: qmp: ${qmpAddress}`]);
      if (vnc) this.say([`vitrine: vnc: ${vnc.description}`]);
      // Nothing is typed into a machine that cannot start.
      await Promise.race([this.handle.started, this.handle.exited]);
      this.debugcon?.begin();
      const work = this.program && this.runProgram(this.program);
      if (!work) this.openTerminal();
      const exit = await this.handle.exited;
      await work;
      this.terminal.close();
      qmp.ended(exit);
      return this.conclude(exit);
    } finally {
      this.terminal.close();
      this.debugcon?.close();
    }
  }

  private conclude(exit: MachineExit): number {
    const fail = (text: string, code = 1): number => {
      this.say([`vitrine: ${text}`]);
      return code;
    };
    // A guest that cannot start switches itself off, unless it is ended first.
    if (this.agentFailure && this.stopReason === undefined && ['power-off', 'stopped'].includes(exit.kind))
      return fail(this.agentFailure.message, EXIT.BROKEN);
    switch (exit.kind) {
      case 'power-off':
        return this.programExit ?? 0;
      case 'exit':
        return exit.code === 0 ? 0 : fail(`the guest ended with exit code ${exit.code}`, exit.code);
      case 'reset':
        return fail('the machine was reset (--no-reboot)');
      case 'triple-fault':
        this.say(exit.cpu.split('\n'));
        return fail('triple fault (--no-reboot)');
      case 'debug':
        return fail('stopped at a breakpoint without a debugger');
      case 'stopped':
        return this.concludeStop();
      default:
        return assertNever(exit);
    }
  }

  private concludeStop(): number {
    const { saveOnExit } = this.options;
    if (this.failure) throw this.failure;
    const reason = this.stopReason;
    if (reason === undefined && this.programExit !== undefined) return this.programExit;
    if (reason === undefined) {
      this.say(['vitrine: ended by the debugger']);
      return 1;
    }
    const saved = this.saved ? `, saved to ${saveOnExit ?? ''} (vitrine resume goes on)` : '';
    const cause =
      reason === 'quit'
        ? 'by Ctrl-A x'
        : reason === 'output closed'
          ? 'because nobody reads its output'
          : `by ${reason}`;
    this.say([`vitrine: stopped ${cause}${saved}`]);
    if (reason === 'quit') return this.saved ? 0 : 1;
    // As told by whoever manages it.
    if (reason === 'QMP') return 0;
    return reason === 'output closed' ? 1 : 128 + SIGNALS[reason];
  }
}

/** Of viewers' windows: machines are told apart by it. */
const titleOf = (name: string | undefined): string => (name === undefined ? 'Vitrine' : `Vitrine (${name})`);

/** Lets `vitrine top` find the machine. One that was given no name runs also where that cannot be. */
async function beFound(qmp: QmpServer, name: string | undefined): Promise<void> {
  try {
    await register(qmp, name);
  } catch (error) {
    if (name !== undefined || !(error instanceof VitrineError)) throw error;
  }
}

/** Runs a machine on this process's terminal. Returns the exit code. */
export async function runSession(start: MachineStart, options: SessionOptions): Promise<number> {
  const qmp = new QmpServer();
  const servers: { gdb?: GdbServer; vnc?: VncServer; qmpAddress?: string } = {};
  try {
    if (options.gdb) servers.gdb = await GdbServer.listen(options.gdb);
    if (options.qmp) servers.qmpAddress = await qmp.listen(options.qmp);
    await beFound(qmp, options.name);
    if (options.vnc) {
      const { VncServer } = await import('../runtime/node/vnc-server.js');
      servers.vnc = await VncServer.listen(options.vnc, titleOf(options.name));
    }
    return await new Session(start, options, { ...servers, qmp }).run();
  } finally {
    servers.gdb?.close();
    qmp.close();
    servers.vnc?.close();
  }
}
