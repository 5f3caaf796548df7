import { Reassembly } from './reassembly.js';
import { advance, difference, TCP_FLAG, type Segment } from './sequence.js';

const { FIN, SYN } = TCP_FLAG;

/** Windows are given in units of 2**7 bytes. */
const SCALE = 7;

/** The receive sequence space of a connection, RFC 9293 §3.3.1: what has come, what comes next, and how much of it is allowed. */
export class ReceiveWindow {
  /** What the peer sends next. */
  next = 0;
  /** The peer sends nothing more. */
  ended = false;
  /** Shift of the windows that are given, which a SYN tells; 0: they are not scaled. */
  scale = 0;
  /** What the peer may send up to. */
  private edge = 0;
  private buffered = 0;
  private readonly early = new Reassembly();

  /** `limit`: bytes that may lie unconsumed. `deliver`: takes bytes in their order, valid during the call. */
  constructor(
    private readonly limit: () => number,
    private readonly deliver: (bytes: Uint8Array) => void,
  ) {}

  /** Nothing is known of the peer yet. */
  beforeSyn(): void {
    this.edge = this.limit();
    this.scale = SCALE;
  }

  /** Begins with the peer's SYN. */
  begin({ sequence, scale }: Segment): void {
    this.next = advance(sequence, 1);
    // RFC 7323 §2.2: both or none.
    this.scale = scale === undefined ? 0 : SCALE;
    this.edge = advance(this.next, Math.min(this.limit(), 0xffff));
  }

  private get size(): number {
    return Math.max(0, difference(this.edge, this.next));
  }

  private newEdge(): number {
    const room = Math.max(0, this.limit() - this.buffered);
    const edge = advance(this.next, Math.min(room, 0xffff * 2 ** this.scale));
    return difference(edge, this.edge) > 0 ? edge : this.edge;
  }

  /** The window as it stands in the header of a segment that leaves now. */
  offer(syn: boolean): number {
    this.edge = this.newEdge();
    // RFC 7323 §2.2: the window of a SYN is not scaled.
    return Math.min(0xffff, syn ? this.size : this.size >>> this.scale);
  }

  /** That many of the bytes delivered have been passed on. True: the window has opened far enough to tell the peer. */
  consumed(count: number, maxSegment: number): boolean {
    this.buffered -= count;
    // RFC 9293 §3.8.6.2.2: the window opens by at least a segment, or half of what there is.
    return difference(this.newEdge(), this.edge) >= Math.min(2 * maxSegment, this.limit() / 2);
  }

  /** RFC 9293 §3.10.7.4. */
  acceptable({ sequence, payload, flags }: Segment): boolean {
    const length = payload.length + (flags & (FIN | SYN) ? 1 : 0);
    const window = this.size;
    const start = difference(sequence, this.next);
    if (length === 0) return start >= 0 && start <= window;
    return start + length > 0 && start <= window && (window > 0 || start + payload.length <= 0 || start === 0);
  }

  /** Takes what a segment brings. `early`: something before it is missing. `ended`: it was the last. */
  take({ sequence, payload, flags }: Segment): 'taken' | 'early' | 'ended' {
    const start = difference(sequence, this.next);
    const skip = Math.max(0, -start);
    const room = difference(this.edge, this.next) - Math.max(0, start);
    const bytes = payload.subarray(skip, skip + Math.max(0, room));
    if (start > 0) {
      if (bytes.length > 0) this.early.add(sequence, bytes, this.limit());
      return 'early';
    }
    if (bytes.length > 0) {
      this.pass(bytes);
      for (let part = this.early.take(this.next); part; part = this.early.take(this.next)) this.pass(part);
    }
    const complete = skip + bytes.length === payload.length;
    if (!(flags & FIN) || !complete || advance(sequence, payload.length) !== this.next) return 'taken';
    this.next = advance(this.next, 1);
    this.ended = true;
    this.clear();
    return 'ended';
  }

  private pass(bytes: Uint8Array): void {
    this.next = advance(this.next, bytes.length);
    this.buffered += bytes.length;
    this.deliver(bytes);
  }

  /** What came early is of no use any more. */
  clear(): void {
    this.early.clear();
  }
}
