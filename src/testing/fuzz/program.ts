/** Random programs: blocks of random instructions that branch, call, return, jump through a table and overwrite each other. */
import { INSTRUCTIONS } from '../../arch/x86/instructions/index.js';
import type { Instruction, Operand } from '../../arch/x86/instructions/row.js';
import { encode, immediateSize, type Address } from '../oracle/encode.js';
import type { Random } from '../oracle/random.js';
import { COUNTER, POINTERS, SYSTEM_CALL, writeKernel } from './kernel.js';
import { PLACE, VARIABLE, type Setting } from './place.js';

/** Three of four instructions are of these. */
const COMMON = new RegExp(
  '^(mov|add|sub|and|or|xor|cmp|test|inc|dec|neg|not|adc|sbb|lea|shl|shr|sar|rol|ror|rcl|rcr|shld|shrd|imul|imul_2|imul_3|' +
    'movzx|movsx|movsxd|cmovcc|setcc|bt|bts|btr|btc|xchg|xadd|cmpxchg|push|pop|bsf|bsr|popcnt|bswap|cbw|cwd|' +
    'add[sp][sd]|mul[sp][sd]|sub[sp][sd]|mov[sp][sd].*|movap[sd].*|movup[sd].*|movd.*|u?comis[sd]|cvtsi2sd|cvttsd2si|pxor|paddd)$',
);
/** They would lead out of the program, or take their results from elsewhere. */
const EXCLUDED =
  /^(enter|leave|popa|pusha|pop_sreg|mov_to_sreg|mov_from_sreg|push_sreg|lar|lsl|verr|verw|arpl|ud|xlat|bound|into|int.*|l[desfg]s|rd.*|wr.*|cli)$/;
const EXCLUDING = ['branch', 'end', 'system', 'io', 'cpl0', 'iopl', 'protected'] as const;

const usable = INSTRUCTIONS.filter(
  (row) => !EXCLUDED.test(row.name) && !EXCLUDING.some((each) => row.attributes.has(each)),
);
const ROWS = {
  64: usable.filter((row) => row.mode !== 'not64' && row.address64 !== false),
  32: usable.filter((row) => row.mode !== 'only64' && row.rexW !== true && row.address64 !== true),
} as const;
const COMMON_ROWS = {
  64: ROWS[64].filter(({ name, feature }) => COMMON.test(name) && feature !== 'fpu'),
  32: ROWS[32].filter(({ name, feature }) => COMMON.test(name) && feature !== 'fpu'),
} as const;

/** Blocks of one kind, so that what is known of registers from one instruction to the next matters. */
const X87 =
  /^(fld|fild|fst|fstp|fist|fistp|fadd|fsub|fsubr|fmul|fdiv|fdivr|fxch|fchs|fabs|fcom|fucom|fcmov|fld1|fldz|ftst|frndint|fsqrt|fiadd|fimul|fnstsw_ax|ffree|fincstp|fdecstp|fninit|fnclex)/;
const theme = (bits: 32 | 64, wanted: (row: Instruction) => boolean): Instruction[] => ROWS[bits].filter(wanted);
const isSse = ({ feature, operands }: Instruction): boolean =>
  (feature?.startsWith('sse') ?? false) && operands.some(({ kind }) => 'VUW'.includes(kind));
const isFloat = ({ mnemonic }: Instruction): boolean => /[ps][sd]$/.test(mnemonic);
const THEMES = {
  64: [
    theme(64, (row) => row.feature === 'fpu' && X87.test(row.name)),
    theme(64, isSse),
    theme(64, (row) => isSse(row) && isFloat(row)),
  ],
  32: [
    theme(32, (row) => row.feature === 'fpu' && X87.test(row.name)),
    theme(32, isSse),
    theme(32, (row) => isSse(row) && isFloat(row)),
  ],
} as const;

