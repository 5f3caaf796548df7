/** Makes test cases from rows of the instruction table: an encoding, and inputs that reach what the instruction can do. */
import type { Instruction, Operand } from '../../arch/x86/instructions/row.js';
import { CASE, CODE_SIZE, GPR_PLACE, PLACE, WINDOW_SIZE } from './case-format.js';
import { encode, immediateSize, type Address, type Choice } from './encode.js';
import type { Random } from './random.js';
import { prepareState } from './inputs.js';
import { operandBytes, writeOperand } from './operand-data.js';

const REG = { RAX: 0, RCX: 1, RDX: 2, RBX: 3, RSP: 4, RBP: 5, RSI: 6, RDI: 7 } as const;

const MEMORY_KINDS = new Set<Operand['kind']>(['E', 'M', 'W', 'Q']);
const REGISTER_KINDS = new Set<Operand['kind']>(['E', 'R', 'U', 'W', 'N', 'Q', 'STi']);

/** General registers as they are built; addresses are put in last. */
type Registers = BigUint64Array;

const mask64 = (value: bigint): bigint => BigInt.asUintN(64, value);

/** Whether the row's meaning depends on the operand size (REX.W alone for y). */
function sizes(row: Instruction): readonly (16 | 32 | 64)[] {
  const { attributes } = row;
  // DEVIATION of makers: AMD processors truncate RIP for near branches with a 66 prefix, Intel's ignore it.
  if (attributes.has('f64')) return [64];
  if (attributes.has('d64')) return [16, 64];
  if (attributes.has('osz') || row.operands.some(({ size }) => size === 'v' || size === 'z'))
    return row.rexW === true ? [64] : [16, 32, 64];
  if (row.operands.some(({ size }) => size === 'y')) return [32, 64];
  if (row.operands.some(({ kind, size }) => kind === 'M' && size === '')) return [32, 64];
  return [row.rexW === true ? 64 : 32];
}

/** Where a memory operand lies: in the window as a rule; now and then misaligned (SHA never: vendor.ts), or where it faults. */
function chooseTarget(r: Random, row: Instruction, size: number, low: number, high: number): bigint {
  const target = chooseAnyTarget(r, row, size, low, high);
  return row.name.startsWith('sha') ? target & ~15n : target;
}

function chooseAnyTarget(r: Random, row: Instruction, size: number, low: number, high: number): bigint {
  if (r.oneIn(50)) {
    const faulting = r.below(4);
    if (faulting === 0) return BigInt(PLACE.DATA + PLACE.DATA_SIZE - r.below(size));
    if (faulting === 1) return BigInt(PLACE.DATA - r.below(16) - (size > 16 ? size : 16));
    if (faulting === 2) return BigInt(PLACE.DATA + PLACE.DATA_SIZE + r.below(4096));
    return r.pick([0x8000_0000_0000n, 0x4000_0000_0000_0000n, 0xffff_7fff_ffff_ff00n]) + BigInt(r.below(64));
  }
  const span = high - low - size;
  let at = low + r.below(span + 1);
  const aligned = row.operands.some((o) => MEMORY_KINDS.has(o.kind) && o.size === 'x') || size > 128;
  const alignment = size >= 512 ? (row.name.startsWith('fx') ? 16 : 64) : aligned ? 16 : r.pick([1, 1, 2, 4, 8, 16]);
  if (!aligned || !r.oneIn(12)) at = Math.max(low, at - ((PLACE.WINDOW + at) % alignment));
  return BigInt(PLACE.WINDOW + at);
}

