/**
 * The interpreter's loop: one function that dispatches records to inline handlers by `br_table`, and calls all others
 * through a table. See docs/interpreter.md for the contract with the helpers.
 */
import type { Node } from '../../../ir/nodes.js';
import { Locals, lower, type LowerContext } from '../../../ir/lower.js';
import { ByteWriter } from '../../../ir/wasm/bytes.js';
import { LabelledCode } from '../../../ir/wasm/code.js';
import type { FunctionCode } from '../../../ir/wasm/module.js';
import { CONTROL, LOADS } from '../../../ir/wasm/opcodes.js';
import { addOrigin, loadOrigin, type Origin } from '../../../ir/wasm/origin.js';
import { FIRST_HANDLER, MICRO } from '../micro.js';
import { HOT_COUNTERS, LAYOUT, REGION_SLOT } from '../../../memory/layout.js';
import { recordParts } from '../semantics/lift.js';
import { segmentedAddress } from '../semantics/segmented-address.js';
import { NEXT, RECORD, RECORD_SIZE, REGION_EXIT } from '../state-layout.js';
import { Glue, HELPER } from './glue.js';
import { originIn, type CpuBases, type Handler } from './handlers.js';

export interface LoopEnvironment {
  readonly bases: CpuBases;
  /** Handlers that stand inline, in the order of their numbers from FIRST_HANDLER on. */
  readonly hot: readonly Handler[];
  /** Type index of (record: i32) → i32, the type of the other handlers. */
  readonly coldType: number;
  /** Index of the function that runs translated code (chain.ts); undefined: the loop knows of none. */
  readonly chain: number | undefined;
  functionIndex: LowerContext['functionIndex'];
}

const RECORD_LOCAL = 0;
const LEFT_LOCAL = 1;
const TARGET_LOCAL = 2;
const CODE_LOCAL = 3;
const HANDLER_LOCAL = 4;
const ORIGIN_LOCAL = 5;

/**
 * The function `loop(record: i32, left: i32) → left: i32`: runs from `record` until `left` instructions are done, an event
 * wants attention, or an exception was delivered. On return RIP is right.
 */
export function emitLoop(environment: LoopEnvironment): FunctionCode {
  return new LoopEmitter(environment).emit();
}

/**
 * How often a record is jumped to before the translator is told, below 65536. To interpret what follows so many jumps takes less
 * than a millisecond; to translate it takes several, for all threads together.
 */
export const HOT_THRESHOLD = 8000;

/** Counts a jump to the record; what has become hot makes the loop end. */
function countJump(g: Glue): void {
  const { b } = g;
  const counter = b.and(b.shru(g.record, b.i32(4)), b.i32((HOT_COUNTERS - 1) * 2));
  const count = b.add(b.load('i32.load16_u', counter, LAYOUT.HOT_COUNTERS), b.i32(1));
  b.store('i32.store16', counter, count, LAYOUT.HOT_COUNTERS);
  b.if(b.op('i32.eq', count, b.i32(HOT_THRESHOLD)), () => {
    b.store('i32.store', b.i32(0), g.record, g.at('HOT_RECORD'));
    g.setRip(g.ripOf(g.record));
    b.exit('leave');
  });
}

class LoopEmitter {
  private readonly out = new ByteWriter();
  private readonly code = new LabelledCode(this.out);
  private readonly locals = new Locals(2);
  private readonly origin: Origin | undefined;

  constructor(private readonly environment: LoopEnvironment) {
    // Never released, so these keep their numbers.
    this.locals.types.push('i64', 'i32', 'i32', 'i32');
    this.origin = originIn(environment.bases, () => ORIGIN_LOCAL);
  }

  emit(): FunctionCode {
    const { code } = this;
    loadOrigin(this.out, this.origin);
    code.block('leave');
    code.loop('dispatch');
    for (const label of ['jump', 'branch', 'goto', 'fault', 'stack-fault', 'operand-fault', 'next']) code.block(label);
    this.loadHandler();
    // The handler of a record that begins translated code can be executed by itself.
    code.loop('handler');
    code.block('slow');
    this.dispatch();
    code.end(); // slow
    this.callColdHandler();
    code.end(); // handler
    this.out.u8(CONTROL.UNREACHABLE);
    code.end(); // next
    this.next();
    code.end(); // operand-fault
    this.glue((g) => {
      g.blameStack(g.inStackSegment());
    });
    code.br('fault');
    code.end(); // stack-fault
    this.glue((g) => {
      g.blameStack(g.b.i32(1));
    });
    code.end(); // fault
    this.glue((g) => {
      g.setRip(g.ripOf(g.record));
    });
    this.deliver();
    code.end(); // goto
    this.goOn();
    code.end(); // branch
    this.branch();
    code.end(); // jump
    this.jump();
    this.goOn();
    code.end(); // dispatch
    code.end(); // leave
    this.get(LEFT_LOCAL);
    return { locals: this.locals.types, code: this.out.finish() };
  }

