/** What is said of machines that do not come up, or have ended, wherever they run. */
import type { MachineExit } from '../vmm/machine.js';
import type { SerialPort } from './serial.js';

/** Milliseconds until a guest must answer, unless something else is asked for. */
export const BOOT_TIMEOUT = 120_000;

/** What a guest wrote last, behind a semicolon. */
export function lastWords(serial: SerialPort): string {
  const lines = serial.text.split(/[\r\n]+/).filter((line) => line.trim() !== '');
  return lines.length === 0 ? 'it wrote nothing' : `it wrote: ${lines.slice(-3).join(' / ').slice(0, 400)}`;
}

export const describeExit = (exit: MachineExit): string =>
  ({
    'power-off': 'it was switched off',
    exit: 'the guest ended it',
    reset: 'it was reset',
    'triple-fault': 'its processor gave up (triple fault)',
    debug: 'a debugger ended it',
    stopped: 'it was stopped',
  })[exit.kind];
