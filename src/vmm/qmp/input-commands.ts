/** Commands about keyboard and pointer as devices have them, and about who looks at the screen. */
import { BUTTON, POINTER_RANGE } from '../../iface/input.js';
import { query, type QmpCommand } from './command.js';
import type { Json } from './json-text.js';
import { keyName } from './keys.js';
import type { QmpMachine } from './machine.js';
import {
  arrayOf,
  BOOL,
  check,
  INT,
  isObject,
  NOTHING,
  object,
  oneOf,
  QmpError,
  STR,
  type JsonObject,
  type QmpObject,
} from './types.js';

const MOUSE = object({ name: STR, index: INT, current: BOOL, absolute: BOOL });

const FAMILY = oneOf('ipv4', 'ipv6');
const CLIENT = object({ host: STR, service: STR, family: FAMILY, websocket: BOOL });
const VNC = object({
  enabled: BOOL,
  'host?': STR,
  'family?': FAMILY,
  'service?': STR,
  'auth?': STR,
  'clients?': arrayOf(CLIENT),
});

const EVENT = { ...object({ type: oneOf('key', 'btn', 'rel', 'abs') }), isOpen: true } as const;
const BUTTONS = {
  left: BUTTON.LEFT,
  right: BUTTON.RIGHT,
  middle: BUTTON.MIDDLE,
  side: BUTTON.SIDE,
  extra: BUTTON.EXTRA,
} as const;
const WHEELS = {
  'wheel-up': [-1, 0],
  'wheel-down': [1, 0],
  'wheel-left': [0, -1],
  'wheel-right': [0, 1],
} as const;

/** What each type of event has in its `data`. */
const DATA = {
  key: object({ key: { ...object({ type: oneOf('qcode', 'number') }), isOpen: true }, down: BOOL }),
  btn: object({ button: oneOf(...Object.keys(BUTTONS), ...Object.keys(WHEELS)), down: BOOL }),
  abs: object({ axis: oneOf('x', 'y'), value: INT }),
} as const;

/** Displays have no names here, and one head. Throws a QmpError when another one is asked for. */
export function checkDisplay({ device, head }: JsonObject): void {
  if (typeof device === 'string') throw new QmpError(`Device '${device}' not found`, 'DeviceNotFound');
  if (head !== undefined) throw new QmpError("'head' must be specified together with 'device'");
}

/** `at`: where it is among the arguments. */
function dataOf(event: Json, type: QmpObject, at: string): { readonly [name: string]: Json } {
  const data = isObject(event) ? event['data'] : undefined;
  if (!isObject(data)) throw new QmpError(`Parameter '${at}' is missing`);
  check(data, type, at);
  return data;
}

/** What an event does, once all of them are known to be good. */
function deed(machine: QmpMachine, event: Json, at: string): () => void {
  const { pointer } = machine;
  switch (isObject(event) ? event['type'] : undefined) {
    case 'key': {
      const { key, down } = dataOf(event, DATA.key, at);
      const code = keyName(key, `${at}.key`);
      return () => machine.input({ kind: 'key', code, down: down === true });
    }
    case 'btn': {
      const { button, down } = dataOf(event, DATA.btn, at);
      const name = typeof button === 'string' ? button : '';
      const wheel = Object.hasOwn(WHEELS, name) ? WHEELS[name as keyof typeof WHEELS] : undefined;
      if (wheel) {
        const [vertical, horizontal] = wheel;
        // A step is made when the wheel's button goes down.
        return () => {
          if (down === true) machine.input({ kind: 'wheel', vertical, horizontal });
        };
      }
      const bit = BUTTONS[name as keyof typeof BUTTONS];
      return () => {
        pointer.buttons = down === true ? pointer.buttons | bit : pointer.buttons & ~bit;
        machine.input({ kind: 'point', ...pointer });
      };
    }
    case 'abs': {
      const { axis, value } = dataOf(event, DATA.abs, at);
      if (typeof value !== 'number' || value < 0 || value > POINTER_RANGE)
        throw new QmpError(`Parameter 'value' expects 0 … ${POINTER_RANGE}`);
      return () => {
        pointer[axis === 'x' ? 'x' : 'y'] = value;
        machine.input({ kind: 'point', ...pointer });
      };
    }
    default:
      throw new QmpError('pointers are moved to a place here, with type abs');
  }
}

const family = (host: string): 'ipv4' | 'ipv6' => (host.includes(':') ? 'ipv6' : 'ipv4');

export const INPUT_COMMANDS: Readonly<Record<string, QmpCommand>> = {
  'query-mice': query(arrayOf(MOUSE), async (machine) =>
    (await machine.inspect()).pointers.map(({ name, absolute, current }, index) => ({
      name,
      index,
      current,
      absolute,
    })),
  ),
  'input-send-event': {
    arguments: object({ 'device?': STR, 'head?': INT, events: arrayOf(EVENT) }),
    returns: NOTHING,
    run: (machine, given) => {
      checkDisplay(given);
      const { events } = given;
      const list = Array.isArray(events) ? (events as readonly Json[]) : [];
      const deeds = list.map((event, i) => deed(machine, event, `events[${i}].data`));
      for (const work of deeds) work();
      return {};
    },
  },
  'query-vnc': query(VNC, (machine) => {
    const state = machine.vnc();
    if (!state) return { enabled: false };
    return {
      enabled: true,
      host: state.host,
      service: String(state.port),
      family: family(state.host),
      auth: state.hasPassword ? 'vnc' : 'none',
      clients: state.clients.map(({ host, port, isWebSocket }) => ({
        host,
        service: String(port),
        family: family(host),
        websocket: isWebSocket,
      })),
    };
  }),
};
