/** Changes of EFLAGS that have consequences: POPF, IRET, STI, CLI and what they share. */
import { DEBUG_CODE, DEBUG_RF } from './debug';
import { STATE } from './env';
import { faulted, gp0 } from './faults';
import { frameCommit, framePop, framePush, openCurrent } from './frames';
import {
  ATTN_INTR,
  NEXT_ATTENTION,
  NEXT_CONTINUE,
  NEXT_FAULT,
  NEXT_JUMP_ATTENTION,
  R_LENGTH,
  R_OFFSET,
  S_ATTN,
  S_CODE_BASE,
  S_CR4,
  S_DEBUG_FLAGS,
  S_EFLAGS,
  S_MODE_KEY,
  S_RIP,
  S_SHADOW,
  S_SHADOW_RIP,
  S_SHADOW_SEEN,
} from './generated/layout';
import { attend, cpl, isReal, isV86, releaseEvents } from './modes';
import {
  CR4_PVI,
  CR4_VME,
  FLAG_AC,
  FLAG_DF,
  FLAG_ID,
  FLAG_IF,
  FLAG_IOPL,
  FLAG_NT,
  FLAG_RF,
  FLAG_TF,
  FLAG_VIF,
  FLAG_VIP,
  FLAG_VM,
  FLAGS_ARITHMETIC,
  operandSize,
  readFlags,
  writeFlags,
} from './registers';
import { updateContext } from './tlb';

@inline
export function iopl(): u32 {
  return (load<u32>(STATE + S_EFLAGS) >> 12) & 3;
}

/** RIP of a record's instruction. */
@inline
export function ripOf(rec: usize): u64 {
  return load<u64>(STATE + S_CODE_BASE) + load<u16>(rec + R_OFFSET);
}

/** RIP of the instruction after a record's, as wide as the code. */
@inline
export function nextRip(rec: usize): u64 {
  return cutRip(ripOf(rec) + load<u8>(rec + R_LENGTH));
}

/** IP and EIP wrap; RIP does not. */
@inline
export function cutRip(rip: u64): u64 {
  const size = load<u32>(STATE + S_MODE_KEY) & 3;
  return size == 2 ? rip : size == 1 ? rip & 0xffff_ffff : rip & 0xffff;
}

/** Replaces the flags that `mask` names and sees to what follows; the caller calls updateContext or updateMode if AC is one of them. */
export function changeFlags(image: u32, mask: u32): void {
  const before = (mask & FLAGS_ARITHMETIC) == FLAGS_ARITHMETIC ? load<u32>(STATE + S_EFLAGS) : readFlags();
  const flags = (before & ~mask) | (image & mask);
  writeFlags(flags);
  if (flags & FLAG_IF) releaseEvents(ATTN_INTR);
  if (flags & FLAG_TF) attend();
}

/**
 * RF as IRET loads it: kept only where instruction breakpoints could look at it, since each instruction would have to
 * clear it again.
 */
export function loadResumeFlag(image: u32): void {
  if (!(image & FLAG_RF) || !(load<u32>(STATE + S_DEBUG_FLAGS) & DEBUG_CODE)) return;
  store<u32>(STATE + S_EFLAGS, load<u32>(STATE + S_EFLAGS) | FLAG_RF);
  store<u32>(STATE + S_DEBUG_FLAGS, load<u32>(STATE + S_DEBUG_FLAGS) | DEBUG_RF);
  attend();
}

/** Holds interrupts (1: STI) or debug traps too (2: MOV SS, POP SS) off until the instruction after `rec` has ended. */
export function setShadow(rec: usize, kind: u32): void {
  store<u32>(STATE + S_SHADOW, kind);
  store<u32>(STATE + S_SHADOW_SEEN, 0);
  store<u64>(STATE + S_SHADOW_RIP, nextRip(rec));
}

/** STI, SDM vol. 2 table 4-19. */
export function x_sti(rec: usize, ea: u64): i32 {
  const flags = load<u32>(STATE + S_EFLAGS);
  if (isReal() || cpl() <= iopl()) {
    if (!(flags & FLAG_IF)) {
      store<u32>(STATE + S_EFLAGS, flags | FLAG_IF);
      setShadow(rec, 1);
      releaseEvents(ATTN_INTR);
      // One that waits is taken right behind the next instruction: STI, NOP lets everything in.
      if (atomic.load<u32>(STATE + S_ATTN) & ATTN_INTR) return NEXT_ATTENTION;
    }
    return NEXT_CONTINUE;
  }
  const virtual = isV86() ? CR4_VME : CR4_PVI;
  if (!(load<u64>(STATE + S_CR4) & virtual) || cpl() != 3 || flags & FLAG_VIP) return gp0();
  store<u32>(STATE + S_EFLAGS, flags | FLAG_VIF);
  return NEXT_CONTINUE;
}

