import { assert } from '../../base/assert.js';
import type { IoHandler, IoSpace, IoWindow } from '../../iface/bus.js';
import type { ConfigSpace } from './config-space.js';
import { BAR, COMMAND, HEADER } from './registers.js';

/** A base address register that a function has, PCI 3.0 §6.2.5. */
export interface BarSpec {
  readonly kind: 'io' | 'mem32' | 'mem64';
  /** Bytes, a power of two: at least 4 for I/O and 16 for memory. */
  readonly size: number;
  readonly prefetchable?: boolean;
  readonly handler: IoHandler;
  /** Told of every change of where the window is; undefined: nowhere. */
  readonly moved?: (address: number | undefined) => void;
}

/** A base address register as it stands. */
export interface BarInfo {
  readonly bar: number;
  readonly kind: 'io' | 'memory';
  /** Bytes. */
  readonly size: number;
  readonly prefetchable: boolean;
  readonly is64Bit: boolean;
  /** Where it is decoded now; undefined while it is not. */
  readonly address: number | undefined;
}

/** Where address decoding ends, exclusive: 16 bits of ports, 32 bits, and what a guest-physical address can hold. */
const SPACE_END = { io: 2 ** 16, mem32: 2 ** 32, mem64: 2 ** 52 } as const;

/** A base address register and the window that follows it. */
export class Bar {
  private readonly offset: number;
  private readonly window: IoWindow;
  private mapped: number | undefined;

  /** `index` 0 … 5; a 64-bit register takes the next one too. */
  constructor(
    name: string,
    readonly index: number,
    private readonly spec: BarSpec,
    private readonly config: ConfigSpace,
    space: IoSpace,
  ) {
    const { kind, size } = spec;
    assert(Math.log2(size) % 1 === 0 && size >= (kind === 'io' ? 4 : 16), `BAR ${index}: bad size ${size}`);
    assert(index + (kind === 'mem64' ? 1 : 0) < 6, `BAR ${index}: there are only 6 registers`);
    this.offset = HEADER.BAR0 + 4 * index;
    const flags =
      kind === 'io' ? BAR.IO : (kind === 'mem64' ? BAR.MEMORY_64 : 0) | (spec.prefetchable ? BAR.PREFETCHABLE : 0);
    // Address bits below the size are 0: reading back all ones written tells the size.
    const mask = BigInt.asUintN(64, -BigInt(size));
    config.define(this.offset, 4, { value: flags, writable: Number(mask & 0xffff_ffffn) });
    if (kind === 'mem64') config.define(this.offset + 4, 4, { writable: Number(mask >> 32n) });
    this.window = space.claim(`${name}.bar${index}`, size, spec.handler);
    config.watch(this.offset, kind === 'mem64' ? 8 : 4, () => this.update());
    config.watch(HEADER.COMMAND, 2, () => this.update());
  }

  /** The address that is decoded now. */
  get address(): number | undefined {
    return this.mapped;
  }

  get info(): BarInfo {
    const { kind, size, prefetchable = false } = this.spec;
    return {
      bar: this.index,
      kind: kind === 'io' ? 'io' : 'memory',
      size,
      prefetchable,
      is64Bit: kind === 'mem64',
      address: this.mapped,
    };
  }

  private update(): void {
    const address = this.decoded();
    if (address === this.mapped) return;
    this.mapped = address;
    if (address === undefined) this.window.unmap();
    else this.window.map(address);
    this.spec.moved?.(address);
  }

  private decoded(): number | undefined {
    const { kind, size } = this.spec;
    const enable = kind === 'io' ? COMMAND.IO : COMMAND.MEMORY;
    if (!(this.config.get(HEADER.COMMAND, 2) & enable)) return undefined;
    const low = this.config.get(this.offset, 4);
    const base = low - (low & (kind === 'io' ? 3 : 15));
    const address = kind === 'mem64' ? this.config.get(this.offset + 4, 4) * 2 ** 32 + base : base;
    // 0 means "not assigned", and the pattern that asks for the size is no address, though decoding may be on.
    if (address === 0 || address + size > SPACE_END[kind] - (kind === 'mem32' ? 1 : 0)) return undefined;
    return address;
  }
}