/** Chooses how a memory operand at `target` is written, and sets the registers for it. */
function chooseAddress(
  r: Random,
  regs: Registers,
  target: bigint,
  address32: boolean,
  taken: readonly number[],
): Address {
  const near = target < 0x7000_0000n;
  const form = r.below(near ? 10 : 8);
  const free = (): number => {
    let register: number;
    do register = r.below(16);
    while (taken.includes(register));
    return register;
  };
  const width = address32 ? 32 : 64;
  const disp = r.oneIn(3) ? 0 : r.oneIn(2) ? r.below(256) - 128 : r.u32() | 0;
  if (form === 8) return { kind: 'rip', target: Number(target) };
  const index = free();
  const scale = r.below(4);
  if (form === 9) {
    if (r.oneIn(2) || index === REG.RSP) return { kind: 'absolute', index: undefined, scale, disp: Number(target) };
    // Without a base the index alone makes the address: it must be a multiple of the scale.
    const rest = target - BigInt(disp);
    const fitting = rest - (rest & ((1n << BigInt(scale)) - 1n));
    regs[index] = mask64((fitting >> BigInt(scale)) + (address32 ? BigInt(r.u32()) << 32n : 0n));
    return { kind: 'absolute', index, scale, disp: Number(BigInt.asIntN(32, target - fitting)) };
  }
  const base = free();
  const indexed = form < 4 && index !== REG.RSP && index !== base;
  const offset = indexed ? regs[index] << BigInt(scale) : 0n;
  const value = mask64(target - offset - BigInt(disp));
  // With 32-bit addresses the upper half of the base does not count.
  regs[base] = width === 32 ? (value & 0xffff_ffffn) | (BigInt(r.u32()) << 32n) : value;
  return { kind: 'base', base, index: indexed ? index : undefined, scale, disp, wide: r.oneIn(8) };
}

/** An address in the page of INT3 to jump to, away from the instruction; now and then where it faults. */
function codeTarget(r: Random, mayFault: boolean): bigint {
  if (mayFault && r.oneIn(30))
    return r.pick([0x8000_0000_0000n, BigInt(PLACE.CODE_PAGE) - 0x1000n, 0x6800_0000n, 0x7000_0000_0000n]);
  return BigInt(PLACE.CODE + 64 + r.below(0x700));
}

/** Where a stack faults: not mapped, or not canonical. */
function badStack(r: Random): bigint {
  return r.pick([BigInt(PLACE.DATA - 0x200), 0x8000_0000_1000n, 0x5a5a_0000_0000_0000n]) + BigInt(r.below(64));
}

