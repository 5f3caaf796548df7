import { describe, expect, it } from 'vitest';
import { noise } from '../../testing/noise.js';
import { TcpConnection, type OutgoingSegment, type TcpEvents } from './connection.js';
import { TCP_FLAG, type Segment } from './sequence.js';

/** One end of a wire, with what it was told. */
class End {
  readonly received: number[] = [];
  readonly told: string[] = [];
  connection: TcpConnection | undefined;
  /** Bytes are passed on at once, or wait for `consume`. */
  eager = true;
  unconsumed = 0;

  readonly events: TcpEvents = {
    opened: () => this.told.push('opened'),
    data: (bytes) => {
      for (const byte of bytes) this.received.push(byte);
      if (this.eager) this.connection?.consumed(bytes.length);
      else this.unconsumed += bytes.length;
    },
    ended: () => this.told.push('ended'),
    room: () => {},
    closed: (broken) => this.told.push(broken ? 'broken' : 'closed'),
  };

  consume(): void {
    this.connection?.consumed(this.unconsumed);
    this.unconsumed = 0;
    this.connection?.flushAcknowledgement();
  }
}

/** Two connections and the wire between them, which delivers, loses, delays and doubles as it is told. */
class Wire {
  time = 0;
  readonly a = new End();
  readonly b = new End();
  readonly sent: { to: End; segment: Segment; at: number }[] = [];
  /** Of each segment: how often it arrives, and milliseconds until then. */
  fate: (segment: Segment) => readonly number[] = () => [0];
  largest = 1460;

  constructor(limit = 65536) {
    this.a.connection = this.make(this.a, this.b, 1000, limit);
    this.b.connection = this.make(this.b, this.a, 0xffff_ff00, limit);
  }

  private make(from: End, to: End, initial: number, limit: number): TcpConnection {
    return new TcpConnection(
      {
        now: () => this.time,
        largest: (maxSegment) => Math.min(maxSegment, this.largest),
        send: (out) => {
          const segment = asSegment(out);
          for (const delay of this.fate(segment)) this.sent.push({ to, segment, at: this.time + delay });
          return true;
        },
      },
      from.events,
      initial,
      () => limit,
    );
  }

  /** Lets everything arrive that is due, and time pass while something is not. */
  run(milliseconds: number): void {
    for (const end = this.time + milliseconds; this.time <= end; this.time += 10) {
      for (let i = this.sent.findIndex(({ at }) => at <= this.time); i >= 0;) {
        const [{ to, segment }] = this.sent.splice(i, 1);
        const { connection } = to;
        if (connection?.state === 'closed' && segment.flags & TCP_FLAG.SYN) connection.accept(segment);
        else connection?.receive(segment);
        connection?.flushAcknowledgement();
        i = this.sent.findIndex(({ at }) => at <= this.time);
      }
      this.a.connection?.tick(this.time);
      this.b.connection?.tick(this.time);
    }
  }

  open(): this {
    this.a.connection?.connect();
    this.run(50);
    expect([this.a.told, this.b.told]).toEqual([['opened'], ['opened']]);
    return this;
  }
}

function asSegment(out: OutgoingSegment): Segment {
  const payload = new Uint8Array(out.length);
  out.fill(payload);
  const { sequence, acknowledgement, flags, window, scale } = out;
  return {
    sequence,
    acknowledgement,
    flags,
    window,
    payload,
    maxSegment: flags & TCP_FLAG.SYN ? 1460 : undefined,
    scale,
  };
}

const pattern = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 8)) & 0xff);

const expectBytes = (got: readonly number[], wanted: Uint8Array): void => {
  expect(got.length).toBe(wanted.length);
  expect(Buffer.compare(Uint8Array.from(got), wanted)).toBe(0);
};

