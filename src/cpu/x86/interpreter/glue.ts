import { Builder } from '../../../ir/builder.js';
import type { FunctionRef, Node } from '../../../ir/nodes.js';
import { RECORD, SEGMENT, STATE } from '../state-layout.js';
import type { CpuBases } from './handlers.js';

/** Helpers that the loop itself calls. */
export const HELPER = {
  lookup: { name: 'lookup', params: ['i64'], result: 'i32' },
  patchLink: { name: 'patch_link', params: ['i32'], result: 'i32' },
  decodeStraddle: { name: 'decode_straddle', params: [], result: 'i32' },
  segmentedAddress: { name: 'ea_seg', params: ['i32'], result: 'i32' },
  raise: { name: 'raise', params: ['i32'], result: 'i32' },
  deliver: { name: 'deliver_exception', params: [], result: 'i32' },
} as const satisfies Record<string, FunctionRef>;

/** (kind, a, b): writes FLAG_RES and FLAG_AUX from what FLAG_KIND says. */
export const SETTLE_FLAGS: FunctionRef = { name: 'settle_flags', params: ['i32', 'i64', 'i64'], result: undefined };

/** Offset of the jump cache's entry for a RIP. */
export function jumpEntry(b: Builder, bases: CpuBases, rip: Node): Node {
  const hash = b.xor(b.wrap(rip), b.wrap(b.shru(rip, b.i64(12))));
  return b.shl(b.and(hash, b.i32(bases.jumpEntries - 1)), b.i32(4));
}

/** 0 or 1: whether an entry of the jump cache is for this RIP in this mode. */
export function inJumpCache(b: Builder, { jumpCache, state }: CpuBases, entry: Node, rip: Node): Node {
  const sameRip = b.op('i64.eq', b.load('i64.load', entry, jumpCache), rip);
  const key = b.load('i32.load', b.i32(0), state + STATE.JUMP_KEY);
  return b.and(sameRip, b.op('i32.eq', b.load('i32.load', entry, jumpCache + 8), key));
}

/** Pieces of code around the handlers: over the record in parameter 0 and the state. */
export class Glue {
  readonly b = new Builder();
  readonly record = this.b.param('i32', 0);

  constructor(private readonly bases: CpuBases) {}

  at(field: keyof typeof STATE): number {
    return this.bases.state + STATE[field];
  }

  state64(field: keyof typeof STATE): Node {
    return this.b.load('i64.load', this.b.i32(0), this.at(field));
  }

  state32(field: keyof typeof STATE): Node {
    return this.b.load('i32.load', this.b.i32(0), this.at(field));
  }

  setRip(rip: Node): void {
    this.b.store('i64.store', this.b.i32(0), rip, this.at('RIP'));
  }

  setCodeBase(base: Node): void {
    this.b.store('i64.store', this.b.i32(0), base, this.at('CODE_BASE'));
  }

  /** RIP of the instruction that a record belongs to. */
  ripOf(record: Node): Node {
    return this.b.add(this.state64('CODE_BASE'), this.b.extendU(this.b.load('i32.load16_u', record, RECORD.OFFSET)));
  }

  jumpEntry(rip: Node): Node {
    return jumpEntry(this.b, this.bases, rip);
  }

  inJumpCache(entry: Node, rip: Node): Node {
    return inJumpCache(this.b, this.bases, entry, rip);
  }

  /** 0 or 1: whether the record's memory operand is in SS. */
  inStackSegment(): Node {
    return this.b.op('i32.eq', this.b.load('i32.load8_u', this.record, RECORD.SEG), this.b.i32(SEGMENT.SS));
  }

  /** Turns a pending #GP into #SS when `condition` (0 or 1) holds. */
  blameStack(condition: Node): void {
    const { b } = this;
    const vector = this.state32('EXC_VECTOR');
    const blamed = b.and(condition, b.op('i32.eq', vector, b.i32(13)));
    b.store('i32.store', b.i32(0), b.sub(vector, blamed), this.at('EXC_VECTOR'));
  }
}
