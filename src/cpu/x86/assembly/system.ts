/** System instructions without a family: HLT, INVLPG, INVPCID, MONITOR, cache control, CLAC, STAC. SDM vol. 2. */
import { STATE, fence } from './env';
import { faulted, gp0, ud } from './faults';
import {
  NEXT_ATTENTION,
  NEXT_CONTINUE,
  NEXT_FAULT,
  R_REG,
  S_ACTIVITY,
  S_CR4,
  S_EFLAGS,
  S_MONITOR_ADDR,
  S_MONITOR_ARMED,
  R_SEG,
} from './generated/layout';
import { isCanonical, ld64, ld8 } from './mmu';
import { cpl, is64 } from './modes';
import { CR4_PCIDE } from './paging';
import { FLAG_AC, RAX, RCX, gpr, readSlot } from './registers';
import { addressMask, stringAddress } from './string-steps';
import { flushPage, flushPageOf, flushPcid, flushSpaces, flushTlb } from './address-spaces';
import { updateContext } from './tlb';

export function x_hlt(rec: usize, ea: u64): i32 {
  if (cpl() != 0) return gp0();
  store<u32>(STATE + S_ACTIVITY, 1);
  return NEXT_ATTENTION;
}

function privileged(): i32 {
  return cpl() != 0 ? gp0() : NEXT_CONTINUE;
}

/** Caches are not modelled. */
export function x_invd(rec: usize, ea: u64): i32 {
  return privileged();
}
export function x_wbinvd(rec: usize, ea: u64): i32 {
  return privileged();
}

export function x_invlpg(rec: usize, ea: u64): i32 {
  if (cpl() != 0) return gp0();
  fence();
  if (!is64()) ea &= 0xffff_ffff;
  // No page has a translation at an address that is not canonical.
  if (isCanonical(ea)) flushPage(ea);
  // The page may be this one: the next instruction is fetched anew.
  return NEXT_ATTENTION;
}

/** INVPCID, SDM vol. 2: an address, a PCID, everything, everything but global pages. */
export function x_invpcid(rec: usize, ea: u64): i32 {
  if (cpl() != 0) return gp0();
  const type = readSlot(rec + R_REG, is64() ? 2 : 1);
  const pcid = ld64(ea);
  if (faulted()) return NEXT_FAULT;
  const lin = ld64(ea + 8);
  if (faulted()) return NEXT_FAULT;
  if (type > 3) return gp0();
  const enabled = (load<u64>(STATE + S_CR4) & CR4_PCIDE) != 0;
  if (type < 2 && (pcid >> 12 || (!enabled && pcid))) return gp0();
  if (type == 0) {
    if (!isCanonical(lin)) return gp0();
    flushPageOf(<u32>pcid, lin);
  } else if (type == 1) flushPcid(<u32>pcid);
  else if (type == 2) flushTlb();
  else flushSpaces();
  return NEXT_ATTENTION;
}

function setAc(value: bool): i32 {
  if (cpl() != 0) return ud();
  const flags = load<u32>(STATE + S_EFLAGS);
  store<u32>(STATE + S_EFLAGS, value ? flags | FLAG_AC : flags & ~FLAG_AC);
  updateContext();
  return NEXT_CONTINUE;
}

export function x_clac(rec: usize, ea: u64): i32 {
  return setAc(false);
}
export function x_stac(rec: usize, ea: u64): i32 {
  return setAc(true);
}

/** RSM outside system management mode, which is not modelled. */
export function x_rsm(rec: usize, ea: u64): i32 {
  return ud();
}

export function x_monitor(rec: usize, ea: u64): i32 {
  if (cpl() != 0) return ud();
  if (<u32>gpr(RCX) != 0) return gp0();
  const lin = stringAddress(load<u8>(rec + R_SEG), gpr(RAX) & addressMask(rec), 1, false);
  if (faulted()) return NEXT_FAULT;
  ld8(lin);
  if (faulted()) return NEXT_FAULT;
  store<u64>(STATE + S_MONITOR_ADDR, lin);
  store<u32>(STATE + S_MONITOR_ARMED, 1);
  return NEXT_CONTINUE;
}

/** MWAIT may end for reasons of the implementation's own (SDM vol. 2): here it always does at once. */
export function x_mwait(rec: usize, ea: u64): i32 {
  if (cpl() != 0) return ud();
  if (gpr(RCX) >> 1) return gp0();
  store<u32>(STATE + S_MONITOR_ARMED, 0);
  return NEXT_CONTINUE;
}
