/** A monitor's client, for tests. */
import { connect, type Socket } from 'node:net';

export type Message = Record<string, unknown>;

/** A client of a machine's monitor. */
export class QmpClient {
  readonly events: Message[] = [];
  greeting: Message | undefined;
  private readonly answers: ((message: Message) => void)[] = [];
  private readonly waiting: { name: string; resolve: () => void }[] = [];
  private text = '';
  readonly closed: Promise<void>;

  constructor(private readonly socket: Socket) {
    this.closed = new Promise((resolve) => socket.on('close', () => resolve()));
    socket.on('error', () => {});
    socket.setEncoding('utf8').on('data', (text: string) => {
      this.text += text;
      for (let end = this.text.indexOf('\n'); end >= 0; end = this.text.indexOf('\n')) {
        this.take(JSON.parse(this.text.slice(0, end)) as Message);
        this.text = this.text.slice(end + 1);
      }
    });
  }

  private take(message: Message): void {
    if ('QMP' in message) this.greeting = message;
    else if ('event' in message) {
      this.events.push(message);
      for (const { name, resolve } of this.waiting) if (name === message['event']) resolve();
    } else this.answers.shift()?.(message);
  }

  raw(text: string): Promise<Message> {
    this.socket.write(text);
    return new Promise((resolve) => this.answers.push(resolve));
  }

  ask(execute: string, given?: Message): Promise<Message> {
    return this.raw(JSON.stringify({ execute, ...(given && { arguments: given }) }));
  }

  async value(execute: string): Promise<unknown> {
    return (await this.ask(execute))['return'];
  }

  happened(name: string): Promise<void> {
    if (this.events.some(({ event }) => event === name)) return Promise.resolve();
    return new Promise((resolve) => this.waiting.push({ name, resolve }));
  }

  close(): void {
    this.socket.destroy();
  }
}

/** Connects as soon as somebody listens there. */
export async function qmpClient(at: string | number): Promise<QmpClient> {
  for (let attempt = 0; ; attempt++) {
    const socket = typeof at === 'number' ? connect(at, '127.0.0.1') : connect(at);
    const found = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true));
      socket.once('error', () => resolve(false));
    });
    if (found) return new QmpClient(socket);
    if (attempt > 200) throw new Error('nobody listens');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
