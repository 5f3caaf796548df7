import { STREAM_WINDOW, type StreamEnd, type StreamListener } from '../../../iface/streams.js';
import { AgentConnection } from '../../../sdk/agent/connection.js';
import { frame, GUEST, HEADER, HOST, IN_WINDOW, MAGIC, OUT_WINDOW } from '../../../sdk/agent/protocol.js';
import type { AgentRequest } from '../../../sdk/agent/request.js';
import { EventReader, readEntries } from '../../../sdk/files.js';
import type { RandomSource } from '../../random-source.js';
import { must, type FuzzSession, type FuzzTarget } from '../target.js';

/** An agent that says anything, most of it nearly right. */
class Session implements FuzzSession {
  private listener: StreamListener | undefined;
  private room = STREAM_WINDOW;
  private received = 0;
  private closed = false;
  private nonce = new Uint8Array(8);
  private readonly connection: AgentConnection;
  private readonly requests: { request: AgentRequest; over: boolean; held: number }[] = [];
  private readonly events = new EventReader();

  constructor(private readonly random: RandomSource) {
    this.connection = new AgentConnection(
      (listener) => {
        this.listener = listener;
        return this.stream();
      },
      { time: () => 1e12, random: (bytes) => random.bytes(bytes), why: () => Promise.resolve(new Error('gone')) },
      random.once(2),
    );
    this.connection.ready.catch(() => {});
  }

  private stream(): StreamEnd {
    // eslint-disable-next-line @typescript-eslint/no-this-alias -- the stream's `room` is this session's
    const session = this;
    return {
      get room() {
        return session.room;
      },
      send: (bytes) => {
        must(bytes.length <= session.room, 'more is sent than there is room for');
        must(!session.closed, 'something is sent behind the end');
        session.room -= bytes.length;
        if (bytes[2] === HOST.HELLO) session.nonce = bytes.slice(HEADER + 24, HEADER + 32);
      },
      taken: (count) => {
        session.received -= count;
      },
      accept: () => {},
      end: () => {},
      finish: () => {},
      close: () => {
        session.closed = true;
      },
    };
  }

  private ask(): void {
    const { random } = this;
    const state = { over: false, held: 0 };
    const check = (): void => must(!state.over, 'a request that is over is told something');
    const request = this.connection.request(
      { argv: ['x', 'y'.repeat(random.below(9000))], stdin: true, applet: random.once(2) },
      {
        started: check,
        data: (_, bytes) => {
          check();
          state.held += bytes.length;
          must(state.held <= 2 * OUT_WINDOW, 'more is held than the windows allow');
        },
        closed: check,
        inputClosed: check,
        ended: () => {
          check();
          state.over = true;
        },
        failed: () => {
          check();
          state.over = true;
        },
      },
    );
    this.requests.push(Object.assign(state, { request }));
  }

  private introduction(): Uint8Array {
    const payload = new Uint8Array(32);
    payload.set(MAGIC);
    payload[16] = this.random.once(20) ? 9 : 1;
    payload.set(this.random.once(10) ? this.random.bytes(8) : this.nonce, 24);
    return payload;
  }

  private say(): void {
    const { random } = this;
    const id = random.once(8) ? random.u32(0xffff_ffff) : random.below(this.requests.length + 2);
    const kinds = [...Object.values(GUEST), GUEST.DATA, GUEST.DATA, GUEST.CREDIT, GUEST.STARTED];
    const type = random.once(300) ? random.below(256) : random.pick(kinds);
    // The rarer, the longer a session lives.
    if ((type === GUEST.FAILED && !random.once(100)) || (type === GUEST.READY && !random.once(10))) return;
    const number = Uint8Array.of(
      random.below(256),
      random.once(4) ? random.below(200) : 0,
      0,
      0,
      random.below(256),
      0,
      0,
      0,
    );
    const payload =
      type === GUEST.READY || type === GUEST.HELLO
        ? this.introduction()
        : type === GUEST.DATA
          ? random.bytes(random.once(10) ? random.below(32_000) : random.below(200))
          : number;
    const aux = random.once(60) ? random.below(256) : type === GUEST.EOF ? random.below(3) : 1 + random.below(2);
    this.give(random.once(200) ? random.damage(frame(type, id, payload, aux), 3) : frame(type, id, payload, aux));
  }

  /** In pieces, as a stream has them. */
  private give(bytes: Uint8Array): void {
    if (this.closed) return;
    const at = this.random.once(4) ? this.random.below(bytes.length + 1) : bytes.length;
    for (const part of [bytes.slice(0, at), bytes.slice(at)]) {
      if (part.length === 0 || this.closed) continue;
      this.received += part.length;
      this.listener?.data(part);
    }
    must(this.received === 0, 'the stream is held up');
  }

  private use(): void {
    const { random } = this;
    if (this.requests.length === 0) return;
    const one = random.pick(this.requests);
    switch (random.below(6)) {
      case 0:
        void one.request.write(random.bytes(random.below(3000)));
        break;
      case 1:
        one.request.consume(random.once(2) ? 1 : 2, one.held);
        one.held = 0;
        break;
      case 2:
        if (random.once(10)) one.request.end();
        break;
      case 3:
        if (random.once(10)) {
          one.request.close(random.once(2));
          one.over = true;
        }
        break;
      case 4:
        one.request.signal(random.below(65));
        break;
      default:
        must(one.request.window <= IN_WINDOW && one.request.window >= 0, 'a window of input that cannot be');
    }
  }

  step(): void {
    const { random } = this;
    switch (random.below(12)) {
      case 0:
        if (this.requests.length < 60) this.ask();
        break;
      case 1:
        this.room = STREAM_WINDOW;
        this.listener?.drained();
        break;
      case 2:
      case 3:
      case 4:
        this.use();
        break;
      case 5:
        if (random.once(100)) this.connection.machineReset();
        else refuses(() => readEntries(random.damage(random.bytes(58 + random.below(100)), 4)));
        break;
      case 6:
        refuses(() => this.events.read(random.damage(new Uint8Array(16 * (1 + random.below(4))), 4)));
        break;
      default:
        this.say();
    }
  }

  end(): void {
    const known = this.requests.filter(({ over }) => !over);
    const dead = this.connection.failure !== undefined;
    this.connection.fail(new Error('the end'));
    // Those that came behind the end are told of it in a moment.
    if (!dead) for (const { over } of known) must(over, 'a request outlives its connection');
    for (const one of this.requests) {
      one.over = true;
      one.request.close(false);
      must(!one.request.open, 'a request is open that was closed');
    }
  }
}

/** What is wrong is refused by an error of one line, whatever it is. */
function refuses(work: () => unknown): void {
  try {
    work();
  } catch (error) {
    must(error instanceof Error && error.name === 'ProtocolError', `an error of another kind: ${String(error)}`);
  }
}

/** A guest whose agent lies. */
export const agentTarget: FuzzTarget = {
  name: 'agent',
  share: 4,
  length: 1000,
  start: (random) => new Session(random),
};
