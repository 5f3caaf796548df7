/** JSON that others wrote, looked at piece by piece: what is not as it should be is one line. */
import { OciError } from './errors.js';

export class JsonValue {
  private constructor(
    private readonly value: unknown,
    /** How messages call it: `the manifest`, `the manifest: layers[2].digest`. */
    private readonly path: string,
  ) {}

  /** Throws a one-line error (OciError) when it is no JSON. */
  static parse(bytes: Uint8Array, what: string): JsonValue {
    try {
      return new JsonValue(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as unknown, what);
    } catch (cause) {
      throw new OciError('damaged', `${what} is no JSON`, { cause });
    }
  }

  private wrong(expected: string): OciError {
    return new OciError('damaged', `${this.path} is not ${expected}`);
  }

  get isAbsent(): boolean {
    return this.value === undefined || this.value === null;
  }

  /** A member of an object; absent where it is not there. */
  get(key: string): JsonValue {
    const { value } = this;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw this.wrong('an object');
    const member = Object.hasOwn(value, key) ? (value as Record<string, unknown>)[key] : undefined;
    return new JsonValue(member, this.path.includes(': ') ? `${this.path}.${key}` : `${this.path}: ${key}`);
  }

  /** Members by their names; nothing where it is absent. */
  entries(): [key: string, value: JsonValue][] {
    if (this.isAbsent) return [];
    const { value } = this;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw this.wrong('an object');
    return Object.keys(value).map((key) => [key, this.get(key)]);
  }

  /** Elements of an array; nothing where it is absent. */
  list(): JsonValue[] {
    if (this.isAbsent) return [];
    if (!Array.isArray(this.value)) throw this.wrong('an array');
    return this.value.map((value: unknown, i) => new JsonValue(value, `${this.path}[${i}]`));
  }

  string(): string {
    if (typeof this.value !== 'string') throw this.wrong('a string');
    return this.value;
  }

  optionalString(): string | undefined {
    return this.isAbsent ? undefined : this.string();
  }

  strings(): string[] {
    return this.list().map((one) => one.string());
  }

  /** A number of bytes, or of others. */
  count(): number {
    if (!Number.isSafeInteger(this.value) || (this.value as number) < 0) throw this.wrong('a count');
    return this.value as number;
  }
}
