/** A request to the guest's agent while it is under way, with its input. */
import {
  frame,
  HEADER,
  HOST,
  HOST_FRAME,
  IN_WINDOW,
  numberFrame,
  OUT_WINDOW,
  putHeader,
  sizeFrame,
  type Ending,
  type TerminalSize,
} from './protocol.js';

/** What a request is told; nothing more follows `ended` or `failed`. */
export interface RequestListener {
  /** The process is there. */
  started?(pid: number): void;
  /** What it wrote; `channel` 1 is standard output, or the terminal, 2 standard error. The bytes are the listener's. */
  data(channel: 1 | 2, bytes: Uint8Array): void;
  /** Nothing more comes on a channel. */
  closed?(channel: 1 | 2): void;
  /** It takes no more input. */
  inputClosed?(): void;
  /** All that it wrote before it ended has been told. */
  ended(ending: Ending): void;
  failed(error: Error): void;
}

/** What a request needs of its connection. */
export interface RequestLink {
  /** Sends a frame as soon as there is room. */
  sendSoon(bytes: Uint8Array): void;
  /** Sends what there is room for, input as well. */
  flush(): void;
  drop(request: AgentRequest): void;
}

/** Full frames that are sent at a time. */
const BATCH = 16;
/** Bytes of input that a request takes without asking for a pause. */
const INPUT_HIGH = 256 * 1024;

/** A request under way. */
export class AgentRequest {
  /** Bytes that may be sent. */
  window = IN_WINDOW;
  /** What the guest may send still, by channel. */
  readonly allowed: [number, number] = [OUT_WINDOW, OUT_WINDOW];
  /** Dealt with, and the guest was not told. */
  private readonly taken: [number, number] = [0, 0];
  private readonly input: Uint8Array[] = [];
  private waiting = 0;
  /** No more input comes; and the guest was told. */
  private ending = false;
  private endTold = false;
  private drained: (() => void)[] = [];
  private inputOver = false;
  started = false;
  open = true;

  /** Made by `AgentConnection.request`. */
  constructor(
    readonly id: number,
    readonly frames: readonly Uint8Array[],
    readonly listener: RequestListener,
    private readonly link: RequestLink,
    /** It has a terminal. */
    private readonly tty = false,
  ) {}

  /** Whether input that is written gets anywhere. */
  get takesInput(): boolean {
    return this.open && !this.ending && !this.inputOver;
  }

  /** Sends input, which must not change afterwards. Resolves when there is room for more, or nobody wants it. */
  write(bytes: Uint8Array): Promise<void> {
    if (!this.takesInput || bytes.length === 0) return Promise.resolve();
    this.input.push(bytes);
    this.waiting += bytes.length;
    this.link.flush();
    if (this.waiting <= INPUT_HIGH) return Promise.resolve();
    return new Promise((resolve) => this.drained.push(resolve));
  }

  /** No more input comes. */
  end(): void {
    if (this.ending) return;
    this.ending = true;
    this.link.flush();
  }

  /** So many bytes were dealt with: the guest may send as many more. */
  consume(channel: 1 | 2, count: number): void {
    const index = channel - 1;
    this.taken[index] += count;
    if (this.taken[index] < OUT_WINDOW / 4) return;
    this.allowed[index] += this.taken[index];
    this.tell(numberFrame(HOST.CREDIT, this.id, this.taken[index], channel));
    this.taken[index] = 0;
  }

  /** A signal, by its number in Linux, for its process group. */
  signal(number: number): void {
    this.tell(numberFrame(HOST.SIGNAL, this.id, number));
  }

  resize(size: TerminalSize): void {
    this.tell(sizeFrame(this.id, size));
  }

  /** Nothing more of it is wanted; `kill`: it is to end as well. The listener is told nothing more. */
  close(kill: boolean): void {
    if (!this.open) return;
    this.tell(frame(HOST.CLOSE, this.id, undefined, kill ? 1 : 0));
    this.link.drop(this);
  }

  private tell(bytes: Uint8Array): void {
    if (this.open) this.link.sendSoon(bytes);
  }

  /** Whether there is input, or its end, that may be sent. */
  get ready(): boolean {
    if (this.waiting === 0 && (!this.ending || this.endTold)) return false;
    return this.window > 0 || (this.waiting === 0 && !this.tty);
  }

  /** Whether some of its input was sent, or its end: the guest cannot be asked anew. */
  get hasBegun(): boolean {
    return this.started || this.endTold || this.window < IN_WINDOW;
  }

  /** Frames of input, of `room` bytes at most and at least one byte of input; behind all of it, its end. */
  takeInput(room: number): Uint8Array {
    if (this.waiting === 0) {
      this.endTold = true;
      // The ^D of a terminal is input like any other: the guest needs room for it, and gives that back.
      if (this.tty) this.window--;
      return frame(HOST.EOF, this.id);
    }
    const payload = HOST_FRAME - HEADER;
    let bytes = Math.min(this.waiting, this.window, BATCH * payload);
    const frames = Math.ceil(bytes / payload);
    if (bytes + frames * HEADER > room) bytes = Math.max(1, room - Math.ceil(room / HOST_FRAME) * HEADER);
    const out = new Uint8Array(bytes + Math.ceil(bytes / payload) * HEADER);
    let at = 0;
    for (let left = bytes; left > 0;) {
      const part = Math.min(left, payload);
      putHeader(out, at, HOST.DATA, 0, this.id, part);
      this.copyInput(out.subarray(at + HEADER, at + HEADER + part));
      at += HEADER + part;
      left -= part;
    }
    this.waiting -= bytes;
    this.window -= bytes;
    return out;
  }

  /** Behind each part of the input that was sent. */
  inputSent(): void {
    if (this.waiting <= INPUT_HIGH) this.release();
  }

  private copyInput(to: Uint8Array): void {
    for (let at = 0; at < to.length;) {
      const [first] = this.input;
      const part = first.subarray(0, to.length - at);
      to.set(part, at);
      at += part.length;
      if (part.length === first.length) this.input.shift();
      else this.input[0] = first.subarray(part.length);
    }
  }

  /** Lets go of input that nobody wants. */
  dropInput(): void {
    this.inputOver = true;
    this.input.length = 0;
    this.waiting = 0;
    this.release();
  }

  private release(): void {
    const { drained } = this;
    this.drained = [];
    for (const resolve of drained) resolve();
  }
}