const MEMORY_KINDS = new Set<Operand['kind']>(['E', 'M', 'W', 'Q']);
const GENERAL_KINDS = new Set<Operand['kind']>(['E', 'R']);
const REGISTER_KINDS = new Set<Operand['kind']>(['E', 'R', 'U', 'W', 'N', 'Q', 'STi']);

/** A byte of code that may be overwritten, by one of some values. */
export interface Patch {
  readonly address: number;
  readonly values: readonly number[];
}

/** Opcodes of ALU instructions between registers that can stand for each other. */
const ALU = [0x01, 0x09, 0x11, 0x19, 0x21, 0x29, 0x31, 0x39, 0x85, 0x89] as const;

interface Jump {
  /** Offset of the displacement's 4 bytes. */
  readonly at: number;
  readonly block: number;
}

export interface Program {
  readonly setting: Setting;
  readonly entry: number;
  readonly patches: readonly Patch[];
  /** Addresses of blocks. */
  readonly blocks: readonly number[];
}

class Writer {
  private readonly bytes: number[] = [];
  private readonly jumps: Jump[] = [];
  private readonly patches: Patch[] = [];
  readonly blocks: number[] = [];
  /** Addresses to be filled in, and how far behind each its value stands. */
  private readonly stores: { readonly at: number; readonly value: number }[] = [];
  private readonly pointers: readonly number[];
  private readonly free: readonly number[];
  private readonly hasPorts: boolean;
  private readonly hasFlips: boolean;
  private readonly mains: number;
  private readonly functions: number;

  constructor(
    private readonly r: Random,
    private readonly setting: Setting,
  ) {
    this.pointers = POINTERS[setting.bits];
    this.free = setting.bits === 64 ? [0, 1, 2, 8, 9, 10, 11] : [0, 1, 2];
    this.hasPorts = r.oneIn(3);
    this.hasFlips = setting.ring === 0 && r.oneIn(4);
    this.mains = 6 + r.below(12);
    this.functions = 3 + r.below(4);
  }

  private get here(): number {
    return PLACE.CODE + this.bytes.length;
  }

  private put(...bytes: readonly number[]): void {
    this.bytes.push(...bytes);
  }

  private quad(value: number): void {
    for (let i = 0; i < 4; i++) this.put((value >> (8 * i)) & 0xff);
  }

  // ---- one instruction ----

  private address(): Address {
    const { r, setting } = this;
    const disp = r.oneIn(12) ? r.below(0x3000) - 0x1000 : r.oneIn(3) ? 0 : r.below(256) - 96;
    if (r.oneIn(12)) {
      const target = PLACE.DATA + r.below(0x3000);
      return setting.bits === 64 ? { kind: 'rip', target } : { kind: 'displacement', disp: target };
    }
    const index = r.oneIn(12) ? r.pick(this.free) : undefined;
    return { kind: 'base', base: r.pick(this.pointers), index, scale: r.below(4), disp, wide: r.oneIn(8) };
  }

  private registerFor(access: Operand['access']): number {
    const { r } = this;
    if (access === 'w' || access === 'rw') return r.pick(this.free);
    return r.oneIn(4) ? r.pick([...this.pointers, COUNTER]) : r.pick(this.free);
  }

  private instruction(rows: readonly Instruction[] | undefined): void {
    const { r, setting } = this;
    const { bits } = setting;
    const usual = rows ?? (r.oneIn(4) ? ROWS[bits] : COMMON_ROWS[bits]);
    const row = r.pick(rows && r.oneIn(6) ? COMMON_ROWS[bits] : usual);
    if (row.attributes.has('rep') && r.oneIn(2)) return;
    this.put(...this.encode(row));
  }

