/** Instructions as text, in Intel syntax much as GNU tools write it. */
import type { Operand } from '../../arch/x86/instructions/row.js';
import { decodeBytes, type CodeSize, type DecodedAddress, type DecodedInstruction } from './decode-bytes.js';

export interface Disassembled {
  readonly text: string;
  /** Bytes; at least 1. */
  readonly length: number;
}

const LEGACY = ['ax', 'cx', 'dx', 'bx', 'sp', 'bp', 'si', 'di'];
const LOW_BYTES = ['al', 'cl', 'dl', 'bl', 'spl', 'bpl', 'sil', 'dil'];
const HIGH_BYTES = ['al', 'cl', 'dl', 'bl', 'ah', 'ch', 'dh', 'bh'];
const SEGMENTS = ['es', 'cs', 'ss', 'ds', 'fs', 'gs'];

function gpr(number: number, bits: number, hasRex = true): string {
  if (number >= 8) return `r${number}${bits === 8 ? 'b' : bits === 16 ? 'w' : bits === 32 ? 'd' : ''}`;
  if (bits === 8) return (hasRex ? LOW_BYTES : HIGH_BYTES)[number];
  return (bits === 64 ? 'r' : bits === 32 ? 'e' : '') + LEGACY[number];
}

const hex = (value: bigint): string => (value < 0n ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`);

/** Bits of an operand; 0 for one without a size. */
function bitsOf(operand: Operand, osz: number): number {
  switch (operand.size) {
    case 'b':
      return 8;
    case 'w':
      return 16;
    case 'd':
      return 32;
    case 'q':
      return 64;
    case 'x':
    case 'u':
      return 128;
    case 't':
      return 80;
    case 'v':
      return osz;
    case 'z':
      return osz === 16 ? 16 : 32;
    case 'y':
      return osz === 64 ? 64 : 32;
    case 'p':
      return osz + 16;
    case 's':
    case '':
      return 0;
  }
}

const POINTERS: Readonly<Partial<Record<number, string>>> = {
  8: 'BYTE PTR ',
  16: 'WORD PTR ',
  32: 'DWORD PTR ',
  48: 'FWORD PTR ',
  64: 'QWORD PTR ',
  80: 'TBYTE PTR ',
  128: 'XMMWORD PTR ',
};

class Formatter {
  constructor(
    private readonly instruction: DecodedInstruction,
    private readonly mode: CodeSize,
    private readonly address: bigint,
  ) {}

  format(): string {
    const { row } = this.instruction;
    const operands = row.operands.map((operand, n) => this.operand(operand, n)).filter((text) => text !== '');
    return `${this.prefixes()}${this.mnemonic()}${operands.length > 0 ? ' ' : ''}${operands.join(',')}`;
  }

  private prefixes(): string {
    const { row, lock, rep } = this.instruction;
    const words: string[] = [];
    if (lock) words.push('lock');
    if (rep !== undefined && row.prefix !== 'F3' && row.prefix !== 'F2') {
      if (row.attributes.has('repcc')) words.push(rep === 'rep' ? 'repz' : 'repnz');
      else if (row.attributes.has('rep')) words.push(rep === 'rep' ? 'rep' : 'repnz');
    }
    return words.map((word) => `${word} `).join('');
  }

  private mnemonic(): string {
    const { row, osz, addressSize } = this.instruction;
    if (row.name === 'jrcxz') return addressSize === 64 ? 'jrcxz' : addressSize === 32 ? 'jecxz' : 'jcxz';
    const names = row.mnemonic.split('/');
    return names[Math.min(osz === 64 ? 2 : osz === 32 ? 1 : 0, names.length - 1)];
  }

  private operand(operand: Operand, n: number): string {
    const { instruction } = this;
    const { osz, rex, modrm } = instruction;
    const bits = bitsOf(operand, osz);
    const reg = ((modrm >> 3) & 7) | ((rex & 4) << 1);
    const rm = (modrm & 7) | ((rex & 1) << 3);
    const whole = this.mode === 64 ? 64 : 32;
    switch (operand.kind) {
      case 'G':
        return gpr(reg, bits || whole, rex !== 0);
      case 'E':
      case 'M':
        return instruction.memory ? this.memory(instruction.memory, bits) : gpr(rm, bits, rex !== 0);
      case 'R':
        return gpr(rm, bits || whole, rex !== 0);
      case 'Z':
        return gpr((instruction.opcode & 7) | ((rex & 1) << 3), bits, rex !== 0);
      case 'AL':
        return 'al';
      case 'rAX':
        return gpr(0, bits);
      case 'CL':
        return 'cl';
      case 'DX':
        return 'dx';
      case 'one':
        return '1';
      case 'I':
        return this.immediate(operand, n, bits);
      case 'J':
        return hex(this.target(instruction.immediates[n]));
      case 'A':
        return `${hex(BigInt(instruction.selector ?? 0))}:${hex(instruction.immediates[n])}`;
      case 'O':
        return instruction.memory ? this.memory(instruction.memory, bits) : '';
      case 'S':
        return SEGMENTS[reg & 7] ?? `seg${reg & 7}`;
      case 'C':
        return `cr${reg}`;
      case 'D':
        return `dr${reg}`;
      case 'V':
        return `xmm${reg}`;
      case 'U':
        return `xmm${rm}`;
      case 'W':
        return instruction.memory ? this.memory(instruction.memory, bits) : `xmm${rm}`;
      case 'P':
        return `mm${reg & 7}`;
      case 'N':
        return `mm${rm & 7}`;
      case 'Q':
        return instruction.memory ? this.memory(instruction.memory, bits) : `mm${rm & 7}`;
      case 'X':
      case 'Y': {
        const segment = operand.kind === 'Y' ? 'es' : SEGMENTS[instruction.override ?? 3];
        const register = gpr(operand.kind === 'Y' ? 7 : 6, instruction.addressSize);
        return `${POINTERS[bits] ?? ''}${segment}:[${register}]`;
      }
      case 'ST0':
        return 'st';
      case 'STi':
        return `st(${modrm & 7})`;
      case 'XMM0':
        return 'xmm0';
      default:
        return operand.kind.toLowerCase();
    }
  }

  /** Sign-extended ones are shown as wide as what they are combined with. */
  private immediate(operand: Operand, n: number, bits: number): string {
    const value = this.instruction.immediates[n];
    const usesOsz = operand.signed || operand.size === 'z';
    return hex(BigInt.asUintN(usesOsz ? this.instruction.osz : bits, value));
  }

  private target(distance: bigint): bigint {
    const target = this.address + BigInt(this.instruction.length) + distance;
    if (this.mode === 64) return BigInt.asUintN(64, target);
    return BigInt.asUintN(this.instruction.osz === 16 ? 16 : 32, target);
  }

  private memory(address: DecodedAddress, bits: number): string {
    const { addressSize, override, row } = this.instruction;
    const size = POINTERS[row.name === 'bound' ? bits * 2 : bits] ?? '';
    const parts: string[] = [];
    if (address.base === 'rip') parts.push(addressSize === 64 ? 'rip' : 'eip');
    else if (address.base !== undefined) parts.push(gpr(address.base, addressSize));
    if (address.index !== undefined)
      parts.push(gpr(address.index, addressSize) + (addressSize === 16 ? '' : `*${address.scale}`));
    const segment = override === undefined ? '' : `${SEGMENTS[override]}:`;
    if (parts.length === 0) {
      const value = BigInt.asUintN(addressSize, address.displacement);
      return `${size}${segment === '' ? 'ds:' : segment}${hex(value)}`;
    }
    // Like GNU tools: RIP-relative ones unsigned.
    const displacement =
      address.base === 'rip' ? BigInt.asUintN(addressSize, address.displacement) : address.displacement;
    const sum = parts.join('+') + (address.hasDisplacement ? (displacement >= 0n ? '+' : '') + hex(displacement) : '');
    return `${size}${segment}[${sum}]`;
  }
}

/** The instruction at the start of `bytes`, which lies at `address`. What is no instruction comes out as `(bad)`. */
export function disassemble(bytes: Uint8Array, mode: CodeSize, address = 0n): Disassembled {
  const instruction = decodeBytes(bytes, mode);
  if (instruction === undefined) return { text: '(bad)', length: 1 };
  return { text: new Formatter(instruction, mode, address).format(), length: instruction.length };
}
