import { ChunkQueue } from './chunk-queue.js';
import { ReceiveWindow } from './receive-window.js';
import { RetransmitTimer } from './retransmit-timer.js';
import { advance, difference, TCP_FLAG, type Segment } from './sequence.js';

const { FIN, SYN, RST, PSH, ACK } = TCP_FLAG;

/** What a connection sends its segments through. */
export interface TcpOutput {
  /** Milliseconds. */
  now(): number;
  /** Payload that one segment may carry, of a peer that takes `maxSegment`: more, where somebody else cuts it. */
  largest(maxSegment: number): number;
  /** False: there is no room now; `pump` is called when there is. */
  send(segment: OutgoingSegment): boolean;
}

export interface OutgoingSegment {
  readonly sequence: number;
  readonly acknowledgement: number;
  readonly flags: number;
  readonly window: number;
  /** Of a SYN. */
  readonly scale: number | undefined;
  readonly length: number;
  /** What the segments it is cut into may carry. */
  readonly maxSegment: number;
  fill(into: Uint8Array): void;
}

/** What a connection tells. */
export interface TcpEvents {
  opened(): void;
  /** Valid during the call. Counts against the window until `consumed`. */
  data(bytes: Uint8Array): void;
  /** The peer sends nothing more. */
  ended(): void;
  /** Some of what was written has arrived. */
  room(): void;
  /** Nothing more happens. `broken`: reset, or given up. */
  closed(broken: boolean): void;
}

type State = 'syn-sent' | 'syn-received' | 'open' | 'time-wait' | 'closed';

/** What a peer takes that does not say, RFC 9293 §3.7.1. */
const DEFAULT_SEGMENT = 536;
/** Milliseconds for segments that come late; RFC 9293 has minutes, but this network is a few microseconds long. */
const TIME_WAIT = 2000;
/** Milliseconds without a word after which the peer is asked whether it is still there. */
const KEEP_ALIVE = 7_200_000;

/**
 * One TCP connection, RFC 9293, with window scaling (RFC 7323 §2), retransmission (RFC 6298) and fast retransmit and
 * recovery (RFC 6582). There is no congestion window: the network is a ring in memory, whose writer waits when it is full.
 */
export class TcpConnection {
  state: State = 'closed';
  private readonly queue = new ChunkQueue();
  private readonly incoming: ReceiveWindow;
  private readonly timer: RetransmitTimer;

  /** Oldest that is not acknowledged, next to send. */
  private unacknowledged: number;
  private next: number;
  private window = 0;
  private windowSequence = 0;
  private windowAcknowledgement = 0;
  private windowScale = 0;
  private maxSegment = DEFAULT_SEGMENT;
  /** `end` was called; the FIN was sent; it was acknowledged. */
  private ending = false;
  private finSent = false;
  private finAcknowledged = false;
  private duplicates = 0;
  /** What was under way when something was lost. */
  private recoverUntil: number | undefined;

  /** An acknowledgement is due. */
  private acknowledge = false;
  /** When something was last heard. */
  private heard: number;

  /** `limit`: bytes that may lie unconsumed, which bounds the window. */
  constructor(
    private readonly output: TcpOutput,
    private readonly events: TcpEvents,
    initial: number,
    limit: () => number,
  ) {
    this.incoming = new ReceiveWindow(limit, (bytes) => events.data(bytes));
    this.unacknowledged = initial;
    this.next = initial;
    this.heard = output.now();
    this.timer = new RetransmitTimer();
  }

  // ---- opening ----

  /** Asks the peer for a connection. */
  connect(): void {
    this.state = 'syn-sent';
    this.incoming.beforeSyn();
    this.sendSyn();
  }

  /** Answers the SYN of a peer. */
  accept(syn: Segment): void {
    this.state = 'syn-received';
    this.readSyn(syn);
    this.sendSyn();
  }

  private readSyn(syn: Segment): void {
    this.incoming.begin(syn);
    this.maxSegment = Math.max(64, Math.min(syn.maxSegment ?? DEFAULT_SEGMENT, 65495));
    // RFC 7323 §2.3: more than 14 counts as 14.
    this.windowScale = Math.min(syn.scale ?? 0, 14);
    this.window = syn.window;
    this.windowSequence = syn.sequence;
    this.windowAcknowledgement = syn.acknowledgement;
  }

  private sendSyn(): void {
    const flags = this.state === 'syn-sent' ? SYN : SYN | ACK;
    this.emit(this.unacknowledged, flags, 0);
    this.next = advance(this.unacknowledged, 1);
    this.timer.start(this.output.now());
  }

  // ---- what the owner does ----

  /** Bytes that the peer has not acknowledged. */
  get waiting(): number {
    return this.queue.length;
  }

  /** For a restore: what the peer expects next. */
  get sequences(): { readonly next: number; readonly received: number } {
    return { next: this.next, received: this.incoming.next };
  }

  /** Sends bytes, which must not change any more. */
  write(bytes: Uint8Array): void {
    if (this.ending || this.state === 'closed') return;
    this.queue.push(bytes);
    this.pump();
  }

