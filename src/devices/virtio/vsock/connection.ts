import { STREAM_WINDOW, type StreamEnd, type StreamListener } from '../../../iface/streams.js';
import { OP, SHUTDOWN, type PacketHeader } from './packet.js';

/** What a connection wants to send: an operation, its flags, and payload for RW. */
export interface Outgoing {
  readonly op: number;
  readonly flags: number;
  readonly payload: Uint8Array | undefined;
}

const BOTH = SHUTDOWN.RECEIVE | SHUTDOWN.SEND;

/** What a connection asks of its device. */
export interface ConnectionOwner {
  /** It has something to send. */
  ready(connection: Connection): void;
  /** It is over, and has nothing to send any more. */
  gone(connection: Connection): void;
}

/**
 * A stream connection between the guest and a stream to outside, VIRTIO 1.2 §5.10.6. What waits to be sent is bounded by the
 * stream's window; operations wait as flags, so that a guest that offers no buffers makes nothing pile up.
 */
export class Connection implements StreamListener {
  private end: StreamEnd | undefined;
  /** `waiting`: for the guest's RESPONSE, or for whoever is outside. */
  private state: 'waiting' | 'open' | 'over' = 'waiting';
  /** What the guest has told of its receive buffer. */
  private peerAlloc = 0;
  private peerForwarded = 0;
  /** Bytes sent to the guest, bytes received from it, and of these the ones passed on: modulo 2**32. */
  private sent = 0;
  private received = 0;
  private forwarded = 0;
  /** `forwarded` when the guest was last told. */
  private toldForwarded = 0;
  private guestShutdown = 0;
  /** For the guest. */
  private readonly waiting: Uint8Array[] = [];
  private offset = 0;
  private outsideEnded = false;
  /** It takes nothing more either. */
  private outsideGone = false;
  private pending = 0;

  constructor(
    readonly guestPort: number,
    readonly hostPort: number,
    private readonly byGuest: boolean,
    private readonly owner: ConnectionOwner,
  ) {}

  /** Connects the end to outside. */
  attach(end: StreamEnd): void {
    this.end = end;
    if (!this.byGuest) this.want(OP.REQUEST);
  }

  /** What the header of every packet tells of our buffer. */
  get credit(): { readonly bufAlloc: number; readonly fwdCnt: number } {
    return { bufAlloc: STREAM_WINDOW, fwdCnt: this.forwarded };
  }

  private want(op: number): void {
    this.pending |= 1 << op;
    this.owner.ready(this);
  }

  // ---- from outside ----

  accepted(): void {
    if (this.state !== 'waiting') return;
    this.state = 'open';
    this.want(OP.RESPONSE);
  }

  data(bytes: Uint8Array): void {
    if (this.state === 'over' || this.guestShutdown & SHUTDOWN.RECEIVE) {
      this.end?.taken(bytes.length);
      return;
    }
    this.waiting.push(bytes);
    this.owner.ready(this);
  }

  /** The outside has taken what was sent: the guest's credit grows. */
  drained(): void {
    if (!this.end || this.state !== 'open') return;
    this.forwarded = (this.received - (STREAM_WINDOW - this.end.room)) >>> 0;
    // Told when the guest may be out of credit soon, not for every packet.
    if ((this.forwarded - this.toldForwarded) >>> 0 >= STREAM_WINDOW / 2) this.want(OP.CREDIT_UPDATE);
  }

  ended(): void {
    this.outsideEnded = true;
    this.owner.ready(this);
  }

  closed(finished: boolean): void {
    this.end = undefined;
    if (!finished || this.state !== 'open') {
      this.reset();
      return;
    }
    // What came before is delivered still.
    this.outsideEnded = true;
    this.outsideGone = true;
    this.owner.ready(this);
  }

  // ---- from the guest ----

  /** Takes a packet of the guest's, with its payload for RW. */
  receive(header: PacketHeader, payload: Uint8Array | undefined): void {
    if (this.state === 'over') return;
    this.peerAlloc = header.bufAlloc;
    this.peerForwarded = header.fwdCnt;
    switch (header.op) {
      case OP.RESPONSE:
        if (this.byGuest || this.state !== 'waiting') this.reset();
        else {
          this.state = 'open';
          this.end?.accept(this.hostPort);
        }
        break;
      case OP.RST:
        this.end?.close();
        this.over();
        break;
      case OP.SHUTDOWN:
        this.shutdown(header.flags & BOTH);
        break;
      case OP.RW:
        this.write(payload);
        break;
      case OP.CREDIT_REQUEST:
        this.want(OP.CREDIT_UPDATE);
        break;
      case OP.CREDIT_UPDATE:
        break;
      default:
        this.reset();
        return;
    }
    if (this.hasWork) this.owner.ready(this);
  }