  private get(local: number): void {
    this.out.u8(CONTROL.LOCAL_GET).u32(local);
  }

  private set(local: number): void {
    this.out.u8(CONTROL.LOCAL_SET).u32(local);
  }

  private const(value: number): void {
    this.out.u8(CONTROL.I32_CONST).s32(value);
  }

  /** Emits a piece of the intermediate form here; its exits go to the labels of the same names. */
  private glue(build: (g: Glue) => void): void {
    const g = new Glue(this.environment.bases);
    build(g);
    this.lower(g.b.finish());
  }

  private lower(block: ReturnType<Glue['b']['finish']>): void {
    lower(block, this.out, this.locals, {
      functionIndex: this.environment.functionIndex,
      origin: this.origin,
      exit: (name, out, depth) => {
        if (name === 'left-by-goto' || name === 'left-by-jump') {
          // The region has counted its jump, and so does what comes next.
          const isJump = name === 'left-by-jump';
          out.u8(CONTROL.LOCAL_SET).u32(isJump ? TARGET_LOCAL : RECORD_LOCAL);
          this.addToLeft(1);
          this.code.br(isJump ? 'jump' : 'goto', depth);
          return;
        }
        if (name === 'goto' || name === 'dispatch' || name === 'found' || name === 'interpret' || name === 'continue')
          out.u8(CONTROL.LOCAL_SET).u32(RECORD_LOCAL);
        else if (name === 'jump' || name === 'branch') out.u8(CONTROL.LOCAL_SET).u32(TARGET_LOCAL);
        else if (name === 'handler') out.u8(CONTROL.LOCAL_SET).u32(HANDLER_LOCAL);
        if (name === 'interpret') this.interpretRecord(depth);
        else if (name === 'continue') this.continueWith(depth);
        else this.code.br(name, depth);
      },
    });
    this.locals.release();
  }

  private loadHandler(): void {
    this.get(RECORD_LOCAL);
    this.out.u8(LOADS['i32.load16_u'].code[0]).u32(1).u32(RECORD.HANDLER);
    this.set(HANDLER_LOCAL);
  }

  /** Runs the translated code that begins at this record, and goes on as it says. */
  private region(chain: number): void {
    const { out } = this;
    const slot = (g: Glue): Node => g.b.shl(g.b.load('i32.load', g.record, RECORD.LINK), g.b.i32(3));
    // What the interpreter would look at after this instruction's jump, a region would not.
    this.glue((g) => {
      const own = g.b.load('i32.load16_u', slot(g), LAYOUT.REGION_SLOTS + REGION_SLOT.HANDLER);
      g.b.if(g.state32('ATTN'), () => {
        g.b.exit('handler', own);
      });
    });
    this.get(RECORD_LOCAL);
    this.get(LEFT_LOCAL);
    out.u8(CONTROL.CALL).u32(chain);
    this.set(LEFT_LOCAL);
    this.glue((g) => {
      const { b } = g;
      const exit = g.state32('REGION_EXIT');
      const is = (value: number): Node => b.op('i32.eq', exit, b.i32(value));
      b.if(is(REGION_EXIT.GOTO), () => {
        b.exit('left-by-goto', g.state32('REGION_RECORD'));
      });
      b.if(is(NEXT.JUMP), () => {
        b.exit('left-by-jump', g.state64('RIP'));
      });
      b.if(is(REGION_EXIT.CONTINUE), () => {
        b.exit('continue', g.state32('REGION_RECORD'));
      });
      b.if(is(REGION_EXIT.INTERPRET), () => {
        b.exit('interpret', g.state32('REGION_RECORD'));
      });
      b.exit('leave');
    });
  }

  /** Leaves before the record when the budget is used up. */
  private leaveAtEnd(extra: number): void {
    this.get(LEFT_LOCAL);
    this.out.u8(0x45).u8(CONTROL.IF).u8(CONTROL.VOID);
    this.glueInside(extra + 1, (g) => {
      g.setRip(g.ripOf(g.record));
    });
    this.code.br('leave', extra + 1);
    this.out.u8(CONTROL.END);
  }

  private continueWith(extra: number): void {
    this.leaveAtEnd(extra);
    this.code.br('dispatch', extra);
  }

