/**
 * The handlers of the interpreter: which variants exist, which are inline in its loop, and what each does. Handlers that
 * come out the same share one number.
 */
import { INSTRUCTIONS } from '../../../arch/x86/instructions/index.js';
import type { Instruction } from '../../../arch/x86/instructions/row.js';
import { Builder } from '../../../ir/builder.js';
import type { Block, FunctionRef, Node } from '../../../ir/nodes.js';
import type { SoftMmu } from '../../../ir/softmmu.js';
import type { Origin } from '../../../ir/wasm/origin.js';
import { JUMP_ENTRIES, LAYOUT, TLB_ENTRIES, TLB_FETCH, TLB_READ, TLB_WRITE } from '../../../memory/layout.js';
import { semanticsOf } from '../semantics/index.js';
import { Lift, liftMmu, recordParts } from '../semantics/lift.js';
import { NEXT, STATE } from '../state-layout.js';
import { variants, type Variant } from '../variants.js';
import { isHot } from './hot.js';

/** Where a CPU's state and tables lie: those of CPU 0. */
export interface CpuBases {
  /** Code is for any CPU of a machine: it adds the origin of its own, which global 0 of its module has. */
  readonly anyCpu: boolean;
  readonly state: number;
  readonly jumpCache: number;
  readonly jumpEntries: number;
  /** Address of the first entry of the TLB's half for fetches; as many as the others have. */
  readonly fetchEntries: number;
  readonly mmu: Omit<SoftMmu, 'fault'>;
}

const fn = (name: string, params: FunctionRef['params'], result: FunctionRef['result']): FunctionRef => ({
  name,
  params,
  result,
});

/** For the only CPU of a machine, or for any of several. */
export function cpuBases(anyCpu: boolean): CpuBases {
  const state = LAYOUT.STATES;
  const tlb = LAYOUT.TLB;
  return {
    anyCpu,
    state,
    jumpCache: LAYOUT.JUMP_CACHE,
    jumpEntries: JUMP_ENTRIES,
    fetchEntries: tlb + TLB_FETCH,
    mmu: {
      readEntries: tlb + TLB_READ,
      writeEntries: tlb + TLB_WRITE,
      entryCount: TLB_ENTRIES,
      context: state + STATE.TLB_CTX,
      bounce: state + STATE.BOUNCE,
      loadSlow: fn('load_slow', ['i64', 'i32'], 'i32'),
      storeSlow: fn('store_slow', ['i64', 'i32'], 'i32'),
      modifySlow: fn('rmw_slow', ['i64', 'i32'], 'i32'),
      modifyCommit: fn('rmw_commit', [], 'i32'),
      ...(anyCpu && { bus: { lock: fn('lock_the_bus', [], undefined), unlock: fn('unlock_the_bus', [], undefined) } }),
    },
  };
}

/** The origin that code for these bases adds, in a local. */
export function originIn({ anyCpu }: CpuBases, takeLocal: () => number): Origin | undefined {
  return anyCpu ? { local: takeLocal(), from: LAYOUT.STATES } : undefined;
}

/** A handler before it has a number. */
export interface Handler {
  readonly variants: Variant[];
  /** The instruction's code, over parameter 0 = address of its record. */
  readonly code: Block;
  /** Helper that does all of it; `code` then only calls it and leaves by the exit `code` with its answer. */
  readonly helper: string | undefined;
  readonly hot: boolean;
}

/** `x_<name>`: (record, linear address) → NEXT. */
export const helperOf = (row: Instruction): FunctionRef => fn(`x_${row.name}`, ['i32', 'i64'], 'i32');

const BLAME_SEGMENT = fn('blame_segment', ['i32', 'i64'], undefined);

function codeOf(variant: Variant, bases: CpuBases): { code: Block; helper: string | undefined } {
  const b = new Builder();
  const record = b.param('i32', 0);
  const x = new Lift(b, variant, recordParts(b, record), liftMmu(bases.mmu), bases.state, {
    fallback: (lift) => {
      callHelper(lift, record);
    },
  });
  const semantics = semanticsOf(variant);
  if (semantics) {
    semantics(x);
    return { code: b.finish(), helper: undefined };
  }
  callHelper(x, record);
  return { code: b.finish(), helper: helperOf(variant.row).name };
}

/** Lets the helper of an instruction do all of it, and leaves with its answer. */
function callHelper(x: Lift, record: Node): void {
  const { b, variant } = x;
  const isMemory = variant.form === 'mem';
  const address = isMemory ? x.linear() : b.i64(0);
  const answer = b.call(helperOf(variant.row), record, address);
  if (isMemory) {
    b.if(b.op('i32.eq', answer, b.i32(NEXT.FAULT)), () => {
      b.callVoid(BLAME_SEGMENT, record, address);
    });
  }
  b.exit('code', answer);
}

/** A variant that no instruction can be: LOCK with a register, operand size 64 where the row is not for 64-bit mode. */
function isUnreachable(variant: Variant): boolean {
  if (variant.lock && variant.form !== 'mem') return true;
  return (
    variant.row.mode === 'not64' &&
    (variant.osz === 64 || (variant.row.attributes.has('stack') && variant.stack === 'flat64'))
  );
}

const shape = (code: Block): string =>
  JSON.stringify(code, (_, v: unknown) => (typeof v === 'bigint' ? `${String(v)}n` : v));

/** Every handler, hot ones first. Equal code is one handler. */
export function buildHandlers(bases: CpuBases, rows: readonly Instruction[] = INSTRUCTIONS): Handler[] {
  const byShape = new Map<string, Handler>();
  for (const row of rows)
    for (const variant of variants(row)) {
      if (isUnreachable(variant)) continue;
      const { code, helper } = codeOf(variant, bases);
      const hot = helper === undefined && isHot(variant);
      const key = `${String(hot)}${shape(code)}`;
      const known = byShape.get(key);
      if (known) known.variants.push(variant);
      else byShape.set(key, { variants: [variant], code, helper, hot });
    }
  const all = [...byShape.values()];
  return [...all.filter((h) => h.hot), ...all.filter((h) => !h.hot)];
}
