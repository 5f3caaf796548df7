/**
 * Guest memory through a software TLB, for any guest with pages of 4 KiB. See docs/interpreter.md for the format of
 * entries; the slow paths are helpers of the guest's front end.
 */
import type { Builder } from './builder.js';
import type { FunctionRef, Node } from './nodes.js';
import type { CompareExchange, Load, Store } from './wasm/opcodes.js';

/** Where the tables of one CPU lie, and what serves a miss. */
export interface SoftMmu {
  /** Address of the first entry of each half; a power of two of 16-byte entries. */
  readonly readEntries: number;
  readonly writeEntries: number;
  readonly entryCount: number;
  /** Address of the i64 whose low 12 bits valid tags carry. */
  readonly context: number;
  /** The exit by which an access with a pending exception leaves. */
  readonly fault: string;
  /** Address of the bounce buffer. */
  readonly bounce: number;
  /** The exit by which a miss leaves, before anything has changed; undefined: the slow paths below are called. */
  readonly miss?: string;
  /** (va: i64, size: i32) → i32: address to read from, 0 when an exception is pending. */
  readonly loadSlow: FunctionRef;
  /** (va, size) → i32: stores what stands in the bounce buffer; 0 when an exception is pending. */
  readonly storeSlow: FunctionRef;
  /** (va, size) → i32: address to modify, 0 when an exception is pending. */
  readonly modifySlow: FunctionRef;
  /** () → i32: writes the bounce buffer back after a modification; 0 when an exception is pending. */
  readonly modifyCommit: FunctionRef;
  /** Between these functions no other CPU executes anything; absent: there are none. */
  readonly bus?: { readonly lock: FunctionRef; readonly unlock: FunctionRef };
}

/** Access sizes in bytes. */
export type AccessSize = 1 | 2 | 4 | 8 | 16;

const LOAD_OF: Readonly<Record<AccessSize, Load>> = {
  1: 'i32.load8_u',
  2: 'i32.load16_u',
  4: 'i32.load',
  8: 'i64.load',
  16: 'v128.load',
};

const STORE_OF: Readonly<Record<AccessSize, Store>> = {
  1: 'i32.store8',
  2: 'i32.store16',
  4: 'i32.store',
  8: 'i64.store',
  16: 'v128.store',
};

const EXCHANGE_OF: Readonly<Record<Exclude<AccessSize, 16>, CompareExchange>> = {
  1: 'i64.atomic.rmw8.cmpxchg_u',
  2: 'i64.atomic.rmw16.cmpxchg_u',
  4: 'i64.atomic.rmw32.cmpxchg_u',
  8: 'i64.atomic.rmw.cmpxchg',
};

/** i32: address of the entry for `va` in the half that starts at 0. */
function entryOf(b: Builder, mmu: SoftMmu, va: Node): Node {
  return b.and(b.wrap(b.shru(va, b.i64(8))), b.i32((mmu.entryCount - 1) * 16));
}

/** i32: whether an access of `size` bytes hits. */
function hits(b: Builder, mmu: SoftMmu, va: Node, size: AccessSize, entry: Node, half: number): Node {
  const last = size === 1 ? va : b.add(va, b.i64(size - 1));
  const wanted = b.or(b.and(last, b.i64(-4096)), b.load('i64.load', b.i32(0), mmu.context));
  return b.op('i64.eq', b.load('i64.load', entry, half), wanted);
}

function hostAddress(b: Builder, va: Node, entry: Node, half: number): Node {
  // In 32 bits: V8 then has no need to cut the sum.
  return b.add(b.wrap(va), b.load('i32.load', entry, half + 8));
}

function leaveUnless(b: Builder, condition: Node, exit: string): void {
  b.if(b.eqz(condition), () => {
    b.exit(exit);
  });
}

/** i32 address through one half of the TLB, or through `slow`; leaves by the exit `fault` of the MMU when that says 0. */
function translate(b: Builder, mmu: SoftMmu, va: Node, size: AccessSize, half: number, slow: FunctionRef): Node {
  const entry = entryOf(b, mmu, va);
  if (mmu.miss !== undefined) {
    leaveUnless(b, hits(b, mmu, va, size, entry, half), mmu.miss);
    return hostAddress(b, va, entry, half);
  }
  return b.choose(
    'i32',
    hits(b, mmu, va, size, entry, half),
    () => hostAddress(b, va, entry, half),
    () => {
      const address = b.call(slow, va, b.i32(size));
      b.if(b.eqz(address), () => {
        b.exit(mmu.fault);
      });
      return address;
    },
  );
}

/**
 * Loads `size` bytes: i32 zero-extended up to 4 bytes, i64 for 8, v128 for 16, or as `op`, which is of that size, says.
 * Little-endian, any alignment.
 */
export function guestLoad(b: Builder, mmu: SoftMmu, va: Node, size: AccessSize, op: Load = LOAD_OF[size]): Node {
  return b.load(op, translate(b, mmu, va, size, mmu.readEntries, mmu.loadSlow));
}

