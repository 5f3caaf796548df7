/** Makes test cases from rows of the instruction table: an encoding, and inputs that reach what the instruction can do. */
import type { Instruction, Operand } from '../../arch/x86/instructions/row.js';
import {
  chooseAddress,
  chooseSegment,
  chooseTarget,
  codeTarget,
  isNear,
  mask64,
  memoryOperandOf,
  offsetIn,
  REG,
  type Draft,
  type WrittenAddress,
} from './addresses.js';
import { CASE, CODE_SIZE, GPR_PLACE, LEAD_SIZE, PLACE, WINDOW_SIZE } from './case-format.js';
import { surround } from './block.js';
import { encode, immediateSize, type Address, type Choice } from './encode.js';
import {
  busyRegisters,
  isDoubleShiftOf16,
  isStack16,
  prepareExchange,
  prepareRegisters,
  prepareStack,
  prepareString,
  write64,
} from './fixed-inputs.js';
import { prepareState } from './inputs.js';
import { operandBytes, writeOperand } from './operand-data.js';
import { extraPrefixes } from './prefixes.js';
import type { Random } from './random.js';
import { farPointer, loadsSegment, setSelectorRegister, usesStack, writeSelectorOperand } from './selectors.js';
import { chooseEnvironment, type Environment, type EnvironmentKind } from './segments.js';

const REGISTER_KINDS = new Set<Operand['kind']>(['E', 'R', 'U', 'W', 'N', 'Q', 'STi']);

/** Operand sizes that a row can have: by a prefix, 64 by REX.W. */
function sizes(row: Instruction, bits: Environment['bits']): readonly (16 | 32 | 64)[] {
  const { attributes, operands } = row;
  const has = (...letters: string[]): boolean => operands.some(({ size }) => letters.includes(size));
  const bySize = has('p') || attributes.has('osz') || attributes.has('d64') || attributes.has('f64') || has('v', 'z');
  if (bits !== 64) return bySize ? [16, 32] : [bits];
  // Far pointers with 64-bit offsets, near branches with a 66 prefix: see vendor.ts.
  if (has('p')) return [16, 32];
  if (attributes.has('f64')) return [64];
  if (attributes.has('d64')) return [16, 64];
  if (bySize) return row.rexW === true ? [64] : [16, 32, 64];
  if (has('y') || operands.some(({ kind, size }) => kind === 'M' && size === '')) return [32, 64];
  return [row.rexW === true ? 64 : 32];
}

/** Registers in ModRM.reg and ModRM.rm. */
function chooseRegisters(draft: Draft): { reg: number; rm: number } {
  const { r, row, environment } = draft;
  const count = environment.bits === 64 ? 16 : 8;
  const kinds = new Set(row.operands.map(({ kind }) => kind));
  let reg = r.below(count);
  let rm = r.below(count);
  if (kinds.has('P') || kinds.has('N')) {
    // REX does not extend MMX registers.
    if (!r.oneIn(8)) reg &= 7;
    if (!r.oneIn(8)) rm &= 7;
  }
  // Seldom one that does not exist, or CS.
  if (kinds.has('S')) reg = r.oneIn(12) ? r.below(8) : r.pick([0, 2, 3, 4, 5]);
  if (kinds.has('C')) reg = r.pick([0, 2, 3, 4]);
  if (kinds.has('D')) reg = r.pick([0, 1, 2, 3, 6, 7]);
  return { reg, rm };
}

