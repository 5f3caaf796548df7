/** One client of a machine's monitor: the QEMU Machine Protocol, as of QEMU 7.2's docs/interop/qmp-spec. */
import { JsonStream } from './json-stream.js';
import { writeJson, type Json } from './json-text.js';
import type { QmpCommand } from './command.js';
import { commandsOf, NEGOTIATION } from './commands.js';
import type { QmpEvent } from './events.js';
import type { QmpMachine } from './machine.js';
import { check, isObject, QmpError, type JsonObject } from './types.js';

/** The version of QEMU whose protocol this is. */
const PROTOCOL = { major: 7, minor: 2, micro: 0 };

export interface QmpSessionParts {
  readonly machine: QmpMachine;
  /** Version of Vitrine. */
  readonly version: string;
  send(text: string): void;
}

const MEMBERS = new Set(['execute', 'arguments', 'id']);

export class QmpSession {
  private readonly stream = new JsonStream();
  /** Commands are carried out one after the other. */
  private last: Promise<void> = Promise.resolve();
  private negotiated = false;
  private readonly commands: ReadonlyMap<string, QmpCommand>;

  constructor(private readonly parts: QmpSessionParts) {
    const version = { qemu: PROTOCOL, package: `Vitrine ${parts.version}` };
    this.commands = commandsOf(version);
    this.send({ QMP: { version, capabilities: [] } });
  }

  private send(value: Json): void {
    this.parts.send(`${writeJson(value)}\r\n`);
  }

  /** Resolves when everything that came before has been answered. */
  receive(bytes: Uint8Array): Promise<void> {
    for (const item of this.stream.push(bytes))
      this.last = this.last.then(async () => {
        if ('error' in item) this.refuse(new QmpError(`JSON parse error, ${item.error}`), undefined);
        else await this.take(item.value);
      });
    return this.last;
  }

  /** Tells of something that happened. Clients that have not said yet what they can do are not told. */
  event({ name, data, time }: QmpEvent): void {
    if (!this.negotiated) return;
    const seconds = Math.floor(time / 1000);
    const microseconds = Math.floor((time - seconds * 1000) * 1000);
    this.send({ timestamp: { seconds, microseconds }, event: name, ...(data && { data }) });
  }

  private refuse(error: unknown, id: Json | undefined): void {
    const known = error instanceof QmpError ? error.errorClass : 'GenericError';
    const desc = error instanceof Error ? error.message : String(error);
    this.send({ ...(id !== undefined && { id }), error: { class: known, desc } });
  }

  private async take(message: Json): Promise<void> {
    if (!isObject(message)) {
      this.refuse(new QmpError('QMP input must be a JSON object'), undefined);
      return;
    }
    const { id } = message;
    try {
      const result = await this.execute(message);
      this.send({ return: result, ...(id !== undefined && { id }) });
    } catch (error) {
      this.refuse(error, id);
    }
  }

  private async execute(message: JsonObject): Promise<Json> {
    const unknown = Object.keys(message).find((member) => !MEMBERS.has(member));
    if (unknown !== undefined) throw new QmpError(`QMP input member '${unknown}' is unexpected`);
    const { execute: name, arguments: given = {} } = message;
    if (name === undefined) throw new QmpError("QMP input lacks member 'execute'");
    if (typeof name !== 'string') throw new QmpError("QMP input member 'execute' must be a string");
    if (!isObject(given)) throw new QmpError("QMP input member 'arguments' must be an object");
    if (!this.negotiated) return this.negotiate(name, given);
    const command = this.commands.get(name);
    if (command === undefined) throw new QmpError(`The command ${name} has not been found`, 'CommandNotFound');
    check(given, command.arguments, '');
    return command.run(this.parts.machine, given);
  }

  private negotiate(name: string, given: JsonObject): Json {
    if (name !== NEGOTIATION)
      throw new QmpError(`Expecting capabilities negotiation with '${NEGOTIATION}'`, 'CommandNotFound');
    const command = this.commands.get(NEGOTIATION);
    if (command) check(given, command.arguments, '');
    // There is none to enable.
    const { enable = [] } = given;
    if (Array.isArray(enable) && enable.length > 0) throw new QmpError(`Capability ${String(enable[0])} not available`);
    this.negotiated = true;
    return {};
  }
}
