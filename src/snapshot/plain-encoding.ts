/**
 * Plain data as bytes: one tag, then the value. The same data always gives the same bytes (the keys of a record are
 * sorted), and bytes that no encoder makes are refused: truncated, with something behind them, nested too deep, keys out of
 * order. What is read is untrusted; nothing larger than the bytes themselves is ever allocated.
 *
 * | tag | value                                                                        |
 * | --- | ---------------------------------------------------------------------------- |
 * | 0   | null                                                                         |
 * | 1 2 | false, true                                                                  |
 * | 3   | integer that a double holds exactly, zigzag, base 128, low part first        |
 * | 4   | any other number: 8 bytes, IEEE 754, little-endian                           |
 * | 5 6 | bigint ≥ 0, < 0: length, magnitude (of -1 - v when negative), little-endian  |
 * | 7   | string: length, UTF-8                                                        |
 * | 8   | bytes: length, bytes                                                         |
 * | 9   | array: length, elements                                                      |
 * | 10  | record: length; key (length, UTF-8) and value, by ascending key              |
 */
import { SchemaError, type Plain } from './schema.js';

const TAG = {
  NULL: 0,
  FALSE: 1,
  TRUE: 2,
  INT: 3,
  DOUBLE: 4,
  BIG: 5,
  NEGATIVE_BIG: 6,
  STRING: 7,
  BYTES: 8,
  ARRAY: 9,
  RECORD: 10,
} as const;

/** Deeper nesting than any state has; bounds the recursion of who reads. */
const MAX_DEPTH = 64;
/** Bytes of the largest bigint. */
const MAX_BIG = 64;

interface RecordOf {
  readonly [key: string]: Plain;
}

class Encoder {
  private buffer = new Uint8Array(1024);
  private length = 0;

  private reserve(count: number): void {
    if (this.length + count <= this.buffer.length) return;
    const grown = new Uint8Array(Math.max(this.buffer.length * 2, this.length + count));
    grown.set(this.buffer.subarray(0, this.length));
    this.buffer = grown;
  }

  private u8(value: number): void {
    this.reserve(1);
    this.buffer[this.length++] = value;
  }

  /** Up to 2**54, so without bit operations. */
  private varint(value: number): void {
    let rest = value;
    for (; rest >= 128; rest = Math.floor(rest / 128)) this.u8((rest % 128) + 128);
    this.u8(rest);
  }

  private raw(bytes: Uint8Array): void {
    this.varint(bytes.length);
    this.reserve(bytes.length);
    this.buffer.set(bytes, this.length);
    this.length += bytes.length;
  }

  private number(value: number): void {
    // Twice as much must still be exact.
    if (Number.isInteger(value) && Math.abs(value) <= 2 ** 52 && !Object.is(value, -0)) {
      this.u8(TAG.INT);
      this.varint(value >= 0 ? value * 2 : -value * 2 - 1);
      return;
    }
    this.u8(TAG.DOUBLE);
    this.reserve(8);
    new DataView(this.buffer.buffer).setFloat64(this.length, value, true);
    this.length += 8;
  }

  private big(value: bigint): void {
    this.u8(value >= 0n ? TAG.BIG : TAG.NEGATIVE_BIG);
    const bytes: number[] = [];
    for (let rest = value >= 0n ? value : -1n - value; rest > 0n; rest >>= 8n) bytes.push(Number(rest & 0xffn));
    if (bytes.length > MAX_BIG) throw new RangeError('a bigint that is too large to be saved');
    this.raw(Uint8Array.from(bytes));
  }

  value(value: Plain, depth: number): void {
    if (depth > MAX_DEPTH) throw new RangeError('data that is nested too deep to be saved');
    if (value === null) this.u8(TAG.NULL);
    else if (typeof value === 'boolean') this.u8(value ? TAG.TRUE : TAG.FALSE);
    else if (typeof value === 'number') this.number(value);
    else if (typeof value === 'bigint') this.big(value);
    else if (typeof value === 'string') {
      this.u8(TAG.STRING);
      this.raw(new TextEncoder().encode(value));
    } else if (value instanceof Uint8Array) {
      this.u8(TAG.BYTES);
      this.raw(value);
    } else if (Array.isArray(value)) {
      const items = value as readonly Plain[];
      this.u8(TAG.ARRAY);
      this.varint(items.length);
      for (const item of items) this.value(item, depth + 1);
    } else this.record(value as RecordOf, depth);
  }

