/**
 * A function of WebAssembly as text, for people: what the translator makes is reviewed and traced in this form. Operands are
 * folded into the operations that take them, locals, functions and addresses go by names that the caller knows, labels by numbers.
 *
 *     loop 2 {
 *       rcx = i64.sub(rcx, 1)
 *       i64.store[state.rip] = rcx
 *       br_if 2, i64.ne(rcx, 0)
 */
import { COMPARE_EXCHANGES, CONTROL, DIVISIONS, LOADS, PURE_OPS, STORES, type ValueType } from './opcodes.js';
import type { FunctionCode } from './module.js';

export interface TextNames {
  /** By number; parameters come first. Others are called after their number. */
  readonly local?: (index: number) => string | undefined;
  readonly callee: (index: number) => Callee;
  /** Of an i32 constant. */
  readonly constant?: (value: number) => string | undefined;
  /** Of a constant address in memory. */
  readonly address?: (address: number) => string | undefined;
}

export interface Callee {
  readonly name: string;
  readonly params: readonly ValueType[];
  readonly result: ValueType | undefined;
}

type Operation =
  | { readonly kind: 'pure'; readonly name: string; readonly params: number; readonly lanes: number }
  | { readonly kind: 'load' | 'store' | 'cmpxchg'; readonly name: string };

const key = (code: readonly number[]): string => code.join();

function operations(): Map<string, Operation> {
  const all = new Map<string, Operation>();
  for (const [name, info] of Object.entries({ ...PURE_OPS, ...DIVISIONS })) {
    const { lanes } = info as { readonly lanes?: { readonly count: number } };
    all.set(key(info.code), { kind: 'pure', name, params: info.params.length, lanes: lanes?.count ?? 0 });
  }
  for (const [name, { code }] of Object.entries(LOADS)) all.set(key(code), { kind: 'load', name });
  for (const [name, { code }] of Object.entries(STORES)) all.set(key(code), { kind: 'store', name });
  for (const [name, { code }] of Object.entries(COMPARE_EXCHANGES)) all.set(key(code), { kind: 'cmpxchg', name });
  return all;
}

const OPERATIONS = operations();
const VECTOR_PREFIX = 0xfd;
const PREFIXES: readonly number[] = [0xfc, VECTOR_PREFIX, 0xfe];
const VECTOR_CONST = 12;
/** Constants up to this size are decimal. */
const SMALL = 4096n;

const number = (value: bigint): string =>
  value <= SMALL && value >= -SMALL
    ? String(value)
    : value < 0n
      ? `-0x${(-value).toString(16)}`
      : `0x${value.toString(16)}`;

/** An operand that has not been taken yet; `pure` ones may be written later than they were computed. */
interface Operand {
  readonly text: string;
  readonly constant: bigint | undefined;
}

class Printer {
  private at = 0;
  private readonly lines: string[] = [];
  private stack: Operand[] = [];
  private readonly labels: { readonly name: string; readonly base: number }[] = [];
  private nextLabel = 1;

  constructor(
    private readonly code: Uint8Array,
    private readonly names: TextNames,
  ) {}

  print(): readonly string[] {
    while (this.at < this.code.length) this.instruction();
    this.flush(0);
    return this.lines;
  }

  // ---- reading ----

  private u8(): number {
    return this.code[this.at++];
  }

  private u32(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.u8();
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  }