describe('a TCP connection', () => {
  it('carries data both ways, across the wrap of sequence numbers, and ends', () => {
    const wire = new Wire().open();
    const { a, b } = wire;
    const data = pattern(300_000);
    a.connection?.write(data);
    b.connection?.write(data.subarray(0, 1000));
    wire.run(1000);
    expectBytes(b.received, data);
    expectBytes(a.received, data.subarray(0, 1000));
  });

  it('is closed by both sides, one after the other (half-close)', () => {
    const wire = new Wire().open();
    const { a, b } = wire;
    a.connection?.end();
    wire.run(100);
    expect(b.told).toEqual(['opened', 'ended']);
    b.connection?.write(pattern(5000));
    b.connection?.end();
    wire.run(100);
    expectBytes(a.received, pattern(5000));
    expect(a.told).toEqual(['opened', 'ended']);
    wire.run(3000);
    expect([a.told.at(-1), b.told.at(-1)]).toEqual(['closed', 'closed']);
  });

  it('tells the other side of a reset', () => {
    const wire = new Wire().open();
    wire.a.connection?.abort();
    wire.run(100);
    expect(wire.b.told).toEqual(['opened', 'broken']);
  });

  it('does not believe a reset whose number is not exact (RFC 5961 §3.2)', () => {
    const wire = new Wire().open();
    const { next, received } = wire.a.connection?.sequences ?? { next: 0, received: 0 };
    const rst = { flags: TCP_FLAG.RST, window: 0, payload: new Uint8Array(0), maxSegment: undefined, scale: undefined };
    wire.b.connection?.receive({ ...rst, sequence: next + 5, acknowledgement: received });
    expect(wire.b.told).toEqual(['opened']);
    wire.b.connection?.receive({ ...rst, sequence: next, acknowledgement: received });
    expect(wire.b.told).toEqual(['opened', 'broken']);
  });

  it('waits for a window that is shut, and goes on when it opens', () => {
    const wire = new Wire(20_000).open();
    const { a, b } = wire;
    b.eager = false;
    const data = pattern(100_000);
    a.connection?.write(data);
    wire.run(5000);
    expect(b.received.length).toBeGreaterThan(15_000);
    expect(b.received.length).toBeLessThanOrEqual(20_000);
    for (let i = 0; i < 40; i++) {
      b.consume();
      wire.run(500);
    }
    expectBytes(b.received, data);
  });

  it('finds out that a window has opened when the news of it was lost', () => {
    const wire = new Wire(20_000).open();
    const { a, b } = wire;
    b.eager = false;
    a.connection?.write(pattern(40_000));
    wire.run(1000);
    wire.fate = () => [];
    b.consume();
    wire.fate = () => [0];
    b.eager = true;
    wire.run(20_000);
    expectBytes(b.received, pattern(40_000));
  });

  it.each([1, 2, 3, 4, 5, 6, 7, 8])('survives loss, doubling and reordering (seed %i)', (seed) => {
    const next = noise(seed * 0x9e37_79b9);
    const wire = new Wire().open();
    wire.fate = () => {
      const kind = next() % 10;
      return kind === 0 ? [] : kind === 1 ? [0, 30] : kind === 2 ? [next() % 80] : [0];
    };
    const data = pattern(120_000);
    wire.a.connection?.write(data);
    wire.b.connection?.write(data.subarray(0, 50_000));
    wire.a.connection?.end();
    wire.b.connection?.end();
    wire.run(120_000);
    expectBytes(wire.b.received, data);
    expectBytes(wire.a.received, data.subarray(0, 50_000));
    expect(wire.a.told).toContain('ended');
    expect(wire.b.told).toContain('ended');
  });

  it('gives a peer up that never answers', () => {
    const wire = new Wire().open();
    wire.fate = () => [];
    wire.a.connection?.write(pattern(10));
    wire.run(400_000);
    expect(wire.a.told).toEqual(['opened', 'broken']);
  });

  it('takes whatever segments, and never gives its owner more than its limit', () => {
    const next = noise(77);
    for (let round = 0; round < 2000; round++) {
      const wire = new Wire(10_000).open();
      const { b } = wire;
      b.eager = false;
      const base = b.connection?.sequences ?? { next: 0, received: 0 };
      for (let i = 0; i < 20; i++)
        b.connection?.receive({
          sequence: (base.received + (next() % 30_000) - 10_000) >>> 0,
          acknowledgement: next() & 1 ? base.next : next(),
          flags: next() & 0x3f,
          window: next() & 0xffff,
          payload: new Uint8Array(next() % 2000),
          maxSegment: undefined,
          scale: undefined,
        });
      expect(b.unconsumed).toBeLessThanOrEqual(10_000);
    }
  });
});
