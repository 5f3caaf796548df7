import { describe, expect, it } from 'vitest';
import { noise } from '../../testing/noise.js';
import { JsonStream, type JsonItem } from './json-stream.js';
import { parseJson, writeJson } from './json-text.js';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const all = (text: string): JsonItem[] => new JsonStream().push(bytes(text));
const values = (items: readonly JsonItem[]): unknown[] =>
  items.map((item) => ('value' in item ? item.value : item.error));

describe('a stream of JSON values', () => {
  it.each([
    ['{"a":1}{"b":[2]} [3]\r\n', [{ a: 1 }, { b: [2] }, [3]]],
    ['{"a":"}{\\"\\\\"}\n', [{ a: '}{"\\' }]],
    ['  \n\n', []],
    ['1 "x y" null\n', [1, 'x y', null]],
    ['{"a":\n  1}', [{ a: 1 }]],
    ['bad {"a":1}', ["invalid keyword 'bad'", { a: 1 }]],
    ['} {"a":1}', ['expecting value', { a: 1 }]],
    // A string that does not end takes its line with it.
    ['{"a":"b\n{"a":1}', ["stray '\"'", { a: 1 }]],
    ["{'a':'}{\"'}{'b':'\\''}", [{ a: '}{"' }, { b: "'" }]],
    ['{"ä":"€"}', [{ ä: '€' }]],
  ])('is cut: %j', (text, expected) => {
    expect(values(all(text))).toEqual(expected);
  });

  it('may come in any pieces', () => {
    const text = '{"execute":"a\\"€","arguments":{"x":[1,{"y":"}"}]}}\n["z"] {"b":2}';
    const stream = new JsonStream();
    const items = Array.from(bytes(text)).flatMap((byte) => stream.push(Uint8Array.of(byte)));
    expect(items).toEqual(all(text));
    expect(items).toHaveLength(3);
  });

  it('does not keep what has no end', () => {
    const stream = new JsonStream();
    const chunk = bytes('['.repeat(1 << 16));
    const items = Array.from({ length: 40 }, () => stream.push(chunk)).flat();
    expect(items).toEqual([{ error: 'a value of more than 1048576 characters' }]);
    expect(values(stream.push(bytes(']]]\n{"a":1}')))).toEqual([{ a: 1 }]);
  });

  it('refuses what is nested deeper than anybody needs, and goes on behind it', () => {
    const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);
    expect(values(all(`${nested(1025)}\n{"a":1}`))).toEqual(['JSON nesting depth limit exceeded', { a: 1 }]);
    expect(all(nested(1024))[0]).toHaveProperty('value');
  });

  it('never throws, whatever comes', () => {
    const random = noise(1);
    const alphabet = '{}[]"\',:\\ \n1truefalsnu\u20ac';
    for (let round = 0; round < 2000; round++) {
      const stream = new JsonStream();
      const text = Array.from({ length: 60 }, () => alphabet[random() % alphabet.length]).join('');
      stream.push(bytes(text));
      // Whatever was open is over after a line's end and this many brackets.
      expect(stream.push(bytes(`"\n'\n${'}'.repeat(60)}\n{"ok":1}`)).at(-1)).toEqual({ value: { ok: 1 } });
    }
  });
});

describe('a JSON text', () => {
  it.each([
    ['{"id":9007199254740993}', { id: 9007199254740993n }],
    ['[18446744073709551615,-9223372036854775808]', [18446744073709551615n, -9223372036854775808n]],
    ['[9007199254740991,-0,1.5e3,18446744073709551616]', [9007199254740991, -0, 1500, 2 ** 64]],
    [String.raw`"\ud83d\ude00 \u0000\/\t"`, '\u{1f600} \0/\t'],
    ['{"__proto__":1}', Object.fromEntries([['__proto__', 1]])],
    ['[ ]', []],
  ])('is read: %s', (text, expected) => {
    expect(parseJson(text)).toEqual(expected);
  });

  it.each([
    ['{"a":1,"a":2}', 'duplicate key'],
    ['{"a" 1}', 'missing : in object pair'],
    ['{"a":1,}', 'key is not a string in object'],
    ['{"a":1]', 'expected separator in dict'],
    ['[1 2]', 'expected separator in list'],
    ['{"a":tru}', "invalid keyword 'tru'"],
    ['{"a":}', 'expecting value'],
    ['{"a":+1}', "stray '+'"],
    ['{"a":01}', 'expected separator in dict'],
    [String.raw`"\x"`, 'invalid escape sequence in string'],
    [String.raw`"\u12"`, 'invalid hex escape in string'],
    [String.raw`"\ud800"`, String.raw`\ud800 is not a valid Unicode character`],
    ['"\x01"', `stray '"'`],
  ])('is refused: %s', (text, message) => {
    expect(() => parseJson(text)).toThrow(message);
  });

  it('is written in ASCII, with every bit of its integers', () => {
    const value = { 'ä\u{1f600}': ['\ud800"', 2n ** 64n - 1n, null, true, { a: 1.5 }] };
    const text = String.raw`{"\u00e4\ud83d\ude00":["\ud800\"",18446744073709551615,null,true,{"a":1.5}]}`;
    expect(writeJson(value)).toBe(text);
  });
});