  private encode(row: Instruction): number[] {
    const { r, setting } = this;
    const { bits } = setting;
    const { operands } = row;
    const rmOperand = operands.find((o) => MEMORY_KINDS.has(o.kind) || REGISTER_KINDS.has(o.kind));
    const regOperand = operands.find((o) => o.kind === 'G' || o.kind === 'Z');
    const canBeRegister = row.mod !== 'mem' && (row.mod === 'reg' || operands.some((o) => REGISTER_KINDS.has(o.kind)));
    const canBeMemory = row.mod !== 'reg' && operands.some((o) => MEMORY_KINDS.has(o.kind));
    const inMemory = row.modrm && canBeMemory && (!canBeRegister || r.oneIn(2));
    const isGeneral = rmOperand !== undefined && GENERAL_KINDS.has(rmOperand.kind);
    const rm = inMemory ? this.address() : isGeneral ? this.registerFor(rmOperand.access) : r.below(8);
    const reg = regOperand ? this.registerFor(regOperand.access) : r.below(8);
    // Of bytes outside 64-bit mode, the second four are high halves of the first.
    const safe = bits === 64 ? 15 : 7;
    const osz = row.rexW === true ? 64 : r.pick(bits === 64 ? [32, 64, 64, 16] : [32, 32, 16]);
    const usesSize =
      row.attributes.has('osz') ||
      row.attributes.has('d64') ||
      operands.some((o) => 'vzy'.includes(o.size) && o.size !== '');
    const size = usesSize
      ? row.attributes.has('d64') && osz === 32 && bits === 64
        ? 64
        : osz
      : row.rexW === true
        ? 64
        : 32;
    const immediates = operands
      .filter((o) => o.kind === 'I' || o.kind === 'O')
      .map((o) =>
        o.kind === 'O'
          ? BigInt(PLACE.DATA + r.below(0x2000))
          : BigInt.asUintN(immediateSize(o, size as 32) * 8, r.u64()),
      );
    const start = this.here;
    const code = encode(
      row,
      {
        bits,
        osz: size as 16 | 32 | 64,
        addressBits: bits,
        segment: r.oneIn(14) ? r.pick([0x3e, 0x64, 0x65]) : 0,
        lock: row.attributes.has('lock') && inMemory && r.oneIn(8),
        repeat: row.attributes.has('repcc')
          ? r.pick([0, 0xf2, 0xf3] as const)
          : row.attributes.has('rep')
            ? r.pick([0, 0xf3] as const)
            : 0,
        reg: reg & safe,
        rm: typeof rm === 'number' ? rm & safe : rm,
        plainRex: bits === 64 && r.oneIn(8),
        immediates,
      },
      start,
    );
    const last = operands.at(-1);
    if (last?.kind === 'I' && !row.attributes.has('stack') && !operands.some((o) => o.kind === 'M'))
      this.patches.push({ address: start + code.length - 1, values: [0, 1, 5, 0x7f, 0x80, 0xff] });
    return code;
  }

  /** An ALU instruction between registers, whose opcode can become another. */
  private patchable(): void {
    const { r } = this;
    const is64 = this.setting.bits === 64;
    const [a, b] = [r.pick(this.free), r.pick(this.free)];
    if (is64) this.put(0x48 | (a > 7 ? 4 : 0) | (b > 7 ? 1 : 0));
    this.patches.push({ address: this.here, values: ALU });
    this.put(r.pick(ALU), 0xc0 | ((a & 7) << 3) | (b & 7));
  }

  /** MOV [patch], imm8, through the code's address or its alias; what is patched is chosen when all is known. */
  private store(): void {
    this.put(0xc6, 0x04, 0x25);
    this.stores.push({ at: this.bytes.length, value: 4 });
    this.quad(0);
    this.put(0);
  }

  /** The same by REP STOSB or STOSB, which changes code in the middle of what a helper does. */
  private stringStore(): void {
    const { r } = this;
    // MOV EDI, imm32; MOV AL, imm8
    this.put(0xbf);
    this.stores.push({ at: this.bytes.length, value: 5 });
    this.quad(0);
    this.put(0xb0, 0, 0xb9);
    this.quad(1);
    this.put(...(r.oneIn(3) ? [0xaa] : [0xf3, 0xaa]));
    this.put(0xbf);
    this.quad(PLACE.DATA + 0x100);
  }

