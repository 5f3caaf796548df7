import { BadRequest, MAX_BODY, MAX_HEAD, RequestParser } from '../../../net/http/request-parser.js';
import { addressOf, passedOn } from '../../../net/http/outgoing.js';
import { FakeNames } from '../../../net/user/fake-names.js';
import type { RandomSource } from '../../random-source.js';
import { must, type FuzzSession, type FuzzTarget } from '../target.js';

const METHODS = ['GET', 'POST', 'HEAD', 'CONNECT', 'OPTIONS', 'G T', ''];
const TARGETS = [
  '/',
  '/a?b',
  '*',
  'http://a/',
  'https://[::1]:99999/',
  'a:443',
  'ftp://x',
  'http://u:p@h/',
  '//x',
  '/\xff',
];
const FIELDS = [
  'Host: a',
  'Host:',
  'Content-Length: 3',
  'Content-Length: 99999999999999999999',
  'Transfer-Encoding: chunked',
  'Transfer-Encoding: gzip, chunked',
  'Expect: 100-continue',
  'Connection: upgrade',
  'Upgrade: websocket',
  ' folded',
  'Name : x',
  'X: \x01',
];
const CHUNKS = ['3\r\nabc\r\n', '0\r\n\r\n', '0\r\nT: 1\r\n\r\n', 'fffffff\r\n', '1;x\r\na\r\n', '2\r\na', '\r\n'];

const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'));

class Session implements FuzzSession {
  private readonly names = new FakeNames();
  private parser = new RequestParser();

  constructor(private readonly random: RandomSource) {}

  private request(): string {
    const { random } = this;
    const fields = Array.from({ length: random.below(5) }, () => `${random.pick(FIELDS)}\r\n`).join('');
    const body = Array.from({ length: random.below(4) }, () => random.pick(CHUNKS)).join('');
    const version = random.once(10) ? 'HTTP/2' : `HTTP/1.${random.below(2)}`;
    return `${random.pick(METHODS)} ${random.pick(TARGETS)} ${version}\r\n${fields}${random.once(9) ? '' : '\r\n'}${body}`;
  }

  private question(): Uint8Array {
    const { random } = this;
    const labels = Array.from({ length: random.below(4) }, () => [...random.bytes(random.below(8))]);
    const name = labels.flatMap((label) => [random.once(9) ? random.below(256) : label.length, ...label]);
    const head = [1, 2, random.once(9) ? random.below(256) : 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    return Uint8Array.from([...head, ...name, 0, 0, random.pick([1, 28, 12, 255]), 0, 1]);
  }

  step(): void {
    const { random } = this;
    const question = random.damage(this.question(), 6);
    const answer = this.names.answer(question);
    must(answer === undefined || answer.length <= question.length + 16, 'an answer is a question and one record');
    const bytes = random.damage(bytesOf(this.request()), 6);
    try {
      for (let at = 0; at < bytes.length;) {
        const piece = 1 + random.below(bytes.length);
        this.parser.feed(bytes.slice(at, at + piece));
        at += piece;
        for (let next = this.parser.next(); next; next = this.parser.next()) {
          must(next.body.length <= MAX_BODY && next.headers.length < MAX_HEAD, 'a request is within its limits');
          passedOn(next);
          const url = addressOf(next, 'peer');
          must(/^https?:$/.test(url.protocol) && url.username === '', 'a page asks for what is on the web');
        }
        this.parser.takeContinue();
      }
    } catch (error) {
      // The connection ends.
      if (!(error instanceof BadRequest)) throw error;
      this.parser = new RequestParser();
    }
  }
}

/** What a guest in a page says to the server that its connections end at, and asks of names. */
export const httpTarget: FuzzTarget = {
  name: 'http',
  share: 4,
  length: 500,
  start: (random) => new Session(random),
};
