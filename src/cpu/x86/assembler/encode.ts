/** Bytes of an instruction from a row of the table and its operands. */
import type { Instruction } from '../../../arch/x86/instructions/row.js';
import { hasOperandSize, type Bits, type Match } from './match.js';
import { isLabel, type AsmOperand, type Label, type LabelOffset, type Memory, type Register } from './operands.js';

/** A place in an instruction that a label's address decides. */
export interface Fixup {
  /** Offset of the field in the instruction. */
  readonly at: number;
  /** Bytes. */
  readonly size: 1 | 2 | 4 | 8;
  readonly label: Label;
  readonly addend: bigint;
  /** Relative to the end of the instruction, or the address itself. */
  readonly relative: boolean;
}

export interface Encoded {
  readonly row: Instruction;
  readonly bytes: readonly number[];
  readonly fixups: readonly Fixup[];
}

export interface Context {
  readonly mode: Bits;
  /** Address of the instruction, and of a label that is bound already. */
  readonly address: bigint;
  addressOf(label: Label): bigint | undefined;
  /** F0, F2, F3 as written. */
  readonly prefixes: readonly number[];
}

const SEGMENT_PREFIX = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];
const MANDATORY: Readonly<Record<Instruction['prefix'], readonly number[]>> = {
  any: [],
  none: [],
  '66': [0x66],
  F3: [0xf3],
  F2: [0xf2],
};
const OPCODE_MAP: readonly (readonly number[])[] = [[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]];

/** 16-bit address forms by their registers, SDM vol. 2 table 2-1. */
const FORMS_16 = ['bx+si', 'bx+di', 'bp+si', 'bp+di', 'si', 'di', 'bp', 'bx'];

class Encoding {
  private readonly tail: number[] = [];
  private readonly fixups: { tailAt: number; size: Fixup['size']; label: Label; addend: bigint; relative: boolean }[] =
    [];
  private rex = 0;
  private needsRex = false;
  private forbidsRex = false;
  private modrm: number | undefined;
  private addressPrefix = false;
  private segment: number | undefined;
  private opcodeRegister = 0;

  constructor(
    private readonly match: Match,
    private readonly context: Context,
  ) {}

  encode(): Encoded | undefined {
    const { row, osz } = this.match;
    const { mode, prefixes } = this.context;
    if (row.modrm) this.modrm = (row.mod === 'reg' ? 0xc0 : 0) | ((row.digit ?? 0) << 3) | (row.rm ?? 0);
    let good = true;
    // Immediates come last whatever their place.
    const order = row.operands
      .map((operand, n) => ({ operand, given: this.match.operands[n] }))
      .sort((a, b) => Number(a.operand.kind === 'I') - Number(b.operand.kind === 'I'));
    for (const { operand, given } of order)
      if (given !== undefined) good = this.add(operand.kind, operand.size, given) && good;
    if (!good) return undefined;

    const size = this.sizePrefix();
    if (size === undefined) return undefined;
    if (row.rexW === true) this.rex |= 8;
    // XCHG with rAX itself would be NOP.
    if (row.name === 'xchg' && row.opcode === 0x90 && this.opcodeRegister === 0 && (this.rex & 1) === 0)
      return undefined;
    if (row.rexB === false && (this.rex & 1) !== 0) return undefined;
    if (mode !== 64 && (this.rex !== 0 || this.needsRex)) return undefined;
    const hasRex = this.rex !== 0 || this.needsRex;
    if (hasRex && this.forbidsRex) return undefined;
    const bytes = [
      ...(this.segment === undefined ? [] : [SEGMENT_PREFIX[this.segment]]),
      ...(this.addressPrefix ? [0x67] : []),
      ...prefixes,
      ...size,
      ...MANDATORY[row.prefix],
      ...(hasRex ? [0x40 | this.rex] : []),
      ...OPCODE_MAP[row.map],
      row.opcode + this.opcodeRegister,
      ...(this.modrm === undefined ? [] : [this.modrm]),
    ];
    const fixups = this.fixups.map(({ tailAt, ...fixup }) => ({ at: bytes.length + tailAt, ...fixup }));
    bytes.push(...this.tail);
    if (bytes.length > 15) return undefined;
    return this.resolveNumbers(row, bytes, fixups, osz);
  }

  /** The 66 prefix, and REX.W in `rex`; undefined when the size cannot be had. */
  private sizePrefix(): number[] | undefined {
    const { row, osz } = this.match;
    const { mode } = this.context;
    if (!hasOperandSize(row)) return [];
    const onlyW = row.prefix === '66' || !row.operands.every(({ size }) => size !== 'y');
    const hasV = row.operands.some(({ size }) => size === 'v');
    if (onlyW && !hasV) {
      if (osz === 16 || (osz === 64 && mode !== 64)) return undefined;
      if (osz === 64) this.rex |= 8;
      return [];
    }
    if (mode === 64) {
      if (row.attributes.has('f64') || (row.attributes.has('d64') && osz === 64)) return [];
      if (osz === 64) this.rex |= 8;
      return osz === 16 ? [0x66] : [];
    }
    if (osz === 64) return undefined;
    return osz === mode ? [] : [0x66];
  }

