import { describe, expect, it } from 'vitest';
import { Builder } from './builder.js';
import { Locals, lower } from './lower.js';
import type { FunctionRef } from './nodes.js';
import { guestLoad, guestModify, guestStore, type SoftMmu } from './softmmu.js';
import { ByteWriter } from './wasm/bytes.js';
import { WasmModule } from './wasm/module.js';
import { CONTROL, PURE_OPS, type OpInfo, type PureOp, type ValueType } from './wasm/opcodes.js';

const MEMORY = { minimum: 1, maximum: 1 } as const;

interface Compiled {
  readonly call: (...args: (number | bigint)[]) => number | bigint;
  readonly memory: DataView;
}

/** Compiles one function; the exit `return` ends it with its value, every other exit with its number. */
function compile(
  params: readonly ValueType[],
  result: ValueType,
  build: (b: Builder) => void,
  imports: Record<string, { ref: FunctionRef; run: (...args: never[]) => unknown }> = {},
  exits: Record<string, number> = {},
): Compiled {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const module = new WasmModule();
  module.importMemory({ module: 'env', name: 'memory', ...MEMORY, shared: true });
  const indices = new Map<string, number>();
  for (const { ref } of Object.values(imports))
    indices.set(ref.name, module.importFunction('env', ref.name, ref.params, ref.result ? [ref.result] : []));
  const index = module.declareFunction(params, [result]);
  const b = new Builder();
  build(b);
  const out = new ByteWriter();
  const locals = new Locals(params.length);
  lower(b.finish(), out, locals, {
    functionIndex: (callee) => indices.get(callee.name) ?? -1,
    exit: (name, writer) => {
      if (name in exits) writer.u8(CONTROL.I32_CONST).s32(exits[name] ?? 0);
      writer.u8(CONTROL.RETURN);
    },
  });
  out.u8(CONTROL.UNREACHABLE);
  module.defineFunction(index, { locals: locals.types, code: out.finish() });
  module.exportFunction('f', index);
  const env: Record<string, unknown> = { memory };
  for (const { ref, run } of Object.values(imports)) env[ref.name] = run;
  const instance = new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(module.toBytes())), {
    env: env as never,
  });
  return { call: instance.exports['f'] as Compiled['call'], memory: new DataView(memory.buffer) };
}

describe('lowering of the intermediate form', () => {
  it('computes a node that is used twice once, and drops one that is not used', () => {
    let calls = 0;
    const tick: FunctionRef = { name: 'tick', params: [], result: 'i32' };
    const { call } = compile(
      ['i32'],
      'i32',
      (b) => {
        const once = b.call(tick);
        b.add(b.param('i32', 0), b.i32(1));
        b.exit('return', b.add(once, once));
      },
      { tick: { ref: tick, run: () => ++calls } },
    );
    expect(call(0)).toBe(2);
    expect(calls).toBe(1);
  });

  it('keeps the order of loads and stores', () => {
    const { call, memory } = compile(['i32'], 'i32', (b) => {
      const before = b.load('i32.load', b.param('i32', 0));
      b.store('i32.store', b.param('i32', 0), b.i32(7));
      const after = b.load('i32.load', b.param('i32', 0));
      b.exit('return', b.sub(after, before));
    });
    memory.setInt32(64, 2, true);
    expect(call(64)).toBe(5);
  });

  it('merges the arms of an if, and repeats a loop until it breaks', () => {
    const { call } = compile(['i32'], 'i32', (b) => {
      const n = b.variable('i32');
      const sum = b.variable('i32');
      b.set(n, b.param('i32', 0));
      b.set(sum, b.i32(0));
      b.loop(() => {
        b.if(b.eqz(b.get(n)), () => {
          b.break();
        });
        const odd = b.and(b.get(n), b.i32(1));
        b.set(
          sum,
          b.add(
            b.get(sum),
            b.choose(
              'i32',
              odd,
              () => b.get(n),
              () => b.i32(0),
            ),
          ),
        );
        b.set(n, b.sub(b.get(n), b.i32(1)));
      });
      b.exit('return', b.get(sum));
    });
    expect(call(10)).toBe(1 + 3 + 5 + 7 + 9);
  });

  it('encodes constants of every size', () => {
    for (const value of [0n, -1n, 63n, 64n, -64n, -65n, 2n ** 31n, -(2n ** 31n), 2n ** 63n - 1n, -(2n ** 63n)]) {
      const { call } = compile([], 'i64', (b) => {
        b.exit('return', b.i64(value));
      });
      expect(call()).toBe(value);
    }
  });
});