function chooseImmediate(draft: Draft, operand: Operand): bigint {
  const { r, row, osz } = draft;
  if (operand.kind === 'J') {
    // Onto INT3, never onto the instruction itself; a far one seldom, where nothing is mapped.
    if (operand.size === 'b') return mask64(BigInt(r.pick([r.below(128), -48 - r.below(80)])));
    if (osz !== 16 && r.oneIn(40)) return BigInt(0x5800_0000 + r.below(0x1000_0000));
    return mask64(BigInt(r.pick([r.below(0x600), -48 - r.below(0x700)])));
  }
  const size = immediateSize(operand, osz) * 8;
  // Vectors that nobody may use from CPL 3 on either side.
  if (row.name === 'int') return BigInt(0x30 + r.below(64));
  if (row.name === 'enter' && operand.size === 'w') return BigInt(r.oneIn(8) ? r.below(0x10000) : r.below(100));
  if (/^ret.*_imm$/.test(row.name)) return BigInt(r.below(64));
  const value = r.oneIn(2) ? BigInt(r.below(256)) : r.u64();
  return isDoubleShiftOf16(draft) ? (value & 0xe0n) | BigInt(r.below(17)) : BigInt.asUintN(size, value);
}

/** The memory operand: where it lies, how its address is written, and what stands there. */
function placeMemoryOperand(draft: Draft, operand: Operand, reg: number, stackFaults: boolean): WrittenAddress {
  const { r, row, environment, osz, regs, target } = draft;
  const taken = [...(usesStack(draft) || isStack16(draft) ? [REG.RSP] : []), ...busyRegisters(draft)];
  let where = chooseTarget(draft, operandBytes(row, operand, osz));
  if (/^bt.?_reg$/.test(row.name) && !(isStack16(draft) && reg === REG.RSP)) {
    // The bit number reaches beyond the operand.
    where = BigInt(PLACE.WINDOW + 150 + r.below(WINDOW_SIZE - 300));
    regs[reg] = mask64(BigInt(r.below(2048) - 1024));
    if (osz === 16) regs[reg] ^= BigInt(r.u32()) << 16n;
    if (environment.bits !== 64) regs[reg] &= 0xffff_ffffn;
    taken.push(reg);
  }
  // 32-bit addresses do not reach places that are not canonical.
  const addressBits = isNear(where) ? draft.addressBits : environment.bits;
  const written = chooseAddress({ ...draft, addressBits }, where, taken);
  if (isNear(where)) writeOperand(r, row, operand, target, Number(where) - PLACE.WINDOW, osz);
  if (/^(jmp|call)_ind/.test(row.name)) write64(draft, where, codeTarget(draft, !stackFaults));
  writeSelectorOperand(draft, where, !stackFaults);
  prepareExchange(draft, where);
  return written;
}

/** What the address-size prefix makes of a code size. */
const OTHER_ADDRESS_BITS = { 64: 32, 32: 16, 16: 32 } as const;

function chooseAddressBits(r: Random, { bits, ds }: Environment): 16 | 32 | 64 {
  // 16-bit addresses reach nothing in a flat segment.
  const usable = bits === 64 || ds.base !== 0;
  return usable && r.oneIn(bits === 64 ? 10 : 4) ? OTHER_ADDRESS_BITS[bits] : bits;
}

/** RFLAGS.AC: misaligned operands of user code raise #AC. */
const AC = 0x4_0000;

