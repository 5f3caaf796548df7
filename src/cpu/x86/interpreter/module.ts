/** Puts the interpreter's module together: loop, cold handlers, and the numbering that the decoder needs. */
import type { Instruction } from '../../../arch/x86/instructions/row.js';
import type { Block, FunctionRef, Statement } from '../../../ir/nodes.js';
import { Locals, lower, type LowerContext } from '../../../ir/lower.js';
import { ByteWriter } from '../../../ir/wasm/bytes.js';
import { WasmModule, type FunctionCode } from '../../../ir/wasm/module.js';
import { CONTROL } from '../../../ir/wasm/opcodes.js';
import { loadOrigin } from '../../../ir/wasm/origin.js';
import { FIRST_HANDLER, MICRO } from '../micro.js';
import { NEXT } from '../state-layout.js';
import type { Variant } from '../variants.js';
import { Glue, HELPER } from './glue.js';
import { CHAIN_HELPERS, emitChain } from './chain.js';
import { DRIVER_HELPERS, driverCode } from './driver.js';
import { buildHandlers, originIn, type CpuBases, type Handler } from './handlers.js';
import { emitLoop } from './loop.js';

export interface InterpreterOptions {
  readonly bases: CpuBases;
  /** Whether the memory is shared: part of the import's type. */
  readonly shared: boolean;
  /** Names of the helpers that exist; an instruction whose helper does not is #UD, and reported in `missing`. */
  readonly helpers: ReadonlySet<string>;
  /** Whether it counts jumps and enters translated code: then it imports the table `env.regions`. */
  readonly regions: boolean;
}

export interface Interpreter {
  readonly bytes: Uint8Array;
  /** Handler number of each variant, for the decoder's tables. */
  readonly handlerOf: (variant: Variant) => number;
  /** Instructions that have neither semantics nor a helper. */
  readonly missing: readonly string[];
  /** A variant for each handler number from FIRST_HANDLER on. */
  readonly variants: readonly Variant[];
  readonly hotCount: number;
  readonly coldCount: number;
}

/** In pages of 64 KiB; must be those of the memory that will be imported, or within. */
const MEMORY = { minimum: 64, maximum: 65536 } as const;

export function emitInterpreter(options: InterpreterOptions): Interpreter {
  const { bases, helpers } = options;
  const handlers = buildHandlers(bases);
  const lacks = (h: Handler): boolean => h.helper !== undefined && !helpers.has(h.helper);
  const present = handlers.filter((h) => !lacks(h));
  const missing = new Set(handlers.filter(lacks).map((h) => h.variants[0]?.row.name ?? ''));

  const module = new WasmModule();
  module.importMemory({ module: 'env', name: 'memory', ...MEMORY, shared: options.shared });
  if (options.regions) module.importTable('env', 'regions');
  if (bases.anyCpu) module.importGlobal('env', 'cpu_origin', 'i32');
  const imports = new Map<string, number>();
  const callees = new Map<string, FunctionRef>(Object.values(HELPER).map((h) => [h.name, h]));
  if (options.regions) for (const callee of CHAIN_HELPERS) callees.set(callee.name, callee);
  for (const callee of DRIVER_HELPERS) callees.set(callee.name, callee);
  for (const handler of present) collectCallees(handler.code, callees);
  for (const callee of callees.values()) {
    if (!helpers.has(callee.name)) throw new Error(`the helper ${callee.name} is missing`);
    imports.set(
      callee.name,
      module.importFunction('helpers', callee.name, callee.params, callee.result ? [callee.result] : []),
    );
  }
  const functionIndex: LowerContext['functionIndex'] = (callee) => {
    const index = imports.get(callee.name);
    if (index === undefined) throw new Error(`${callee.name} is not imported`);
    return index;
  };

  const hot = present.filter((h) => h.hot);
  const cold = present.filter((h) => !h.hot);
  const coldType = module.type(['i32'], ['i32']);
  const table = cold.map((handler) => {
    const index = module.declareFunction(['i32'], ['i32']);
    module.defineFunction(index, coldFunction(handler.code, bases, functionIndex));
    return index;
  });
  module.table(table);
  const loop = module.declareFunction(['i32', 'i32'], ['i32']);
  let chain: number | undefined;
  if (options.regions) {
    chain = module.declareFunction(['i32', 'i32'], ['i32']);
    const regionType = module.type(['i32', 'i32'], ['i32']);
    module.defineFunction(chain, emitChain({ bases, regionType, functionIndex }));
  }
  module.defineFunction(loop, emitLoop({ bases, hot, coldType, chain, functionIndex }));
  const run = module.declareFunction(['i32'], ['i32']);
  module.defineFunction(run, driverFunction(bases, loop, options.regions, functionIndex));
  module.exportFunction('run', run);

  const numbers = new Numbering();
  for (const [i, handler] of [...hot, ...cold].entries())
    for (const variant of handler.variants) numbers.set(variant, FIRST_HANDLER + i);
  return {
    bytes: module.toBytes(),
    handlerOf: (variant) => numbers.get(variant),
    missing: [...missing].sort(),
    variants: [...hot, ...cold].map((handler) => handler.variants[0]),
    hotCount: hot.length,
    coldCount: cold.length,
  };
}