  /** Executes the record's instruction itself, whatever was made of it; RECORD_LOCAL is set. */
  private interpretRecord(extra: number): void {
    const { out, code } = this;
    this.leaveAtEnd(extra);
    this.loadHandler();
    this.get(HANDLER_LOCAL);
    this.const(MICRO.REGION);
    out.u8(0x46).u8(CONTROL.IF).u8(CONTROL.VOID);
    this.get(RECORD_LOCAL);
    out.u8(LOADS['i32.load'].code[0]).u32(2).u32(RECORD.LINK);
    this.const(3);
    out.u8(0x74);
    addOrigin(out, this.origin, LAYOUT.REGION_SLOTS + REGION_SLOT.HANDLER);
    out
      .u8(LOADS['i32.load16_u'].code[0])
      .u32(1)
      .u32(LAYOUT.REGION_SLOTS + REGION_SLOT.HANDLER);
    this.set(HANDLER_LOCAL);
    out.u8(CONTROL.END);
    this.glueInside(extra, (g) => {
      const { b } = g;
      const counter = b.shl(b.param('i32', HANDLER_LOCAL), b.i32(2));
      const count = b.add(b.load('i32.load', counter, LAYOUT.FALLBACK_COUNTERS), b.i32(1));
      b.store('i32.store', counter, count, LAYOUT.FALLBACK_COUNTERS);
    });
    code.br('handler', extra);
  }

  private dispatch(): void {
    const { out, code, environment } = this;
    const count = FIRST_HANDLER + environment.hot.length;
    for (let i = count - 1; i >= 0; i--) code.block(`h${String(i)}`);
    this.get(HANDLER_LOCAL);
    out.u8(CONTROL.BR_TABLE).u32(count);
    for (let i = 0; i < count; i++) out.u32(i);
    out.u32(count);
    for (let i = 0; i < count; i++) {
      code.end();
      const handler = environment.hot[i - FIRST_HANDLER];
      if (handler) {
        this.lower(handler.code);
        code.br('next');
      } else this.micro(i);
    }
  }

  private micro(number: number): void {
    switch (number) {
      case MICRO.RESYNC:
        // Not by the jump cache, which may lead back to this very record.
        this.glue((g) => {
          const record = g.b.call(HELPER.lookup, g.ripOf(g.record));
          g.b.if(record, () => {
            g.b.exit('dispatch', record);
          });
        });
        this.deliver();
        return;
      case MICRO.NEXT_PAGE:
        // No instruction: make up for the one that a jump counts.
        this.addToLeft(1);
        this.glue((g) => {
          g.b.exit('jump', g.ripOf(g.record));
        });
        return;
      case MICRO.GOTO:
        this.glue((g) => {
          g.b.exit('dispatch', g.b.load('i32.load', g.record, RECORD.LINK));
        });
        return;
      case MICRO.STRADDLE:
        this.glue((g) => {
          g.setRip(g.ripOf(g.record));
          const found = g.b.call(HELPER.decodeStraddle);
          g.b.if(g.b.eqz(found), () => {
            g.b.exit('fault');
          });
          g.b.exit('dispatch', found);
        });
        return;
      case MICRO.EA_SEG:
        this.glue((g) => {
          const { b, record } = g;
          segmentedAddress(b, this.environment.bases.state, recordParts(b, record), () => {
            b.if(b.call(HELPER.segmentedAddress, record), () => {
              b.exit('fault');
            });
          });
          g.b.exit('dispatch', g.b.add(g.record, g.b.i32(RECORD_SIZE)));
        });
        return;
      case MICRO.REGION:
        if (this.environment.chain !== undefined) {
          this.region(this.environment.chain);
          return;
        }
        this.out.u8(CONTROL.UNREACHABLE);
        return;
      case MICRO.FETCH_FAULT:
        this.glue((g) => {
          const { b } = g;
          b.store('i32.store', b.i32(0), b.load('i32.load8_u', g.record, RECORD.IMM2), g.at('EXC_VECTOR'));
          b.store('i32.store', b.i32(0), b.load('i32.load', g.record, RECORD.DISP), g.at('EXC_ERROR'));
          b.store('i64.store', b.i32(0), b.load('i64.load', g.record, RECORD.IMM), g.at('EXC_ADDR'));
          b.exit('fault');
        });
        return;
      default:
        // UNDEFINED, and numbers that no record has.
        this.glue((g) => {
          g.b.call(HELPER.raise, g.b.i32(6));
          g.b.exit('fault');
        });
    }
  }

  /** Calls the handler's function and acts on its answer (NEXT). */
  private callColdHandler(): void {
    const { out, code, environment } = this;
    this.get(RECORD_LOCAL);
    this.get(HANDLER_LOCAL);
    this.const(FIRST_HANDLER + environment.hot.length);
    const table = environment.chain === undefined ? 0 : 1;
    out.u8(0x6b).u8(CONTROL.CALL_INDIRECT).u32(environment.coldType).u32(table);
    out.u8(CONTROL.LOCAL_TEE).u32(CODE_LOCAL).u8(0x45).u8(CONTROL.BR_IF).u32(code.depth('next'));
    this.ifCode(NEXT.FAULT, () => {
      code.br('fault', 1);
    });
    this.ifCode(NEXT.JUMP, () => {
      this.glueInside(1, (g) => {
        g.b.exit('jump', g.state64('RIP'));
      });
    });
    this.ifCode(NEXT.ATTENTION, () => {
      this.glueInside(1, (g) => {
        const length = g.b.extendU(g.b.load('i32.load8_u', g.record, RECORD.LENGTH));
        g.setRip(g.b.add(g.ripOf(g.record), length));
      });
    });
    this.countOne();
    code.br('leave');
  }

