/** All commands of the monitor, those about the protocol itself included. */
import type { QmpCommand } from './command.js';
import { query } from './command.js';
import { CONTROL_COMMANDS } from './control-commands.js';
import { DEVICE_COMMANDS } from './device-commands.js';
import { MEDIA_COMMANDS } from './media-commands.js';
import { INPUT_COMMANDS } from './input-commands.js';
import { LIMIT_COMMANDS } from './limit-commands.js';
import { USER_COMMANDS } from './user-commands.js';
import { EVENTS } from './events.js';
import { PLUG_COMMANDS } from './plug-commands.js';
import { describeSchema } from './schema.js';
import { arrayOf, INT, NOTHING, object, oneOf, QmpError, STR, type JsonObject } from './types.js';

export const NEGOTIATION = 'qmp_capabilities';

const VERSION = object({ qemu: object({ major: INT, minor: INT, micro: INT }), package: STR });

const SCHEMA = arrayOf({
  ...object({ name: STR, 'meta-type': oneOf('builtin', 'enum', 'array', 'object', 'command', 'event') }),
  isOpen: true,
});

/** `version` is what the greeting says. */
export function commandsOf(version: JsonObject): ReadonlyMap<string, QmpCommand> {
  const all = new Map<string, QmpCommand>();
  const named: readonly (readonly [string, QmpCommand])[] = [
    [
      NEGOTIATION,
      {
        arguments: object({ 'enable?': arrayOf(oneOf('oob')) }),
        returns: NOTHING,
        run: () => {
          throw new QmpError('Capabilities negotiation is already complete, command ignored', 'CommandNotFound');
        },
      },
    ],
    ['query-version', query(VERSION, () => version)],
    ['query-commands', query(arrayOf(object({ name: STR })), () => Array.from(all.keys(), (name) => ({ name })))],
    ['query-qmp-schema', query(SCHEMA, () => describeSchema({ commands: all, events: EVENTS }))],
    ...Object.entries(CONTROL_COMMANDS),
    ...Object.entries(DEVICE_COMMANDS),
    ...Object.entries(PLUG_COMMANDS),
    ...Object.entries(MEDIA_COMMANDS),
    ...Object.entries(USER_COMMANDS),
    ...Object.entries(INPUT_COMMANDS),
    ...Object.entries(LIMIT_COMMANDS),
  ];
  for (const [name, command] of named) all.set(name, command);
  return all;
}
