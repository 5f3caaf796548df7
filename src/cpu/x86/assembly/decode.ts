/**
 * Decodes one instruction into records, after the instruction table as packed by decoder-tables.ts. Knows bytes and the
 * mode key only; where the bytes come from and where the records go is code-cache.ts's business.
 */
import {
  addressPrefix,
  cursor,
  lockPrefix,
  operandPrefix,
  overrun,
  repPrefix,
  rex,
  segmentPrefix,
  startBytes,
  take16s,
  take32s,
  take64,
  take8,
  take8s,
  takePrefixes,
} from './decode-prefixes';
import { STATE } from './env';
import {
  COND_A64,
  COND_IS_A64,
  COND_IS_B,
  COND_IS_W,
  COND_REX_B,
  COND_REX_W,
  DECODER_CANDIDATES,
  DECODER_OPCODES,
  DECODER_ROWS,
  DECODER_VARIANTS,
  DIM_FORM,
  DIM_LOCK,
  DIM_OSZ,
  DIM_STACK,
  IMM_B,
  IMM_FAR,
  IMM_JB,
  IMM_JZ,
  IMM_MOFFS,
  IMM_NONE,
  IMM_SB,
  IMM_SZ,
  IMM_V,
  IMM_W,
  IMM_W_B,
  L_DECODER_TABLES,
  MEM_ENV,
  MEM_FAR,
  MEM_PAIR,
  MEM_PSEUDO,
  MEM_SAVE,
  MEM_V,
  MEM_Y,
  MEM_Z,
  MICRO_EA_SEG,
  MICRO_FETCH_FAULT,
  MICRO_UNDEFINED,
  RECORD_SIZE,
  REGISTER_BYTE,
  REGISTER_FIXED,
  REGISTER_GPR,
  REGISTER_NUMBER3,
  REGISTER_NUMBER4,
  REGISTER_XMM,
  REGISTER_Z,
  REGISTER_Z_BYTE,
  ROW_CONDITIONS,
  ROW_DIGIT,
  ROW_DIMENSIONS,
  ROW_FEATURE,
  ROW_FIXED,
  ROW_IMMEDIATE,
  ROW_MEMORY_SIZE,
  ROW_MOD,
  ROW_PREFIX,
  ROW_REG_KIND,
  ROW_RM,
  ROW_RM_KIND,
  ROW_SIZE,
  ROW_SIZING,
  ROW_TRAITS,
  ROW_VARIANT_BASE,
  R_BASE,
  R_DISP,
  R_HANDLER,
  R_IMM,
  R_IMM2,
  R_INDEX,
  R_LENGTH,
  R_MASK_SLOT,
  R_MODRM,
  R_OFFSET,
  R_PREFIX,
  R_REG,
  R_RM,
  R_SCALE,
  R_SEG,
  R_SEG_SLOT,
  SEG_CS,
  SEG_DS,
  SEG_SS,
  SIZING_AT_MOST_32,
  SIZING_D64,
  SIZING_F64,
  SIZING_ONLY_W,
  S_CODE_BASE,
  S_EA,
  S_FEATURES,
  S_MASK16,
  S_SEG_BASE,
  S_SPARE_SLOTS,
  S_ZERO,
  TRAIT_END,
  TRAIT_LOCK,
  TRAIT_MODRM,
  TRAIT_NO_MOD,
  TRAIT_NO_SEGMENT,
  TRAIT_WRITES,
} from './generated/layout';

/** Bits of the mode key, see MODE_KEY in state-layout.ts. */
const KEY_CODE: u32 = 3;
const KEY_FLAT: u32 = 4;
const KEY_STACK32: u32 = 8;

/** The longest instruction, SDM vol. 2 §2.3.11. */
export const MAX_LENGTH: i32 = 15;

/** Of the instruction decoded last: bytes, and whether the one behind it is not executed after it. */
export let decodedLength: u32 = 0;
export let decodedEnd: bool = false;

// ------------------------------------------------------------------------------------------------------ the row

@inline
function rowByte(row: usize, field: usize): u32 {
  return <u32>load<u8>(row + field);
}

function hasFeature(index: u32): bool {
  return index == 0xff || ((<u32>load<u8>(STATE + S_FEATURES + (index >> 3)) >> (index & 7)) & 1) != 0;
}

