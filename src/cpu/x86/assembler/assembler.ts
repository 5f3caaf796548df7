/**
 * A small assembler over the instruction table, for test programs and the demonstration guest.
 *
 *     const asm = new Assembler({ bits: 64, origin: 0x1000 });
 *     const loop = asm.label('loop');
 *     asm.emit('mov', R.ecx, 10);
 *     asm.bind(loop);
 *     asm.emit('add', R.rax, qword([R.rbx, times(R.rcx, 8)]));
 *     asm.emit('loop', loop);
 *     asm.emit('rep stosd');
 *     const bytes = asm.finish();
 *
 * Words beside the mnemonic: `lock`, `rep`, `repe`, `repne`; `o16`, `o32`, `o64` for an operand size that no operand
 * shows; `short` for a jump to a label that comes later and is near (`jmp short`).
 */
import { assert } from '../../../base/assert.js';
import { encode, type Encoded, type Fixup } from './encode.js';
import { isMnemonic, matches, type Bits } from './match.js';
import { isLabel, type AsmOperand, type Label, type LabelOffset } from './operands.js';

/** A program that cannot be assembled. */
export class AssemblerError extends Error {
  override readonly name = 'AssemblerError';
}

const PREFIXES: Readonly<Partial<Record<string, number>>> = {
  lock: 0xf0,
  rep: 0xf3,
  repe: 0xf3,
  repz: 0xf3,
  repne: 0xf2,
  repnz: 0xf2,
};
const SIZE_WORDS: Readonly<Partial<Record<string, Bits>>> = { o16: 16, o32: 32, o64: 64 };

interface Words {
  readonly mnemonic: string;
  readonly prefixes: readonly number[];
  readonly osz: Bits | undefined;
  readonly short: boolean;
}

function parseWords(text: string): Words {
  const words = text.split(' ');
  let mnemonic = '';
  const prefixes: number[] = [];
  let osz: Bits | undefined;
  let short = false;
  for (const each of words) {
    const prefix = PREFIXES[each];
    if (prefix !== undefined) prefixes.push(prefix);
    else if (SIZE_WORDS[each] !== undefined) osz = SIZE_WORDS[each];
    else if (each === 'short') short = true;
    else if (mnemonic === '') mnemonic = each;
    else throw new AssemblerError(`"${text}" is more than one instruction`);
  }
  if (!isMnemonic(mnemonic)) throw new AssemblerError(`unknown instruction "${mnemonic}"`);
  return { mnemonic, prefixes, osz, short };
}

export class Assembler {
  /** Size of the code that is emitted: 16, 32 or 64. */
  bits: Bits;
  /** Address of the first byte. */
  readonly origin: bigint;
  private buffer = new Uint8Array(4096);
  private length = 0;
  private readonly addresses = new Map<Label, bigint>();
  private readonly fixups: {
    readonly end: number;
    readonly at: number;
    readonly fixup: Fixup;
    readonly what: string;
  }[] = [];
  private labels = 0;

  constructor(options: { readonly bits: Bits; readonly origin?: number | bigint }) {
    this.bits = options.bits;
    this.origin = BigInt(options.origin ?? 0);
  }

  /** Address of the next byte. */
  get here(): bigint {
    return this.origin + BigInt(this.length);
  }

  /** Bytes so far. */
  get size(): number {
    return this.length;
  }

  /** A new label, not bound yet. */
  label(name?: string): Label {
    this.labels++;
    return { kind: 'label', name: name ?? `label ${this.labels}` };
  }

  /** Binds a label to this place (a new one when none is given) and returns it. */
  bind(label: Label = this.label()): Label {
    if (this.addresses.has(label)) throw new AssemblerError(`${label.name} is bound twice`);
    this.addresses.set(label, this.here);
    return label;
  }

  /** Address of a label that is bound. */
  addressOf(label: Label): bigint {
    const address = this.addresses.get(label);
    if (address === undefined) throw new AssemblerError(`${label.name} is not bound`);
    return address;
  }

  /** Emits an instruction in its shortest form. */
  emit(text: string, ...operands: readonly AsmOperand[]): void {
    const { mnemonic, prefixes, osz, short } = parseWords(text);
    const context = {
      mode: this.bits,
      address: this.here,
      addressOf: (label: Label) => this.addresses.get(label),
      prefixes,
    };
    let best: Encoded | undefined;
    const memorySizes = new Set<string>();
    const isUnsized = operands.some(
      (each) => typeof each === 'object' && each.kind === 'memory' && each.size === undefined,
    );
    for (const match of matches({ mnemonic, operands, mode: this.bits, osz })) {
      const encoded = encode(match, context);
      if (encoded === undefined || !this.mayBeShort(encoded, short)) continue;
      if (isUnsized) {
        const memory = match.row.operands.find(({ kind }, n) => {
          const given = match.operands[n];
          return typeof given === 'object' && given.kind === 'memory' && kind !== 'I';
        });
        const byOperandSize = memory?.size === 'v' || memory?.size === 'y' || memory?.size === 'z';
        memorySizes.add(byOperandSize ? `${memory.size}${match.osz}` : (memory?.size ?? ''));
      }
      if (best === undefined || encoded.bytes.length < best.bytes.length) best = encoded;
    }
    if (best === undefined) throw new AssemblerError(`${text}: no such form${this.describe(operands)}`);
    if (memorySizes.size > 1) throw new AssemblerError(`${text}: the size of the memory operand is not known`);
    this.append(best, text);
  }

