/**
 * The function `chain(record, left) → left`: runs translated code from a record that begins some, region after region, until
 * the interpreter has to go on. REGION_EXIT and REGION_RECORD say how: INTERPRET, GOTO, CONTINUE, or one of NEXT with RIP set.
 */
import { Locals, lower, type LowerContext } from '../../../ir/lower.js';
import type { FunctionRef, Node } from '../../../ir/nodes.js';
import { ByteWriter } from '../../../ir/wasm/bytes.js';
import { LabelledCode } from '../../../ir/wasm/code.js';
import type { FunctionCode } from '../../../ir/wasm/module.js';
import { CONTROL, LOADS } from '../../../ir/wasm/opcodes.js';
import { addOrigin, loadOrigin } from '../../../ir/wasm/origin.js';
import { LAYOUT, REGION_LOGS, REGION_SLOT } from '../../../memory/layout.js';
import { MICRO } from '../micro.js';
import { NEXT, RECORD, REGION_EXIT, STATISTIC } from '../state-layout.js';
import { Glue, SETTLE_FLAGS } from './glue.js';
import { originIn, type CpuBases } from './handlers.js';

export interface ChainEnvironment {
  readonly bases: CpuBases;
  /** Type index of regions, (entry, left) → left. */
  readonly regionType: number;
  functionIndex: LowerContext['functionIndex'];
}

/** One jump out of a region in so many is written down; so many that are make it worth another look. */
const SAMPLE = 16;
export const BUSY = 24_000;

/** Makes the loop end at its next jump. */
const WANT_ATTENTION: FunctionRef = { name: 'want_attention', params: [], result: undefined };
/** Functions that it imports. */
export const CHAIN_HELPERS: readonly FunctionRef[] = [SETTLE_FLAGS, WANT_ATTENTION];

const RECORD_LOCAL = 0;
const LEFT_LOCAL = 1;
/** `left` at the beginning, and the regions that were entered. */
const BEFORE_LOCAL = 2;
const COUNT_LOCAL = 3;

