/** Many streams over one channel of messages between two threads: both sides have one of these. */
import {
  STREAM_WINDOW,
  type StreamAcceptor,
  type StreamEnd,
  type StreamListener,
  type Streams,
  type StreamService,
} from '../iface/streams.js';

/** Messages arrive in order. Each side numbers the streams that it opens: one even, the other odd. */
export type StreamMessage =
  | { readonly kind: 'open'; readonly id: number; readonly service: StreamService; readonly port: number }
  | { readonly kind: 'accept'; readonly id: number; readonly port: number }
  | { readonly kind: 'data'; readonly id: number; readonly bytes: Uint8Array }
  | { readonly kind: 'taken'; readonly id: number; readonly count: number }
  | { readonly kind: 'end' | 'finish' | 'close'; readonly id: number };

const NOBODY: StreamListener = { accepted() {}, data() {}, drained() {}, ended() {}, closed() {} };

class MuxStream implements StreamEnd {
  room = STREAM_WINDOW;
  listener: StreamListener = NOBODY;
  /** Received and not yet taken. */
  untaken = 0;
  otherEnded = false;
  open = true;

  constructor(
    readonly id: number,
    readonly service: StreamService,
    readonly port: number,
    private readonly mux: { post(message: StreamMessage): void; drop(stream: MuxStream): void },
  ) {}

  send(bytes: Uint8Array): void {
    if (!this.open || bytes.length === 0) return;
    this.room -= bytes.length;
    this.mux.post({ kind: 'data', id: this.id, bytes });
  }

  taken(count: number): void {
    const known = Math.min(count, this.untaken);
    this.untaken -= known;
    if (this.open && known > 0) this.mux.post({ kind: 'taken', id: this.id, count: known });
  }

  accept(port: number): void {
    if (this.open) this.mux.post({ kind: 'accept', id: this.id, port });
  }

  end(): void {
    if (this.open) this.mux.post({ kind: 'end', id: this.id });
  }

  finish(): void {
    this.leave('finish');
  }

  close(): void {
    this.leave('close');
  }

  private leave(kind: 'finish' | 'close'): void {
    if (!this.open) return;
    this.mux.post({ kind, id: this.id });
    this.mux.drop(this);
  }
}

export class StreamMux implements Streams {
  private readonly streams = new Map<number, MuxStream>();
  private readonly acceptors = new Map<StreamService, StreamAcceptor>();
  private readonly hooks: ConstructorParameters<typeof MuxStream>[3];
  private next: number;

  /** `parity`: what this side's numbers are modulo 2. */
  constructor(post: (message: StreamMessage) => void, parity: 0 | 1) {
    this.next = 2 + parity;
    this.hooks = {
      post,
      drop: (stream) => {
        stream.open = false;
        stream.listener = NOBODY;
        this.streams.delete(stream.id);
      },
    };
  }

  /** Open streams. */
  get size(): number {
    return this.streams.size;
  }

  connect(service: StreamService, port: number, listener: StreamListener): StreamEnd {
    const stream = this.add(this.next, service, port);
    this.next += 2;
    stream.listener = listener;
    this.hooks.post({ kind: 'open', id: stream.id, service, port });
    return stream;
  }

  private add(id: number, service: StreamService, port: number): MuxStream {
    const stream = new MuxStream(id, service, port, this.hooks);
    this.streams.set(id, stream);
    return stream;
  }

  serve(service: StreamService, acceptor: StreamAcceptor): void {
    this.acceptors.set(service, acceptor);
    for (const stream of [...this.streams.values()]) {
      if (stream.service !== service) continue;
      stream.listener = NOBODY;
      if (!acceptor.persistent) stream.close();
      else {
        // What the one before did not pass on is lost with it.
        stream.taken(stream.untaken);
        this.offer(stream, acceptor);
        if (stream.otherEnded) stream.listener.ended();
      }
    }
  }

  private offer(stream: MuxStream, acceptor: StreamAcceptor | undefined): void {
    const listener = acceptor?.accept(stream.port, stream);
    if (listener) stream.listener = listener;
    else stream.close();
  }

  /** Takes a message of the other side. */
  handle(message: StreamMessage): void {
    if (message.kind === 'open') {
      this.offer(this.add(message.id, message.service, message.port), this.acceptors.get(message.service));
      return;
    }
    const stream = this.streams.get(message.id);
    // It was closed from here meanwhile.
    if (!stream) return;
    switch (message.kind) {
      case 'accept':
        stream.listener.accepted(message.port);
        break;
      case 'data':
        stream.untaken += message.bytes.length;
        stream.listener.data(message.bytes);
        break;
      case 'taken':
        stream.room += message.count;
        stream.listener.drained();
        break;
      case 'end':
        stream.otherEnded = true;
        stream.listener.ended();
        break;
      case 'finish':
      case 'close': {
        const { listener } = stream;
        this.hooks.drop(stream);
        listener.closed(message.kind === 'finish');
        break;
      }
    }
  }

  /** The other side is gone. */
  closeAll(): void {
    for (const stream of [...this.streams.values()]) {
      const { listener } = stream;
      this.hooks.drop(stream);
      listener.closed(false);
    }
  }
}