  /** A short branch to a label that is not bound yet is taken only when asked for, or when there is no other. */
  private mayBeShort(encoded: Encoded, short: boolean): boolean {
    const fixup = encoded.fixups.find(({ relative, size }) => relative && size === 1);
    if (fixup === undefined) return true;
    const hasLong = encoded.row.mnemonic === 'jmp' || /^j(?!rcxz)/.test(encoded.row.mnemonic);
    return short || !hasLong || this.addresses.has(fixup.label);
  }

  private describe(operands: readonly AsmOperand[]): string {
    const names = operands.map((each) => {
      if (typeof each !== 'object') return String(each);
      if (each.kind === 'memory') return `${String(each.size ?? '?')} bytes of memory`;
      return each.kind === 'register' || each.kind === 'label' ? each.name : each.kind;
    });
    return names.length === 0 ? '' : ` for ${names.join(', ')} in ${this.bits}-bit code`;
  }

  private append(encoded: Encoded, what: string): void {
    const start = this.length;
    this.bytes(encoded.bytes);
    for (const fixup of encoded.fixups) this.fixups.push({ end: this.length, at: start + fixup.at, fixup, what });
  }

  // ---- data ----

  bytes(data: ArrayLike<number>): void {
    while (this.length + data.length > this.buffer.length) {
      const larger = new Uint8Array(this.buffer.length * 2);
      larger.set(this.buffer);
      this.buffer = larger;
    }
    this.buffer.set(data, this.length);
    this.length += data.length;
  }

  private data(size: Fixup['size'], values: readonly (number | bigint | Label | LabelOffset)[]): void {
    for (const value of values) {
      if (isLabel(value)) {
        const label = value.kind === 'label' ? value : value.label;
        const addend = value.kind === 'label' ? 0n : BigInt(value.offset);
        this.fixups.push({
          end: 0,
          at: this.length,
          fixup: { at: 0, size, label, addend, relative: false },
          what: 'data',
        });
        this.bytes(new Uint8Array(size));
      } else this.bytes(Array.from({ length: size }, (_, n) => Number((BigInt(value) >> BigInt(n * 8)) & 0xffn)));
    }
  }

  db(...values: readonly number[]): void {
    this.data(1, values);
  }
  dw(...values: readonly (number | Label | LabelOffset)[]): void {
    this.data(2, values);
  }
  dd(...values: readonly (number | Label | LabelOffset)[]): void {
    this.data(4, values);
  }
  dq(...values: readonly (number | bigint | Label | LabelOffset)[]): void {
    this.data(8, values);
  }

  /** Characters 0 … 255. */
  ascii(text: string): void {
    this.bytes(Array.from(text, (character) => character.charCodeAt(0)));
  }

  /** Characters and a 0. */
  asciz(text: string): void {
    this.ascii(`${text}\0`);
  }

  space(count: number, fill = 0): void {
    this.bytes(new Uint8Array(count).fill(fill));
  }

  /** Fills up to an address that is a multiple of `boundary`. */
  align(boundary: number, fill = 0): void {
    this.space(Number(-this.here & BigInt(boundary - 1)), fill);
  }

  /** Fills up to an address. */
  org(address: number | bigint, fill = 0): void {
    const distance = BigInt(address) - this.here;
    if (distance < 0n) throw new AssemblerError(`org 0x${address.toString(16)} lies behind`);
    this.space(Number(distance), fill);
  }

  /** The program, with all labels filled in. */
  finish(): Uint8Array {
    const bytes = this.buffer.slice(0, this.length);
    for (const { end, at, fixup, what } of this.fixups) {
      const target = this.addressOf(fixup.label) + fixup.addend;
      const value = fixup.relative ? target - (this.origin + BigInt(end)) : target;
      const bits = fixup.size * 8;
      const fits = BigInt.asIntN(bits, value) === value || (!fixup.relative && BigInt.asUintN(bits, value) === value);
      // 16-bit jumps wrap.
      if (!fits && !(fixup.relative && fixup.size === 2))
        throw new AssemblerError(`${what}: ${fixup.label.name} is out of reach`);
      assert(at + fixup.size <= bytes.length, 'a fixup lies in the program');
      for (let n = 0; n < fixup.size; n++) bytes[at + n] = Number((value >> BigInt(n * 8)) & 0xffn);
    }
    return bytes;
  }
}