  private signed(bits: number): bigint {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.u8();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asIntN(bits, byte & 0x40 ? value | (-1n << (shift + 7n)) : value);
    }
  }

  private little(bytes: number): bigint {
    let value = 0n;
    for (let i = 0; i < bytes; i++) value |= BigInt(this.u8()) << BigInt(8 * i);
    return value;
  }

  // ---- writing ----

  private line(text: string): void {
    this.lines.push(`${'  '.repeat(this.labels.length)}${text}`);
  }

  private push(text: string, constant?: bigint): void {
    this.stack.push({ text, constant });
  }

  private pop(): Operand {
    return this.stack.pop() ?? { text: 'pop', constant: undefined };
  }

  private take(count: number): string {
    const taken: string[] = [];
    for (let i = 0; i < count; i++) taken.unshift(this.pop().text);
    return taken.join(', ');
  }

  /** Writes down operands that were computed before what comes now and are taken after it. */
  private flush(keep: number): void {
    const before = this.stack.slice(0, this.stack.length - keep);
    for (const { text } of before) if (text !== 'pop') this.line(`push ${text}`);
    this.stack = [...before.map(() => ({ text: 'pop', constant: undefined })), ...this.stack.slice(before.length)];
  }

  /** An instruction that does something, with the operands it takes. */
  private effect(operands: number, text: (taken: string) => string): void {
    this.flush(Math.min(operands, this.stack.length));
    this.line(text(this.take(operands)));
  }

  /** A local takes a value; a call that gave it stands in the same line. */
  private assign(name: string): void {
    const called = this.stack.at(-1)?.text === 'pop' ? this.lines.at(-1) : undefined;
    this.effect(1, (taken) => `${name} = ${taken}`);
    const pushed = called === undefined ? undefined : /^( *)push (.*)$/.exec(called);
    if (pushed && this.lines.at(-2) === called) this.lines.splice(-2, 2, `${pushed[1]}${name} = ${pushed[2]}`);
  }

  private local(): string {
    const index = this.u32();
    return this.names.local?.(index) ?? `local${String(index)}`;
  }

  private label(): string {
    const depth = this.u32();
    return this.labels.at(-1 - depth)?.name ?? 'end';
  }

  private place({ text, constant }: Operand, offset: number): string {
    const { address } = this.names;
    if (constant !== undefined) {
      const place = Number(constant) + offset;
      return address?.(place) ?? number(BigInt(place));
    }
    if (offset === 0) return text;
    return `${text} + ${address?.(offset) ?? number(BigInt(offset))}`;
  }

  private open(word: string, condition = ''): void {
    const name = String(this.nextLabel++);
    this.line(`${word} ${name}${condition} {`);
    this.labels.push({ name, base: this.stack.length });
  }

  private close(): void {
    const inner = this.stack.length - (this.labels.at(-1)?.base ?? 0);
    if (inner > 0) this.flush(0);
    const { base } = this.labels.pop() ?? { base: 0 };
    this.stack.length = Math.min(this.stack.length, base);
  }

  private instruction(): void {
    const opcode = this.u8();
    switch (opcode) {
      case CONTROL.UNREACHABLE:
        this.effect(0, () => 'unreachable');
        return;
      case CONTROL.BLOCK:
      case CONTROL.LOOP:
        this.u8();
        this.flush(0);
        this.open(opcode === CONTROL.LOOP ? 'loop' : 'block');
        return;
      case CONTROL.IF: {
        const type = this.u8();
        this.flush(1);
        this.open('if', `, ${this.take(1)}${type === CONTROL.VOID ? '' : ' (with a value)'}`);
        return;
      }
      case CONTROL.ELSE: {
        const open = this.labels.at(-1);
        this.close();
        this.line('} else {');
        if (open) this.labels.push({ ...open, base: this.stack.length });
        return;
      }
      case CONTROL.END:
        this.close();
        this.line('}');
        return;
      case CONTROL.BR: {
        const label = this.label();
        this.effect(0, () => `br ${label}`);
        return;
      }
      case CONTROL.BR_IF: {
        const label = this.label();
        this.effect(1, (taken) => `br_if ${label}, ${taken}`);
        return;
      }
      case CONTROL.BR_TABLE: {
        const labels = Array.from({ length: this.u32() + 1 }, () => this.label());
        this.effect(1, (taken) => `br_table ${taken}: ${labels.join(' ')}`);
        return;
      }
      case CONTROL.RETURN:
        this.effect(Math.min(1, this.stack.length), (taken) => `return ${taken}`);
        return;
      case CONTROL.CALL:
        this.call();
        return;
      case CONTROL.CALL_INDIRECT: {
        const [type, table] = [this.u32(), this.u32()];
        this.effect(1, (taken) => `call_indirect type ${String(type)} of table ${String(table)}, ${taken}`);
        return;
      }
      case CONTROL.DROP:
        this.effect(1, (taken) => `drop ${taken}`);
        return;
      case CONTROL.SELECT: {
        const [yes, no, condition] = [this.pop(), this.pop(), this.pop()].reverse();
        this.push(`select(${condition.text}, ${yes.text}, ${no.text})`);
        return;
      }
      case CONTROL.LOCAL_GET:
        this.push(this.local());
        return;
      case CONTROL.LOCAL_SET: {
        const name = this.local();
        this.assign(name);
        return;
      }
      case CONTROL.LOCAL_TEE: {
        const name = this.local();
        this.assign(name);
        this.push(name);
        return;
      }
      case CONTROL.I32_CONST:
      case CONTROL.I64_CONST: {
        const value = this.signed(opcode === CONTROL.I32_CONST ? 32 : 64);
        const name = opcode === CONTROL.I32_CONST ? this.names.constant?.(Number(value)) : undefined;
        this.push(name ?? number(value), value);
        return;
      }
      case CONTROL.F32_CONST:
        this.push(`f32:${this.little(4).toString(16)}`);
        return;
      case CONTROL.F64_CONST:
        this.push(`f64:${this.little(8).toString(16)}`);
        return;
      default:
        this.operation(opcode);
    }
  }

  private call(): void {
    const { name, params, result } = this.names.callee(this.u32());
    if (result === undefined) {
      this.effect(params.length, (taken) => `${name}(${taken})`);
      return;
    }
    // What it computes must not be written after what it may change.
    this.effect(params.length, (taken) => `push ${name}(${taken})`);
    this.stack.push({ text: 'pop', constant: undefined });
  }

  private operation(opcode: number): void {
    const code = [opcode];
    if (PREFIXES.includes(opcode)) {
      const start = this.at;
      this.u32();
      code.push(...this.code.subarray(start, this.at));
      if (opcode === VECTOR_PREFIX && code.length === 2 && code[1] === VECTOR_CONST) {
        this.push(`v128:${this.little(16).toString(16)}`);
        return;
      }
    }
    const found = OPERATIONS.get(key(code));
    if (found === undefined) throw new Error(`no opcode ${code.map((byte) => byte.toString(16)).join(' ')}`);
    if (found.kind === 'pure') {
      const lanes = Array.from({ length: found.lanes }, () => this.u8());
      const which = lanes.length === 0 ? '' : `<${lanes.join(' ')}>`;
      this.push(`${found.name}${which}(${this.take(found.params)})`);
      return;
    }
    this.u32(); // alignment
    const offset = this.u32();
    if (found.kind === 'load') {
      const at = this.pop();
      this.push(`${found.name}[${this.place(at, offset)}]`);
    } else if (found.kind === 'store') {
      this.flush(Math.min(2, this.stack.length));
      const value = this.pop();
      this.line(`${found.name}[${this.place(this.pop(), offset)}] = ${value.text}`);
    } else {
      this.flush(Math.min(3, this.stack.length));
      const [at, expected, replacement] = [this.pop(), this.pop(), this.pop()].reverse();
      this.line(`push ${found.name}[${this.place(at, offset)}](${expected.text}, ${replacement.text})`);
      this.stack.push({ text: 'pop', constant: undefined });
    }
  }
}

/** Lines of a function's body, indented. */
export function functionText({ code }: Pick<FunctionCode, 'code'>, names: TextNames): readonly string[] {
  return new Printer(code, names).print();
}
