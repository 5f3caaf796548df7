/** Commands that stop and start the machine, and those that say how it is. */
import { action, query, type QmpCommand } from './command.js';
import { arrayOf, BOOL, INT, object, oneOf, STR } from './types.js';

const STATUS = object({ running: BOOL, singlestep: BOOL, status: oneOf('paused', 'running') });
const CPU = object({
  'cpu-index': INT,
  'qom-path': STR,
  'thread-id': INT,
  'props?': object({ 'socket-id?': INT, 'core-id?': INT, 'thread-id?': INT }),
  target: oneOf('x86_64'),
});

const JOB = object({
  type: STR,
  device: STR,
  len: INT,
  offset: INT,
  busy: BOOL,
  paused: BOOL,
  speed: INT,
  'io-status': oneOf('ok', 'failed', 'nospace'),
  ready: BOOL,
  status: oneOf('running', 'paused'),
  'auto-finalize': BOOL,
  'auto-dismiss': BOOL,
});

export const CONTROL_COMMANDS: Readonly<Record<string, QmpCommand>> = {
  stop: action((machine) => machine.pause()),
  cont: action((machine) => machine.resume()),
  system_reset: action((machine) => machine.press('reset')),
  system_powerdown: action((machine) => machine.press('power')),
  'inject-nmi': action((machine) => machine.press('nmi')),
  quit: action((machine) => machine.quit()),
  'query-status': query(STATUS, (machine) => ({
    running: !machine.isPaused(),
    singlestep: false,
    status: machine.isPaused() ? 'paused' : 'running',
  })),
  'query-name': query(object({ 'name?': STR }), ({ name }) => (name === undefined ? {} : { name })),
  'query-uuid': query(object({ UUID: STR }), async (machine) => ({ UUID: (await machine.inspect()).uuid })),
  'query-target': query(object({ arch: oneOf('x86_64') }), () => ({ arch: 'x86_64' })),
  // Present: this program knows how to use it.
  'query-kvm': query(object({ enabled: BOOL, present: BOOL }), (machine) => ({
    enabled: machine.usage().accel === 'kvm',
    present: true,
  })),
  'query-current-machine': query(object({ 'wakeup-suspend-support': BOOL }), () => ({
    'wakeup-suspend-support': false,
  })),
  'query-memory-size-summary': query(object({ 'base-memory': INT, 'plugged-memory?': INT }), async (machine) => ({
    'base-memory': (await machine.inspect()).memory,
    'plugged-memory': 0,
  })),
  'query-cpus-fast': query(arrayOf(CPU), async (machine) =>
    (await machine.inspect()).cpus.map(({ index }) => ({
      'cpu-index': index,
      'qom-path': `/machine/cpu[${index}]`,
      // CPUs are no threads of the host.
      'thread-id': 0,
      props: { 'socket-id': 0, 'core-id': index, 'thread-id': 0 },
      target: 'x86_64',
    })),
  ),
  // Nothing runs in the background.
  'query-block-jobs': query(arrayOf(JOB), () => []),
};
