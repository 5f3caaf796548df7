/** Power-on, INIT and SIPI: SDM vol. 3 table 10-1 and §9.4.4.3; and what the host does to a CPU from outside. */
import { forgetBreakpoint } from './breakpoints';
import { flush_code_cache } from './code-pages';
import { updateBreakpoints } from './debug';
import { STATE } from './env';
import {
  ATTN_CPU,
  ATTN_KICK,
  S_A20_MASK,
  S_ACTIVITY,
  S_ATTN,
  S_CPL,
  S_CPU_INDEX,
  S_CPU_SIGNATURE,
  S_CR0,
  S_CR2,
  S_CR3,
  S_CR4,
  S_CSTAR,
  S_DEBUG_FLAGS,
  S_DR,
  S_DR6_PENDING,
  S_EFER,
  S_EFLAGS,
  S_EXC_VECTOR,
  S_FCS,
  S_FCW,
  S_FDP,
  S_FDS,
  S_FIP,
  S_FMASK,
  S_FOP,
  S_FPR,
  S_FSW,
  S_FTW,
  S_GDTR_BASE,
  S_GDTR_LIMIT,
  S_HELD,
  S_IDTR_BASE,
  S_IDTR_LIMIT,
  S_KERNEL_GS_BASE,
  S_LDTR_BASE,
  S_LSTAR,
  S_MASK16,
  S_MASK32,
  S_MASK64,
  S_MONITOR_ARMED,
  S_MXCSR,
  S_NMI_MASKED,
  S_PDPTE,
  S_RIP,
  S_SCRATCH,
  S_SEG_ATTR,
  S_SEG_BASE,
  S_SEG_LIMIT,
  S_SEG_SELECTOR,
  S_SHADOW,
  S_STAR,
  S_SYSENTER_CS,
  S_SYSENTER_EIP,
  S_SYSENTER_ESP,
  S_TR_BASE,
  S_TSC_AUX,
  S_TSC_ADJUST,
  S_TSC_OFFSET,
  S_WATCH_HIT,
  S_XCR0,
  S_XMM,
  S_XSS,
  S_ZERO,
  SEG_CS,
  SEG_LDTR,
  SEG_SS,
  SEG_TR,
} from './generated/layout';
import { isReal, isV86, updateFpTrap, updateMode } from './modes';
import { readTsc } from './msr';
import { NO_PAGE, peekTranslate } from './paging';
import { CR0_CD, CR0_ET, CR0_NW, RDX, setArithmeticFlags, setGpr } from './registers';
import { flushTlb, resetTlb } from './address-spaces';

@inline
function set64(field: usize, value: u64): void {
  store<u64>(STATE + field, value);
}
@inline
function set32(field: usize, value: u32): void {
  store<u32>(STATE + field, value);
}

function setSegment(seg: u32, selector: u32, limit: u32, attr: u32): void {
  set32(S_SEG_SELECTOR + seg * 4, selector);
  set32(S_SEG_LIMIT + seg * 4, limit);
  set32(S_SEG_ATTR + seg * 4, attr);
}

/** Constants that records name by their place in the state. */
function setConstants(): void {
  set64(S_ZERO, 0);
  set64(S_MASK16, 0xffff);
  set64(S_MASK32, 0xffff_ffff);
  set64(S_MASK64, ~0);
}

/** What power-on and INIT have in common. */
function resetCore(cr0: u64): void {
  setConstants();
  for (let n: usize = 0; n < 16; n++) setGpr(n, 0);
  setGpr(RDX, load<u32>(STATE + S_CPU_SIGNATURE));
  set64(S_RIP, 0xfff0);
  setArithmeticFlags(0);
  set32(S_EFLAGS, 2);
  for (let seg: u32 = 0; seg < 6; seg++) {
    setSegment(seg, 0, 0xffff, 0x93);
    set64(S_SEG_BASE + seg * 8, 0);
  }
  setSegment(SEG_CS, 0xf000, 0xffff, 0x9b);
  set64(S_SEG_BASE + SEG_CS * 8, 0xffff_0000);
  setSegment(SEG_LDTR, 0, 0xffff, 0x82);
  setSegment(SEG_TR, 0, 0xffff, 0x8b);
  set64(S_LDTR_BASE, 0);
  set64(S_TR_BASE, 0);
  set64(S_GDTR_BASE, 0);
  set64(S_IDTR_BASE, 0);
  set32(S_GDTR_LIMIT, 0xffff);
  set32(S_IDTR_LIMIT, 0xffff);
  set64(S_CR0, cr0);
  set64(S_CR2, 0);
  set64(S_CR3, 0);
  set64(S_CR4, 0);
  set64(S_EFER, 0);
  memory.fill(STATE + S_PDPTE, 0, 32);
  memory.fill(STATE + S_DR, 0, 64);
  set64(S_DR + 48, 0xffff_0ff0);
  set64(S_DR + 56, 0x400);
  set64(S_DR6_PENDING, 0);
  set32(S_CPL, 0);
  set32(S_SHADOW, 0);
  set32(S_NMI_MASKED, 0);
  set32(S_HELD, 0);
  set32(S_MONITOR_ARMED, 0);
  set32(S_DEBUG_FLAGS, 0);
  set32(S_EXC_VECTOR, -1);
  updateBreakpoints();
  updateFpTrap();
  resetTlb();
  updateMode();
}