/** Stores the low `size` bytes of a value of the type that `guestLoad` gives, or a whole f32 or f64. */
export function guestStore(b: Builder, mmu: SoftMmu, va: Node, size: AccessSize, value: Node): void {
  const op = value.type === 'f64' ? 'f64.store' : value.type === 'f32' ? 'f32.store' : STORE_OF[size];
  const entry = entryOf(b, mmu, va);
  if (mmu.miss !== undefined) {
    leaveUnless(b, hits(b, mmu, va, size, entry, mmu.writeEntries), mmu.miss);
    b.store(op, hostAddress(b, va, entry, mmu.writeEntries), value);
    return;
  }
  b.if(
    hits(b, mmu, va, size, entry, mmu.writeEntries),
    () => {
      b.store(op, hostAddress(b, va, entry, mmu.writeEntries), value);
    },
    () => {
      b.store(op, b.i32(0), value, mmu.bounce);
      b.if(b.eqz(b.call(mmu.storeSlow, va, b.i32(size))), () => {
        b.exit(mmu.fault);
      });
    },
  );
}

/** Loads, changes and stores a value in place; the store's permission is checked first. */
export function guestModify(
  b: Builder,
  mmu: SoftMmu,
  va: Node,
  size: Exclude<AccessSize, 16>,
  change: (old: Node) => Node,
): void {
  const address = translate(b, mmu, va, size, mmu.writeEntries, mmu.modifySlow);
  modifyPlainly(b, mmu, address, size, change);
}

function modifyPlainly(
  b: Builder,
  mmu: SoftMmu,
  address: Node,
  size: Exclude<AccessSize, 16>,
  change: (old: Node) => Node,
): void {
  b.store(STORE_OF[size], address, change(b.load(LOAD_OF[size], address)));
  if (mmu.miss !== undefined) return;
  b.if(b.op('i32.eq', address, b.address(mmu.bounce)), () => {
    b.if(b.eqz(b.call(mmu.modifyCommit)), () => {
      b.exit(mmu.fault);
    });
  });
}

/**
 * The same as one atomic step with respect to other CPUs. `change` may run more than once; its effects on state must
 * be repeatable.
 */
export function guestModifyAtomically(
  b: Builder,
  mmu: SoftMmu,
  va: Node,
  size: Exclude<AccessSize, 16>,
  change: (old: Node) => Node,
): void {
  const { bus, miss } = mmu;
  const atomically = (otherwise: (address: Node) => void): void => {
    const address = translate(b, mmu, va, size, mmu.writeEntries, mmu.modifySlow);
    modifyAt(b, mmu, address, size, change, () => {
      otherwise(address);
    });
  };
  if (bus === undefined) {
    atomically((address) => {
      modifyPlainly(b, mmu, address, size, change);
    });
  } else if (miss !== undefined) {
    // The interpreter does it.
    atomically(() => b.exit(miss));
  } else {
    const apart = (): void => {
      modifyApart(b, mmu, bus, va, size, change);
    };
    const aligned = (): void => {
      atomically(apart);
    };
    if (size === 1) aligned();
    else b.if(b.wrap(b.and(va, b.i64(size - 1))), apart, aligned);
  }
}

/** Modifies atomically at an address; `otherwise`, where that is the bounce buffer or not aligned. */
function modifyAt(
  b: Builder,
  mmu: SoftMmu,
  address: Node,
  size: Exclude<AccessSize, 16>,
  change: (old: Node) => Node,
  otherwise: () => void,
): void {
  const bounced = mmu.miss === undefined ? b.op('i32.eq', address, b.address(mmu.bounce)) : b.i32(0);
  const misaligned = size === 1 ? bounced : b.or(bounced, b.and(address, b.i32(size - 1)));
  b.if(misaligned, otherwise, () => {
    b.loop(() => {
      const old = b.load(LOAD_OF[size], address);
      const changed = change(old);
      const seen = b.compareExchange(EXCHANGE_OF[size], address, b.extendU(old), b.extendU(truncate(b, changed, size)));
      b.if(b.op('i64.eq', seen, b.extendU(old)), () => {
        b.break();
      });
    });
  });
}

/** Modifies while no other CPU executes anything: what no atomic access of WebAssembly's can do. */
function modifyApart(
  b: Builder,
  mmu: SoftMmu,
  bus: NonNullable<SoftMmu['bus']>,
  va: Node,
  size: Exclude<AccessSize, 16>,
  change: (old: Node) => Node,
): void {
  b.callVoid(bus.lock);
  const address = b.call(mmu.modifySlow, va, b.i32(size));
  b.if(b.eqz(address), () => {
    b.callVoid(bus.unlock);
    b.exit(mmu.fault);
  });
  modifyPlainly(b, mmu, address, size, change);
  b.callVoid(bus.unlock);
}

function truncate(b: Builder, value: Node, size: Exclude<AccessSize, 16>): Node {
  if (size === 1) return b.and(value, b.i32(0xff));
  if (size === 2) return b.and(value, b.i32(0xffff));
  return value;
}