/** One case, written into `target`; returns the instruction's bytes. `inBlock`: between others, see block.ts. */
export function generateCase(
  r: Random,
  row: Instruction,
  target: Buffer,
  kind: EnvironmentKind = row.mode === 'not64' ? 'flat32' : '64',
  inBlock = false,
): number[] {
  const environment = chooseEnvironment(r, kind);
  const { bits, cs, ss, ds, es } = environment;
  const regs = new BigUint64Array(16);
  for (let i = 0; i < 16; i++) regs[i] = bits !== 64 && i < 8 ? r.u64() & 0xffff_ffffn : r.u64();
  prepareState(r, row, target);
  const addressBits = chooseAddressBits(r, environment);
  const draft: Draft = { r, row, environment, osz: r.pick(sizes(row, bits)), addressBits, regs, target };

  const stackFaults = prepareStack(draft);
  const isString = row.operands.some((each) => each.kind === 'X' || each.kind === 'Y');
  const string = isString && !row.attributes.has('io') ? prepareString(draft) : undefined;
  prepareRegisters(draft);

  const { reg, rm } = chooseRegisters(draft);
  const operand = row.mod === 'reg' ? undefined : memoryOperandOf(row);
  const canBeRegister =
    row.mod !== 'mem' && (row.mod === 'reg' || row.operands.some((each) => REGISTER_KINDS.has(each.kind)));
  // 0F 0D: see vendor.ts.
  const memoryOnly = !canBeRegister || (row.map === 1 && row.opcode === 0x0d);
  const inMemory = row.modrm && operand !== undefined && (memoryOnly || !r.oneIn(2));
  let segment = string?.prefix ?? (r.oneIn(30) ? r.pick([0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65]) : 0);
  let rmOrAddress: number | Address = rm;
  let finalAddressBits = addressBits;
  if (inMemory) {
    const written = placeMemoryOperand(draft, operand, reg, stackFaults);
    rmOrAddress = written.address;
    segment = written.prefix;
    finalAddressBits = written.addressBits;
  } else if (row.modrm && /^(jmp|call)_ind/.test(row.name)) {
    rmOrAddress = rm === REG.RSP ? REG.RBX : rm;
    regs[rmOrAddress] = codeTarget(draft, !stackFaults);
  } else if (row.modrm && loadsSegment(draft)) {
    rmOrAddress = rm === REG.RSP ? REG.RBX : rm;
    setSelectorRegister(draft, rmOrAddress);
  } else if (row.name === 'cmpxchg' && rm !== REG.RSP && r.oneIn(2)) regs[rm] = regs[REG.RAX];

  const immediates: bigint[] = [];
  for (const each of row.operands) {
    if (each.kind === 'O') {
      const where = chooseTarget(draft, 8);
      const chosen = chooseSegment(draft, 'ds');
      segment = chosen.prefix;
      if (!isNear(where)) finalAddressBits = bits;
      immediates.push(mask64(offsetIn(chosen.segment, where)));
    } else if (each.kind === 'A') immediates.push(farPointer(draft, !stackFaults));
    else if (each.kind === 'I' || each.kind === 'J') immediates.push(chooseImmediate(draft, each));
  }
  const lockable = row.attributes.has('lock');
  const choice: Choice = {
    bits,
    osz: draft.osz,
    addressBits: finalAddressBits,
    segment,
    lock: lockable && (inMemory ? r.oneIn(4) : r.oneIn(200)),
    repeat: string?.repeat ?? 0,
    reg,
    rm: rmOrAddress,
    plainRex: bits === 64 && r.oneIn(8),
    immediates,
  };
  const prefixes = extraPrefixes(draft, encode(row, choice, PLACE.CODE));
  const bytes = [...prefixes, ...encode(row, choice, PLACE.CODE + prefixes.length)];
  target.fill(0xcc, CASE.LEAD, CASE.LEAD + LEAD_SIZE + CODE_SIZE);
  target.set(bytes, CASE.CODE);
  target[CASE.LENGTH] = bytes.length;
  for (let i = 0; i < 16; i++) target.writeBigUInt64LE(regs[i], CASE.GPR + 8 * GPR_PLACE[i]);
  target.writeBigUInt64LE(offsetIn(cs, BigInt(PLACE.CODE)), CASE.RIP);
  // CF, PF, AF, ZF, SF, OF at random, DF and AC seldom; IF and bit 1 are set.
  const flags =
    0x202 | (r.u32() & 0x8d5) | (isString ? r.below(2) << 10 : r.oneIn(30) ? 0x400 : 0) | (r.oneIn(20) ? AC : 0);
  target.writeBigUInt64LE(BigInt(flags), CASE.RFLAGS);
  target.writeUInt16LE(cs.selector, CASE.CS);
  target.writeUInt16LE(ss.selector, CASE.SS);
  target.writeUInt16LE(ds.selector, CASE.DS);
  target.writeUInt16LE(es.selector, CASE.ES);
  if (inBlock) surround(draft);
  return bytes;
}