/** Whether what is known of the instruction is what the row asks for. */
function matches(row: usize, modrm: u32, addressSize: u32): bool {
  const wanted = rowByte(row, ROW_PREFIX);
  if (wanted) {
    const found: u32 = repPrefix ? repPrefix : operandPrefix ? 2 : 1;
    if (wanted != found) return false;
  }
  const digit = rowByte(row, ROW_DIGIT);
  if (digit != 0xff && digit != ((modrm >> 3) & 7)) return false;
  const mod = rowByte(row, ROW_MOD);
  if (mod && (mod == 1) != modrm >= 0xc0) return false;
  const rm = rowByte(row, ROW_RM);
  if (rm != 0xff && rm != (modrm & 7)) return false;
  const conditions = rowByte(row, ROW_CONDITIONS);
  if (conditions) {
    if (conditions & COND_REX_W && ((conditions & COND_IS_W) != 0) != ((rex & 8) != 0)) return false;
    if (conditions & COND_REX_B && ((conditions & COND_IS_B) != 0) != ((rex & 1) != 0)) return false;
    if (conditions & COND_A64 && ((conditions & COND_IS_A64) != 0) != (addressSize == 2)) return false;
  }
  return hasFeature(rowByte(row, ROW_FEATURE));
}

/** Operand size as records have it: 0 16, 1 32, 2 64 bits. */
function operandSize(sizing: u32, code: u32): u32 {
  const wide = (rex & 8) != 0;
  if (code == 2) {
    if (sizing & SIZING_F64) return 2;
    if (wide) return sizing & SIZING_AT_MOST_32 ? 1 : 2;
    if (sizing & SIZING_ONLY_W) return 1;
    if (sizing & SIZING_D64) return operandPrefix ? 0 : 2;
    return operandPrefix ? 0 : 1;
  }
  if (sizing & SIZING_ONLY_W) return 1;
  return code ^ (operandPrefix ? 1 : 0);
}

/** A register field as records code it. `number` has its REX bit. */
function registerField(kind: u32, number: u32): u32 {
  switch (kind) {
    case REGISTER_BYTE:
    case REGISTER_Z_BYTE:
      return rex == 0 && number >= 4 ? ((number - 4) << 3) | 1 : number << 3;
    case REGISTER_GPR:
    case REGISTER_Z:
      return number << 3;
    case REGISTER_XMM:
      return number << 4;
    case REGISTER_NUMBER3:
      return number & 7;
    case REGISTER_NUMBER4:
      return number;
    default:
      return 0;
  }
}

// ---------------------------------------------------------------------------------------------------------- memory

let segment: i32 = 0;
let displacement: i64 = 0;
let ripRelative: bool = false;

@inline
function slot(register: u32): u32 {
  return register << 3;
}

@inline
function setAddress(record: usize, base: u32, index: u32, scale: u32): void {
  store<u8>(record + R_BASE, <u8>base);
  store<u8>(record + R_INDEX, <u8>index);
  store<u8>(record + R_SCALE, <u8>scale);
}

/** 16-bit address forms, SDM vol. 2 table 2-1. */
function takeMemory16(record: usize, mod: u32, rm: u32): void {
  const none = <u32>S_ZERO;
  let base = none;
  let index = none;
  // BX+SI, BX+DI, BP+SI, BP+DI, SI, DI, BP, BX
  if (rm < 4) {
    base = slot(rm & 2 ? 5 : 3);
    index = slot(rm & 1 ? 7 : 6);
  } else base = slot(rm == 4 ? 6 : rm == 5 ? 7 : rm == 6 ? 5 : 3);
  segment = rm == 2 || rm == 3 || rm == 6 ? SEG_SS : SEG_DS;
  displacement = 0;
  if (mod == 1) displacement = take8s();
  else if (mod == 2) displacement = take16s();
  else if (rm == 6) {
    base = none;
    segment = SEG_DS;
    displacement = take16s();
  }
  setAddress(record, base, index, 0);
}