export function emitChain(environment: ChainEnvironment): FunctionCode {
  const out = new ByteWriter();
  const code = new LabelledCode(out);
  const locals = new Locals(2);
  locals.take('i32');
  locals.take('i32');
  const origin = originIn(environment.bases, () => locals.take('i32'));
  locals.keep();
  loadOrigin(out, origin);
  const piece = (build: (g: Glue) => void): void => {
    const g = new Glue(environment.bases);
    build(g);
    lower(g.b.finish(), out, locals, {
      functionIndex: environment.functionIndex,
      origin,
      exit: (name, writer, depth) => {
        if (name === 'again') writer.u8(CONTROL.LOCAL_SET).u32(RECORD_LOCAL);
        code.br(name, depth);
      },
    });
    locals.release();
  };

  piece((g) => {
    const { b } = g;
    b.store('i64.store', b.i32(0), g.state64('FLAG_RES'), g.at('LAZY_A'));
    b.store('i64.store', b.i32(0), b.extendU(g.state32('FLAG_AUX')), g.at('LAZY_B'));
    b.store('i32.store', b.i32(0), b.i32(0), g.at('LAZY_KIND'));
  });
  out.u8(CONTROL.LOCAL_GET).u32(LEFT_LOCAL).u8(CONTROL.LOCAL_SET).u32(BEFORE_LOCAL);
  code.block('done');
  code.loop('again');
  out
    .u8(CONTROL.LOCAL_GET)
    .u32(COUNT_LOCAL)
    .u8(CONTROL.I32_CONST)
    .s32(1)
    .u8(0x6a)
    .u8(CONTROL.LOCAL_SET)
    .u32(COUNT_LOCAL);
  const push = (at: number, op: 'i32.load' | 'i32.load16_u'): void => {
    out.u8(CONTROL.LOCAL_GET).u32(RECORD_LOCAL);
    out.u8(LOADS['i32.load'].code[0]).u32(2).u32(RECORD.LINK);
    out.u8(CONTROL.I32_CONST).s32(3);
    out.u8(0x74);
    addOrigin(out, origin, LAYOUT.REGION_SLOTS + at);
    out
      .u8(LOADS[op].code[0])
      .u32(LOADS[op].align)
      .u32(LAYOUT.REGION_SLOTS + at);
  };
  push(REGION_SLOT.ENTRY, 'i32.load16_u');
  out.u8(CONTROL.LOCAL_GET).u32(LEFT_LOCAL);
  push(REGION_SLOT.FUNCTION, 'i32.load');
  out.u8(CONTROL.CALL_INDIRECT).u32(environment.regionType).u32(0);
  out.u8(CONTROL.LOCAL_SET).u32(LEFT_LOCAL);
  piece((g) => {
    const { b } = g;
    const exit = g.state32('REGION_EXIT');
    // A sample is enough, and cheaper.
    const isSampled = b.eqz(b.and(b.param('i32', LEFT_LOCAL), b.i32(SAMPLE - 1)));
    const log = (rip: () => Node): void => {
      b.if(isSampled, () => {
        write(rip());
      });
    };
    const write = (rip: Node): void => {
      const slot = b.shl(b.load('i32.load', g.record, RECORD.LINK), b.i32(3));
      const index = b.load('i32.load', slot, LAYOUT.REGION_SLOTS + REGION_SLOT.FUNCTION);
      const at = b.shl(b.and(index, b.i32(REGION_LOGS - 1)), b.i32(6));
      const count = b.add(b.load('i32.load', at, LAYOUT.REGION_LOGS), b.i32(1));
      b.store('i32.store', at, count, LAYOUT.REGION_LOGS);
      const place = b.add(at, b.shl(b.and(count, b.i32(7)), b.i32(3)));
      // The first of eight is the count's own place.
      b.if(b.and(count, b.i32(7)), () => {
        b.store('i64.store', place, rip, LAYOUT.REGION_LOGS);
      });
      b.if(b.op('i32.eq', count, b.i32(BUSY)), () => {
        b.store('i32.store', b.i32(0), b.add(index, b.i32(1)), g.at('REGION_REQUEST'));
        // The loop ends at the next jump.
        b.callVoid(WANT_ATTENTION);
      });
    };
    const goOn = (record: Node): void => {
      const isEntry = b.op('i32.eq', b.load('i32.load16_u', record, RECORD.HANDLER), b.i32(MICRO.REGION));
      b.if(b.and(isEntry, b.eqz(g.state32('ATTN'))), () => {
        b.exit('again', record);
      });
    };
    b.if(b.op('i32.eq', exit, b.i32(NEXT.JUMP)), () => {
      const rip = g.state64('RIP');
      const entry = g.jumpEntry(rip);
      b.if(g.inJumpCache(entry, rip), () => {
        const record = b.load('i32.load', entry, environment.bases.jumpCache + 12);
        g.setCodeBase(b.sub(rip, b.extendU(b.load('i32.load16_u', record, RECORD.OFFSET))));
        log(() => rip);
        goOn(record);
        b.store('i32.store', b.i32(0), b.i32(REGION_EXIT.GOTO), g.at('REGION_EXIT'));
        b.store('i32.store', b.i32(0), record, g.at('REGION_RECORD'));
      });
      b.exit('done');
    });
    b.if(b.op('i32.eq', exit, b.i32(REGION_EXIT.GOTO)), () => {
      const record = g.state32('REGION_RECORD');
      log(() => g.ripOf(record));
      goOn(record);
      b.exit('done');
    });
    b.if(b.op('i32.eq', exit, b.i32(REGION_EXIT.CONTINUE)), () => {
      goOn(g.state32('REGION_RECORD'));
    });
  });
  code.end();
  code.end();
  piece((g) => {
    const { b } = g;
    const add = (base: Node, at: number, by: Node): void => {
      b.store('i64.store', base, b.add(b.load('i64.load', base, at), b.extendU(by)), at);
    };
    const count = (statistic: number, by: Node): void => {
      add(b.i32(0), g.at('STATISTICS') + statistic * 8, by);
    };
    count(STATISTIC.TRANSLATED, b.sub(b.param('i32', BEFORE_LOCAL), b.param('i32', LEFT_LOCAL)));
    count(STATISTIC.REGIONS, b.param('i32', COUNT_LOCAL));
    count(STATISTIC.CHAINS, b.i32(1));
    const exit = g.state32('REGION_EXIT');
    const reason = b.select(b.eqz(g.state32('ATTN')), exit, b.i32(0));
    add(b.shl(reason, b.i32(3)), g.at('EXITS'), b.i32(1));
    b.if(b.op('i32.eq', exit, b.i32(REGION_EXIT.REFUSED)), () => {
      b.store('i32.store', b.i32(0), b.i32(REGION_EXIT.INTERPRET), g.at('REGION_EXIT'));
      b.store('i32.store', b.i32(0), g.record, g.at('REGION_RECORD'));
    });
    b.callVoid(SETTLE_FLAGS, g.state32('LAZY_KIND'), g.state64('LAZY_A'), g.state64('LAZY_B'));
  });
  out.u8(CONTROL.LOCAL_GET).u32(LEFT_LOCAL);
  return { locals: locals.types, code: out.finish() };
}
