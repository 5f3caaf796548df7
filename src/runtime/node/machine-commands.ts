/** What a machine's owner asks for, on the machine's thread: taken from a port when the shared word WAKE says that something lies there. */
import { inspect as show } from 'node:util';
import { receiveMessageOnPort, type MessagePort } from 'node:worker_threads';
import { kindOf, type PortableError } from '../common/portable-error.js';
import { deflate } from '../../host/node/deflate.js';
import { writeFileSafely } from '../../host/node/snapshot-file.js';
import type { DisplayAdapter } from '../../iface/display.js';
import { SnapshotWriter, type SnapshotTarget } from '../../snapshot/container.js';
import type { VirtualMachine } from '../../vmm/machine.js';
import type { StreamMux } from '../../vmm/stream-mux.js';
import { QuickCommands } from '../common/quick-commands.js';
import { isDebugCommand, type DebugCommand, type Debugging } from './debugging.js';
import type { MachineOrigin } from './machine-origin.js';
import { SHARED, type Answer, type Command, type Event, type WorkerAnswer } from './protocol.js';
import { WorkerDisplay } from './worker-display.js';

/** The way between a machine and its owner. */
export interface OwnerLink {
  readonly port: MessagePort;
  /** Of SHARED. */
  readonly words: Int32Array<SharedArrayBuffer>;
}

type SlowCommand = Extract<Command, { kind: 'save' | 'branch' | 'stop' | 'pause' | 'resume' }> | DebugCommand;

/** The machine has to stand still for it. */
function isSlow(command: Command): command is SlowCommand {
  return ['save', 'branch', 'stop', 'pause', 'resume'].includes(command.kind) || isDebugCommand(command);
}

export function portable(error: unknown): PortableError {
  const { message } = error instanceof Error ? error : new Error(String(error));
  // With what caused it.
  return { message, kind: kindOf(error), stack: show(error) };
}

/** What the screen shows, and the time of the machine's clock. */
const shownBy = (on: VirtualMachine): [DisplayAdapter | undefined, number] => [
  on.board.display.adapter,
  on.clock.now(),
];

export class MachineCommands {
  /** Those that were taken from the port and not carried out yet. */
  private readonly waiting: Command[] = [];
  private readonly display = new WorkerDisplay();
  private readonly quick: QuickCommands;
  /** The owner wants the machine to end. */
  isStopping = false;
  /** The owner wants it to stand still. */
  isPaused = false;

  constructor(
    private readonly link: OwnerLink,
    private readonly origin: MachineOrigin,
    streams: StreamMux,
  ) {
    this.quick = new QuickCommands({
      answer: (id, work) => this.answer(id, work),
      frame: (on) => this.post({ kind: 'frame', news: this.display.frame(...shownBy(on)) }),
      screenshot: (on, format) => this.display.screenshot(format, ...shownBy(on)),
      userInputTaken: () => Atomics.add(link.words, SHARED.INPUT_TAKEN, 1),
      inputTaken: (count) => this.post({ kind: 'taken', count }),
      streams,
    });
  }

  private post(event: Event): void {
    this.link.port.postMessage(event);
  }

  /** Some were not carried out yet. */
  get areWaiting(): boolean {
    return this.waiting.length > 0;
  }

  /** Takes what has come. Cheap when nothing has. */
  fetch(): void {
    const { port, words } = this.link;
    if (Atomics.exchange(words, SHARED.WAKE, 0) === 0) return;
    for (let next = receiveMessageOnPort(port); next; next = receiveMessageOnPort(port)) {
      const command = next.message as Command;
      if (command.kind === 'stop') this.isStopping = true;
      this.waiting.push(command);
    }
  }

  /** Carries out what does not need the machine to stand still; stops it for the rest. */
  carryOutQuick(machine: VirtualMachine): void {
    for (let command = this.waiting.at(0); command; command = this.waiting.at(0)) {
      if (isSlow(command)) {
        machine.stop();
        return;
      }
      this.waiting.shift();
      this.quick.carryOut(machine, command);
    }
  }

  /** Tells the owner what the guest has taken of its input. */
  reportTaken(machine: VirtualMachine): void {
    this.quick.reportTaken(machine);
  }

  /** Carries out what the machine stands still for. False: it ends. */
  carryOutSlow(machine: VirtualMachine, debugging: Debugging): boolean {
    for (let command = this.waiting.at(0); command; command = this.waiting.at(0)) {
      if (command.kind === 'stop') return false;
      if (isDebugCommand(command)) {
        this.waiting.shift();
        if (!debugging.command(command)) return false;
        continue;
      }
      if (!isSlow(command)) break;
      this.waiting.shift();
      if (command.kind === 'save') {
        const request = command;
        this.answer(request.id, () => this.save(machine, request));
        continue;
      }
      if (command.kind === 'branch') {
        const { among } = command;
        this.answer(command.id, () => ({ branch: this.origin.branch(machine, among) }));
        if (!this.isPaused && !debugging.stopped) machine.catchUp();
        continue;
      }
      this.isPaused = command.kind === 'pause';
      this.answer(command.id, () => ({ done: true }));
    }
    return true;
  }

  private save(from: VirtualMachine, request: Extract<Command, { kind: 'save' }>): Answer {
    const { file, template, momentary } = request;
    const write = (target: SnapshotTarget): void =>
      from.save(new SnapshotWriter(target, deflate), template ? 'mappable' : 'packed');
    writeFileSafely(file, 'snapshot', write, !momentary);
    return { saved: file };
  }

  private answer(id: number, work: () => WorkerAnswer): void {
    let result: WorkerAnswer | PortableError;
    try {
      result = work();
    } catch (error) {
      result = portable(error);
    }
    this.post({ kind: 'answer', id, answer: result });
  }
}