describe('floating point and vectors', () => {
  it('encodes constants by their bits', () => {
    const single = compile([], 'i32', (b) => {
      b.exit('return', b.op('i32.reinterpret_f32', b.f32(-1.5)));
    });
    expect(Number(single.call()) >>> 0).toBe(0xbfc0_0000);
    const double = compile([], 'i64', (b) => {
      b.exit('return', b.op('i64.reinterpret_f64', b.f64(-1.5)));
    });
    expect(double.call()).toBe(-0x4008_0000_0000_0000n);
  });

  it('keeps lane numbers with their operations', () => {
    const { call } = compile(['i64'], 'i64', (b) => {
      const v = b.lanes('i64x2.replace_lane', [1], b.v128(0x0807_0605_0403_0201n), b.param('i64', 0));
      const turned = b.lanes(
        'i8x16.shuffle',
        [...Array(16).keys()].map((i) => 15 - i),
        v,
        v,
      );
      b.exit('return', b.lanes('i64x2.extract_lane', [1], turned));
    });
    expect(call(0n)).toBe(0x0102_0304_0506_0708n);
  });

  it('knows the types and the encoding of every operation', () => {
    for (const [name, info] of Object.entries<OpInfo>(PURE_OPS)) {
      const module = new WasmModule();
      const index = module.declareFunction(info.params, [info.result]);
      const b = new Builder();
      const args = info.params.map((type, i) => b.param(type, i));
      const op = name as PureOp;
      const lanes = Array<number>(info.lanes?.count ?? 0).fill((info.lanes?.limit ?? 1) - 1);
      b.exit('return', info.lanes ? b.lanes(op, lanes, ...args) : b.op(op, ...args));
      const out = new ByteWriter();
      const locals = new Locals(args.length);
      lower(b.finish(), out, locals, {
        functionIndex: () => -1,
        // The end of the function, where nothing but the result may be on the stack.
        exit: () => undefined,
      });
      module.defineFunction(index, { locals: locals.types, code: out.finish() });
      expect(WebAssembly.validate(new Uint8Array(module.toBytes())), name).toBe(true);
    }
  });
});

describe('guest memory through the software TLB', () => {
  const READ = 0x1000;
  const WRITE = 0x2000;
  const CONTEXT = 0x800;
  const BOUNCE = 0x810;
  const GUEST = 0x4000;
  const slow = (name: string): FunctionRef => ({ name, params: ['i64', 'i32'], result: 'i32' });
  const mmu: SoftMmu = {
    readEntries: READ,
    writeEntries: WRITE,
    entryCount: 16,
    context: CONTEXT,
    fault: 'fault',
    bounce: BOUNCE,
    loadSlow: slow('load'),
    storeSlow: slow('store'),
    modifySlow: slow('modify'),
    modifyCommit: { name: 'commit', params: [], result: 'i32' },
  };
  const VA = 0x12_3456_7000n;

  function machine(build: (b: Builder, va: ReturnType<Builder['param']>) => void, answer = 0) {
    const seen: string[] = [];
    const note =
      (name: string) =>
      (va: bigint, size: number): number => {
        seen.push(`${name} ${va.toString(16)} ${String(size)}`);
        return answer;
      };
    const compiled = compile(
      ['i64'],
      'i32',
      (b) => {
        build(b, b.param('i64', 0));
      },
      {
        load: { ref: mmu.loadSlow, run: note('load') },
        store: { ref: mmu.storeSlow, run: note('store') },
        modify: { ref: mmu.modifySlow, run: note('modify') },
        commit: { ref: mmu.modifyCommit, run: () => seen.push('commit') },
      },
      { fault: -1 },
    );
    const { memory } = compiled;
    memory.setBigUint64(CONTEXT, 0x1an, true);
    for (const half of [READ, WRITE]) {
      const entry = half + (Number(VA >> 12n) % 16) * 16;
      memory.setBigUint64(entry, VA | 0x1an, true);
      memory.setBigInt64(entry + 8, BigInt(GUEST) - VA, true);
    }
    return { ...compiled, seen };
  }

  it('hits within a page', () => {
    const { call, memory, seen } = machine((b, va) => {
      b.exit('return', guestLoad(b, mmu, va, 4));
    });
    memory.setInt32(GUEST + 0xffc, 77, true);
    expect(call(VA + 0xffcn)).toBe(77);
    expect(seen).toEqual([]);
  });

  it('misses across a page, for another page, and under another context', () => {
    const { call, memory, seen } = machine((b, va) => {
      b.exit('return', guestLoad(b, mmu, va, 4));
    });
    expect(call(VA + 0xffdn)).toBe(-1);
    expect(call(VA + 0x1_0000n)).toBe(-1);
    memory.setBigUint64(CONTEXT, 0x22n, true);
    expect(call(VA)).toBe(-1);
    expect(seen).toEqual(['load 1234567ffd 4', 'load 1234577000 4', 'load 1234567000 4']);
  });

  it('hands a store that misses over in the bounce buffer', () => {
    const { call, memory, seen } = machine((b, va) => {
      guestStore(b, mmu, va, 2, b.i32(0x1234));
      b.exit('return', b.i32(1));
    }, 1);
    expect(call(VA + 2n)).toBe(1);
    expect(memory.getUint16(GUEST + 2, true)).toBe(0x1234);
    expect(call(0n)).toBe(1);
    expect(memory.getUint16(BOUNCE, true)).toBe(0x1234);
    expect(seen).toEqual(['store 0 2']);
  });

  it('writes a modification through the bounce buffer back', () => {
    const { call, memory, seen } = machine((b, va) => {
      guestModify(b, mmu, va, 4, (old) => b.add(old, b.i32(1)));
      b.exit('return', b.i32(1));
    }, BOUNCE);
    memory.setInt32(BOUNCE, 41, true);
    expect(call(0n)).toBe(1);
    expect(memory.getInt32(BOUNCE, true)).toBe(42);
    expect(seen).toEqual(['modify 0 4', 'commit']);
  });
});
