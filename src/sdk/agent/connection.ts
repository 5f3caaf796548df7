/** The host's end of the connection to a guest's agent: many requests at a time, each with its streams. */
import { VitrineError } from '../../base/errors.js';
import type { StreamEnd, StreamListener } from '../../iface/streams.js';
import {
  FrameReader,
  GUEST,
  helloFrame,
  HOST_FRAME,
  IN_WINDOW,
  openFrames,
  PROTOCOL_VERSION,
  ProtocolError,
  readEnding,
  readIntroduction,
  readNumber,
  requestProblem,
  type Frame,
  type Introduction,
  type Request,
} from './protocol.js';
import { AgentRequest, type RequestListener } from './request.js';

/** There is no agent to answer, or none any more: the machine has ended, was reset, or cannot start. */
export class AgentGoneError extends VitrineError {
  override readonly name = 'AgentGoneError';
}

/** What a connection is given. */
export interface ConnectionHost {
  /** Milliseconds since 1970. */
  time(): number;
  random(bytes: number): Uint8Array;
  /** What the guest is to be known by, each time that it is greeted: the words of the applet `identity`. */
  readonly identity?: readonly string[] | undefined;
  /** Why the stream to the guest has ended, when it has. */
  why(): Promise<Error>;
}

export class AgentConnection {
  private readonly end: StreamEnd;
  private readonly reader = new FrameReader();
  private readonly requests = new Map<number, AgentRequest>();
  private readonly queue: Uint8Array[] = [];
  private readonly nonce: bigint;
  private nextId = 1;
  /** Where the next turn of sending input begins. */
  private turn = 0;
  /** The agent has answered. */
  private answered = false;
  private over: Error | undefined;
  private markReady: (introduction: Introduction) => void = () => {};
  private markFailed: (error: Error) => void = () => {};
  private readyPromise: Promise<Introduction>;
  private readonly awaitingReset: { readonly resolve: () => void; readonly reject: (error: Error) => void }[] = [];

  /**
   * `open` opens the stream to the agent's port. `running`: the guest has an agent already, as a machine that was saved with
   * one; otherwise requests wait until it is there.
   */
  constructor(
    open: (listener: StreamListener) => StreamEnd,
    private readonly host: ConnectionHost,
    private running: boolean,
  ) {
    this.nonce = new DataView(Uint8Array.from(host.random(8)).buffer).getBigUint64(0);
    this.readyPromise = this.awaitReady();
    this.end = open({
      accepted: () => {},
      data: (bytes) => {
        this.receive(bytes);
        this.end.taken(bytes.length);
      },
      drained: () => this.flush(),
      ended: () => {},
      closed: () => void this.host.why().then((error) => this.fail(error)),
    });
    this.greet();
  }

  /** The agent answers. Rejected when it cannot, or the machine has ended; a reset machine gets a new promise. */
  get ready(): Promise<Introduction> {
    return this.readyPromise;
  }

  /** Why nothing can be asked any more; undefined: it can. */
  get failure(): Error | undefined {
    return this.over;
  }

  private awaitReady(): Promise<Introduction> {
    const promise = new Promise<Introduction>((resolve, reject) => {
      this.markReady = resolve;
      this.markFailed = reject;
    });
    // Whoever waits is told; nobody need wait.
    promise.catch(() => {});
    return promise;
  }

  private greet(): void {
    const { nonce, host } = this;
    const { identity } = host;
    const hello = { nonce, time: host.time(), entropy: host.random(32), ...(identity && { identity }) };
    this.sendSoon(helloFrame(hello), true);
  }

  /** Asks for something. Throws a one-line error when it cannot even be said. */
  request(request: Request, listener: RequestListener): AgentRequest {
    const id = this.nextId++;
    const problem = requestProblem(request);
    if (problem !== undefined) throw new VitrineError(`cannot run ${request.argv[0] ?? ''} in the guest: ${problem}`);
    const frames = openFrames(id, request);
    if (!frames)
      throw new VitrineError(`cannot run ${request.argv[0]} in the guest: arguments and variables are too long`);
    const made = new AgentRequest(id, frames, listener, this, request.tty !== undefined);
    if (this.over) {
      const { over } = this;
      queueMicrotask(() => {
        if (!made.open) return;
        this.drop(made);
        listener.failed(over);
      });
      return made;
    }
    this.requests.set(id, made);
    if (this.running) for (const one of frames) this.sendSoon(one);
    return made;
  }

  drop(request: AgentRequest): void {
    request.open = false;
    request.dropInput();
    this.requests.delete(request.id);
  }

  /** The machine was reset: its agent is gone, and another comes. */
  machineReset(): void {
    this.reader.reset();
    this.queue.length = 0;
    this.abandon(new AgentGoneError('the machine was reset'));
    this.running = false;
    if (this.answered) this.readyPromise = this.awaitReady();
    this.answered = false;
    for (const { resolve } of this.awaitingReset.splice(0)) resolve();
  }

  /** Resolves when the machine is reset; rejected when nothing can be asked any more. */
  nextReset(): Promise<void> {
    if (this.over) return Promise.reject(this.over);
    return new Promise((resolve, reject) => this.awaitingReset.push({ resolve, reject }));
  }