  /** Nothing more will be written. */
  end(): void {
    this.ending = true;
    this.pump();
  }

  /** Resets the connection. */
  abort(): void {
    if (this.state === 'closed') return;
    if (this.state !== 'time-wait') this.emit(this.next, RST | ACK, 0);
    this.state = 'closed';
    this.queue.clear();
    this.incoming.clear();
  }

  /** The owner has passed on that many of the bytes it was given. */
  consumed(count: number): void {
    if (this.incoming.consumed(count, this.maxSegment)) this.acknowledge = true;
  }

  // ---- sending ----

  /** Sends what can be sent, and an acknowledgement that is due. */
  pump(): void {
    if (this.state === 'open') while (this.sendNext());
    this.flushAcknowledgement();
  }

  /** Sends an acknowledgement if one is due. */
  flushAcknowledgement(): void {
    if (this.acknowledge && this.state !== 'closed' && this.state !== 'syn-sent') this.emit(this.next, ACK, 0);
  }

  private get inFlight(): number {
    return difference(this.next, this.unacknowledged);
  }

  /** Sends one segment. False: there is nothing to send, or no room for it. */
  private sendNext(): boolean {
    if (this.finSent) return false;
    const { inFlight } = this;
    const unsent = this.queue.length - inFlight;
    const usable = this.window - inFlight;
    if (unsent === 0) {
      if (!this.ending || !this.emit(this.next, FIN | ACK, 0)) return false;
      this.next = advance(this.next, 1);
      this.finSent = true;
      this.startTimer();
      return false;
    }
    const length = Math.min(unsent, usable, this.output.largest(this.maxSegment));
    // RFC 9293 §3.8.6.2.1: no small segments while the window is small.
    if (length <= 0 || (length < unsent && length < this.maxSegment && inFlight > 0)) {
      this.startTimer();
      return false;
    }
    if (!this.sendData(inFlight, length)) return false;
    this.next = advance(this.next, length);
    this.startTimer();
    return true;
  }

  private sendData(offset: number, length: number): boolean {
    const flags = ACK | (offset + length === this.queue.length ? PSH : 0);
    return this.emit(advance(this.unacknowledged, offset), flags, length);
  }

  private emit(sequence: number, flags: number, length: number): boolean {
    const { incoming } = this;
    const offset = difference(sequence, this.unacknowledged);
    const syn = (flags & SYN) !== 0;
    const sent = this.output.send({
      sequence,
      acknowledgement: flags & ACK ? incoming.next : 0,
      flags,
      window: incoming.offer(syn),
      scale: syn && incoming.scale > 0 ? incoming.scale : undefined,
      length,
      maxSegment: this.maxSegment,
      fill: (into) => this.queue.copy(offset, into),
    });
    if (sent && flags & ACK) this.acknowledge = false;
    return sent;
  }

  private startTimer(): void {
    this.timer.ensure(this.output.now());
  }

  // ---- receiving, RFC 9293 §3.10.7 ----

  receive(segment: Segment): void {
    this.heard = this.output.now();
    if (this.state === 'closed') return;
    if (this.state === 'syn-sent') {
      this.receiveInSynSent(segment);
      return;
    }
    if (!this.incoming.acceptable(segment)) {
      if (segment.flags & RST) return;
      if (this.state === 'syn-received' && segment.flags & SYN) this.emit(this.unacknowledged, SYN | ACK, 0);
      else this.emit(this.next, ACK, 0);
      return;
    }
    if (segment.flags & RST) {
      // RFC 5961 §3.2: only the exact number resets; for others the peer is asked.
      if (segment.sequence === this.incoming.next) this.close(true);
      else this.emit(this.next, ACK, 0);
      return;
    }
    if (segment.flags & SYN) {
      // RFC 5961 §4.2.
      this.emit(this.next, ACK, 0);
      return;
    }
    if (!(segment.flags & ACK) || !this.receiveAcknowledgement(segment)) return;
    this.receiveData(segment);
    if (this.state === 'open') this.pump();
  }

  private receiveInSynSent(segment: Segment): void {
    const { flags, acknowledgement } = segment;
    const acknowledged = (flags & ACK) !== 0;
    if (acknowledged && acknowledgement !== this.next) {
      if (!(flags & RST)) this.reject(acknowledgement);
      return;
    }
    if (flags & RST) {
      if (acknowledged) this.close(true);
      return;
    }
    if (!(flags & SYN)) return;
    this.readSyn(segment);
    if (!acknowledged) {
      this.state = 'syn-received';
      this.sendSyn();
      return;
    }
    this.unacknowledged = this.next;
    this.open();
    this.acknowledge = true;
    this.pump();
  }

  private reject(sequence: number): void {
    this.emit(sequence, RST, 0);
  }

  private open(): void {
    this.state = 'open';
    this.timer.acknowledged(this.output.now(), false);
    this.events.opened();
  }