  private ifCode(value: number, then: () => void): void {
    this.get(CODE_LOCAL);
    this.const(value);
    this.out.u8(0x46).u8(CONTROL.IF).u8(CONTROL.VOID);
    then();
    this.out.u8(CONTROL.END);
  }

  /** Like `glue`, within `extra` unnamed labels. */
  private glueInside(extra: number, build: (g: Glue) => void): void {
    const g = new Glue(this.environment.bases);
    build(g);
    lower(g.b.finish(), this.out, this.locals, {
      functionIndex: this.environment.functionIndex,
      origin: this.origin,
      exit: (name, out, depth) => {
        out.u8(CONTROL.LOCAL_SET).u32(TARGET_LOCAL);
        this.code.br(name, depth + extra);
      },
    });
    this.locals.release();
  }

  private addToLeft(count: number): void {
    this.get(LEFT_LOCAL);
    this.const(count);
    this.out.u8(0x6a);
    this.set(LEFT_LOCAL);
  }

  private countOne(): void {
    this.addToLeft(-1);
  }

  /** Counts an instruction and goes on with the record behind this one. */
  private next(): void {
    this.get(RECORD_LOCAL);
    this.const(RECORD_SIZE);
    this.out.u8(0x6a);
    this.set(RECORD_LOCAL);
    this.get(LEFT_LOCAL);
    this.const(1);
    this.out.u8(0x6b).u8(CONTROL.LOCAL_TEE).u32(LEFT_LOCAL);
    this.out.u8(CONTROL.BR_IF).u32(this.code.depth('dispatch'));
    this.glue((g) => {
      g.setRip(g.ripOf(g.record));
    });
    this.code.br('leave');
  }

  /** Counts an instruction and goes on with the record in its local, unless something wants the driver. */
  private goOn(): void {
    this.countOne();
    this.glue((g) => {
      const { b } = g;
      if (this.environment.chain !== undefined) countJump(g);
      const wanted = b.or(b.eqz(b.param('i32', LEFT_LOCAL)), b.load('i32.load', b.i32(0), g.at('ATTN')));
      b.if(b.eqz(wanted), () => {
        b.exit('dispatch', g.record);
      });
      g.setRip(g.ripOf(g.record));
      b.exit('leave');
    });
  }

  /** RIP is the faulting instruction's; the delivery counts as one, so that a fault without end ends some time. */
  private deliver(): void {
    this.glue((g) => {
      g.b.call(HELPER.deliver);
    });
    this.countOne();
    this.code.br('leave');
  }

  /** A direct branch without a link: in its own page it gets one for the next time. Now it is a jump. */
  private branch(): void {
    this.glue((g) => {
      const { b } = g;
      b.if(b.op('i64.lt_u', b.load('i64.load', g.record, RECORD.IMM), b.i64(4096)), () => {
        b.call(HELPER.patchLink, g.record);
      });
    });
  }

  /** Finds the record of TARGET in the jump cache, or by `lookup`; a fetch that faults delivers with RIP there. */
  private jump(): void {
    this.code.block('found');
    this.glue((g) => {
      const { b } = g;
      const { bases } = this.environment;
      const rip: Node = b.param('i64', TARGET_LOCAL);
      const entry = g.jumpEntry(rip);
      b.if(g.inJumpCache(entry, rip), () => {
        const record = b.load('i32.load', entry, bases.jumpCache + 12);
        g.setCodeBase(b.sub(rip, b.extendU(b.load('i32.load16_u', record, RECORD.OFFSET))));
        b.exit('found', record);
      });
      g.setRip(rip);
      // When this jump is the last instruction, or something wants the driver, what the fetch would raise comes after that: a
      // single step or an interrupt goes before the fault (SDM vol. 3 table 6-2).
      const wanted = b.or(
        b.op('i32.eq', b.param('i32', LEFT_LOCAL), b.i32(1)),
        b.load('i32.load', b.i32(0), g.at('ATTN')),
      );
      b.if(b.eqz(wanted), () => {
        const record = b.call(HELPER.lookup, rip);
        b.if(record, () => {
          b.exit('found', record);
        });
        b.call(HELPER.deliver);
      });
    });
    this.countOne();
    this.code.br('leave');
    this.code.end();
  }
}
