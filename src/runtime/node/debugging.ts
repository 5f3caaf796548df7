/** The debugger's side of a machine's worker: who has the machine, and what to do when it stops. */
import { cpuModel } from '../../arch/x86/cpu-models.js';
import { x86GdbArchitecture } from '../../arch/x86/gdb.js';
import { assertNever } from '../../base/assert.js';
import { GdbSession } from '../../vmm/gdb/session.js';
import type { MachineExit, VirtualMachine } from '../../vmm/machine.js';
import type { Command, Event } from './protocol.js';

/** What a debugger wants of a machine. */
export type DebugCommand = Extract<Command, { kind: 'gdb-open' | 'gdb-data' | 'gdb-close' }>;

export const isDebugCommand = (command: Command): command is DebugCommand => command.kind.startsWith('gdb-');

export class Debugging {
  private session: GdbSession | undefined;
  /** How the machine ended, while the debugger looks at what is left of it. */
  private ending: MachineExit | undefined;

  /** `waiting`: for a debugger, before the first instruction. */
  constructor(
    private readonly machine: VirtualMachine,
    private readonly post: (event: Event) => void,
    private waiting: boolean,
  ) {}

  /** The machine must not run. */
  get stopped(): boolean {
    return this.session?.stopped ?? this.waiting;
  }

  /** Carries out a command, between two runs. False: the debugger ends the machine. */
  command(command: DebugCommand): boolean {
    switch (command.kind) {
      case 'gdb-open': {
        this.waiting = false;
        const long = cpuModel(this.machine.config.cpu).features.has('lm');
        this.session = new GdbSession(this.machine, x86GdbArchitecture(long), (bytes) =>
          this.post({ kind: 'gdb-data', bytes }),
        );
        return true;
      }
      case 'gdb-data':
        switch (this.session?.receive(command.bytes)) {
          case 'detached':
            this.session = undefined;
            this.post({ kind: 'gdb-end' });
            return true;
          case 'killed':
            this.session = undefined;
            return false;
          default:
            return true;
        }
      case 'gdb-close':
        this.session?.close();
        this.session = undefined;
        return true;
      default:
        return assertNever(command);
    }
  }

  /** What a run came to: true, when it is over and done with. A debugger gets to see a machine that crashed. */
  ends(exit: MachineExit): boolean {
    const { session } = this;
    if (this.ending !== undefined || exit.kind === 'stopped') return false;
    if (exit.kind === 'debug') {
      session?.stop(exit.reason);
      return false;
    }
    if (session === undefined) return true;
    if (exit.kind === 'triple-fault') {
      this.ending = exit;
      session.stop('crash');
      return false;
    }
    session.ended(exit);
    return true;
  }

  /** The end that was put off for the debugger, when it has seen enough. */
  takeEnding(): MachineExit | undefined {
    if (this.ending === undefined || this.stopped) return undefined;
    this.session?.ended(this.ending);
    return this.ending;
  }
}
