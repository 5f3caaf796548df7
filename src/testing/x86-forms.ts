import { INSTRUCTIONS } from '../arch/x86/instructions/index.js';
import type { Instruction, Operand } from '../arch/x86/instructions/row.js';
import {
  Assembler,
  AssemblerError,
  R,
  far,
  ptr,
  times,
  type AsmOperand,
  type Bits,
  type Memory,
  type Register,
} from '../cpu/x86/assembler/index.js';

/** An instruction as written and as assembled. */
export interface Form {
  readonly row: Instruction;
  readonly mnemonic: string;
  readonly bytes: Uint8Array;
}

/** Small, seeded, good enough to choose operands: xorshift32. */
export function randomNumbers(seed: number): (below: number) => number {
  let state = seed | 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

const byClass = (cls: Register['class'], size: number): Register[] =>
  Object.values(R).filter((each) => each.class === cls && (cls !== 'gpr' || each.size === size));

/** Makes instructions of every row with operands of every kind. */
export class FormMaker {
  constructor(
    private readonly mode: Bits,
    private readonly random: (below: number) => number,
  ) {}

  private pick<T>(list: readonly T[]): T {
    const chosen = list[this.random(list.length)];
    if (chosen === undefined) throw new Error('nothing to choose from');
    return chosen;
  }

  private register(cls: Register['class'], size = 0): Register {
    const usable = byClass(cls, size).filter(
      ({ number, name }) => this.mode === 64 || (number < 8 && !['spl', 'bpl', 'sil', 'dil'].includes(name)),
    );
    return this.pick(cls === 'segment' ? usable.filter(({ number }) => number !== 1) : usable);
  }

  private value(bits: number): bigint {
    const raw = (BigInt(this.random(2 ** 32)) << 32n) | BigInt(this.random(2 ** 32));
    return BigInt.asUintN(bits, this.random(2) === 0 ? raw : raw & 0x7fn);
  }

  private memory(size: number | undefined): Memory {
    const displacement = this.pick([0n, 0x12n, -0x12n, 0x1234n, -0x1234n]);
    const segment = this.random(4) === 0 ? this.pick([R.fs, R.gs]) : undefined;
    let terms: Parameters<typeof ptr>[0];
    if (this.mode === 16) {
      terms = this.pick([
        [R.bx, R.si, displacement],
        [R.bp, R.di, displacement],
        [R.bp, displacement],
        [R.si],
        [0x1234],
      ]);
    } else {
      const bits = this.mode;
      const base = this.register('gpr', bits);
      const index = this.register('gpr', bits);
      const scaled = times(index.number === 4 ? (this.mode === 64 ? R.rcx : R.ecx) : index, this.pick([1, 2, 4, 8]));
      terms = this.pick<typeof terms>([
        [base],
        [base, displacement],
        [base, scaled, displacement],
        [scaled, 0x1000],
        [0x12345678],
        this.mode === 64 ? [R.rip, displacement] : [base, 0x7ffffff0],
      ]);
    }
    return { ...ptr(terms, segment), size };
  }

  private bits(operand: Operand, osz: number): number {
    const fixed: Readonly<Partial<Record<string, number>>> = {
      b: 8,
      w: 16,
      d: 32,
      q: 64,
      x: 128,
      u: 128,
      t: 80,
      v: osz,
    };
    return (
      fixed[operand.size] ??
      (operand.size === 'y' ? (osz === 64 ? 64 : 32) : operand.size === 'z' ? Math.min(osz, 32) : 0)
    );
  }

  private operand(row: Instruction, operand: Operand, osz: number): AsmOperand | undefined {
    const bits = this.bits(operand, osz);
    const size = bits === 0 ? undefined : bits / 8;
    const wantsMemory = row.mod !== 'reg' && (row.mod === 'mem' || this.random(2) === 0);
    switch (operand.kind) {
      case 'E':
        return wantsMemory ? this.memory(size) : this.register('gpr', bits);
      case 'G':
      case 'Z':
      case 'R':
        return this.register('gpr', bits || (this.mode === 64 ? 64 : 32));
      case 'M':
        return this.memory(size);
      case 'I': {
        const value = this.value(bits);
        if (operand.size === 'z' && osz === 64) return BigInt.asIntN(32, value);
        return operand.signed && operand.size === 'b' ? BigInt.asIntN(8, value) : value;
      }
      case 'J':
        return 0x1000 + this.random(64);
      case 'A':
        return far(this.random(0x10000), this.random(0x10000));
      case 'O':
        return { ...ptr([this.mode === 64 ? 0x1234_5678_9abc_def0n : this.mode === 32 ? 0x12345678n : 0x1234n]), size };
      case 'S':
        return this.register('segment');
      case 'C':
        return this.pick([R.cr0, R.cr2, R.cr3, R.cr4]);
      case 'D':
        return this.register('debug');
      case 'V':
      case 'U':
        return this.register('xmm');
      case 'W':
        return wantsMemory ? this.memory(size) : this.register('xmm');
      case 'P':
      case 'N':
        return this.register('mmx');
      case 'Q':
        return wantsMemory ? this.memory(size) : this.register('mmx');
      case 'ST0':
        return R.st0;
      case 'STi':
        return this.register('x87');
      case 'AL':
        return R.al;
      case 'CL':
        return R.cl;
      case 'DX':
        return R.dx;
      case 'rAX':
        return bits === 64 ? R.rax : bits === 32 ? R.eax : R.ax;
      case 'one':
        return 1;
      case 'XMM0':
      case 'X':
      case 'Y':
        return undefined;
      default:
        return Object.values(R).find(({ name }) => name === operand.kind.toLowerCase());
    }
  }

  /** An instruction of the row; undefined where there is none of that operand size in this mode. */
  make(row: Instruction, osz: Bits, origin: number): Form | undefined {
    const isString = row.operands.some(({ kind }) => kind === 'X' || kind === 'Y');
    const given = isString
      ? []
      : row.operands.map((operand) => this.operand(row, operand, osz)).filter((each) => each !== undefined);
    const names = row.mnemonic.split('/');
    let mnemonic = names[Math.min(osz === 64 ? 2 : osz === 32 ? 1 : 0, names.length - 1)] ?? '';
    if (isString) mnemonic = row.name.endsWith('b') ? row.name : mnemonic + (osz === 64 ? 'q' : osz === 32 ? 'd' : 'w');
    const asm = new Assembler({ bits: this.mode, origin });
    try {
      asm.emit(`o${osz} ${mnemonic}`, ...given);
    } catch (error) {
      if (error instanceof AssemblerError) return undefined;
      throw error;
    }
    return { row, mnemonic, bytes: asm.finish() };
  }
}

/** Rows that exist in a mode. */
export const rowsIn = (mode: Bits): readonly Instruction[] =>
  INSTRUCTIONS.filter((row) => row.mode === 'all' || (row.mode === 'only64') === (mode === 64));
