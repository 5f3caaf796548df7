/** All machines as they are, told by the server as they change; the connection is made anew when it is lost. */
import type { ApiClient } from '../../api/client.js';
import type { EventMessage, MachineInfo } from '../../api/schemas.js';
import type { ClientSocket } from '../../api/transport.js';

/** Milliseconds until a lost connection is tried again: the first time, and at most. */
const RETRY = { LEAST: 500, MOST: 15_000 } as const;

/** Whoever wants to be told; `add` gives what ends that. */
export class Listeners<T> {
  private readonly all = new Set<(value: T) => void>();

  add(listener: (value: T) => void): () => void {
    this.all.add(listener);
    return () => this.all.delete(listener);
  }

  tell(value: T): void {
    for (const listener of [...this.all]) listener(value);
  }
}

export class Feed {
  /** By name, in the order in which they were made. */
  readonly machines = new Map<string, MachineInfo>();
  /** Machines are not what they were. */
  readonly changed = new Listeners<void>();
  /** Something other than a machine has changed. */
  readonly news = new Listeners<EventMessage>();
  readonly connection = new Listeners<boolean>();
  connected = false;
  private socket: ClientSocket | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private wait: number = RETRY.LEAST;
  private over = false;

  constructor(private readonly client: ApiClient) {
    this.connect();
  }

  private connect(): void {
    const seen = new Set<string>();
    let first = true;
    this.socket = this.client.events(
      (event) => {
        seen.add(event.name);
        if (first) this.begun();
        first = false;
        this.take(event);
      },
      () => this.lost(),
    );
    this.forgetLost(seen).catch(() => {
      // The connection will say so, too.
    });
  }

  private begun(): void {
    this.wait = RETRY.LEAST;
    this.setConnected(true);
  }

  /** What went while nobody told us; whatever has been told of meanwhile is newer than the list. */
  private async forgetLost(seen: ReadonlySet<string>): Promise<void> {
    const there = new Set((await this.client.list()).map(({ name }) => name));
    // Without machines there is no first event.
    this.setConnected(true);
    for (const name of [...this.machines.keys()]) if (!there.has(name) && !seen.has(name)) this.machines.delete(name);
    this.changed.tell();
  }

  private setConnected(connected: boolean): void {
    if (this.over || connected === this.connected) return;
    this.connected = connected;
    this.connection.tell(connected);
  }

  private take(event: EventMessage): void {
    if (event.type === 'machine' && event.machine) this.machines.set(event.name, event.machine);
    else if (event.type === 'machine-removed') this.machines.delete(event.name);
    else {
      this.news.tell(event);
      return;
    }
    this.changed.tell();
  }

  private lost(): void {
    if (this.over) return;
    this.setConnected(false);
    this.timer = setTimeout(() => this.connect(), this.wait);
    this.wait = Math.min(RETRY.MOST, this.wait * 2);
  }

  /** An answer of the server may be here before the event is. */
  add(info: MachineInfo): void {
    this.machines.set(info.name, info);
    this.changed.tell();
  }

  close(): void {
    this.over = true;
    clearTimeout(this.timer);
    this.socket?.close();
  }
}