  private add(kind: string, size: string, given: AsmOperand): boolean {
    switch (kind) {
      case 'G':
      case 'S':
      case 'C':
      case 'D':
      case 'V':
      case 'P':
        return typeof given === 'object' && given.kind === 'register' && this.setReg(given);
      case 'E':
      case 'M':
      case 'R':
      case 'U':
      case 'W':
      case 'N':
      case 'Q':
      case 'STi':
        if (typeof given !== 'object') return false;
        if (given.kind === 'register') return this.setRm(given);
        return given.kind === 'memory' && this.setMemory(given);
      case 'Z':
        if (typeof given !== 'object' || given.kind !== 'register') return false;
        this.noteByteRegister(given);
        this.opcodeRegister = given.number & 7;
        this.rex |= given.number >> 3;
        return true;
      case 'I':
        return this.immediate(size, given);
      case 'J':
        this.branch(size, given);
        return true;
      case 'A':
        return this.farPointer(given);
      case 'O':
        return typeof given === 'object' && given.kind === 'memory' && this.memoryOffset(given);
      default:
        return true;
    }
  }

  private noteByteRegister(register: Register): void {
    if (register.class !== 'gpr' || register.size !== 8) return;
    if (register.high) this.forbidsRex = true;
    else if (register.number >= 4) this.needsRex = true;
  }

  private setReg(register: Register): boolean {
    this.noteByteRegister(register);
    this.modrm = (this.modrm ?? 0) | ((register.number & 7) << 3);
    this.rex |= (register.number >> 3) << 2;
    return true;
  }

  private setRm(register: Register): boolean {
    this.noteByteRegister(register);
    this.modrm = (this.modrm ?? 0) | 0xc0 | (register.number & 7);
    this.rex |= register.number >> 3;
    return true;
  }

  private bytes(value: bigint, size: number): void {
    for (let n = 0; n < size; n++) this.tail.push(Number((value >> BigInt(n * 8)) & 0xffn));
  }

  private field(size: Fixup['size'], target: Label | LabelOffset, addend: bigint, relative: boolean): void {
    const label = target.kind === 'label' ? target : target.label;
    const more = target.kind === 'label' ? 0n : BigInt(target.offset);
    this.fixups.push({ tailAt: this.tail.length, size, label, addend: addend + more, relative });
    this.bytes(0n, size);
  }

  private immediate(size: string, given: AsmOperand): boolean {
    const { osz } = this.match;
    const bytes = size === 'b' ? 1 : size === 'w' ? 2 : size === 'v' ? osz / 8 : osz === 16 ? 2 : 4;
    if (isLabel(given)) this.field(bytes as Fixup['size'], given, 0n, false);
    else if (typeof given === 'number' || typeof given === 'bigint') this.bytes(BigInt(given), bytes);
    else return false;
    return true;
  }

  /** Relative to the end, so that numbers are put in when the length is known. */
  private branch(size: string, given: AsmOperand): void {
    const bytes = size === 'b' ? 1 : this.match.osz === 16 ? 2 : 4;
    if (isLabel(given)) this.field(bytes, given, 0n, true);
    else {
      this.numericTarget = BigInt(given as number | bigint);
      this.numericAt = this.tail.length;
      this.numericSize = bytes;
      this.bytes(0n, bytes);
    }
  }

  private numericTarget: bigint | undefined;
  private numericAt = 0;
  private numericSize = 0;

  /** Fills in branches to numbers, and refuses short ones that are too far (to labels that are bound, too). */
  private resolveNumbers(row: Instruction, bytes: number[], fixups: Fixup[], osz: Bits): Encoded | undefined {
    const end = this.context.address + BigInt(bytes.length);
    const fits = (distance: bigint, size: number): boolean => {
      const wrapped = osz === 16 && size === 2 ? BigInt.asIntN(16, distance) : distance;
      return BigInt.asIntN(size * 8, wrapped) === wrapped;
    };
    if (this.numericTarget !== undefined) {
      const distance = this.numericTarget - end;
      if (!fits(distance, this.numericSize)) return undefined;
      const at = bytes.length - this.tail.length + this.numericAt;
      for (let n = 0; n < this.numericSize; n++) bytes[at + n] = Number((distance >> BigInt(n * 8)) & 0xffn);
    }
    for (const fixup of fixups) {
      const target = this.context.addressOf(fixup.label);
      if (!fixup.relative || fixup.size > 2 || target === undefined) continue;
      if (!fits(target + fixup.addend - end, fixup.size)) return undefined;
    }
    return { row, bytes, fixups };
  }

  private farPointer(given: AsmOperand): boolean {
    if (typeof given !== 'object' || given.kind !== 'far') return false;
    const bytes = this.match.osz === 16 ? 2 : 4;
    if (typeof given.offset === 'number') this.bytes(BigInt(given.offset), bytes);
    else this.field(bytes, given.offset, 0n, false);
    this.bytes(BigInt(given.selector), 2);
    return true;
  }

