/** Streams to outside whose other side is the test. */
import {
  STREAM_WINDOW,
  type StreamAcceptor,
  type StreamEnd,
  type StreamListener,
  type Streams,
  type StreamService,
} from '../iface/streams.js';

const NOBODY: StreamListener = { accepted() {}, data() {}, drained() {}, ended() {}, closed() {} };

export class FakeStream implements StreamEnd {
  room = STREAM_WINDOW;
  listener = NOBODY;
  readonly sent: Uint8Array[] = [];
  /** Bytes that the device said it has dealt with. */
  credited = 0;
  acceptedPort: number | undefined;
  state: 'open' | 'ended' | 'finished' | 'closed' = 'open';

  constructor(
    readonly service: StreamService,
    readonly port: number,
  ) {}

  send(bytes: Uint8Array): void {
    if (bytes.length > this.room) throw new Error('more was sent than there was room for');
    this.room -= bytes.length;
    this.sent.push(bytes);
  }

  taken(count: number): void {
    this.credited += count;
  }

  accept(port: number): void {
    this.acceptedPort = port;
  }

  end(): void {
    this.state = 'ended';
  }

  finish(): void {
    this.state = 'finished';
    this.listener = NOBODY;
  }

  close(): void {
    this.state = 'closed';
    this.listener = NOBODY;
  }

  /** The other side takes everything. */
  drain(): void {
    this.room = STREAM_WINDOW;
    this.listener.drained();
  }

  /** The other side goes. */
  fail(finished = false): void {
    const { listener } = this;
    this.close();
    listener.closed(finished);
  }
}

export class FakeStreams implements Streams {
  /** What the device has opened, or was offered. */
  readonly made: FakeStream[] = [];
  private readonly acceptors = new Map<StreamService, StreamAcceptor>();

  connect(service: StreamService, port: number, listener: StreamListener): StreamEnd {
    const stream = new FakeStream(service, port);
    stream.listener = listener;
    this.made.push(stream);
    return stream;
  }

  serve(service: StreamService, acceptor: StreamAcceptor): void {
    this.acceptors.set(service, acceptor);
  }

  /** Somebody outside opens a stream. */
  open(service: StreamService, port: number): FakeStream {
    const stream = new FakeStream(service, port);
    this.made.push(stream);
    const listener = this.acceptors.get(service)?.accept(port, stream);
    if (listener) stream.listener = listener;
    else stream.close();
    return stream;
  }
}
