/** A name server that makes addresses up: for a network that can be asked by names, but gives none away. */
import type { Address } from '../addresses.js';
import { readQuestion } from './dns.js';
import { put16 } from './packet.js';

/** 198.18.0.0/15, which no network uses: it is for measurements (RFC 2544, appendix C.2.2). */
const FIRST = 0xc612_0001;
/** Names that have an address at a time; the ones that were asked for first lose theirs. */
const MOST = 65_534;
/** Seconds that an answer is good for. */
const LIFE = 60;

const TYPE = { A: 1, ANY: 255 } as const;
const CLASS_IN = 1;
const CODE = { FORMAT_ERROR: 1, NO_SUCH_NAME: 3 } as const;
/** Response, recursion available (RFC 1035 §4.1.1). */
const FLAGS = { RESPONSE: 0x8000, RECURSION: 0x0080, ASKED: 0x7900 } as const;

export class FakeNames {
  private readonly addresses = new Map<string, number>();
  private readonly names = new Map<number, string>();
  private given = 0;

  /** The name that an address was made up for. */
  nameOf(address: string): string | undefined {
    const parts = address.split('.').map(Number);
    return this.names.get(parts.reduce((sum, part) => sum * 256 + part, 0));
  }

  /** The address of a name: every name has one. */
  addressOf(name: string): Address {
    const key = name.toLowerCase().replace(/\.$/, '');
    let number = this.addresses.get(key);
    if (number === undefined) {
      number = FIRST + (this.given++ % MOST);
      const before = this.names.get(number);
      if (before !== undefined) this.addresses.delete(before);
      this.names.set(number, key);
      this.addresses.set(key, number);
    }
    return Uint8Array.of(number >>> 24, (number >>> 16) & 0xff, (number >>> 8) & 0xff, number & 0xff);
  }

  /** Answers a question, RFC 1035 §4; undefined: it is none. */
  answer(message: Uint8Array): Uint8Array | undefined {
    if (message.length < 12 || message[2] & 0x80) return undefined;
    const question = readQuestion(message);
    const flags = FLAGS.RESPONSE | FLAGS.RECURSION | (((message[2] << 8) | message[3]) & FLAGS.ASKED);
    if (!question) return reply(message.slice(0, 12), flags | CODE.FORMAT_ERROR, 0);
    const { name, type, end } = question;
    const asked = message.slice(0, end);
    // Nobody knows who an address belongs to.
    if (/(^|\.)arpa\.?$/i.test(name)) return reply(asked, flags | CODE.NO_SUCH_NAME, 1);
    const isAddress = type === TYPE.A || type === TYPE.ANY;
    if (!isAddress || name === '') return reply(asked, flags, 1);
    const record = new Uint8Array(16);
    // A pointer to the name in the question (§4.1.4).
    put16(record, 0, 0xc00c);
    put16(record, 2, TYPE.A);
    put16(record, 4, CLASS_IN);
    put16(record, 8, LIFE);
    put16(record, 10, 4);
    record.set(this.addressOf(name), 12);
    const whole = new Uint8Array(end + record.length);
    whole.set(asked);
    whole.set(record, end);
    return reply(whole, flags, 1, 1);
  }
}

function reply(message: Uint8Array, flags: number, questions: number, answers = 0): Uint8Array {
  put16(message, 2, flags);
  put16(message, 4, questions);
  put16(message, 6, answers);
  message.fill(0, 8, 12);
  return message;
}
