/** Carries out what is asked of a machine between two slices. */
import { assertNever } from '../../base/assert.js';
import { UsageError } from '../../base/errors.js';
import { PAGE_SIZE } from '../../base/units.js';
import type { VirtioBalloon } from '../../devices/virtio/balloon.js';
import { inspect } from '../../vmm/inspect.js';
import type { VirtualMachine } from '../../vmm/machine.js';
import type { StreamMux } from '../../vmm/stream-mux.js';
import type { Answer, BalloonStatus, Button, PictureFormat, QuickCommand } from './commands.js';

/** The thread that the machine is on. */
export interface CommandHost {
  /** Does something, and tells the owner what came of it, errors included. */
  answer(id: number, work: () => Answer): void;
  /** Tells the owner what has changed on the screen. */
  frame(machine: VirtualMachine): void;
  screenshot(machine: VirtualMachine, format: PictureFormat): Uint8Array;
  /** An event of the user has arrived. */
  userInputTaken(): void;
  /** Bytes of input that the guest took. */
  inputTaken(count: number): void;
  /** Absent: there are none to sockets of the host. */
  readonly streams?: StreamMux;
}

export class QuickCommands {
  /** Bytes of input that were handed to the machine, and of these the ones that its guest took. */
  private sent = 0;
  private taken = 0;

  constructor(private readonly host: CommandHost) {}

  /** Tells the owner what the guest has taken since the last time. */
  reportTaken(machine: VirtualMachine): void {
    const now = this.sent - machine.serialInput.length - machine.consoleInput.length;
    if (now > this.taken) this.host.inputTaken(now - this.taken);
    this.taken = now;
  }

  carryOut(machine: VirtualMachine, command: QuickCommand): void {
    const { host } = this;
    const { board } = machine;
    switch (command.kind) {
      case 'input':
        this.sent += command.bytes.length;
        (command.channel === 'serial' ? machine.serialInput : machine.consoleInput).send(command.bytes);
        break;
      case 'balloon':
        host.answer(command.id, () => ({
          balloon: balloonStatus(board.balloon, machine.config.memory, command.target),
        }));
        break;
      case 'stream':
        host.streams?.handle(command.message);
        break;
      case 'resize':
        board.console.resize(command.columns, command.rows);
        break;
      case 'screen':
        host.answer(command.id, () => ({ screen: board.display.vga?.readText() ?? [] }));
        break;
      case 'screenshot':
        host.answer(command.id, () => ({ screenshot: host.screenshot(machine, command.format) }));
        break;
      case 'user-input':
        host.userInputTaken();
        board.input.take(command.event);
        break;
      case 'prefer-size':
        board.display.adapter?.prefer?.(command.width, command.height);
        break;
      case 'frame':
        host.frame(machine);
        break;
      case 'inspect':
        host.answer(command.id, () => ({ inspection: inspect(machine) }));
        break;
      case 'media':
        host.answer(command.id, () => {
          machine.changeMedia(command.request);
          return { done: true };
        });
        break;
      case 'plug':
        host.answer(command.id, () => {
          machine.plug(command.request);
          return { done: true };
        });
        break;
      case 'press':
        press(machine, command.button);
        host.answer(command.id, () => ({ done: true }));
        break;
      default:
        assertNever(command);
    }
  }
}

/** Sets how much memory is to be left to the guest, bytes; asks for statistics, which are there the next time. */
function balloonStatus(balloon: VirtioBalloon | undefined, memory: number, target: number | undefined): BalloonStatus {
  if (!balloon) throw new UsageError('the machine has no balloon');
  if (target !== undefined) balloon.targetPages = Math.max(0, Math.ceil((memory - target) / PAGE_SIZE));
  const status = {
    target: memory - balloon.targetPages * PAGE_SIZE,
    left: memory - balloon.pages * PAGE_SIZE,
    statistics: Object.fromEntries(balloon.statistics),
  };
  balloon.refresh();
  return status;
}

function press(on: VirtualMachine, button: Button): void {
  switch (button) {
    case 'reset':
      on.pressReset();
      break;
    case 'power':
      on.board.pressPowerButton();
      break;
    case 'nmi':
      for (const cpu of on.cpus) cpu.nmi();
      break;
    default:
      assertNever(button);
  }
}
