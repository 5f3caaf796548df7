/** RDMSR, WRMSR, time-stamp counter, CPUID and other sources of information. SDM vol. 4 chapter 2. */
import { STATE, fence, host_cpuid, host_now, host_random, host_rdmsr, host_wrmsr } from './env';
import { gp0 } from './faults';
import {
  NEXT_ATTENTION,
  NEXT_CONTINUE,
  R_RM,
  SEG_FS,
  SEG_GS,
  S_ATTN,
  S_CPU_CAPS,
  S_CR0,
  S_CR4,
  S_CSTAR,
  S_EFER,
  S_EFER_ALLOWED,
  S_FMASK,
  S_KERNEL_GS_BASE,
  S_LSTAR,
  S_SCRATCH,
  S_SEG_BASE,
  S_STAR,
  S_SYSENTER_CS,
  S_SYSENTER_EIP,
  S_SYSENTER_ESP,
  S_TSC_ADJUST,
  S_TSC_AUX,
  S_TSC_FREQUENCY,
  S_TSC_OFFSET,
  S_XSS,
} from './generated/layout';
import { isCanonical } from './mmu';
import { cpl, isReal } from './modes';
import { CR0_PG, EFER_LMA, EFER_LME, EFER_NXE } from './paging';
import { CR4_TSD, RAX, RCX, RDX, gpr, operandSize, setArithmeticFlags, setGpr, writeSlot } from './registers';
import { flushTlb } from './address-spaces';

const TSC: u32 = 0x10;
const TSC_ADJUST: u32 = 0x3b;
/** Bit of CPU_CAPS. */
const HAS_TSC_ADJUST: u32 = 1 << 2;
const SYSENTER_CS: u32 = 0x174;
const SYSENTER_ESP: u32 = 0x175;
const SYSENTER_EIP: u32 = 0x176;
const XSS: u32 = 0xda0;
const EFER: u32 = 0xc000_0080;
const STAR: u32 = 0xc000_0081;
const LSTAR: u32 = 0xc000_0082;
const CSTAR: u32 = 0xc000_0083;
const FMASK: u32 = 0xc000_0084;
const FS_BASE: u32 = 0xc000_0100;
const GS_BASE: u32 = 0xc000_0101;
const KERNEL_GS_BASE: u32 = 0xc000_0102;
const TSC_AUX: u32 = 0xc000_0103;

/** The time-stamp counter without its offset. */
@inline
function ticks(): u64 {
  return <u64>Math.floor((host_now() * load<f64>(STATE + S_TSC_FREQUENCY)) / 1e9);
}

export function readTsc(): u64 {
  return ticks() + load<u64>(STATE + S_TSC_OFFSET);
}

@inline
function hasLongMode(): bool {
  return (load<u64>(STATE + S_EFER_ALLOWED) & EFER_LME) != 0;
}

/** The state field that holds an MSR of 64 bits as it is; 0 for none. */
function fieldOf(index: u32): usize {
  switch (index) {
    case SYSENTER_CS:
      return S_SYSENTER_CS;
    case SYSENTER_ESP:
      return S_SYSENTER_ESP;
    case SYSENTER_EIP:
      return S_SYSENTER_EIP;
  }
  if (!hasLongMode()) return 0;
  switch (index) {
    case XSS:
      return S_XSS;
    case STAR:
      return S_STAR;
    case LSTAR:
      return S_LSTAR;
    case CSTAR:
      return S_CSTAR;
    case FMASK:
      return S_FMASK;
    case FS_BASE:
      return S_SEG_BASE + SEG_FS * 8;
    case GS_BASE:
      return S_SEG_BASE + SEG_GS * 8;
    case KERNEL_GS_BASE:
      return S_KERNEL_GS_BASE;
    case TSC_AUX:
      return S_TSC_AUX;
    default:
      return 0;
  }
}

export function x_rdmsr(rec: usize, ea: u64): i32 {
  if (cpl() != 0) return gp0();
  const index = <u32>gpr(RCX);
  const field = fieldOf(index);
  let value: u64;
  if (field) value = load<u64>(STATE + field);
  else if (index == TSC) value = readTsc();
  else if (index == TSC_ADJUST && load<u32>(STATE + S_CPU_CAPS) & HAS_TSC_ADJUST)
    value = load<u64>(STATE + S_TSC_ADJUST);
  else if (index == EFER && load<u64>(STATE + S_EFER_ALLOWED)) value = load<u64>(STATE + S_EFER);
  else {
    if (!host_rdmsr(index)) return gp0();
    value = load<u64>(STATE + S_SCRATCH);
  }
  setGpr(RAX, value & 0xffff_ffff);
  setGpr(RDX, value >> 32);
  return NEXT_CONTINUE;
}

