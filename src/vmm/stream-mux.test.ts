import { describe, expect, it } from 'vitest';
import { STREAM_WINDOW, type StreamEnd, type StreamListener } from '../iface/streams.js';
import { StreamMux, type StreamMessage } from './stream-mux.js';

/** Two sides whose messages are delivered by `deliver`. */
function pair() {
  const queue: [to: () => StreamMux, message: StreamMessage][] = [];
  const inside: StreamMux = new StreamMux((message) => void queue.push([() => outside, message]), 0);
  const outside: StreamMux = new StreamMux((message) => void queue.push([() => inside, message]), 1);
  const deliver = (): void => {
    for (let next = queue.shift(); next; next = queue.shift()) next[0]().handle(next[1]);
  };
  return { inside, outside, deliver };
}

function listener(log: string[]): StreamListener {
  return {
    accepted: (port) => void log.push(`accepted ${port}`),
    data: (bytes) => void log.push(`data ${bytes.length}`),
    drained: () => void log.push('drained'),
    ended: () => void log.push('ended'),
    closed: (finished) => void log.push(finished ? 'finished' : 'closed'),
  };
}

/** A service that takes every stream. */
function serve(mux: StreamMux, persistent = false): { readonly log: string[]; readonly ends: StreamEnd[] } {
  const [log, ends]: [string[], StreamEnd[]] = [[], []];
  mux.serve('port', {
    persistent,
    accept: (port, end) => {
      log.push(`open ${port}`);
      ends.push(end);
      return listener(log);
    },
  });
  return { log, ends };
}

describe('streams between threads', () => {
  it('carry bytes both ways, with a window that grows as they are taken', () => {
    const { inside, outside, deliver } = pair();
    const { log, ends } = serve(inside);
    const mine: string[] = [];
    const end = outside.connect('port', 7, listener(mine));
    end.send(new Uint8Array(STREAM_WINDOW));
    deliver();
    expect([end.room, log]).toEqual([0, ['open 7', `data ${STREAM_WINDOW}`]]);
    ends[0].accept(3);
    ends[0].taken(100);
    // More than was received is not there to be taken.
    ends[0].taken(STREAM_WINDOW * 2);
    ends[0].send(new Uint8Array(5));
    ends[0].end();
    deliver();
    expect(end.room).toBe(STREAM_WINDOW);
    expect(mine).toEqual(['accepted 3', 'drained', 'drained', 'data 5', 'ended']);
  });

  it('end at both sides, whoever ends them', () => {
    const { inside, outside, deliver } = pair();
    const { log, ends } = serve(inside);
    const mine: string[] = [];
    const [first, second] = [outside.connect('port', 1, listener(mine)), outside.connect('port', 2, listener(mine))];
    deliver();
    first.close();
    ends[1].finish();
    second.send(new Uint8Array(1));
    deliver();
    expect([inside.size, outside.size, log.slice(2), mine]).toEqual([0, 0, ['closed'], ['finished']]);
    first.send(new Uint8Array(1));
    deliver();
  });

  it('are refused where nobody takes them', () => {
    const { outside, deliver } = pair();
    const mine: string[] = [];
    outside.connect('port', 1, listener(mine));
    deliver();
    expect([outside.size, mine]).toEqual([0, ['closed']]);
  });

  it('are closed, or offered to the successor, when a service is taken over', () => {
    const { inside, outside, deliver } = pair();
    serve(inside);
    const mine: string[] = [];
    const end = outside.connect('port', 1, listener(mine));
    end.send(new Uint8Array(10));
    end.end();
    deliver();
    const later = serve(inside, true);
    deliver();
    // What was not passed on is lost, and may be sent anew.
    expect([end.room, later.log]).toEqual([STREAM_WINDOW, ['open 1', 'ended']]);
    serve(inside, false);
    deliver();
    expect([inside.size, mine]).toEqual([0, ['drained', 'closed']]);
  });
});