  private record(record: RecordOf, depth: number): void {
    const keys = Object.keys(record).sort();
    this.u8(TAG.RECORD);
    this.varint(keys.length);
    for (const key of keys) {
      this.raw(new TextEncoder().encode(key));
      this.value(record[key], depth + 1);
    }
  }

  finish(): Uint8Array {
    return this.buffer.slice(0, this.length);
  }
}

class Decoder {
  private at = 0;
  private readonly view: DataView;
  private readonly utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

  constructor(private readonly bytes: Uint8Array) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  private damaged(what: string): never {
    throw new SchemaError(`${what} at byte ${this.at}`);
  }

  private u8(): number {
    if (this.at >= this.bytes.length) this.damaged('data ends early');
    return this.bytes[this.at++];
  }

  private varint(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.u8();
      value += (byte & 127) * scale;
      if (value > 2 ** 53) this.damaged('a number is too large');
      if (byte < 128) {
        if (byte === 0 && scale > 1) this.damaged('a number is longer than it needs to be');
        return value;
      }
    }
  }

  private raw(): Uint8Array {
    const length = this.varint();
    if (length > this.bytes.length - this.at) this.damaged('data ends early');
    const found = this.bytes.subarray(this.at, this.at + length);
    this.at += length;
    return found;
  }

  private text(): string {
    const bytes = this.raw();
    try {
      return this.utf8.decode(bytes);
    } catch {
      return this.damaged('text is not UTF-8');
    }
  }

  /** How many elements follow; each takes a byte at least. */
  private count(): number {
    const count = this.varint();
    if (count > this.bytes.length - this.at) this.damaged('data ends early');
    return count;
  }

  private int(): number {
    const value = this.varint();
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }

  private double(): number {
    if (this.bytes.length - this.at < 8) this.damaged('data ends early');
    const value = this.view.getFloat64(this.at, true);
    this.at += 8;
    return value;
  }

  private big(): bigint {
    const magnitude = this.raw();
    if (magnitude.length > MAX_BIG || magnitude.at(-1) === 0) this.damaged('a number is not as it should be');
    return magnitude.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
  }

  value(depth: number): Plain {
    if (depth > MAX_DEPTH) this.damaged('data is nested too deep');
    const tag = this.u8();
    switch (tag) {
      case TAG.NULL:
        return null;
      case TAG.FALSE:
        return false;
      case TAG.TRUE:
        return true;
      case TAG.INT:
        return this.int();
      case TAG.DOUBLE:
        return this.double();
      case TAG.BIG:
        return this.big();
      case TAG.NEGATIVE_BIG:
        return -1n - this.big();
      case TAG.STRING:
        return this.text();
      case TAG.BYTES:
        // A copy of its own, also of a Node Buffer, whose slice() is none.
        return new Uint8Array(this.raw());
      case TAG.ARRAY: {
        const items: Plain[] = [];
        for (let left = this.count(); left > 0; left--) items.push(this.value(depth + 1));
        return items;
      }
      case TAG.RECORD:
        return this.record(depth);
      default:
        return this.damaged(`there is no kind ${tag} of data`);
    }
  }

  private record(depth: number): Plain {
    const record: { [key: string]: Plain } = {};
    let last: string | undefined;
    for (let left = this.count(); left > 0; left--) {
      const key = this.text();
      // Ascending, so no key comes twice. `__proto__` is no name of ours, and would not become a property.
      if ((last !== undefined && key <= last) || key === '__proto__') this.damaged('keys are not as they should be');
      record[key] = this.value(depth + 1);
      last = key;
    }
    return record;
  }

  end(): void {
    if (this.at !== this.bytes.length) this.damaged('there is more than the data');
  }
}

export function encodePlain(value: Plain): Uint8Array {
  const encoder = new Encoder();
  encoder.value(value, 0);
  return encoder.finish();
}

/** Throws a `SchemaError` for bytes that `encodePlain` does not make. */
export function decodePlain(bytes: Uint8Array): Plain {
  const decoder = new Decoder(bytes);
  const value = decoder.value(0);
  decoder.end();
  return value;
}
