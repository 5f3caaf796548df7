/** Blocks of instructions over the intermediate form, with constant operands as a translator has them, for tests. */
import { Facts } from '../cpu/x86/semantics/facts.js';
import { semanticsOf } from '../cpu/x86/semantics/index.js';
import { Lift, liftMmu, type InstructionParts } from '../cpu/x86/semantics/lift.js';
import { cpuBases } from '../cpu/x86/interpreter/handlers.js';
import { STATE } from '../cpu/x86/state-layout.js';
import type { Variant } from '../cpu/x86/variants.js';
import { Builder } from '../ir/builder.js';
import { Locals, lower } from '../ir/lower.js';
import type { FunctionRef } from '../ir/nodes.js';
import { ByteWriter } from '../ir/wasm/bytes.js';
import { WasmModule, type FunctionCode } from '../ir/wasm/module.js';
import { CONTROL } from '../ir/wasm/opcodes.js';
import type { HelperBench } from './x86-helpers.js';

/** Guest-physical and linear address of the memory operand. */
export const OPERAND = 0x4000;

export interface Step {
  readonly variant: Variant;
  /** As records hold them. */
  readonly reg: number;
  readonly rm: number;
  readonly imm: number;
  /** The raw ModRM byte, which x87 instructions look at. */
  readonly modrm?: number;
}

function partsOf(b: Builder, step: Step): InstructionParts {
  const bytes: Partial<Record<string, number>> = {
    REG: step.reg,
    RM: step.rm,
    MODRM: step.modrm ?? 0,
    BASE: STATE.ZERO,
    INDEX: STATE.ZERO,
    SEG_SLOT: STATE.ZERO,
    MASK_SLOT: STATE.MASK64,
  };
  return {
    byte: (name) => b.i32(bytes[name] ?? 0),
    offset: () => b.i32(0),
    displacement: () => b.i64(OPERAND),
    immediate: () => b.i64(step.imm),
    link: () => b.i32(0),
  };
}

/** The code of a block: its result is the number of its instructions that were done before one fell back. */
function lowerBlock(block: readonly Step[], functionIndex: (callee: FunctionRef) => number): FunctionCode {
  const bases = cpuBases(false);
  const b = new Builder();
  let facts = new Facts();
  block.forEach((step, i) => {
    // As where a piece of code ends and another begins that only it leads to.
    if (i % 5 === 4) facts = facts.atNext();
    facts.x87.inlines = block.length % 2 === 0;
    const fallback = (): void => {
      b.exit('return', b.i32(i));
    };
    const x = new Lift(b, step.variant, partsOf(b, step), liftMmu(bases.mmu), bases.state, { fallback, facts });
    semanticsOf(step.variant)?.(x);
  });
  b.exit('return', b.i32(block.length));
  const out = new ByteWriter();
  const locals = new Locals(0);
  lower(b.finish(), out, locals, {
    functionIndex,
    // No access faults here.
    exit: (name, writer) => {
      writer.u8(name === 'return' ? CONTROL.RETURN : CONTROL.UNREACHABLE);
    },
  });
  return { locals: locals.types, code: out.u8(CONTROL.UNREACHABLE).finish() };
}

/** Compiles blocks: each is a function () → the number of its instructions that were done before one fell back. */
export function compileBlocks(bench: HelperBench, blocks: readonly (readonly Step[])[]): (() => number)[] {
  const callees: FunctionRef[] = [];
  const codes = blocks.map((block) =>
    lowerBlock(block, (callee) => {
      const known = callees.findIndex(({ name }) => name === callee.name);
      return known >= 0 ? known : callees.push(callee) - 1;
    }),
  );
  const module = new WasmModule();
  module.importMemory({ module: 'env', name: 'memory', minimum: 1, maximum: 65_536, shared: true });
  for (const { name, params, result } of callees)
    module.importFunction('helpers', name, params, result ? [result] : []);
  codes.forEach((code, n) => {
    const index = module.declareFunction([], ['i32']);
    module.defineFunction(index, code);
    module.exportFunction(`f${String(n)}`, index);
  });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(module.toBytes())), {
    env: { memory: bench.memory },
    helpers: bench.exports as WebAssembly.ModuleImports,
  });
  return blocks.map((_, n) => exports[`f${String(n)}`] as () => number);
}
