/** Asks the monitor of a machine, of this process or another one. */
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { HostError } from '../../base/errors.js';
import { JsonStream } from '../../vmm/qmp/json-stream.js';
import type { Json } from '../../vmm/qmp/json-text.js';
import { isObject, type JsonObject } from '../../vmm/qmp/types.js';
import { connectUnix } from './listen-unix.js';

/** Milliseconds that an answer may take. */
const PATIENCE = 2000;

export class QmpClient {
  private readonly stream = new JsonStream();
  /** Who waits for answers, which come in the order of the questions. */
  private waiting: ((answer: JsonObject | undefined) => void)[] = [];
  private isOpen = true;

  private constructor(private readonly socket: Socket) {
    socket.on('data', (bytes) => {
      for (const item of this.stream.push(new Uint8Array(bytes)))
        if ('error' in item) socket.destroy();
        else this.take(item.value);
    });
    // What goes wrong with a connection ends it.
    socket.on('error', () => {});
    socket.on('close', () => this.end());
  }

  /** Throws `NobodyListens` when nobody does. */
  static async connect(path: string): Promise<QmpClient> {
    const client = new QmpClient(await connectUnix(path));
    try {
      await client.ask('qmp_capabilities');
    } catch (error) {
      client.close();
      throw error;
    }
    return client;
  }

  private take(message: Json): void {
    // The greeting and events are no answers.
    if (isObject(message) && ('return' in message || 'error' in message)) this.waiting.shift()?.(message);
  }

  private end(): void {
    this.isOpen = false;
    for (const resolve of this.waiting.splice(0)) resolve(undefined);
  }

  /** The answer. Throws a one-line error when there is none, or the machine refuses. */
  async ask(command: string, given?: JsonObject): Promise<Json> {
    if (!this.isOpen) throw new HostError('the machine has ended');
    const stop = new AbortController();
    const answer = new Promise<JsonObject | undefined>((resolve) => this.waiting.push(resolve));
    this.socket.write(`${JSON.stringify({ execute: command, ...(given && { arguments: given }) })}\n`);
    const late = delay(PATIENCE, 'late' as const, { signal: stop.signal }).catch(() => 'late' as const);
    const result = await Promise.race([answer, late]);
    stop.abort();
    if (result === 'late') {
      this.close();
      throw new HostError('the machine does not answer');
    }
    if (result === undefined) throw new HostError('the machine has ended');
    const { error } = result;
    if (isObject(error)) throw new HostError(typeof error['desc'] === 'string' ? error['desc'] : 'refused');
    return result['return'];
  }

  close(): void {
    this.socket.destroy();
  }
}