/** One case, written into `target`; returns the instruction's bytes. */
export function generateCase(r: Random, row: Instruction, target: Buffer): number[] {
  const regs = new BigUint64Array(16);
  for (let i = 0; i < 16; i++) regs[i] = r.u64();
  const write = (linear: bigint, bytes: Uint8Array): void => {
    const at = Number(linear) - PLACE.WINDOW;
    if (linear < 0x1_0000_0000n && at >= 0 && at + bytes.length <= WINDOW_SIZE) target.set(bytes, CASE.WINDOW + at);
  };
  const write64 = (linear: bigint, value: bigint): void => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(mask64(value));
    write(linear, bytes);
  };
  prepareState(r, row, target);

  const osz = r.pick(sizes(row));
  const address32 = r.oneIn(10);
  const stack = row.attributes.has('stack');
  const strings = row.operands.some(({ kind }) => kind === 'X' || kind === 'Y');
  const taken: number[] = stack ? [REG.RSP] : [];
  let reg = r.below(16);
  let rmRegister = r.below(16);
  let segment = r.oneIn(30) ? r.pick([0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65]) : 0;
  let repeat: Choice['repeat'] = 0;
  const immediates: bigint[] = [];
  const { name } = row;

  // ---- what the instruction takes from fixed registers ----
  // When both the stack and the target fault, which comes first is the processor's choice.
  let stackFaults = false;
  if (stack || name === 'leave') {
    stackFaults = r.oneIn(40);
    const room = name === 'enter' ? 300 : 40;
    const inWindow = BigInt(PLACE.WINDOW + room + r.below(WINDOW_SIZE - room - 100));
    regs[REG.RSP] = stackFaults ? badStack(r) : r.oneIn(4) ? inWindow : inWindow & ~7n;
    if (name === 'enter' || name === 'leave')
      regs[REG.RBP] = r.oneIn(40) ? badStack(r) : BigInt(PLACE.WINDOW + 300 + r.below(400));
    if (name.startsWith('ret')) write64(regs[REG.RSP], codeTarget(r, !stackFaults));
    if (name === 'popf') write64(regs[REG.RSP], BigInt((r.u32() & 0x4_0ed5) | 2));
  }
  if (strings) {
    const middle = (): bigint => BigInt(PLACE.WINDOW + 200 + r.below(WINDOW_SIZE - 400));
    const garbage = (): bigint => (address32 ? BigInt(r.u32()) << 32n : 0n);
    regs[REG.RSI] = middle() + garbage();
    regs[REG.RDI] = (r.oneIn(3) ? (regs[REG.RSI] & 0xffff_ffffn) + BigInt(r.below(33) - 16) : middle()) + garbage();
    if (r.oneIn(3)) repeat = row.attributes.has('repcc') ? r.pick([0xf2, 0xf3] as const) : 0xf3;
    if (repeat !== 0) regs[REG.RCX] = BigInt(r.below(20)) + garbage();
    if (row.attributes.has('repcc') && r.oneIn(2)) {
      const value = r.below(256);
      for (let i = 0; i < WINDOW_SIZE; i++) if (!r.oneIn(16)) target[CASE.WINDOW + i] = value;
      if (r.oneIn(2)) regs[REG.RAX] = BigInt(value) * 0x0101_0101_0101_0101n;
    }
  }
  if (name === 'xlat')
    regs[REG.RBX] = BigInt(PLACE.WINDOW + 32 + r.below(400)) - (regs[REG.RAX] & 0xffn) + (address32 ? 1n << 40n : 0n);
  if (name.startsWith('maskmov')) regs[REG.RDI] = BigInt(PLACE.WINDOW + r.below(WINDOW_SIZE - 16));
  if (/^i?div/.test(name) && !r.oneIn(6)) {
    if (name.endsWith('8'))
      regs[REG.RAX] = (regs[REG.RAX] & ~0xff00n) | (r.oneIn(2) ? 0n : BigInt(r.below(0x60)) << 8n);
    else regs[REG.RDX] = name === 'div' ? BigInt(r.oneIn(2) ? 0 : r.below(1 << 12)) : r.oneIn(2) ? 0n : mask64(-1n);
  }
  if (/^(jrcxz|loop)/.test(name) && r.oneIn(2)) regs[REG.RCX] = BigInt(r.below(3)) + (r.oneIn(2) ? 0x1_0000_0000n : 0n);
  if (name.startsWith('xsave') || name.startsWith('xrstor')) {
    regs[REG.RDX] = r.oneIn(8) ? regs[REG.RDX] : 0n;
    regs[REG.RAX] = (regs[REG.RAX] & ~0xffff_ffffn) | BigInt(r.below(4));
  }
  if (name === 'xgetbv') regs[REG.RCX] = BigInt(r.below(3));

  // Double shifts of 16 bits by more than 16 have no defined result (SDM vol. 2, SHLD).
  const shiftOf16 = osz === 16 && /^sh[lr]d$/.test(name);
  if (shiftOf16) regs[REG.RCX] = (regs[REG.RCX] & ~0x1fn) | BigInt(r.below(17));

  // ---- the ModRM operand ----
  const memoryOperand = row.operands.find((o) => MEMORY_KINDS.has(o.kind));
  const canBeRegister =
    row.mod !== 'mem' && (row.mod === 'reg' || row.operands.some((o) => REGISTER_KINDS.has(o.kind)));
  const canBeMemory = row.mod !== 'reg' && memoryOperand !== undefined;
  // 0F 0D: see vendor.ts.
  const memoryOnly = row.map === 1 && row.opcode === 0x0d;
  const useMemory = row.modrm && canBeMemory && (!canBeRegister || memoryOnly || !r.oneIn(2));
  let address: Address | undefined;
  if (useMemory) {
    const size = operandBytes(row, memoryOperand, osz);
    const bits = name.endsWith('_reg') && name.startsWith('bt');
    const where = bits
      ? BigInt(PLACE.WINDOW + 150 + r.below(WINDOW_SIZE - 300))
      : chooseTarget(r, row, size, 0, WINDOW_SIZE);
    const reach = where < 0x8000_0000n ? address32 : false;
    if (bits) {
      regs[reg] = mask64(BigInt(r.below(2048) - 1024));
      if (osz === 16) regs[reg] ^= BigInt(r.u32()) << 16n;
      taken.push(reg);
    }
    const fixed = [REG.RAX, REG.RDX, REG.RCX, REG.RBX];
    const busy = /^(cmpxchg|i?div|xsave|xrstor|jmp|call|fxsave)/.test(name)
      ? fixed
      : name === 'enter'
        ? [REG.RBP]
        : shiftOf16
          ? [REG.RCX]
          : [];
    address = chooseAddress(r, regs, where, reach || (address32 && where < 0x8000_0000n), [...taken, ...busy]);
    writeOperand(r, row, memoryOperand, target, Number(where < 0x8000_0000n ? where : 0n) - PLACE.WINDOW, osz);
    if (/^(jmp|call)_ind/.test(name)) write64(where, codeTarget(r, !stackFaults));
    if (name.startsWith('cmpxchg') && r.oneIn(2)) {
      const at = Number(where < 0x8000_0000n ? where : 0n) - PLACE.WINDOW;
      if (at >= 0 && at + 16 <= WINDOW_SIZE) {
        const low = target.readBigUInt64LE(CASE.WINDOW + at);
        if (name === 'cmpxchg8b') {
          regs[REG.RAX] = low & 0xffff_ffffn;
          regs[REG.RDX] = low >> 32n;
        } else {
          regs[REG.RAX] = low;
          if (name === 'cmpxchg16b') regs[REG.RDX] = target.readBigUInt64LE(CASE.WINDOW + at + 8);
        }
      }
    }
  } else if (row.modrm && /^(jmp|call)_ind/.test(name)) {
    if (rmRegister === REG.RSP) rmRegister = REG.RBX;
    regs[rmRegister] = codeTarget(r, !stackFaults);
  } else if (name === 'cmpxchg' && r.oneIn(2)) regs[rmRegister] = regs[REG.RAX];
  if (row.operands.some(({ kind }) => kind === 'P' || kind === 'N')) {
    // REX does not extend MMX registers.
    reg &= r.oneIn(8) ? 15 : 7;
    rmRegister &= r.oneIn(8) ? 15 : 7;
  }
  if (row.operands.some(({ kind }) => kind === 'S')) reg = r.below(6);
  if (row.operands.some(({ kind }) => kind === 'C')) reg = r.pick([0, 2, 3, 4, 8]);
  if (row.operands.some(({ kind }) => kind === 'D')) reg = r.pick([0, 1, 2, 3, 6, 7]);

  // ---- immediates ----
  for (const operand of row.operands) {
    if (operand.kind === 'I') {
      const size = immediateSize(operand, osz);
      let value = r.oneIn(2) ? BigInt(r.below(256)) : r.u64();
      if (name === 'enter' && operand.size === 'w') value = BigInt(r.below(100));
      if (name === 'ret_imm') value = BigInt(r.below(64));
      if (shiftOf16) value = (value & 0xe0n) | BigInt(r.below(17));
      // Vectors that nobody may use from CPL 3 on either side.
      if (name === 'int') value = BigInt(0x30 + r.below(64));
      immediates.push(BigInt.asUintN(size * 8, value));
    } else if (operand.kind === 'J') {
      const small = operand.size === 'b';
      const distance = small
        ? r.pick([r.below(128), -48 - r.below(80)])
        : r.oneIn(40)
          ? 0x5800_0000 + r.below(0x1000_0000)
          : r.pick([r.below(0x600), -48 - r.below(0x700)]);
      immediates.push(mask64(BigInt(distance)));
    } else if (operand.kind === 'O') {
      const target = chooseTarget(r, row, 8, 0, WINDOW_SIZE);
      immediates.push(address32 && target >= 0x8000_0000n ? BigInt(PLACE.WINDOW) : target);
    }
  }
  if (segment >= 0x64 && strings && r.oneIn(2)) segment = 0;

  const lockable = row.attributes.has('lock');
  const bytes = encode(
    row,
    {
      osz,
      address32,
      segment,
      lock: lockable && (useMemory ? r.oneIn(4) : r.oneIn(200)),
      repeat,
      reg,
      rm: address ?? rmRegister,
      plainRex: r.oneIn(8),
      immediates,
    },
    PLACE.CODE,
  );
  target.fill(0xcc, CASE.CODE, CASE.CODE + CODE_SIZE);
  target.set(bytes, CASE.CODE);
  target[CASE.LENGTH] = bytes.length;
  for (let i = 0; i < 16; i++) target.writeBigUInt64LE(regs[i], CASE.GPR + 8 * GPR_PLACE[i]);
  target.writeBigUInt64LE(BigInt(PLACE.CODE), CASE.RIP);
  // CF, PF, AF, ZF, SF, OF at random, DF seldom; IF and bit 1 are set.
  const flags = 0x202 | (r.u32() & 0x8d5) | (strings ? r.below(2) << 10 : r.oneIn(30) ? 0x400 : 0);
  target.writeBigUInt64LE(BigInt(flags), CASE.RFLAGS);
  return bytes;
}
