/**
 * The JSON of QEMU's protocol, docs/interop/qmp-spec and qobject/json-parser.c of QEMU 7.2: as RFC 8259 has it, but for strings that may
 * stand between apostrophes, members that may be there only once, and integers of 64 bits, which no number here holds. What is sent is ASCII.
 */

/** A bigint: an integer of 64 bits whose digits a number does not hold. */
export type Json = null | boolean | number | bigint | string | readonly Json[] | { readonly [key: string]: Json };

/** What is wrong with a text, in the words that clients know. */
export class JsonTextError extends Error {
  override readonly name = 'JsonTextError';
}

const SPACE = /[ \t\r\n]*/y;
const WORD = /[a-z]+/y;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?/y;
const INTEGER = /^-?\d+$/;
const HEXADECIMAL = /[0-9a-fA-F]{4}/y;
/** Up to what ends it, escapes something, or cannot be in a string. */
// eslint-disable-next-line no-control-regex -- that is what it looks for
const PLAIN = { '"': /[^"\\\x00-\x1f]*/y, "'": /[^'\\\x00-\x1f]*/y } as const;

const WORDS: Readonly<Record<string, Json>> = { true: true, false: false, null: null };
const ESCAPES: Readonly<Record<string, string>> = {
  ...{ '"': '"', "'": "'", '\\': '\\', '/': '/', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' },
};
const MOST_64 = { low: -(2n ** 63n), high: 2n ** 64n } as const;

/** Integers of up to 64 bits keep all their digits, others are as near as a number gets. */
function toNumber(text: string): number | bigint {
  const value = Number(text);
  if (!INTEGER.test(text) || Number.isSafeInteger(value) || String(value) === text) return value;
  const exact = BigInt(text);
  return exact >= MOST_64.low && exact < MOST_64.high ? exact : value;
}

class Reader {
  private at = 0;

  constructor(private readonly text: string) {}

  /** The only value of the text. */
  whole(): Json {
    const value = this.value();
    this.match(SPACE);
    if (this.at < this.text.length) throw new JsonTextError('expecting value');
    return value;
  }

  private match(pattern: RegExp): string {
    pattern.lastIndex = this.at;
    const [found] = pattern.exec(this.text) ?? [''];
    this.at += found.length;
    return found;
  }

  /** What comes next behind white space; nothing at the end. */
  private peek(): string {
    this.match(SPACE);
    return this.text.charAt(this.at);
  }

  private take(mark: string): boolean {
    if (this.peek() !== mark) return false;
    this.at++;
    return true;
  }

  private value(): Json {
    const next = this.peek();
    if (next === '{') return this.object();
    if (next === '[') return this.array();
    if (next === '"' || next === "'") return this.string(next);
    const number = this.match(NUMBER);
    if (number !== '') return toNumber(number);
    const word = this.match(WORD);
    if (word === '') throw this.stray(next);
    if (!Object.hasOwn(WORDS, word)) throw new JsonTextError(`invalid keyword '${word}'`);
    return WORDS[word];
  }

  private stray(next: string): JsonTextError {
    return new JsonTextError(next === '' || '}],:'.includes(next) ? 'expecting value' : `stray '${next}'`);
  }

  private object(): Json {
    this.at++;
    const members = new Map<string, Json>();
    if (!this.take('}'))
      do {
        const quote = this.peek();
        if (quote !== '"' && quote !== "'") throw new JsonTextError('key is not a string in object');
        const key = this.string(quote);
        if (!this.take(':')) throw new JsonTextError('missing : in object pair');
        const value = this.value();
        if (members.has(key)) throw new JsonTextError('duplicate key');
        members.set(key, value);
      } while (this.goesOn('}', 'expected separator in dict'));
    // Unlike an assignment, this makes a member of "__proto__", too.
    return Object.fromEntries(members);
  }

  private array(): Json {
    this.at++;
    const values: Json[] = [];
    if (!this.take(']'))
      do values.push(this.value());
      while (this.goesOn(']', 'expected separator in list'));
    return values;
  }

  private goesOn(end: string, otherwise: string): boolean {
    if (this.take(',')) return true;
    if (!this.take(end)) throw new JsonTextError(otherwise);
    return false;
  }

  private string(quote: '"' | "'"): string {
    let value = '';
    this.at++;
    for (;;) {
      value += this.match(PLAIN[quote]);
      const next = this.text.charAt(this.at++);
      if (next === quote) return value;
      if (next !== '\\') throw new JsonTextError(`stray '${quote}'`);
      value += this.escape();
    }
  }

  private escape(): string {
    const letter = this.text.charAt(this.at++);
    if (letter !== 'u') {
      if (!Object.hasOwn(ESCAPES, letter)) throw new JsonTextError('invalid escape sequence in string');
      return ESCAPES[letter];
    }
    const first = this.codeUnit();
    if (first < 0xd800 || first > 0xdfff) return String.fromCharCode(first);
    // A pair of surrogates makes one character, and one without the other makes none.
    if (first < 0xdc00 && this.text.startsWith('\\u', this.at)) {
      this.at += 2;
      const second = this.codeUnit();
      if (second >= 0xdc00 && second <= 0xdfff) return String.fromCharCode(first, second);
    }
    throw new JsonTextError(`\\u${first.toString(16)} is not a valid Unicode character`);
  }

  private codeUnit(): number {
    const digits = this.match(HEXADECIMAL);
    if (digits === '') throw new JsonTextError('invalid hex escape in string');
    return parseInt(digits, 16);
  }
}

/** Throws a JsonTextError. It is as deep in calls as the text is nested. */
export const parseJson = (text: string): Json => new Reader(text).whole();

const ascii = (text: string): string =>
  text.replace(/[\x7f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);

/** One line of ASCII. */
export function writeJson(value: Json): string {
  if (typeof value === 'bigint') return String(value);
  if (typeof value !== 'object' || value === null) return ascii(JSON.stringify(value));
  if (Array.isArray(value)) return `[${(value as readonly Json[]).map(writeJson).join(',')}]`;
  const members = Object.entries(value as { readonly [key: string]: Json });
  return `{${members.map(([name, member]) => `${ascii(JSON.stringify(name))}:${writeJson(member)}`).join(',')}}`;
}
