/**
 * Puts the instruction of a case into a block: others before it that define flags, each in its own way, and one behind it that
 * reads them. It begins with a jump, so that a translator takes notice. For the translator's sake; on both sides it is the
 * same code.
 */
import { REG, type Draft } from './addresses.js';
import { CASE, GPR_PLACE, LEAD_SIZE } from './case-format.js';
import { immediateSize } from './encode.js';
import { undefinedFlags } from './undefined-flags.js';

const FLAG = { CF: 1, PF: 4, AF: 0x10, ZF: 0x40, SF: 0x80, OF: 0x800 } as const;
/** Flags that condition 2n and 2n + 1 look at, SDM vol. 1 appendix B. */
const CONDITION_FLAGS = [
  FLAG.OF,
  FLAG.CF,
  FLAG.ZF,
  FLAG.CF | FLAG.ZF,
  FLAG.SF,
  FLAG.PF,
  FLAG.SF | FLAG.OF,
  FLAG.ZF | FLAG.SF | FLAG.OF,
] as const;
const LAHF_FLAGS = FLAG.CF | FLAG.PF | FLAG.AF | FLAG.ZF | FLAG.SF;
/** JMP to what follows. */
const JUMP_ON = [0xeb, 0];

type Width = 8 | 16 | 32 | 64;

class BlockWriter {
  private readonly is64: boolean;

  constructor(private readonly draft: Draft) {
    this.is64 = draft.environment.bits === 64;
  }

  /** An instruction with ModRM naming registers; opcodes of 8-bit operands are one less than the others'. */
  private form(width: Width, opcode: number, reg: number, rm: number, ...rest: readonly number[]): number[] {
    const rex = 0x40 | (width === 64 ? 8 : 0) | (reg > 7 ? 4 : 0) | (rm > 7 ? 1 : 0);
    const isFor16 = this.draft.environment.bits === 16;
    const sizePrefix = isFor16 ? width === 32 : width === 16;
    return [
      ...(sizePrefix ? [0x66] : []),
      ...(this.is64 ? [rex] : []),
      width === 8 ? opcode - 1 : opcode,
      0xc0 | ((reg & 7) << 3) | (rm & 7),
      ...rest,
    ];
  }

  /** Any register but RSP; outside 64-bit mode the first four have bytes. */
  private register(width: Width): number {
    const { r } = this.draft;
    if (!this.is64) return width === 8 ? r.below(4) : r.pick([0, 1, 2, 3, 5, 6, 7]);
    const chosen = r.below(15);
    return chosen < 4 ? chosen : chosen + 1;
  }

  /** Compares or tests: changes flags only. */
  private comparison(): number[] {
    const { r } = this.draft;
    const width = r.pick<Width>(this.is64 ? [8, 16, 32, 64] : [8, 16, 32]);
    const [a, b] = [this.register(width), this.register(width)];
    // CMP, TEST, CMP with an immediate
    const kind = r.below(3);
    if (kind === 2) return this.form(width, width === 8 ? 0x81 : 0x83, 7, a, r.below(256));
    return this.form(width, kind === 0 ? 0x39 : 0x85, a, b);
  }

  /** Changes a register that was set so as to have its value afterwards. */
  private computation(): number[] {
    const { r, target } = this.draft;
    const width = r.pick<Width>(this.is64 ? [8, 16, 64, 64] : [8, 16, 32, 32]);
    let register: number;
    // What a comparison knows of shifts by CL is the CL of the case.
    do register = this.register(width);
    while (register === REG.RCX);
    const at = CASE.GPR + 8 * GPR_PLACE[register];
    const mask = (1n << BigInt(width)) - 1n;
    const undo = (f: (value: bigint) => bigint): void => {
      const value = target.readBigUInt64LE(at);
      target.writeBigUInt64LE((value & ~mask) | (f(value & mask) & mask), at);
    };
    const byte = r.below(256);
    const immediate = BigInt.asIntN(8, BigInt(byte));
    const opcode = width === 8 ? 0x81 : 0x83;
    switch (r.below(6)) {
      case 0:
        undo((v) => v - immediate);
        return this.form(width, opcode, 0, register, byte);
      case 1:
        undo((v) => v + immediate);
        return this.form(width, opcode, 5, register, byte);
      case 2:
        undo((v) => v ^ immediate);
        return this.form(width, opcode, 6, register, byte);
      case 3:
        undo((v) => v - 1n);
        return this.form(width, 0xff, 0, register);
      case 4:
        undo((v) => v + 1n);
        return this.form(width, 0xff, 1, register);
      default:
        undo((v) => -v);
        return this.form(width, 0xf7, 3, register);
    }
  }

