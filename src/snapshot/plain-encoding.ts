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

/** Bytes of the encoder's buffer, at first, and at most between two uses. */
const FIRST_SIZE = 1024;
const LARGEST_KEPT = 0x1_0000;

class Encoder {
  private buffer = new Uint8Array(FIRST_SIZE);
  private view = new DataView(this.buffer.buffer);
  private length = 0;

  private reserve(count: number): void {
    if (this.length + count <= this.buffer.length) return;
    const { buffer, length } = this;
    this.resize(Math.max(buffer.length * 2, length + count));
    this.buffer.set(buffer.subarray(0, length));
  }

  private resize(size: number): void {
    this.buffer = new Uint8Array(size);
    this.view = new DataView(this.buffer.buffer);
  }

  private u8(value: number): void {
    this.reserve(1);
    this.buffer[this.length++] = value;
  }

  /** Up to 2**54, so without bit operations where it is large. */
  private varint(value: number): void {
    this.reserve(8);
    let rest = value;
    for (; rest >= 2 ** 31; rest = Math.floor(rest / 128)) this.buffer[this.length++] = (rest % 128) + 128;
    for (; rest >= 128; rest >>>= 7) this.buffer[this.length++] = (rest & 127) | 128;
    this.buffer[this.length++] = rest;
  }

  private raw(bytes: Uint8Array): void {
    this.varint(bytes.length);
    this.reserve(bytes.length);
    this.buffer.set(bytes, this.length);
    this.length += bytes.length;
  }

  private text(text: string): void {
    const start = this.length;
    this.varint(text.length);
    this.reserve(text.length);
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      if (code >= 128) {
        this.length = start;
        this.raw(new TextEncoder().encode(text));
        return;
      }
      this.buffer[this.length++] = code;
    }
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
    this.view.setFloat64(this.length, value, true);
    this.length += 8;
  }

  private big(value: bigint): void {
    this.u8(value >= 0n ? TAG.BIG : TAG.NEGATIVE_BIG);
    const magnitude = new DataView(new ArrayBuffer(MAX_BIG));
    let length = 0;
    for (let rest = value >= 0n ? value : -1n - value; rest > 0n; rest >>= 64n, length += 8) {
      if (length === MAX_BIG) throw new RangeError('a bigint that is too large to be saved');
      magnitude.setBigUint64(length, rest, true);
    }
    while (length > 0 && magnitude.getUint8(length - 1) === 0) length--;
    this.raw(new Uint8Array(magnitude.buffer, 0, length));
  }

  private value(value: Plain, depth: number): void {
    if (depth > MAX_DEPTH) throw new RangeError('data that is nested too deep to be saved');
    if (value === null) this.u8(TAG.NULL);
    else if (typeof value === 'boolean') this.u8(value ? TAG.TRUE : TAG.FALSE);
    else if (typeof value === 'number') this.number(value);
    else if (typeof value === 'bigint') this.big(value);
    else if (typeof value === 'string') {
      this.u8(TAG.STRING);
      this.text(value);
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
      this.text(key);
      this.value(record[key], depth + 1);
    }
  }

  encode(value: Plain): Uint8Array {
    this.length = 0;
    this.value(value, 0);
    const bytes = this.buffer.slice(0, this.length);
    if (this.buffer.length > LARGEST_KEPT) this.resize(FIRST_SIZE);
    return bytes;
  }
}

/**
 * ASCII that was read before, by some of its bytes: most texts are names of fields, of which there are few, and to decode a short text takes
 * longer than to find it.
 */
const names = new Array<string | undefined>(512).fill(undefined);
const LONGEST_NAME = 32;

function placeOf(bytes: Uint8Array): number {
  const { length } = bytes;
  if (length === 0) return 0;
  return (length * 37 + bytes[0] * 7 + bytes[length >> 1] * 31 + bytes[length - 1] * 101) & 511;
}

function isText(text: string, bytes: Uint8Array): boolean {
  for (let i = 0; i < bytes.length; i++) if (text.charCodeAt(i) !== bytes[i]) return false;
  return true;
}

const NOTHING = new Uint8Array(0);

class Decoder {
  private bytes: Uint8Array = NOTHING;
  private at = 0;
  private readonly utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

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
    const place = placeOf(bytes);
    const known = names[place];
    if (known?.length === bytes.length && isText(known, bytes)) return known;
    const text = this.decode(bytes);
    if (bytes.length <= LONGEST_NAME && text.length === bytes.length) names[place] = text;
    return text;
  }

  private decode(bytes: Uint8Array): string {
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
    const { buffer, byteOffset } = this.bytes;
    const value = new DataView(buffer, byteOffset).getFloat64(this.at, true);
    this.at += 8;
    return value;
  }

  private big(): bigint {
    const magnitude = this.raw();
    if (magnitude.length > MAX_BIG || magnitude.at(-1) === 0) this.damaged('a number is not as it should be');
    const padded = new DataView(new ArrayBuffer(MAX_BIG));
    new Uint8Array(padded.buffer).set(magnitude);
    let value = 0n;
    for (let at = (magnitude.length - 1) & ~7; at >= 0; at -= 8) value = (value << 64n) | padded.getBigUint64(at, true);
    return value;
  }

  private value(depth: number): Plain {
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

  decodeAll(bytes: Uint8Array): Plain {
    this.bytes = bytes;
    this.at = 0;
    try {
      const value = this.value(0);
      if (this.at !== bytes.length) this.damaged('there is more than the data');
      return value;
    } finally {
      this.bytes = NOTHING;
    }
  }
}

/**
 * Each thread has one of both for good: V8 forgets what it knows of a class, and with it the code that it has compiled for it, when it collects garbage
 * and there is no object of that class.
 */
const encoder = new Encoder();
const decoder = new Decoder();

export function encodePlain(value: Plain): Uint8Array {
  return encoder.encode(value);
}

/** Throws a `SchemaError` for bytes that `encodePlain` does not make. */
export function decodePlain(bytes: Uint8Array): Plain {
  return decoder.decodeAll(bytes);
}