  /** In ring 0: changes a right of a page of code, BTC [entry], bit; INVLPG. */
  private flip(): void {
    const { r, setting } = this;
    const page = PLACE.CODE + 0x1000 * r.below(4);
    const entry = setting.bits === 64 ? PLACE.TABLE + (page >> 12) * 8 : PLACE.TABLE_32 + (page >> 12) * 4;
    this.put(...(setting.bits === 64 ? [0x48] : []), 0x0f, 0xba, 0x3c, 0x25);
    this.quad(entry);
    this.put(r.pick([0, 0, 1]));
    this.put(0x0f, 0x01, 0x3c, 0x25);
    this.quad(page);
  }

  // ---- ends of blocks ----

  private rel32(opcode: readonly number[], block: number): void {
    this.put(...opcode);
    this.jumps.push({ at: this.bytes.length, block });
    this.quad(0);
  }

  private main(): number {
    return this.r.below(this.mains);
  }

  private end(index: number): void {
    const { r } = this;
    const isFunction = index >= this.mains;
    const isLast = index === this.mains - 1 || index >= this.mains + this.functions - 1;
    const kind = r.below(16);
    const jcc = (): readonly number[] => [0x0f, 0x80 | r.below(16)];
    if (isFunction) {
      // Forward, to later functions, and back to the caller.
      if (kind < 4 && !isLast) this.rel32([0xe8], index + 1);
      if (kind >= 4 && kind < 7) this.loop(index);
      if (kind === 7) this.put(0x70 | r.below(16), 1);
      if (r.oneIn(6)) this.put(0xc2, r.pick([0, 0, 8]), 0);
      else this.put(0xc3);
      this.put(0xc3);
      return;
    }
    if (kind < 4) this.loop(r.below(3) === 0 ? this.main() : index - r.below(Math.min(index + 1, 3)));
    else if (kind < 7) this.rel32(jcc(), this.main());
    else if (kind < 9) this.rel32([0xe8], this.mains + r.below(this.functions));
    else if (kind === 9) this.rel32(jcc(), index);
    else if (kind === 10) {
      // Through the table: JMP or CALL [table + (rax & 15) * 8]
      this.put(0x83, 0xe0, 15, 0xff, r.pick([0x24, 0x24, 0x14]), 0xc5);
      this.quad(PLACE.VARIABLES + VARIABLE.JUMPS);
    } else if (kind === 11) this.put(0xcd, SYSTEM_CALL);
    else if (kind === 12) this.put(r.pick([0xe0, 0xe1, 0xe2, 0xe3]), 0);
    if (isLast || r.oneIn(6)) this.rel32([0xe9], isLast ? 0 : this.main());
  }

  /** DEC rBP, JNZ: leads to the block some times. */
  private loop(block: number): void {
    if (this.setting.bits === 64) this.put(0x48);
    this.put(0xff, 0xc8 | COUNTER);
    this.rel32([0x0f, 0x85], block);
    // MOV EBP, imm32
    this.put(0xb8 | COUNTER);
    this.quad(2 + this.r.below(60));
  }

  write(memory: Uint8Array): Program {
    const { r, setting } = this;
    for (let index = 0; index < this.mains + this.functions; index++) {
      // Blocks lie anywhere in the pages, some across two.
      if (r.oneIn(3)) {
        const gap = r.oneIn(3) ? 0x1000 - (this.bytes.length & 0xfff) - r.below(20) : r.below(600);
        if (gap > 0 && this.bytes.length + gap < PLACE.CODE_SIZE - 0x800) {
          this.rel32([0xe9], index);
          for (let i = 5; i < gap; i++) this.put(0xcc);
        }
      }
      this.blocks.push(this.here);
      const rows = r.oneIn(3) ? r.pick(THEMES[setting.bits]) : undefined;
      for (let i = 1 + r.below(rows ? 12 : 7); i > 0 && this.bytes.length < PLACE.CODE_SIZE - 0x400; i--) {
        const kind = r.below(24);
        if (kind === 0) this.store();
        else if (kind < 4) this.patchable();
        // OUT imm8, AL: something happens in the middle of an instruction.
        else if (kind === 5 && this.hasFlips) this.flip();
        else if (kind === 6 && r.oneIn(2)) this.stringStore();
        else if (kind === 4 && this.hasPorts) this.put(0xe6, r.below(256));
        else this.instruction(rows);
      }
      this.end(index);
    }
    this.link();
    memory.fill(0xcc, PLACE.CODE, PLACE.CODE + PLACE.CODE_SIZE);
    memory.set(this.bytes, PLACE.CODE);
    this.writeVariables(memory);
    return { setting, entry: this.blocks[0], patches: this.patches, blocks: this.blocks };
  }