/** Power-on. The fields that describe the CPU model, the debugger's, and RETIRED stay. */
export function reset_cpu(bootstrap: i32): void {
  resetCore(CR0_CD | CR0_NW | CR0_ET);
  set64(S_XCR0, 1);
  set64(S_STAR, 0);
  set64(S_LSTAR, 0);
  set64(S_CSTAR, 0);
  set64(S_FMASK, 0);
  set64(S_KERNEL_GS_BASE, 0);
  set64(S_SYSENTER_CS, 0);
  set64(S_SYSENTER_ESP, 0);
  set64(S_SYSENTER_EIP, 0);
  set64(S_TSC_AUX, 0);
  set64(S_XSS, 0);
  set64(S_TSC_ADJUST, 0);
  set64(S_TSC_OFFSET, 0);
  set64(S_TSC_OFFSET, 0 - readTsc());
  memory.fill(STATE + S_FPR, 0, 128);
  memory.fill(STATE + S_XMM, 0, 256);
  set32(S_MXCSR, 0x1f80);
  // Power-on, not FNINIT: all registers hold zero, none is empty.
  set32(S_FCW, 0x40);
  set32(S_FSW, 0);
  set32(S_FTW, 0xff);
  set32(S_FOP, 0);
  set32(S_FCS, 0);
  set32(S_FDS, 0);
  set64(S_FIP, 0);
  set64(S_FDP, 0);
  set64(S_A20_MASK, ~0);
  set32(S_WATCH_HIT, 0);
  set32(S_ACTIVITY, bootstrap ? 0 : 2);
  // ROM may have been written anew.
  flush_code_cache();
  atomic.and<u32>(STATE + S_ATTN, ATTN_KICK);
  atomic.or<u32>(STATE + S_ATTN, ATTN_CPU);
}

/** INIT: the first CPU starts at the reset vector, the others wait for SIPI. Caches' bits, x87, SSE and most MSRs stay. */
export function initCpu(): void {
  const kept = load<u64>(STATE + S_CR0) & (CR0_CD | CR0_NW);
  resetCore(kept | CR0_ET);
  set32(S_ACTIVITY, load<u32>(STATE + S_CPU_INDEX) == 0 ? 0 : 2);
}

/** SIPI: real mode at the start of a page below 1 MiB. */
export function startCpu(page: u32): void {
  const selector = (page & 0xff) << 8;
  set32(S_SEG_SELECTOR + SEG_CS * 4, selector);
  set64(S_SEG_BASE + SEG_CS * 8, (<u64>selector) << 4);
  set64(S_RIP, 0);
  set32(S_ACTIVITY, 0);
  updateMode();
}

/** The state was written from outside: brings everything derived up to date. */
export function state_restored(): void {
  setConstants();
  const dpl = (load<u32>(STATE + S_SEG_ATTR + SEG_SS * 4) >> 5) & 3;
  set32(S_CPL, isReal() ? 0 : isV86() ? 3 : dpl);
  set32(S_DEBUG_FLAGS, 0);
  set64(S_DR6_PENDING, 0);
  set32(S_WATCH_HIT, 0);
  forgetBreakpoint();
  updateBreakpoints();
  updateFpTrap();
  resetTlb();
  updateMode();
  atomic.or<u32>(STATE + S_ATTN, ATTN_CPU);
}

/** Guest-physical addresses mean something else now, or A20 has changed. Decoded code goes by host page and stays. */
export function memory_map_changed(): void {
  flushTlb();
  atomic.or<u32>(STATE + S_ATTN, ATTN_CPU);
}

/** The physical address of the linear address in SCRATCH, put in its place; 0 when nothing is mapped there. */
export function debug_translate(): i32 {
  const pa = peekTranslate(load<u64>(STATE + S_SCRATCH));
  if (pa == NO_PAGE) return 0;
  store<u64>(STATE + S_SCRATCH, pa);
  return 1;
}
