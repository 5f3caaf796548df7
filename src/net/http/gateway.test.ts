import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { StreamEvents } from '../../iface/host-sockets.js';
import { HttpGateway, type Ask, type HttpResponse } from './gateway.js';
import { addressOf, passedOn } from './outgoing.js';

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'));

async function* parts(...texts: readonly string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) {
    await Promise.resolve();
    yield bytes(text);
  }
}

const answer = (body: HttpResponse['body'], more: Partial<HttpResponse> = {}): HttpResponse => ({
  status: 200,
  reason: 'OK',
  headers: [
    ['content-type', 'text/plain'],
    ['content-encoding', 'gzip'],
    ['content-length', '99'],
  ],
  body,
  ...more,
});

/** A guest's connection, and what it was told. */
function connect(ask: Ask): { gateway: HttpGateway; told: string[]; text: () => string } {
  const told: string[] = [];
  const received: string[] = [];
  const events: StreamEvents = {
    connected: () => void told.push('connected'),
    failed: (reason) => void told.push(reason),
    data: (data) => void received.push(Buffer.from(data).toString('latin1')),
    ended: () => void told.push('ended'),
    closed: (broken) => void told.push(broken ? 'broken' : 'closed'),
  };
  return { gateway: new HttpGateway(events, ask), told, text: () => received.join('') };
}

const settle = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await turn();
};

describe('the gateway', () => {
  it('answers one request after the other, in chunks, and ends when the guest does', async () => {
    const asked: string[] = [];
    const { gateway, told, text } = connect(({ method, target, body }) => {
      asked.push(`${method} ${target} ${Buffer.from(body).toString()}`);
      return Promise.resolve(answer(parts('hello ', '', 'world')));
    });
    gateway.write(bytes('GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Le'), () => {});
    gateway.write(bytes('ngth: 2\r\n\r\nhi'), () => {});
    gateway.end();
    await settle();
    expect(asked).toEqual(['GET /1 ', 'POST /2 hi']);
    const one =
      'HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n' +
      '6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n';
    expect(text()).toBe(one + one);
    expect(told).toEqual(['connected', 'ended', 'closed']);
  });

  it('ends the connection behind a body for HTTP/1.0, and where it is asked to', async () => {
    const old = connect(() => Promise.resolve(answer(parts('body'))));
    old.gateway.write(bytes('GET / HTTP/1.0\r\n\r\n'), () => {});
    await settle();
    expect(old.text()).toBe('HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nConnection: close\r\n\r\nbody');
    expect(old.told).toEqual(['connected', 'ended']);
    const closing = connect(() => Promise.resolve(answer(undefined, { status: 304, reason: 'Not Modified' })));
    closing.gateway.write(bytes('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'), () => {});
    await settle();
    expect(closing.text()).toMatch(/^HTTP\/1.1 304 Not Modified\r\n[^]*Connection: close\r\n\r\n$/);
    closing.gateway.end();
    expect(closing.told).toEqual(['connected', 'ended', 'closed']);
  });

  it('says why there is no answer; one that breaks off is a broken connection', async () => {
    const failing = connect(() => Promise.reject(new Error('not allowed (CORS)')));
    failing.gateway.write(bytes('GET / HTTP/1.1\r\nHost: a\r\n\r\n'), () => {});
    await settle();
    expect(failing.text()).toMatch(/^HTTP\/1.1 502 Bad Gateway\r\n[^]*\r\n\r\nnot allowed \(CORS\)\n$/);
    const wrong = connect(() => Promise.reject(new Error('never asked')));
    wrong.gateway.write(bytes('nonsense\r\n\r\n'), () => {});
    await settle();
    expect(wrong.text()).toMatch(/^HTTP\/1.1 400 Bad Request/);
    const broken = connect(() =>
      Promise.resolve(
        answer(
          (async function* () {
            yield* parts('some');
            throw new Error('the server is gone');
          })(),
        ),
      ),
    );
    broken.gateway.write(bytes('GET / HTTP/1.1\r\nHost: a\r\n\r\n'), () => {});
    await settle();
    expect(broken.told).toEqual(['connected', 'broken']);
  });

  it('waits while the guest takes nothing, and stops asking when it goes', async () => {
    const signals: AbortSignal[] = [];
    const { gateway, text } = connect((_, signal) => {
      signals.push(signal);
      return Promise.resolve(answer(parts('a', 'b', 'c')));
    });
    gateway.pause();
    gateway.write(bytes('GET / HTTP/1.1\r\nHost: a\r\n\r\n'), () => {});
    await settle();
    expect(text()).toBe('');
    gateway.resume();
    await settle();
    expect(text()).toMatch(/1\r\nc\r\n0\r\n\r\n$/);
    gateway.write(bytes('GET / HTTP/1.1\r\nHost: a\r\n\r\n'), () => {});
    gateway.reset();
    await settle();
    expect(signals[0].aborted).toBe(true);
  });

  it('tells whoever waits for it to go on (RFC 9110 §10.1.1)', async () => {
    const { gateway, text } = connect(() => Promise.resolve(answer(undefined)));
    gateway.write(bytes('POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n'), () => {});
    await settle();
    expect(text()).toBe('HTTP/1.1 100 Continue\r\n\r\n');
    gateway.write(bytes('x'), () => {});
    await settle();
    expect(text()).toMatch(/200 OK/);
  });
});

describe("a guest's request", () => {
  const request = (target: string, headers: [string, string][] = [['host', 'site']], method = 'GET') => ({
    method,
    target,
    minor: 1,
    headers,
    body: new Uint8Array(0),
  });

  it('is for the host that it names, or the one that it was sent to', () => {
    expect(addressOf(request('/a?b'), 'peer').href).toBe('http://site/a?b');
    expect(addressOf(request('/', [['host', '']]), 'peer').href).toBe('http://peer/');
    expect(addressOf(request('https://other:8443/x'), 'peer').href).toBe('https://other:8443/x');
    for (const wrong of ['ftp://a/', 'file:///etc/passwd', 'http://u:p@a/', 'nonsense'])
      expect(() => addressOf(request(wrong), 'peer')).toThrow();
    expect(() => addressOf(request('a:443', undefined, 'CONNECT'), 'peer')).toThrow(/cannot be done/);
    expect(() => addressOf(request('/', []), 'peer')).toThrow(/which host/);
  });

  it('goes on without what belongs to its connection', () => {
    const headers: [string, string][] = [
      ['host', 'a'],
      ['connection', 'close'],
      ['authorization', 'Bearer x'],
      ['user-agent', 'Wget'],
      ['x-key', '1'],
    ];
    expect(passedOn(request('/', headers))).toEqual([
      ['authorization', 'Bearer x'],
      ['x-key', '1'],
    ]);
  });
});