  private write(payload: Uint8Array | undefined): void {
    if (!payload || payload.length === 0) return;
    const unforwarded = (this.received - this.forwarded) >>> 0;
    // §5.10.6.3: the guest sends only what there is room for, and only while it may.
    const allowed = this.state === 'open' && !(this.guestShutdown & SHUTDOWN.SEND);
    if (!allowed || !this.end || unforwarded + payload.length > STREAM_WINDOW || payload.length > this.end.room) {
      this.end?.close();
      this.reset();
      return;
    }
    this.received = (this.received + payload.length) >>> 0;
    this.end.send(payload);
  }

  private shutdown(flags: number): void {
    const before = this.guestShutdown;
    this.guestShutdown |= flags;
    if (this.guestShutdown & ~before & SHUTDOWN.SEND) this.end?.end();
    if (this.guestShutdown & SHUTDOWN.RECEIVE) this.dropData();
    // §5.10.6.6: the answer to a complete shutdown is RST.
    if (this.guestShutdown !== BOTH) return;
    this.end?.finish();
    this.reset();
  }

  private dropData(): void {
    const bytes = this.waiting.reduce((sum, { length }) => sum + length, 0) - this.offset;
    this.waiting.length = 0;
    this.offset = 0;
    this.end?.taken(bytes);
  }

  /** Ends with RST to the guest. */
  private reset(): void {
    if (this.state === 'over') return;
    this.state = 'over';
    this.end = undefined;
    this.pending = 1 << OP.RST;
    this.waiting.length = 0;
    this.owner.ready(this);
  }

  private over(): void {
    this.state = 'over';
    this.end = undefined;
    this.pending = 0;
    this.waiting.length = 0;
    this.owner.gone(this);
  }

  /** The device is reset: nobody is told inside. */
  abandon(): void {
    this.end?.close();
    this.state = 'over';
    this.end = undefined;
  }

  // ---- to the guest ----

  /** Bytes that the guest has room for. */
  private get peerRoom(): number {
    return Math.max(0, this.peerAlloc - ((this.sent - this.peerForwarded) >>> 0));
  }

  get hasWork(): boolean {
    if (this.pending !== 0) return true;
    if (this.state !== 'open') return false;
    if (this.waiting.length > 0) return this.peerRoom > 0;
    return this.outsideEnded;
  }

  /** The next packet, with at most `most` bytes of payload; undefined: there is none now. */
  take(most: number): Outgoing | undefined {
    // RESPONSE and REQUEST come before data, RST after which nothing comes stands alone.
    for (const op of [OP.RST, OP.REQUEST, OP.RESPONSE, OP.CREDIT_UPDATE]) {
      if (!(this.pending & (1 << op))) continue;
      this.pending &= ~(1 << op);
      if (op === OP.RST) this.over();
      return this.outgoing(op, 0);
    }
    if (this.state !== 'open') return undefined;
    const first = this.waiting.at(0);
    if (first) {
      const count = Math.min(most, this.peerRoom, first.length - this.offset);
      if (count === 0) return undefined;
      const payload = first.subarray(this.offset, this.offset + count);
      this.offset += count;
      if (this.offset === first.length) {
        this.waiting.shift();
        this.offset = 0;
      }
      this.sent = (this.sent + count) >>> 0;
      this.end?.taken(count);
      return this.outgoing(OP.RW, 0, payload);
    }
    if (!this.outsideEnded) return undefined;
    this.outsideEnded = false;
    return this.outgoing(OP.SHUTDOWN, this.outsideGone ? BOTH : SHUTDOWN.SEND);
  }

  private outgoing(op: number, flags: number, payload?: Uint8Array): Outgoing {
    // Every packet tells of credit.
    this.toldForwarded = this.forwarded;
    this.pending &= ~(1 << OP.CREDIT_UPDATE);
    return { op, flags, payload };
  }
}
