/** Port input and output, SDM vol. 1 chapter 18. */
import { noteIo } from './debug';
import { STATE, pio_read, pio_write } from './env';
import { faulted, gp0 } from './faults';
import { iopl } from './flag-control';
import {
  NEXT_CONTINUE,
  NEXT_FAULT,
  R_IMM,
  R_SEG,
  S_GPR,
  S_TR_BASE,
  SEG_ES,
  SEG_TR,
  TLB_WRITE,
} from './generated/layout';
import { rmw_slow, sysLd16 } from './mmu';
import { cpl, isReal, isV86, segAttr, segLimit } from './modes';
import { RAX, RDI, RDX, RSI, gpr, operandSize, setGpr } from './registers';
import {
  addressMask,
  advance,
  beginString,
  endString,
  loadElement,
  stepDone,
  storeElement,
  stringAddress,
} from './string-steps';
import { probe } from './tlb';

/** Whether the program may use `size` ports from `port` on; #GP(0) if not. SDM vol. 1 §18.5. */
export function mayUsePort(port: u32, size: u32): bool {
  noteIo(port, size);
  if (isReal() || (!isV86() && cpl() <= iopl())) return true;
  // Only a 32-bit (or 64-bit) TSS has an I/O bitmap.
  const limit = segLimit(SEG_TR);
  if (segAttr(SEG_TR) & 8 && limit >= 103) {
    const tss = load<u64>(STATE + S_TR_BASE);
    const at = sysLd16(tss + 102) + (port >> 3);
    if (faulted()) return false;
    // Two bytes are read always, so the map ends with a byte of ones.
    if (at + 1 <= limit) {
      const bits = sysLd16(tss + at);
      if (faulted()) return false;
      if (!((bits >> (port & 7)) & ((1 << size) - 1))) return true;
    }
  }
  gp0();
  return false;
}

function input(port: u32, size: u32): i32 {
  if (!mayUsePort(port, size)) return NEXT_FAULT;
  const value = pio_read(port, size);
  const rax = STATE + S_GPR + RAX * 8;
  if (size == 1) store<u8>(rax, <u8>value);
  else if (size == 2) store<u16>(rax, <u16>value);
  else setGpr(RAX, value);
  return NEXT_CONTINUE;
}

function output(port: u32, size: u32): i32 {
  if (!mayUsePort(port, size)) return NEXT_FAULT;
  const value = <u32>gpr(RAX);
  pio_write(port, size, size == 4 ? value : size == 2 ? value & 0xffff : value & 0xff);
  return NEXT_CONTINUE;
}

/** Ports are 32 bits wide at most. */
@inline
function widthOf(rec: usize): u32 {
  return operandSize(rec) ? 4 : 2;
}
@inline
function portOf(rec: usize): u32 {
  return load<u8>(rec + R_IMM);
}
@inline
function dx(): u32 {
  return <u32>gpr(RDX) & 0xffff;
}

export function x_in_al_imm(rec: usize, ea: u64): i32 {
  return input(portOf(rec), 1);
}
export function x_in_imm(rec: usize, ea: u64): i32 {
  return input(portOf(rec), widthOf(rec));
}
export function x_in_al_dx(rec: usize, ea: u64): i32 {
  return input(dx(), 1);
}
export function x_in_dx(rec: usize, ea: u64): i32 {
  return input(dx(), widthOf(rec));
}
export function x_out_al_imm(rec: usize, ea: u64): i32 {
  return output(portOf(rec), 1);
}
export function x_out_imm(rec: usize, ea: u64): i32 {
  return output(portOf(rec), widthOf(rec));
}
export function x_out_al_dx(rec: usize, ea: u64): i32 {
  return output(dx(), 1);
}
export function x_out_dx(rec: usize, ea: u64): i32 {
  return output(dx(), widthOf(rec));
}

function inputString(rec: usize, size: u32): i32 {
  if (!beginString(rec, size)) return NEXT_CONTINUE;
  if (!mayUsePort(dx(), size)) return NEXT_FAULT;
  const mask = addressMask(rec);
  do {
    const to = stringAddress(SEG_ES, gpr(RDI) & mask, size, true);
    if (faulted()) return NEXT_FAULT;
    // The destination must be known to take it before the port gives it away.
    if (!probe(TLB_WRITE, to, size) && !rmw_slow(to, size)) return NEXT_FAULT;
    if (!storeElement(to, pio_read(dx(), size), size)) return NEXT_FAULT;
    advance(2);
  } while (!stepDone());
  return endString(rec);
}

function outputString(rec: usize, size: u32): i32 {
  if (!beginString(rec, size)) return NEXT_CONTINUE;
  if (!mayUsePort(dx(), size)) return NEXT_FAULT;
  const mask = addressMask(rec);
  const seg: u32 = load<u8>(rec + R_SEG);
  do {
    const from = stringAddress(seg, gpr(RSI) & mask, size, false);
    if (faulted()) return NEXT_FAULT;
    const value = <u32>loadElement(from, size);
    if (faulted()) return NEXT_FAULT;
    pio_write(dx(), size, value);
    advance(1);
  } while (!stepDone());
  return endString(rec);
}

export function x_insb(rec: usize, ea: u64): i32 {
  return inputString(rec, 1);
}
export function x_ins(rec: usize, ea: u64): i32 {
  return inputString(rec, widthOf(rec));
}
export function x_outsb(rec: usize, ea: u64): i32 {
  return outputString(rec, 1);
}
export function x_outs(rec: usize, ea: u64): i32 {
  return outputString(rec, widthOf(rec));
}
