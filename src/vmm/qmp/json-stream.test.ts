import { describe, expect, it } from 'vitest';
import { noise } from '../../testing/noise.js';
import { JsonStream, type JsonItem } from './json-stream.js';

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
    ['bad {"a":1}', ['invalid JSON', { a: 1 }]],
    ['} {"a":1}', ['invalid JSON', { a: 1 }]],
    // A string that does not end takes its line with it.
    ['{"a":"b\n{"a":1}', ['invalid JSON', { a: 1 }]],
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
    const alphabet = '{}[]",:\\ \n1truefalsnu\u20ac';
    for (let round = 0; round < 2000; round++) {
      const stream = new JsonStream();
      const text = Array.from({ length: 60 }, () => alphabet[random() % alphabet.length]).join('');
      stream.push(bytes(text));
      // Whatever was open is over after a line's end and this many brackets.
      expect(stream.push(bytes(`"\n${'}'.repeat(60)}\n{"ok":1}`)).at(-1)).toEqual({ value: { ok: 1 } });
    }
  });
});