/** 32- and 64-bit address forms, SDM vol. 2 tables 2-2 and 2-3. */
function takeMemory(record: usize, mod: u32, rm: u32, is64: bool): void {
  let base = rm;
  let index = <u32>S_ZERO;
  let scale: u32 = 0;
  if (rm == 4) {
    const sib = take8();
    base = sib & 7;
    scale = sib >> 6;
    const number = ((sib >> 3) & 7) | ((rex & 2) << 2);
    if (number != 4) index = slot(number);
    else scale = 0;
  }
  segment = base == 4 || (base == 5 && mod != 0) ? SEG_SS : SEG_DS;
  // R12 and R13 share their low bits with RSP and RBP, but not their segment.
  if (rex & 1) segment = SEG_DS;
  let baseSlot = slot(base | ((rex & 1) << 3));
  displacement = 0;
  if (mod == 1) displacement = take8s();
  else if (mod == 2) displacement = take32s();
  else if (base == 5) {
    displacement = take32s();
    baseSlot = <u32>S_ZERO;
    if (rm == 5 && is64) {
      baseSlot = <u32>S_CODE_BASE;
      ripRelative = true;
    }
  }
  setAddress(record, baseSlot, index, scale);
}

/** Bytes of a memory operand for the check of an address; 127 stands for 512 and more. */
function memoryBytes(code: u32, osz: u32, is64: bool): u32 {
  switch (code) {
    case MEM_V:
      return (<u32>2) << osz;
    case MEM_Z:
      return osz == 0 ? 2 : 4;
    case MEM_Y:
      return osz == 2 ? 8 : 4;
    case MEM_FAR:
      return ((<u32>2) << osz) + 2;
    case MEM_PSEUDO:
      return is64 ? 10 : 6;
    case MEM_PAIR:
      return (<u32>4) << osz;
    case MEM_ENV:
      return osz == 0 ? 14 : 28;
    case MEM_SAVE:
      return osz == 0 ? 94 : 108;
    default:
      return code;
  }
}

// ------------------------------------------------------------------------------------------------------- immediates

let isJump: bool = false;

function takeImmediate(record: usize, kind: u32, osz: u32, addressSize: u32): i64 {
  switch (kind) {
    case IMM_B:
      return <i64>take8();
    case IMM_SB:
      return take8s();
    case IMM_W:
      return take16s() & 0xffff;
    case IMM_SZ:
      return osz == 0 ? take16s() : take32s();
    case IMM_V:
      return osz == 2 ? take64() : osz == 1 ? take32s() & 0xffff_ffff : take16s() & 0xffff;
    case IMM_JB:
      isJump = true;
      return take8s();
    case IMM_JZ:
      isJump = true;
      return osz == 0 ? take16s() : take32s();
    case IMM_FAR: {
      const offset = osz == 0 ? take16s() & 0xffff : take32s() & 0xffff_ffff;
      return offset | ((take16s() & 0xffff) << 32);
    }
    case IMM_MOFFS:
      if (addressSize == 2) return take64();
      segment = SEG_DS;
      displacement = addressSize == 0 ? take16s() & 0xffff : take32s();
      return 0;
    case IMM_W_B: {
      const size = take16s() & 0xffff;
      store<u8>(record + R_IMM2, <u8>take8());
      return size;
    }
    default:
      return 0;
  }
}

// ---------------------------------------------------------------------------------------------------------- records

function clear(record: usize): void {
  store<u64>(record, 0);
  store<u64>(record, 0, 8);
  store<u64>(record, 0, 16);
  store<u64>(record, 0, 24);
}

/** Writes a micro-record for the instruction at `offset`. */
export function writeMicro(record: usize, kind: u32, offset: u32): void {
  clear(record);
  store<u16>(record + R_HANDLER, <u16>kind);
  store<u16>(record + R_OFFSET, <u16>offset);
}

/** A micro-record that raises #GP(0): an instruction that is too long or does not fit into its segment. */
export function writeFetchFault(record: usize, offset: u32): usize {
  writeMicro(record, MICRO_FETCH_FAULT, offset);
  store<u8>(record + R_IMM2, 13);
  decodedLength = 1;
  decodedEnd = true;
  return record + RECORD_SIZE;
}

function undefined_(record: usize, start: usize, offset: u32): usize {
  if (overrun) return 0;
  writeMicro(record, MICRO_UNDEFINED, offset);
  decodedLength = <u32>(cursor - start);
  decodedEnd = true;
  return record + RECORD_SIZE;
}