/**
 * Events are polled at jumps, so an interrupt may be pending that the processor would have taken before an instruction
 * that closes interrupts (a loop of STI, NOP, CLI lives by that). True: RIP is set to the instruction, so that the
 * interrupt is taken and the instruction comes again.
 */
function closesInterrupts(rec: usize): bool {
  if (!(load<u32>(STATE + S_EFLAGS) & FLAG_IF) || !(atomic.load<u32>(STATE + S_ATTN) & ATTN_INTR)) return false;
  const rip = cutRip(ripOf(rec));
  if (load<u32>(STATE + S_SHADOW) != 0 && load<u64>(STATE + S_SHADOW_RIP) == rip) return false;
  store<u64>(STATE + S_RIP, rip);
  return true;
}

/** CLI. */
export function x_cli(rec: usize, ea: u64): i32 {
  const flags = load<u32>(STATE + S_EFLAGS);
  if (isReal() || cpl() <= iopl()) {
    if (closesInterrupts(rec)) return NEXT_JUMP_ATTENTION;
    store<u32>(STATE + S_EFLAGS, flags & ~FLAG_IF);
    return NEXT_CONTINUE;
  }
  const virtual = isV86() ? CR4_VME : CR4_PVI;
  if (!(load<u64>(STATE + S_CR4) & virtual) || cpl() != 3) return gp0();
  store<u32>(STATE + S_EFLAGS, flags & ~FLAG_VIF);
  return NEXT_CONTINUE;
}

/** PUSHF. */
export function x_pushf(rec: usize, ea: u64): i32 {
  let image = readFlags() & ~(FLAG_VM | FLAG_RF);
  const size = operandSize(rec);
  if (isV86() && iopl() < 3) {
    if (size != 0 || !(load<u64>(STATE + S_CR4) & CR4_VME)) return gp0();
    image = (image & ~FLAG_IF) | FLAG_IOPL | (image & FLAG_VIF ? FLAG_IF : 0);
  }
  openCurrent();
  if (!framePush(image, 2 << size)) return NEXT_FAULT;
  frameCommit();
  return NEXT_CONTINUE;
}

/** Flags that POPF always loads. */
const POPF_ALWAYS: u32 = FLAGS_ARITHMETIC | FLAG_TF | FLAG_DF | FLAG_NT;

/** POPF, SDM vol. 2 table 4-16. */
export function x_popf(rec: usize, ea: u64): i32 {
  const size = operandSize(rec);
  const v86 = isV86();
  // CR4.PVI changes STI and CLI only (SDM vol. 3 §20.4).
  const virtual = v86 && iopl() < 3;
  if (virtual && (size != 0 || !(load<u64>(STATE + S_CR4) & CR4_VME))) return gp0();
  openCurrent();
  let image = <u32>framePop(2 << size);
  if (faulted()) return NEXT_FAULT;
  let mask = POPF_ALWAYS;
  // 32 and 64 bits load AC and ID too.
  if (size) mask |= FLAG_AC | FLAG_ID;
  if (virtual) {
    // IF goes to VIF; what would open interrupts while one waits is the monitor's business.
    if (image & FLAG_TF || (image & FLAG_IF && load<u32>(STATE + S_EFLAGS) & FLAG_VIP)) return gp0();
    image = (image & ~FLAG_VIF) | (image & FLAG_IF ? FLAG_VIF : 0);
    mask |= FLAG_VIF;
  } else if (isReal() || cpl() == 0) {
    mask |= FLAG_IF | FLAG_IOPL;
  } else if (cpl() <= iopl()) {
    mask |= FLAG_IF;
  }
  // Events are polled at jumps: take now what would have come before interrupts were closed.
  if (mask & FLAG_IF && !(image & FLAG_IF) && closesInterrupts(rec)) return NEXT_JUMP_ATTENTION;
  frameCommit();
  changeFlags(image, mask);
  if (mask & FLAG_AC) updateContext();
  // A single step counts from the very next instruction on, and an interrupt that waits is taken before it.
  const waiting = atomic.load<u32>(STATE + S_ATTN) & ATTN_INTR && load<u32>(STATE + S_EFLAGS) & FLAG_IF;
  return image & FLAG_TF || waiting ? NEXT_ATTENTION : NEXT_CONTINUE;
}