  /** False: the segment goes no further. */
  private receiveAcknowledgement(segment: Segment): boolean {
    const { acknowledgement, sequence } = segment;
    const fresh = difference(acknowledgement, this.unacknowledged);
    if (this.state === 'syn-received') {
      if (acknowledgement !== this.next) {
        this.reject(acknowledgement);
        return false;
      }
      this.unacknowledged = acknowledgement;
      this.setWindow(segment);
      this.open();
      return true;
    }
    if (difference(acknowledgement, this.next) > 0) {
      this.emit(this.next, ACK, 0);
      return false;
    }
    if (fresh > 0) this.receiveNewAcknowledgement(acknowledgement, fresh);
    else if (fresh === 0) this.countDuplicate(segment);
    if (this.state === 'closed') return false;
    const newer = difference(sequence, this.windowSequence);
    if (newer > 0 || (newer === 0 && difference(acknowledgement, this.windowAcknowledgement) >= 0))
      this.setWindow(segment);
    return true;
  }

  private setWindow({ window, sequence, acknowledgement }: Segment): void {
    this.window = window * 2 ** this.windowScale;
    this.windowSequence = sequence;
    this.windowAcknowledgement = acknowledgement;
  }

  private receiveNewAcknowledgement(acknowledgement: number, fresh: number): void {
    const bytes = Math.min(fresh, this.queue.length);
    this.queue.drop(bytes);
    this.unacknowledged = acknowledgement;
    this.finAcknowledged ||= this.finSent && acknowledgement === this.next;
    this.duplicates = 0;
    this.timer.acknowledged(this.output.now(), this.inFlight > 0 || this.queue.length > 0);
    if (this.recoverUntil !== undefined) {
      if (difference(acknowledgement, this.recoverUntil) >= 0) this.recoverUntil = undefined;
      else this.retransmit();
    }
    if (this.finAcknowledged && this.incoming.ended) this.finish();
    else if (bytes > 0) this.events.room();
  }

  private countDuplicate({ payload, flags, window }: Segment): void {
    const same = payload.length === 0 && !(flags & FIN) && window * 2 ** this.windowScale === this.window;
    if (!same || this.inFlight === 0) return;
    this.duplicates++;
    if (this.duplicates !== 3 || this.recoverUntil !== undefined) return;
    this.recoverUntil = this.next;
    this.retransmit();
  }

  /** Sends the oldest segment again. */
  private retransmit(): void {
    this.timer.retransmitted();
    const data = Math.min(this.queue.length, this.finSent ? this.inFlight - 1 : this.inFlight);
    const length = Math.min(data, this.output.largest(this.maxSegment));
    if (length > 0) this.sendData(0, length);
    else if (this.finSent) this.emit(this.unacknowledged, FIN | ACK, 0);
  }

  private receiveData(segment: Segment): void {
    const { incoming } = this;
    if (segment.payload.length > 0) this.acknowledge = true;
    if (incoming.ended) {
      if (segment.flags & FIN) this.acknowledge = true;
      return;
    }
    const taken = incoming.take(segment);
    // At once: the sender counts these.
    if (taken === 'early') this.emit(this.next, ACK, 0);
    else if (taken === 'ended') this.receiveFin();
  }

  private receiveFin(): void {
    this.acknowledge = true;
    this.events.ended();
    if (this.finAcknowledged) this.finish();
  }

  /** Both directions have ended. */
  private finish(): void {
    if (this.state !== 'open') return;
    this.state = 'time-wait';
    this.timer.waitFor(this.output.now() + TIME_WAIT);
    this.flushAcknowledgement();
  }

  private close(broken: boolean): void {
    if (this.state === 'closed') return;
    this.state = 'closed';
    this.queue.clear();
    this.incoming.clear();
    this.events.closed(broken);
  }

  // ---- time ----

  /** Does what is due. */
  tick(now: number): void {
    if (this.state === 'closed') return;
    if (this.state === 'open' && now - this.heard > KEEP_ALIVE) this.timer.ensure(now);
    if (!this.timer.isDue(now)) return;
    if (this.state === 'time-wait') this.close(false);
    else if (this.timer.isHopeless) {
      this.emit(this.next, RST | ACK, 0);
      this.close(true);
    } else this.retry(now);
  }

  private retry(now: number): void {
    this.timer.backOff(now);
    if (this.state === 'syn-sent') this.emit(this.unacknowledged, SYN, 0);
    else if (this.state === 'syn-received') this.emit(this.unacknowledged, SYN | ACK, 0);
    else if (this.inFlight > 0) {
      this.duplicates = 0;
      this.recoverUntil = this.next;
      this.retransmit();
    } else if (this.queue.length > 0 && this.window > 0) this.pump();
    // A window that is shut, or a peer that has been silent: an old segment, which it answers.
    else if (this.queue.length > 0 || now - this.heard > KEEP_ALIVE)
      this.emit(advance(this.unacknowledged, -1), ACK, 0);
    else this.timer.stop();
    // Whoever still answers while its window is shut is alive.
    if (this.inFlight === 0 && now - this.heard < 30_000) this.timer.alive();
  }
}