  private link(): void {
    const { r } = this;
    for (const { at, block } of this.jumps) {
      const distance = this.blocks[block] - (PLACE.CODE + at + 4);
      for (let i = 0; i < 4; i++) this.bytes[at + i] = (distance >> (8 * i)) & 0xff;
    }
    for (const { at, value } of this.stores) {
      const patch = this.patches.length > 0 && !r.oneIn(6) ? r.pick(this.patches) : undefined;
      const target =
        patch?.address ?? (r.oneIn(2) ? PLACE.CODE + this.bytes.length + r.below(64) : PLACE.STACK_TOP - 0x1700);
      const address = target + (r.oneIn(3) && target < PLACE.CODE + PLACE.CODE_SIZE ? PLACE.ALIAS - PLACE.CODE : 0);
      for (let i = 0; i < 4; i++) this.bytes[at + i] = (address >> (8 * i)) & 0xff;
      this.bytes[at + value] = patch ? r.pick(patch.values) : r.below(256);
    }
  }

  private writeVariables(memory: Uint8Array): void {
    const { r } = this;
    const view = new DataView(memory.buffer, memory.byteOffset, memory.byteLength);
    const put = (offset: number, value: number): void =>
      view.setBigUint64(PLACE.VARIABLES + offset, BigInt(value), true);
    const alias = (address: number): number => address + (r.oneIn(5) ? PLACE.ALIAS - PLACE.CODE : 0);
    for (let i = 0; i < 32; i++) put(VARIABLE.RECOVERY + i * 8, alias(this.blocks[this.main()]));
    for (let i = 0; i < 16; i++) {
      const isFunction = i > 9;
      put(VARIABLE.JUMPS + i * 8, alias(this.blocks[isFunction ? this.mains + r.below(this.functions) : this.main()]));
    }
    const quiet = [PLACE.DATA + 0x100, PLACE.DATA + 0x1f80, PLACE.DATA + 0x800, PLACE.DATA + 0x1ff8];
    const near = [0x2f80, 0x3ff8, 0x3f00, 0x4ffc, 0x5ff0, 0x6080, 0x7040, 0x7ff0].map((at) => PLACE.DATA + at);
    for (const n of this.pointers) put(VARIABLE.POINTERS + n * 8, r.oneIn(3) ? r.pick(near) : r.pick(quiet));
    for (let at = PLACE.DATA; at < PLACE.DATA + PLACE.DATA_SIZE; at += 4)
      view.setUint32(at, r.oneIn(2) ? r.u32() : r.below(256), true);
    // Numbers whose sums and products are exact, as a rule.
    for (let at = PLACE.DATA; at < PLACE.DATA + PLACE.DATA_SIZE; at += 8)
      if (r.oneIn(3)) view.setFloat64(at, (r.below(2000) - 1000) / (1 << r.below(6)), true);
      else if (r.oneIn(2)) view.setFloat32(at, (r.below(2000) - 1000) / (1 << r.below(6)), true);
  }
}

/** Writes a program with all it needs into memory. */
export function writeProgram(r: Random, setting: Setting, memory: Uint8Array): Program {
  memory.fill(0);
  writeKernel(memory, setting);
  return new Writer(r, setting).write(memory);
}