/** The record's fields of a memory operand, and the micro-record before it where the address must be checked. */
function writeMemory(record: usize, row: usize, key: u32, osz: u32, offset: u32): usize {
  const is64 = (key & KEY_CODE) == 2;
  const traits = rowByte(row, ROW_TRAITS);
  if (segmentPrefix >= 0) segment = segmentPrefix;
  store<u8>(record + R_SEG, <u8>segment);
  store<i32>(record + R_DISP, <i32>displacement);
  // A flat code segment cannot be written through all the same.
  const isFlat = (key & KEY_FLAT) != 0 && segment < 4 && !(segment == SEG_CS && traits & TRAIT_WRITES);
  if (is64 || traits & TRAIT_NO_SEGMENT || isFlat) {
    if (segment >= 4 && !(traits & TRAIT_NO_SEGMENT))
      store<u8>(record + R_SEG_SLOT, <u8>(S_SEG_BASE + ((<usize>segment) << 3)));
    return record;
  }
  const after = record + RECORD_SIZE;
  memory.copy(after, record, RECORD_SIZE);
  store<u8>(after + R_BASE, <u8>S_EA);
  store<u8>(after + R_INDEX, <u8>S_ZERO);
  store<u8>(after + R_SCALE, 0);
  store<u8>(after + R_MASK_SLOT, <u8>(S_MASK16 + 16));
  store<i32>(after + R_DISP, 0);
  store<u16>(record + R_HANDLER, <u16>MICRO_EA_SEG);
  store<u8>(record + R_SEG_SLOT, <u8>(S_SEG_BASE + ((<usize>segment) << 3)));
  const bytes = memoryBytes(rowByte(row, ROW_MEMORY_SIZE), osz, is64);
  store<u8>(record + R_IMM2, <u8>(bytes | (traits & TRAIT_WRITES ? 0x80 : 0)));
  store<i64>(record + R_IMM, 0);
  return after;
}

/** Number of the row's variant, see variants.ts. */
@inline
function variantOf(row: usize, key: u32, osz: u32, isMemory: bool): u32 {
  const dims = rowByte(row, ROW_DIMENSIONS);
  let variant: u32 = dims & DIM_OSZ ? osz : 0;
  if (dims & DIM_FORM) variant = variant * 2 + <u32>isMemory;
  if (dims & DIM_LOCK) variant = variant * 2 + <u32>lockPrefix;
  if (dims & DIM_STACK) {
    const stack: u32 = (key & KEY_CODE) == 2 ? 0 : (key & (KEY_FLAT | KEY_STACK32)) == (KEY_FLAT | KEY_STACK32) ? 1 : 2;
    variant = variant * 3 + stack;
  }
  return variant;
}

/**
 * Decodes the instruction at `bytes`, of which `available` can be read, into one or two records at `out`. `offset` is that
 * of its first byte in its page. Returns the address behind the records; 0 when it needs more bytes than there are.
 */
