import type { Operation, Taskfile } from './drive.js';
import { COMMAND, SECTOR } from './registers.js';

/** A command without data that has nothing left to do. */
export function noData(taskfile: Taskfile): Operation {
  return {
    action: 'none',
    protocol: 'none',
    direction: 'none',
    length: 0,
    block: 0,
    start: 0,
    data: null,
    error: 0,
    taskfile,
    packet: null,
    durable: 0,
  };
}

/** A command that sends data of the device's own. */
export function reply(taskfile: Taskfile, data: Uint8Array, protocol: 'pio' | 'dma'): Operation {
  return {
    ...noData(taskfile),
    action: 'reply',
    protocol,
    direction: 'in',
    length: data.length,
    block: SECTOR,
    data,
  };
}

/** Commands that disks and packet devices have in common and that change nothing: power management, the diagnostic. */
export function commonOperation(taskfile: Taskfile): Operation | undefined {
  switch (taskfile.command) {
    case COMMAND.EXECUTE_DIAGNOSTIC:
    case COMMAND.STANDBY_IMMEDIATE:
    case COMMAND.STANDBY_IMMEDIATE_OLD:
    case COMMAND.IDLE_IMMEDIATE:
    case COMMAND.IDLE_IMMEDIATE_OLD:
    case COMMAND.STANDBY:
    case COMMAND.STANDBY_OLD:
    case COMMAND.IDLE:
    case COMMAND.IDLE_OLD:
    case COMMAND.CHECK_POWER:
    case COMMAND.CHECK_POWER_OLD:
    case COMMAND.SLEEP:
    case COMMAND.SLEEP_OLD:
      return noData(taskfile);
    default:
      return undefined;
  }
}
