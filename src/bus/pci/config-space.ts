import { assert } from '../../base/assert.js';
import type { IoHandler } from '../../iface/bus.js';

/** How a register of configuration space behaves; masks have a bit for each bit of the register. */
export interface ConfigRegister {
  /** After reset. Default 0. */
  readonly value?: number;
  /** Bits that software writes. */
  readonly writable?: number;
  /** Bits that software clears by writing ones. */
  readonly clearable?: number;
  /** Bits that the device itself changes. */
  readonly dynamic?: number;
}

interface Range<T> {
  readonly start: number;
  readonly end: number;
  readonly target: T;
}

/** All ones in `size` bytes: what a read that nobody answers gives. */
export const allOnes = (size: number): number => 2 ** (8 * size) - 1;

/**
 * The registers of one function's configuration space. What is not defined reads 0 and cannot be written. Registers
 * may be accessed in parts; values are little-endian.
 */
export class ConfigSpace {
  private readonly data: Uint8Array;
  private readonly initial: Uint8Array;
  private readonly writable: Uint8Array;
  private readonly clearable: Uint8Array;
  private readonly dynamic: Uint8Array;
  private readonly watchers: Range<() => void>[] = [];
  private readonly overrides: Range<IoHandler>[] = [];

  /** `size` in bytes: 0x100 or 0x1000. */
  constructor(readonly size: number) {
    this.data = new Uint8Array(size);
    this.initial = new Uint8Array(size);
    this.writable = new Uint8Array(size);
    this.clearable = new Uint8Array(size);
    this.dynamic = new Uint8Array(size);
  }

  /** Describes the register of `size` bytes (1 … 4) at `offset`. */
  define(offset: number, size: number, register: ConfigRegister): void {
    assert(offset >= 0 && offset + size <= this.size, `register ${offset} is outside configuration space`);
    put(this.initial, offset, size, register.value ?? 0);
    put(this.data, offset, size, register.value ?? 0);
    put(this.writable, offset, size, register.writable ?? 0);
    put(this.clearable, offset, size, register.clearable ?? 0);
    put(this.dynamic, offset, size, register.dynamic ?? 0);
  }

  /** Calls `changed` after a write that touches the range, after reset and after restore. */
  watch(offset: number, size: number, changed: () => void): void {
    this.watchers.push({ start: offset, end: offset + size, target: changed });
  }

  /** Hands accesses that begin in this range to a handler, with offsets relative to it, instead of keeping bytes there. */
  override(offset: number, size: number, handler: IoHandler): void {
    this.overrides.push({ start: offset, end: offset + size, target: handler });
  }

  /** Beyond its end, configuration space reads all ones. `size` is 1, 2 or 4. */
  read(offset: number, size: number): number {
    const handler = find(this.overrides, offset);
    if (handler) return handler.target.read(offset - handler.start, size);
    return offset + size <= this.size ? get(this.data, offset, size) : allOnes(size);
  }

  /** As `read`, without side effects. */
  peek(offset: number, size: number): number {
    const handler = find(this.overrides, offset);
    if (handler) return handler.target.peek?.(offset - handler.start, size) ?? allOnes(size);
    return this.read(offset, size);
  }

  write(offset: number, size: number, value: number): void {
    const handler = find(this.overrides, offset);
    if (handler) {
      handler.target.write(offset - handler.start, size, value);
      return;
    }
    if (offset + size > this.size) return;
    for (let i = 0; i < size; i++) {
      const at = offset + i;
      const byte = (value >>> (8 * i)) & 0xff;
      const kept = this.data[at] & ~this.writable[at] & ~(byte & this.clearable[at]);
      this.data[at] = kept | (byte & this.writable[at]);
    }
    for (const { start, end, target } of this.watchers) if (start < offset + size && offset < end) target();
  }

  /** A register as the device sees it, overrides aside. */
  get(offset: number, size: number): number {
    return get(this.data, offset, size);
  }

  /** Changes a register from the device's side; no watcher is called. */
  set(offset: number, size: number, value: number): void {
    put(this.data, offset, size, value);
  }

  reset(): void {
    this.data.set(this.initial);
    this.changed();
  }

  save(): Uint8Array {
    return this.data.slice();
  }

  /** Takes over only what can differ from the state after reset. */
  restore(bytes: Uint8Array): void {
    for (let i = 0; i < this.size; i++) {
      const mask = this.writable[i] | this.clearable[i] | this.dynamic[i];
      this.data[i] = (bytes[i] & mask) | (this.initial[i] & ~mask);
    }
    this.changed();
  }

  private changed(): void {
    for (const { target } of this.watchers) target();
  }
}

function find<T>(ranges: readonly Range<T>[], offset: number): Range<T> | undefined {
  return ranges.find(({ start, end }) => offset >= start && offset < end);
}

/** Reads 1 … 4 bytes as an unsigned little-endian number. */
export function get(bytes: Uint8Array, offset: number, size: number): number {
  let value = 0;
  for (let i = size - 1; i >= 0; i--) value = value * 256 + bytes[offset + i];
  return value;
}

/** Writes 1 … 4 bytes, little-endian. */
export function put(bytes: Uint8Array, offset: number, size: number, value: number): void {
  for (let i = 0; i < size; i++) bytes[offset + i] = value >>> (8 * i);
}