function writeEfer(value: u64): i32 {
  const before = load<u64>(STATE + S_EFER);
  if (value & ~load<u64>(STATE + S_EFER_ALLOWED)) return gp0();
  const changed = before ^ value;
  if (changed & EFER_LME && load<u64>(STATE + S_CR0) & CR0_PG) return gp0();
  // LMA is the processor's own.
  store<u64>(STATE + S_EFER, (value & ~EFER_LMA) | (before & EFER_LMA));
  if (changed & EFER_NXE) flushTlb();
  return NEXT_CONTINUE;
}

/** Adds to the time-stamp counter; IA32_TSC_ADJUST keeps the sum (SDM vol. 3, "IA32_TSC_ADJUST Register and TSC Offset"). */
function moveTsc(by: u64): void {
  store<u64>(STATE + S_TSC_OFFSET, load<u64>(STATE + S_TSC_OFFSET) + by);
  store<u64>(STATE + S_TSC_ADJUST, load<u64>(STATE + S_TSC_ADJUST) + by);
  // The local APIC's deadline is in ticks of this counter: the host hears of it, whatever it answers.
  const tsc = readTsc();
  host_wrmsr(TSC, <u32>tsc, <u32>(tsc >> 32));
}

export function x_wrmsr(rec: usize, ea: u64): i32 {
  if (cpl() != 0) return gp0();
  fence();
  const index = <u32>gpr(RCX);
  const value = (gpr(RAX) & 0xffff_ffff) | (gpr(RDX) << 32);
  const field = fieldOf(index);
  if (field) {
    switch (index) {
      case SYSENTER_ESP:
      case SYSENTER_EIP:
      case LSTAR:
      case CSTAR:
      case FS_BASE:
      case GS_BASE:
      case KERNEL_GS_BASE:
        if (!isCanonical(value)) return gp0();
        break;
      case FMASK:
      case TSC_AUX:
        if (value >> 32) return gp0();
        break;
      case XSS:
        // No supervisor state component is implemented.
        if (value) return gp0();
        break;
      default:
        break;
    }
    store<u64>(STATE + field, value);
    return NEXT_CONTINUE;
  }
  if (index == TSC) {
    moveTsc(value - readTsc());
    return NEXT_CONTINUE;
  }
  if (index == TSC_ADJUST && load<u32>(STATE + S_CPU_CAPS) & HAS_TSC_ADJUST) {
    moveTsc(value - load<u64>(STATE + S_TSC_ADJUST));
    return NEXT_CONTINUE;
  }
  if (index == EFER && load<u64>(STATE + S_EFER_ALLOWED)) return writeEfer(value);
  const answer = host_wrmsr(index, <u32>value, <u32>(value >> 32));
  return answer == 0 ? gp0() : answer == 2 ? NEXT_ATTENTION : NEXT_CONTINUE;
}

@inline
function setTsc(): void {
  const tsc = readTsc();
  setGpr(RAX, tsc & 0xffff_ffff);
  setGpr(RDX, tsc >> 32);
}

/** What is due by the time that was read comes before the guest can compare. */
@inline
function afterTime(): i32 {
  return load<u32>(STATE + S_ATTN) ? NEXT_ATTENTION : NEXT_CONTINUE;
}

@inline
function mayReadTsc(): bool {
  return isReal() || cpl() == 0 || !(load<u64>(STATE + S_CR4) & CR4_TSD);
}

export function x_rdtsc(rec: usize, ea: u64): i32 {
  if (!mayReadTsc()) return gp0();
  setTsc();
  return afterTime();
}

export function x_rdtscp(rec: usize, ea: u64): i32 {
  if (!mayReadTsc()) return gp0();
  setTsc();
  setGpr(RCX, load<u64>(STATE + S_TSC_AUX) & 0xffff_ffff);
  return afterTime();
}

/** There are no performance counters, so every number is out of range. */
export function x_rdpmc(rec: usize, ea: u64): i32 {
  return gp0();
}

export function x_cpuid(rec: usize, ea: u64): i32 {
  host_cpuid(<u32>gpr(RAX), <u32>gpr(RCX));
  // It serialises: what other CPUs have written to code counts from here on.
  fence();
  return load<u32>(STATE + S_ATTN) ? NEXT_ATTENTION : NEXT_CONTINUE;
}

function random(rec: usize): i32 {
  host_random(STATE + S_SCRATCH, 8);
  writeSlot(rec + R_RM, operandSize(rec), load<u64>(STATE + S_SCRATCH));
  // There is always entropy: CF; the others are cleared.
  setArithmeticFlags(1);
  return NEXT_CONTINUE;
}

export function x_rdrand(rec: usize, ea: u64): i32 {
  return random(rec);
}
export function x_rdseed(rec: usize, ea: u64): i32 {
  return random(rec);
}
