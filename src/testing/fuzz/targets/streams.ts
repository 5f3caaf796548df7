import { STREAM_WINDOW, type StreamEnd, type StreamListener, type StreamService } from '../../../iface/streams.js';
import { StreamMux, type StreamMessage } from '../../../vmm/stream-mux.js';
import type { RandomSource } from '../../random-source.js';
import { must, type FuzzSession, type FuzzTarget } from '../target.js';

const SERVICES: readonly StreamService[] = ['vsock', 'port'];
const MOST_STREAMS = 40;

/** One end of a stream as its user has it. */
class User implements StreamListener {
  end: StreamEnd | undefined;
  /** Bytes that came and were not taken. */
  holds = 0;
  over = false;

  private check(): void {
    must(!this.over, 'a stream that is over says something');
  }
  accepted(): void {
    this.check();
  }
  data(bytes: Uint8Array): void {
    this.check();
    this.holds += bytes.length;
    must(this.holds <= STREAM_WINDOW, 'more arrives than the window allows');
  }
  drained(): void {
    this.check();
  }
  ended(): void {
    this.check();
  }
  closed(): void {
    this.check();
    this.over = true;
  }
}

class Side {
  readonly waiting: StreamMessage[] = [];
  readonly users: User[] = [];
  readonly mux: StreamMux;

  constructor(
    parity: 0 | 1,
    private readonly random: RandomSource,
    private readonly peer: () => Side,
  ) {
    this.mux = new StreamMux((message) => void this.peer().waiting.push(structuredClone(message)), parity);
    this.serve();
  }

  serve(): void {
    for (const service of SERVICES)
      this.mux.serve(service, {
        persistent: this.random.once(2),
        accept: (_port, end) => (this.random.once(5) ? undefined : this.add(end)),
      });
  }

  private add(end: StreamEnd): User {
    // A service that is taken over offers its streams again, to a new user.
    for (const other of this.users) if (other.end === end) other.over = true;
    const user = new User();
    user.end = end;
    this.users.push(user);
    return user;
  }

  connect(): void {
    if (this.mux.size >= MOST_STREAMS) return;
    const user = new User();
    user.end = this.mux.connect(this.random.pick(SERVICES), this.random.below(5), user);
    this.users.push(user);
  }

  use(): void {
    const { random } = this;
    for (let i = this.users.length - 1; i >= 0; i--) if (this.users[i].over) this.users.splice(i, 1);
    if (this.users.length === 0) return;
    const user = random.pick(this.users);
    const { end } = user;
    if (!end) return;
    switch (random.below(8)) {
      case 0:
      case 1:
      case 2:
        end.send(new Uint8Array(Math.min(end.room, random.u32(100_000))));
        break;
      case 3:
      case 4: {
        const count = Math.min(user.holds, random.u32(100_000));
        user.holds -= count;
        end.taken(count);
        break;
      }
      case 5:
        end.accept(random.below(10));
        break;
      case 6:
        if (random.once(4)) end.end();
        break;
      default:
        if (!random.once(6)) return;
        user.over = true;
        if (random.once(2)) end.finish();
        else end.close();
    }
  }

  deliver(count: number): void {
    for (const message of this.waiting.splice(0, count)) this.mux.handle(message);
  }
}

class Session implements FuzzSession {
  private readonly inside: Side;
  private readonly outside: Side;

  constructor(private readonly random: RandomSource) {
    this.inside = new Side(0, random, () => this.outside);
    this.outside = new Side(1, random, () => this.inside);
  }

  step(): void {
    const { random } = this;
    const side = random.once(2) ? this.inside : this.outside;
    switch (random.below(6)) {
      case 0:
        side.connect();
        break;
      case 1:
        side.deliver(random.below(20));
        break;
      case 2:
        if (random.once(200)) side.serve();
        break;
      default:
        side.use();
    }
    // The other thread reads what is sent, sooner or later.
    if (side.waiting.length > 500) side.deliver(400);
  }

  end(): void {
    const { inside, outside } = this;
    for (const side of [inside, outside]) for (const user of side.users) if (!user.over) user.end?.close();
    for (let turn = 0; turn < 10; turn++)
      for (const side of [inside, outside]) {
        for (const user of side.users) user.over = false;
        side.deliver(Infinity);
        for (const user of side.users) user.end?.close();
      }
    must(inside.mux.size + outside.mux.size === 0, 'streams are left when both sides have closed all of theirs');
  }
}

/** Two threads with streams between them, in any order that messages can arrive in. */
export const streamsTarget: FuzzTarget = {
  name: 'streams',
  share: 6,
  length: 1000,
  start: (random) => new Session(random),
};
