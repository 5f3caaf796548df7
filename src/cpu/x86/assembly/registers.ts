/** Access to registers and flags by the helpers, and constants of control registers (SDM vol. 3 §2.3, §2.5). */
import { STATE } from './env';
import { R_MODRM, R_PREFIX, R_RM, S_EFLAGS, S_FLAG_AUX, S_FLAG_RES, S_GPR } from './generated/layout';
import { ld16 } from './mmu';

export const FLAG_CF: u32 = 1;
export const FLAG_PF: u32 = 1 << 2;
export const FLAG_AF: u32 = 1 << 4;
export const FLAG_ZF: u32 = 1 << 6;
export const FLAG_SF: u32 = 1 << 7;
export const FLAG_TF: u32 = 1 << 8;
export const FLAG_IF: u32 = 1 << 9;
export const FLAG_DF: u32 = 1 << 10;
export const FLAG_OF: u32 = 1 << 11;
export const FLAG_IOPL: u32 = 3 << 12;
export const FLAG_NT: u32 = 1 << 14;
export const FLAG_RF: u32 = 1 << 16;
export const FLAG_VM: u32 = 1 << 17;
export const FLAG_AC: u32 = 1 << 18;
export const FLAG_VIF: u32 = 1 << 19;
export const FLAG_VIP: u32 = 1 << 20;
export const FLAG_ID: u32 = 1 << 21;
export const FLAGS_ARITHMETIC: u32 = 0x8d5;

export const CR0_PE: u64 = 1;
export const CR0_MP: u64 = 1 << 1;
export const CR0_EM: u64 = 1 << 2;
export const CR0_TS: u64 = 1 << 3;
export const CR0_ET: u64 = 1 << 4;
export const CR0_NE: u64 = 1 << 5;
export const CR0_AM: u64 = 1 << 18;
export const CR0_NW: u64 = 1 << 29;
export const CR0_CD: u64 = 1 << 30;

export const CR4_VME: u64 = 1;
export const CR4_PVI: u64 = 1 << 1;
export const CR4_TSD: u64 = 1 << 2;
export const CR4_DE: u64 = 1 << 3;
export const CR4_PCE: u64 = 1 << 8;
export const CR4_OSFXSR: u64 = 1 << 9;
export const CR4_UMIP: u64 = 1 << 11;
export const CR4_FSGSBASE: u64 = 1 << 16;
export const CR4_OSXSAVE: u64 = 1 << 18;

export const RAX: usize = 0;
export const RCX: usize = 1;
export const RDX: usize = 2;
export const RBX: usize = 3;
export const RSP: usize = 4;
export const RBP: usize = 5;
export const RSI: usize = 6;
export const RDI: usize = 7;

@inline
export function gpr(n: usize): u64 {
  return load<u64>(STATE + S_GPR + n * 8);
}
@inline
export function setGpr(n: usize, value: u64): void {
  store<u64>(STATE + S_GPR + n * 8, value);
}

/** Effective operand size of a record: 0 16, 1 32, 2 64 bits. */
@inline
export function operandSize(rec: usize): u32 {
  return load<u8>(rec + R_PREFIX) & 3;
}

/** A general register that a record names (`field` is the address of its byte), as wide as operand size `osz` says. */
@inline
export function readSlot(field: usize, osz: u32): u64 {
  const at = STATE + <usize>load<u8>(field);
  return osz == 2 ? load<u64>(at) : osz == 1 ? <u64>load<u32>(at) : <u64>load<u16>(at);
}

/** Writes such a register: 32 bits clear the upper half, 16 leave the rest. */
@inline
export function writeSlot(field: usize, osz: u32, value: u64): void {
  const at = STATE + <usize>load<u8>(field);
  if (osz == 2) store<u64>(at, value);
  else if (osz == 1) store<u64>(at, value & 0xffff_ffff);
  else store<u16>(at, <u16>value);
}

/** The 16-bit operand of a record: register RM, or memory. Look at faulted() afterwards. */
export function wordOperand(rec: usize, ea: u64): u32 {
  return isRegister(rec) ? <u32>load<u16>(STATE + <usize>load<u8>(rec + R_RM)) : ld16(ea);
}

/** Whether ModRM.rm names a register. */
@inline
export function isRegister(rec: usize): bool {
  return load<u8>(rec + R_MODRM) >= 0xc0;
}

/** All of EFLAGS, arithmetic flags included. */
export function readFlags(): u32 {
  return load<u32>(STATE + S_EFLAGS) | arithmeticFlags();
}

/** OF SF ZF AF PF CF in their places. Their lazy form: docs/interpreter.md. */
export function arithmeticFlags(): u32 {
  const res = load<i64>(STATE + S_FLAG_RES);
  const aux = load<u32>(STATE + S_FLAG_AUX);
  let flags = aux >> 31;
  flags |= (((aux >> 31) ^ (aux >> 30)) & 1) << 11;
  flags |= (aux & 8) << 1;
  flags |= ((res < 0 ? 1 : 0) ^ (aux & 1)) << 7;
  if (res == 0) flags |= FLAG_ZF;
  if (!(popcnt<u32>((<u32>res ^ (aux >> 8)) & 0xff) & 1)) flags |= FLAG_PF;
  return flags;
}

/** Sets OF SF ZF AF PF CF. */
export function setArithmeticFlags(flags: u32): void {
  const zero = flags & FLAG_ZF;
  const odd: u32 = zero ? 0 : 1;
  const parity: u32 = ((flags >> 2) & 1) ^ 1;
  const carry = flags & 1;
  let aux = (carry << 31) | ((carry ^ ((flags >> 11) & 1)) << 30);
  aux |= ((flags & FLAG_AF) >> 1) | ((flags >> 7) & 1) | ((odd ^ parity) << 8);
  store<u64>(STATE + S_FLAG_RES, odd);
  store<u32>(STATE + S_FLAG_AUX, aux);
}

/** Sets ZF alone, the other arithmetic flags staying as they are. */
export function setZero(zero: bool): void {
  setArithmeticFlags((arithmeticFlags() & ~FLAG_ZF) | (zero ? FLAG_ZF : 0));
}

/** Sets all of EFLAGS; bits that are reserved must be right. Whoever changes TF, IF, VM or AC must see to what follows. */
export function writeFlags(flags: u32): void {
  setArithmeticFlags(flags);
  store<u32>(STATE + S_EFLAGS, (flags & 0x3f_7700) | 2);
}
