import { describe, expect, it } from 'vitest';
import { noise } from '../../testing/noise.js';
import { BadRequest, MAX_BODY, MAX_HEAD, RequestParser, type HttpRequest } from './request-parser.js';

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'));

/** All requests of a text that comes in pieces. */
function parse(text: string, piece = text.length): (HttpRequest & { text: string })[] {
  const parser = new RequestParser();
  const found: (HttpRequest & { text: string })[] = [];
  for (let at = 0; at < text.length; at += piece) {
    parser.feed(bytes(text.slice(at, at + piece)));
    for (let next = parser.next(); next; next = parser.next())
      found.push({ ...next, text: Buffer.from(next.body).toString('latin1') });
  }
  return found;
}

const statusOf = (text: string): number => {
  try {
    parse(text);
  } catch (error) {
    if (error instanceof BadRequest) return error.status;
    throw error;
  }
  return 200;
};

describe('the parser of requests', () => {
  it.each([1, 3, 1000])('reads them one behind the other, in pieces of %d bytes', (piece) => {
    const text =
      'GET /a HTTP/1.1\r\nHost: one\r\n\r\n' +
      '\r\nPOST /b HTTP/1.0\r\nContent-Length: 5\r\nX-Y:  spaces \r\n\r\nhello' +
      'PUT /c HTTP/1.1\nHost: two\nTransfer-Encoding: chunked\n\n3\r\nabc\r\n0A;x=y\r\n0123456789\r\n0\r\nT: 1\r\n\r\n' +
      'DELETE /d HTTP/1.1\r\nHost: three\r\n\r\n';
    const found = parse(text, piece);
    expect(found.map(({ method, target, minor, text: body }) => [method, target, minor, body])).toEqual([
      ['GET', '/a', 1, ''],
      ['POST', '/b', 0, 'hello'],
      ['PUT', '/c', 1, 'abc0123456789'],
      ['DELETE', '/d', 1, ''],
    ]);
    expect(found[1].headers).toEqual([
      ['content-length', '5'],
      ['x-y', 'spaces'],
    ]);
  });

  it('refuses what can be read in two ways (RFC 9112 §5, §6.3)', () => {
    const head = 'GET / HTTP/1.1\r\nHost: a\r\n';
    for (const fields of [
      'Content-Length: 1\r\nContent-Length: 2',
      'Content-Length: +1',
      'Content-Length: 1\r\nTransfer-Encoding: chunked',
      'Bad Name: 1',
      'Name : 1',
      ' folded',
      'Name: a\0b',
      'no colon',
    ])
      expect([fields, statusOf(`${head}${fields}\r\n\r\n`)]).toEqual([fields, 400]);
    expect(statusOf('GET  / HTTP/1.1\r\n\r\n')).toBe(400);
    expect(statusOf('GET / HTTP/2.0\r\n\r\n')).toBe(400);
    expect(statusOf(`${head}Transfer-Encoding: gzip\r\n\r\n`)).toBe(501);
    expect(statusOf(`${head}Transfer-Encoding: chunked\r\n\r\nxyz\r\n`)).toBe(400);
    expect(statusOf(`${head}Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n`)).toBe(400);
  });

  it('holds no more than its limits', () => {
    expect(statusOf(`GET / HTTP/1.1\r\nA: ${'x'.repeat(MAX_HEAD)}`)).toBe(431);
    expect(statusOf(`POST / HTTP/1.1\r\nContent-Length: ${MAX_BODY + 1}\r\n\r\n`)).toBe(413);
    expect(statusOf('POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n')).toBe(413);
    expect(statusOf(`POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;${'x'.repeat(5000)}`)).toBe(400);
  });

  it('takes whatever comes', () => {
    const next = noise(7);
    const words = [
      'GET',
      ' ',
      '/',
      'HTTP/1.1',
      '\r\n',
      '\n',
      'Host: a',
      'Content-Length: 3',
      ': ',
      'chunked',
      '5',
      '\0',
    ];
    words.push('Transfer-Encoding: chunked', '\r\n\r\n', '0\r\n\r\n', '3\r\nabc\r\n', 'Expect: 100-continue', ';', 'ä');
    for (let round = 0; round < 3000; round++) {
      const parser = new RequestParser();
      try {
        for (let part = 0; part < 12; part++) {
          parser.feed(bytes(words[next() % words.length]));
          for (let count = 0; parser.next(); count++) expect(count).toBeLessThan(100);
          parser.takeContinue();
        }
      } catch (error) {
        expect(error).toBeInstanceOf(BadRequest);
      }
    }
  });
});