  /** Nothing more can be asked. */
  fail(error: Error): void {
    if (this.over) return;
    this.over = error;
    this.queue.length = 0;
    this.markFailed(error);
    for (const { reject } of this.awaitingReset.splice(0)) reject(error);
    this.abandon(error);
  }

  private abandon(error: Error): void {
    for (const request of [...this.requests.values()]) {
      this.drop(request);
      request.listener.failed(error);
    }
  }

  // ---- to the guest ----

  /** Sends a frame as soon as there is room. `first`: ahead of what waits. */
  sendSoon(bytes: Uint8Array, first = false): void {
    if (this.over) return;
    if (first) this.queue.unshift(bytes);
    else this.queue.push(bytes);
    this.flush();
  }

  /** Sends what there is room for: what is short first, then input, in turns. */
  flush(): void {
    // The constructor of the stream may call back.
    if (this.end === undefined) return;
    for (let next = this.queue.at(0); next; next = this.queue.at(0)) {
      if (next.length > this.end.room) return;
      this.queue.shift();
      this.end.send(next);
    }
    if (!this.running) return;
    for (;;) {
      const ready = [...this.requests.values()].filter((request) => request.ready);
      if (ready.length === 0) return;
      for (let i = 0; i < ready.length; i++) {
        const request = ready[(this.turn + i) % ready.length];
        // Less than a frame is not worth it.
        if (this.end.room < HOST_FRAME) {
          this.turn += i;
          return;
        }
        if (!request.ready) continue;
        this.end.send(request.takeInput(this.end.room));
        request.inputSent();
      }
    }
  }

  // ---- from the guest ----

  private receive(bytes: Uint8Array): void {
    if (this.over) return;
    try {
      this.reader.read(bytes, (one) => {
        if (!this.over) this.take(one);
      });
    } catch (error) {
      this.fail(error instanceof Error ? error : new Error(String(error)));
      this.end.close();
    }
  }

  private take(one: Frame): void {
    switch (one.type) {
      case GUEST.READY:
        this.checkVersion(readIntroduction(one.payload));
        this.begunAnew();
        this.greet();
        return;
      case GUEST.HELLO: {
        const introduction = readIntroduction(one.payload);
        this.checkVersion(introduction);
        if (introduction.nonce === this.nonce) this.greeted(introduction);
        return;
      }
      case GUEST.FAILED:
        this.fail(new AgentGoneError(`the guest cannot start: ${printable(one.payload)}`));
        return;
    }
    // What was meant for another host, before the machine was saved.
    if (!this.answered) return;
    const request = this.requests.get(one.stream);
    if (request) this.takeFor(request, one);
  }

  /** An agent that begins knows of nothing; what was asked before it was there is asked again when it answers, unless it had begun. */
  private begunAnew(): void {
    this.running = false;
    this.queue.length = 0;
    for (const request of [...this.requests.values()]) {
      if (!request.hasBegun) continue;
      this.drop(request);
      request.listener.failed(new AgentGoneError('the agent of the guest has begun anew'));
    }
  }

  private checkVersion({ version }: Introduction): void {
    if (version !== PROTOCOL_VERSION)
      throw new AgentGoneError(
        `the guest's agent speaks version ${version} of its protocol, and this Vitrine ${PROTOCOL_VERSION}`,
      );
  }

  private greeted(introduction: Introduction): void {
    this.answered = true;
    if (!this.running) {
      this.running = true;
      for (const request of this.requests.values()) for (const one of request.frames) this.sendSoon(one);
    }
    this.markReady(introduction);
    this.flush();
  }

  private takeFor(request: AgentRequest, { type, aux, payload }: Frame): void {
    const { listener } = request;
    switch (type) {
      case GUEST.STARTED:
        request.started = true;
        listener.started?.(readNumber(payload));
        break;
      case GUEST.DATA: {
        const channel = channelOf(aux);
        request.allowed[channel - 1] -= payload.length;
        if (request.allowed[channel - 1] < 0) throw new ProtocolError('more output than it may send');
        listener.data(channel, payload.slice());
        break;
      }
      case GUEST.EOF:
        if (aux === 0) {
          request.dropInput();
          listener.inputClosed?.();
        } else listener.closed?.(channelOf(aux));
        break;
      case GUEST.CREDIT: {
        const window = request.window + readNumber(payload);
        if (window > IN_WINDOW) throw new ProtocolError('more room for input than there is');
        request.window = window;
        this.flush();
        break;
      }
      case GUEST.EXIT: {
        const ending = readEnding(payload);
        this.drop(request);
        listener.ended(ending);
        break;
      }
      default:
        throw new ProtocolError(`a frame of type ${type}`);
    }
  }
}

function channelOf(aux: number): 1 | 2 {
  if (aux !== 1 && aux !== 2) throw new ProtocolError(`there is no channel ${aux}`);
  return aux;
}

/** Text of the guest as one line. */
function printable(bytes: Uint8Array): string {
  return new TextDecoder()
    .decode(bytes.subarray(0, 500))
    .replace(/[^\x20-\x7e]+/g, ' ')
    .trim();
}