  private memoryOffset(memory: Memory): boolean {
    const { mode } = this.context;
    const { row } = this.match;
    this.setSegment(memory);
    if (mode === 64 && row.address64 !== true) return false;
    const bytes = mode === 16 ? 2 : mode === 32 ? 4 : 8;
    if (memory.label === undefined) this.bytes(memory.displacement, bytes);
    else this.field(bytes, memory.label, memory.displacement, false);
    return BigInt.asUintN(bytes * 8, memory.displacement) === memory.displacement || bytes === 8;
  }

  private setSegment(memory: Memory): void {
    if (memory.segment !== undefined) this.segment = memory.segment.number;
  }

  private setMemory(memory: Memory): boolean {
    const { mode } = this.context;
    this.setSegment(memory);
    const { base, index } = memory;
    const width = base?.class === 'rip' ? 64 : (base?.size ?? index?.register.size ?? mode);
    if (width !== 16 && width !== 32 && width !== 64) return false;
    if (index !== undefined && base !== undefined && index.register.size !== base.size) return false;
    if (width !== mode) {
      if (mode === 64 ? width !== 32 : width === 64) return false;
      this.addressPrefix = true;
    }
    if (width === 16) return this.setMemory16(memory);
    return base?.class === 'rip' ? this.setRipRelative(memory) : this.setMemorySib(memory);
  }

  /** The displacement in its smallest form; `modes`: bytes that ModRM.mod 0, 1 and 2 have. */
  private displacement(memory: Memory, modes: readonly [boolean, 1, 2 | 4]): number | undefined {
    const { displacement, label } = memory;
    const large = modes[2];
    if (label !== undefined) {
      this.field(large, label, displacement, false);
      return 2;
    }
    if (displacement === 0n && modes[0]) return 0;
    const value = BigInt.asIntN(large * 8, displacement);
    // 64-bit addresses sign-extend what 32-bit ones take as unsigned.
    if (
      value !== displacement &&
      (this.context.mode === 64 || BigInt.asUintN(large * 8, displacement) !== displacement)
    )
      return undefined;
    if (value >= -128n && value < 128n) {
      this.bytes(value, 1);
      return 1;
    }
    this.bytes(value, large);
    return 2;
  }

  private setMod(mod: number, rm: number): boolean {
    this.modrm = (this.modrm ?? 0) | (mod << 6) | rm;
    return true;
  }

  private setMemory16(memory: Memory): boolean {
    const { base, index } = memory;
    if (index !== undefined && index.scale !== 1) return false;
    const names = [base?.name, index?.register.name].filter((name) => name !== undefined);
    if (names.length === 0) {
      if (memory.label !== undefined) this.field(2, memory.label, memory.displacement, false);
      else this.bytes(memory.displacement, 2);
      return this.setMod(0, 6);
    }
    const form = Math.max(FORMS_16.indexOf(names.join('+')), FORMS_16.indexOf([...names].reverse().join('+')));
    if (form < 0) return false;
    const mod = this.displacement(memory, [form !== 6, 1, 2]);
    return mod !== undefined && this.setMod(mod, form);
  }

  private setRipRelative(memory: Memory): boolean {
    if (memory.index !== undefined) return false;
    if (memory.label !== undefined) this.field(4, memory.label, memory.displacement, true);
    else this.bytes(memory.displacement, 4);
    return this.setMod(0, 5);
  }

  private setMemorySib(memory: Memory): boolean {
    const { base, index } = memory;
    if (index?.register.number === 4) return false;
    if (base?.class === 'rip' || index?.register.class === 'rip') return false;
    this.rex |= (base?.number ?? 0) >> 3;
    this.rex |= ((index?.register.number ?? 0) >> 3) << 1;
    const indexBits = index === undefined ? 4 << 3 : (index.register.number & 7) << 3;
    const scaleBits = index === undefined ? 0 : Math.log2(index.scale) << 6;
    if (base === undefined) {
      // Without a base: a disp32 always; in 64-bit mode without SIB it would be relative to RIP.
      if (index === undefined && this.context.mode !== 64) this.setMod(0, 5);
      else {
        this.setMod(0, 4);
        this.tail.push(scaleBits | indexBits | 5);
      }
      if (memory.label !== undefined) this.field(4, memory.label, memory.displacement, false);
      else this.bytes(memory.displacement, 4);
      return this.context.mode !== 64 || BigInt.asIntN(32, memory.displacement) === memory.displacement;
    }
    const low = base.number & 7;
    const needsSib = index !== undefined || low === 4;
    if (needsSib) this.tail.push(scaleBits | indexBits | low);
    const mod = this.displacement(memory, [low !== 5, 1, 4]);
    return mod !== undefined && this.setMod(mod, needsSib ? 4 : low);
  }
}

/** The bytes of one way to encode an instruction, or undefined when it is none after all. */
export function encode(match: Match, context: Context): Encoded | undefined {
  return new Encoding(match, context).encode();
}