export function decodeInstruction(out: usize, bytes: usize, available: i32, offset: u32, key: u32): usize {
  const is64 = (key & KEY_CODE) == 2;
  startBytes(bytes, available < MAX_LENGTH ? available : MAX_LENGTH);
  decodedEnd = false;

  let opcode = takePrefixes(is64);
  let map: u32 = 0;
  if (opcode == 0x0f) {
    opcode = take8();
    map = 1;
    if (opcode == 0x38 || opcode == 0x3a) {
      map = opcode == 0x38 ? 2 : 3;
      opcode = take8();
    }
  }
  if (overrun) return available < MAX_LENGTH ? 0 : writeFetchFault(out, offset);

  const first = L_DECODER_TABLES + DECODER_OPCODES + (((((is64 ? 4 : 0) + map) << 8) + opcode) << 1);
  let candidate = L_DECODER_TABLES + DECODER_CANDIDATES + ((<usize>load<u16>(first)) << 1);
  let number = <usize>load<u16>(candidate);
  if (number == 0xffff) return undefined_(out, bytes, offset);

  const addressSize: u32 = is64 ? (addressPrefix ? 1 : 2) : (key & KEY_CODE) ^ (addressPrefix ? 1 : 0);
  const rows = L_DECODER_TABLES + DECODER_ROWS;
  let row = rows + number * ROW_SIZE;
  const hasModrm = (rowByte(row, ROW_TRAITS) & TRAIT_MODRM) != 0;
  const modrm = hasModrm ? take8() : 0;
  if (overrun) return available < MAX_LENGTH ? 0 : writeFetchFault(out, offset);
  while (!matches(row, modrm, addressSize)) {
    candidate += 2;
    number = <usize>load<u16>(candidate);
    if (number == 0xffff) return undefined_(out, bytes, offset);
    row = rows + number * ROW_SIZE;
  }

  const traits = rowByte(row, ROW_TRAITS);
  const immediateKind = rowByte(row, ROW_IMMEDIATE);
  const isRegister = modrm >= 0xc0 || (traits & TRAIT_NO_MOD) != 0;
  let isMemory = hasModrm && !isRegister;
  const osz = operandSize(rowByte(row, ROW_SIZING), key & KEY_CODE);

  // Fields that all records have.
  clear(out);
  store<u8>(out + R_BASE, <u8>S_ZERO);
  store<u8>(out + R_INDEX, <u8>S_ZERO);
  store<u8>(out + R_SEG_SLOT, <u8>S_ZERO);
  store<u8>(out + R_MASK_SLOT, <u8>(S_MASK16 + ((<usize>addressSize) << 3)));
  store<u16>(out + R_OFFSET, <u16>offset);
  store<u8>(out + R_MODRM, <u8>modrm);
  segment = SEG_DS;
  displacement = 0;
  ripRelative = false;
  isJump = false;

  // Registers.
  const regKind = rowByte(row, ROW_REG_KIND);
  if (regKind) {
    const value =
      regKind == REGISTER_FIXED
        ? rowByte(row, ROW_FIXED)
        : registerField(regKind, ((modrm >> 3) & 7) | ((rex & 4) << 1));
    store<u8>(out + R_REG, <u8>value);
  }
  const rmKind = rowByte(row, ROW_RM_KIND);
  if (rmKind >= REGISTER_Z_BYTE) {
    store<u8>(out + R_RM, <u8>registerField(rmKind, (opcode & 7) | ((rex & 1) << 3)));
  } else if (rmKind && isRegister) {
    store<u8>(out + R_RM, <u8>registerField(rmKind, (modrm & 7) | ((rex & 1) << 3)));
  }

  // Memory and immediates.
  if (isMemory) {
    if (addressSize == 0) takeMemory16(out, modrm >> 6, modrm & 7);
    else takeMemory(out, modrm >> 6, modrm & 7, is64);
  }
  let immediate: i64 = 0;
  if (immediateKind != IMM_NONE) {
    immediate = takeImmediate(out, immediateKind, osz, addressSize);
    if (immediateKind == IMM_MOFFS && addressSize != 2) isMemory = true;
  }
  if (overrun) return available < MAX_LENGTH ? 0 : writeFetchFault(out, offset);
  // LOCK is for memory destinations of some instructions (SDM vol. 2, LOCK).
  if (lockPrefix && (!(traits & TRAIT_LOCK) || isRegister)) return undefined_(out, bytes, offset);

  const length = <u32>(cursor - bytes);
  decodedLength = length;
  decodedEnd = (traits & TRAIT_END) != 0;
  store<u8>(out + R_LENGTH, <u8>length);
  store<u8>(
    out + R_PREFIX,
    <u8>(
      (osz |
        (addressSize << 2) |
        (repPrefix == 3 ? 0x10 : repPrefix == 4 ? 0x20 : 0) |
        (lockPrefix ? 0x40 : 0) |
        (rex ? 0x80 : 0))
    ),
  );
  store<i64>(out + R_IMM, isJump ? immediate + <i64>(offset + length) : immediate);
  if (ripRelative) {
    displacement += <i64>(offset + length);
    if (displacement != <i64>(<i32>displacement)) {
      // Too far for 32 bits: a slot that holds RIP_STEP takes its part.
      displacement -= RIP_STEP;
      store<u8>(out + R_INDEX, <u8>S_SPARE_SLOTS);
    }
  }

  let record = out;
  if (isMemory) record = writeMemory(out, row, key, osz, offset);
  else {
    // Strings, XLAT, MASKMOV and 64-bit memory offsets take their segment from here.
    if (segmentPrefix >= 0) segment = segmentPrefix;
    store<u8>(out + R_SEG, <u8>segment);
    const isFlat = is64 || (key & KEY_FLAT) != 0;
    if (!isFlat || segment >= 4) store<u8>(out + R_SEG_SLOT, <u8>(S_SEG_BASE + ((<usize>segment) << 3)));
  }
  // EA_SEG has length 0.
  if (record != out) store<u8>(out + R_LENGTH, 0);
  const variant = <usize>load<u16>(row + ROW_VARIANT_BASE) + variantOf(row, key, osz, isMemory);
  store<u16>(record + R_HANDLER, load<u16>(L_DECODER_TABLES + DECODER_VARIANTS + (variant << 1)));
  return record + RECORD_SIZE;
}

/** What the first of SPARE_SLOTS holds. */
export const RIP_STEP: i64 = 8192;