/** Numbers of handlers by row and variant. */
class Numbering {
  private readonly byRow = new Map<Instruction, Map<string, number>>();

  private static key({ osz, form, lock, stack }: Variant): string {
    return `${String(osz)} ${form} ${String(lock)} ${stack}`;
  }

  set(variant: Variant, number: number): void {
    const known = this.byRow.get(variant.row) ?? new Map<string, number>();
    known.set(Numbering.key(variant), number);
    this.byRow.set(variant.row, known);
  }

  /** A variant without a handler is an undefined instruction. */
  get(variant: Variant): number {
    return this.byRow.get(variant.row)?.get(Numbering.key(variant)) ?? MICRO.UNDEFINED;
  }
}

function collectCallees(block: Block, into: Map<string, FunctionRef>): void {
  const visit = (s: Statement): void => {
    if (s.kind === 'call') into.set(s.callee.name, s.callee);
    else if (s.kind === 'let' && s.node.kind === 'call') into.set(s.node.callee.name, s.node.callee);
    else if (s.kind === 'if') {
      s.then.forEach(visit);
      s.otherwise.forEach(visit);
    } else if (s.kind === 'loop') s.body.forEach(visit);
  };
  block.forEach(visit);
}

function driverFunction(
  bases: CpuBases,
  loop: number,
  regions: boolean,
  functionIndex: LowerContext['functionIndex'],
): FunctionCode {
  const out = new ByteWriter();
  const locals = new Locals(1);
  const loopRef: FunctionRef = { name: 'loop', params: ['i32', 'i32'], result: 'i32' };
  const origin = originIn(bases, () => locals.take('i32'));
  loadOrigin(out, origin);
  lower(driverCode(bases, loopRef, regions), out, locals, {
    functionIndex: (callee) => (callee === loopRef ? loop : functionIndex(callee)),
    origin,
    exit: (_, writer) => {
      writer.u8(CONTROL.RETURN);
    },
  });
  out.u8(CONTROL.UNREACHABLE);
  return { locals: locals.types, code: out.finish() };
}

/** A handler as a function: (record) → NEXT. */
function coldFunction(code: Block, bases: CpuBases, functionIndex: LowerContext['functionIndex']): FunctionCode {
  const out = new ByteWriter();
  const locals = new Locals(1);
  const target = locals.take('i64');
  const record = locals.take('i32');
  const origin = originIn(bases, () => locals.take('i32'));
  loadOrigin(out, origin);
  const answer = (writer: ByteWriter, value: number): void => {
    writer.u8(CONTROL.I32_CONST).s32(value).u8(CONTROL.RETURN);
  };
  const glue = (writer: ByteWriter, build: (g: Glue) => void): void => {
    const g = new Glue(bases);
    build(g);
    lower(g.b.finish(), writer, locals, {
      functionIndex,
      origin,
      exit: (name) => {
        throw new Error(`no exit ${name} here`);
      },
    });
  };
  lower(code, out, locals, {
    functionIndex,
    origin,
    exit: (name, writer) => {
      switch (name) {
        case 'code':
          writer.u8(CONTROL.RETURN);
          return;
        case 'goto':
          writer.u8(CONTROL.LOCAL_SET).u32(record);
          glue(writer, (g) => {
            g.setRip(g.ripOf(g.b.param('i32', record)));
          });
          answer(writer, NEXT.JUMP);
          return;
        case 'jump':
        case 'branch':
          writer.u8(CONTROL.LOCAL_SET).u32(target);
          glue(writer, (g) => {
            g.setRip(g.b.param('i64', target));
          });
          answer(writer, NEXT.JUMP);
          return;
        case 'stack-fault':
        case 'operand-fault':
          glue(writer, (g) => {
            const isStack = name === 'stack-fault' ? g.b.i32(1) : g.inStackSegment();
            g.blameStack(isStack);
          });
          answer(writer, NEXT.FAULT);
          return;
        case 'fault':
          answer(writer, NEXT.FAULT);
          return;
        default:
          throw new Error(`a handler has no exit ${name}`);
      }
    },
  });
  out.u8(CONTROL.I32_CONST).s32(NEXT.CONTINUE);
  return { locals: locals.types, code: out.finish() };
}
