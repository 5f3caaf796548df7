/** Raising exceptions: what `deliver_exception` later delivers. Vectors and error codes: SDM vol. 3 §6.15. */
import { STATE } from './env';
import { NEXT_FAULT, S_EXC_ADDR, S_EXC_ERROR, S_EXC_VECTOR } from './generated/layout';

export const DE: i32 = 0;
export const DB: i32 = 1;
export const NMI: i32 = 2;
export const BP: i32 = 3;
export const OF: i32 = 4;
export const BR: i32 = 5;
export const UD: i32 = 6;
export const NM: i32 = 7;
export const DF: i32 = 8;
export const TS: i32 = 10;
export const NP: i32 = 11;
export const SS: i32 = 12;
export const GP: i32 = 13;
export const PF: i32 = 14;
export const MF: i32 = 16;
export const AC: i32 = 17;
export const MC: i32 = 18;
export const XM: i32 = 19;

/** Page-fault error code, SDM vol. 3 §4.7. */
export const PF_P: i32 = 1;
export const PF_W: i32 = 2;
export const PF_U: i32 = 4;
export const PF_RSVD: i32 = 8;
export const PF_I: i32 = 16;

/** The pending #GP(0) is for an address that is not canonical. */
let ofAddress: bool = false;

/** Makes an exception without an error code pending. */
export function raise(vector: i32): i32 {
  ofAddress = false;
  store<i32>(STATE + S_EXC_VECTOR, vector);
  store<i32>(STATE + S_EXC_ERROR, -1);
  return NEXT_FAULT;
}

/** Makes an exception with an error code pending. */
export function raiseCode(vector: i32, code: i32): i32 {
  ofAddress = false;
  store<i32>(STATE + S_EXC_VECTOR, vector);
  store<i32>(STATE + S_EXC_ERROR, code);
  return NEXT_FAULT;
}

/** Makes a page fault pending; CR2 is set when it is delivered. */
export function raisePageFault(addr: u64, code: i32): i32 {
  store<u64>(STATE + S_EXC_ADDR, addr);
  return raiseCode(PF, code);
}

/** Whether an exception is pending. */
export function faulted(): bool {
  return load<i32>(STATE + S_EXC_VECTOR) >= 0;
}

/** Forgets the pending exception. */
export function clearFault(): void {
  store<i32>(STATE + S_EXC_VECTOR, -1);
}

export function gp0(): i32 {
  return raiseCode(GP, 0);
}
/** #GP(0) for an address that is not canonical, which is #SS(0) when the operand is in SS (SDM vol. 1 §3.3.7.1). */
export function notCanonical(): i32 {
  gp0();
  ofAddress = true;
  return NEXT_FAULT;
}
/** Whether the pending exception came from `notCanonical`. */
export function isOfAddress(): bool {
  return ofAddress;
}
export function ss0(): i32 {
  return raiseCode(SS, 0);
}
export function ud(): i32 {
  return raise(UD);
}
export function nm(): i32 {
  return raise(NM);
}
export function mf(): i32 {
  return raise(MF);
}
export function xm(): i32 {
  return raise(XM);
}