  /** What defines flags before the instruction. */
  setup(): number[] {
    const { r } = this.draft;
    const steps: number[][] = [];
    for (let i = r.below(4); i > 0; i--) {
      const kind = r.below(8);
      if (kind < 4) steps.push(this.computation());
      else if (kind < 6) steps.push(this.comparison());
      // CMC, STC, CLC
      else if (kind === 6) steps.push([r.pick([0xf5, 0xf9, 0xf8])]);
      else {
        // Ways meet that differ in their flags.
        const other = r.oneIn(3) ? [0xf9] : this.comparison();
        steps.push([0x70 | r.below(16), other.length], other);
      }
    }
    return steps.flat();
  }

  /** What reads or overwrites flags behind the instruction; `unknown` ones are not looked at. */
  ending(unknown: number): number[] {
    const { r } = this.draft;
    const conditions = CONDITION_FLAGS.flatMap((flags, n) => (flags & unknown ? [] : [2 * n, 2 * n + 1]));
    const width = this.is64 ? r.pick<Width>([32, 64]) : 32;
    const register = this.register(width);
    const kind = r.below(9);
    if (kind < 4) {
      if (conditions.length === 0) return [];
      const condition = r.pick(conditions);
      const small = this.register(8);
      // SETcc, CMOVcc, Jcc over an INC
      if (kind < 2) return this.escaped(this.form(32, 0x90 | condition, 0, small));
      if (kind === 2) return this.escaped(this.form(width, 0x40 | condition, register, this.register(width)));
      const inc = this.form(width, 0xff, 0, register);
      return [0x70 | condition, inc.length, ...inc];
    }
    // ADC and SBB
    if (kind === 4) return unknown & FLAG.CF ? [] : this.form(width, 0x83, r.pick([2, 3]), register, r.below(256));
    if (kind === 5) return unknown & LAHF_FLAGS ? [] : [0x9f];
    // ADD overwrites all flags, INC all but one
    if (kind === 6) return this.form(width, 0x01, register, this.register(width));
    if (kind === 7) return this.form(width, 0xff, 0, register);
    return [];
  }

  /** Puts the escape before the opcode. */
  private escaped(code: readonly number[]): number[] {
    const at = code.length - 2;
    return [...code.slice(0, at), 0x0f, ...code.slice(at)];
  }
}

/** The case is complete but for its surroundings. */
export function surround(draft: Draft): void {
  const { row, target } = draft;
  const writer = new BlockWriter(draft);
  const unknown = undefinedFlags(row, target);
  let lead: number[];
  const registers = Buffer.from(target.subarray(0, CASE.RIP));
  for (;;) {
    lead = [...JUMP_ON, ...writer.setup()];
    if (lead.length <= LEAD_SIZE) break;
    registers.copy(target);
  }
  target.set(lead, CASE.CODE - lead.length);
  const rip = target.readBigUInt64LE(CASE.RIP);
  target.writeBigUInt64LE(rip - BigInt(lead.length), CASE.RIP);
  const end = CASE.CODE + target[CASE.LENGTH];
  const ending = writer.ending(unknown);
  // A branch into the middle of it would find an instruction whose undefined flags nobody knows of.
  const branch = row.operands.find(({ kind }) => kind === 'J');
  const size = branch === undefined ? 0 : immediateSize(branch, draft.osz);
  const distance = size === 0 ? 0 : target.readIntLE(end - size, size);
  if (distance > 0 && distance < ending.length) return;
  if (end + ending.length < CASE.FX) target.set(ending, end);
}
