/**
 * What happens between instructions: INIT and SIPI, debug traps, NMI, interrupts, instruction breakpoints, and what the
 * debugger wants, in the order of SDM vol. 3 table 6-2.
 */
import { atBreakpoint, takeMet } from './breakpoints';
import { takeRemote } from './code-pages';
import { DEBUG_CODE, DEBUG_DATA, DEBUG_IO, DEBUG_RF, DEBUG_STEP, DEBUG_TRAP, codeBreakpoints } from './debug';
import { EVENT_EXTERNAL, EVENT_FAULT, EVENT_TRAP, deliverAll, deliver_exception } from './deliver';
import { STATE, host_ack_interrupt } from './env';
import { DB, NMI } from './faults';
import {
  ATTN_CPU,
  ATTN_INIT,
  ATTN_INTR,
  ATTN_KICK,
  ATTN_NMI,
  ATTN_REMOTE,
  ATTN_SIPI,
  EVENTS_CONTINUE,
  EVENTS_DEBUG,
  EVENTS_HALT,
  EVENTS_KICKED,
  EVENTS_ONE,
  EVENTS_SHUTDOWN,
  GDB_STEP,
  SEG_CS,
  S_ACTIVITY,
  S_ATTN,
  S_DEBUG_FLAGS,
  S_DR,
  S_DR6_PENDING,
  S_EFLAGS,
  S_EXC_VECTOR,
  S_GDB_FLAGS,
  S_HELD,
  S_NMI_MASKED,
  S_RETIRED,
  S_RIP,
  S_SHADOW,
  S_SHADOW_RETIRED,
  S_SHADOW_RIP,
  S_SHADOW_SEEN,
  S_SIPI_PAGE,
  S_WATCH_HIT,
} from './generated/layout';
import { is64, segBase } from './modes';
import { FLAG_IF, FLAG_RF, FLAG_TF } from './registers';
import { initCpu, memory_map_changed, startCpu } from './reset';

/** ACTIVITY. */
const RUNNING: u32 = 0;
const HALTED: u32 = 1;
const WAITING: u32 = 2;
const SHUT_DOWN: u32 = 3;

/** RETIRED when a single step was armed, when RF was loaded, when the debugger's step began. */
let stepFrom: u64 = 0;
let resumeFrom: u64 = 0;
let gdbFrom: u64 = 0;
let gdbArmed: bool = false;

@inline
function retired(): u64 {
  return load<u64>(STATE + S_RETIRED);
}
@inline
function take(bits: u32): void {
  atomic.and<u32>(STATE + S_ATTN, ~bits);
}
/** Puts bits of ATTN aside until the CPU can take them. */
function hold(bits: u32): void {
  take(bits);
  store<u32>(STATE + S_HELD, load<u32>(STATE + S_HELD) | bits);
}

/** Whether STI or MOV SS still shields this boundary: 0, 1 from interrupts, 2 from debug traps too. */
function shadow(): u32 {
  const kind = load<u32>(STATE + S_SHADOW);
  if (kind == 0) return 0;
  if (load<u64>(STATE + S_RIP) == load<u64>(STATE + S_SHADOW_RIP)) {
    // The boundary before the shielded instruction, unless that jumped to itself.
    if (load<u32>(STATE + S_SHADOW_SEEN) == 0) {
      store<u32>(STATE + S_SHADOW_SEEN, 1);
      store<u64>(STATE + S_SHADOW_RETIRED, retired());
      return kind;
    }
    if (load<u64>(STATE + S_SHADOW_RETIRED) == retired()) return kind;
  }
  store<u32>(STATE + S_SHADOW, 0);
  return 0;
}

/** Debug traps of the instruction that has just ended: data and I/O breakpoints, single step, task switch. */
function debugTraps(shade: u32): void {
  const flags = load<u32>(STATE + S_DEBUG_FLAGS);
  const stepped = (flags & DEBUG_STEP) != 0 && stepFrom != retired();
  if (!(flags & DEBUG_TRAP) && !stepped) return;
  // Behind MOV SS, a single step is lost and breakpoints wait.
  if (shade >= 2) return;
  let dr6 = load<u64>(STATE + S_DR + 48);
  if (flags & DEBUG_TRAP) dr6 = (dr6 & ~0xf) | load<u64>(STATE + S_DR6_PENDING);
  if (stepped) dr6 |= 1 << 14;
  store<u64>(STATE + S_DR + 48, dr6);
  store<u64>(STATE + S_DR6_PENDING, 0);
  store<u32>(STATE + S_DEBUG_FLAGS, flags & ~(DEBUG_TRAP | DEBUG_STEP));
  const dr7 = STATE + S_DR + 56;
  store<u64>(dr7, load<u64>(dr7) & ~(1 << 13));
  store<u32>(STATE + S_ACTIVITY, RUNNING);
  deliverAll(DB, EVENT_TRAP, -1, load<u64>(STATE + S_RIP));
}

/** NMI and maskable interrupts. */
function interrupts(shade: u32): void {
  let attention = atomic.load<u32>(STATE + S_ATTN);
  if (attention & ATTN_NMI) {
    if (load<u32>(STATE + S_NMI_MASKED)) hold(ATTN_NMI);
    else if (shade < 2) {
      take(ATTN_NMI);
      store<u32>(STATE + S_NMI_MASKED, 1);
      store<u32>(STATE + S_ACTIVITY, RUNNING);
      deliverAll(NMI, EVENT_EXTERNAL, -1, load<u64>(STATE + S_RIP));
      return;
    }
  }
  if (!(attention & ATTN_INTR)) return;
  if (!(load<u32>(STATE + S_EFLAGS) & FLAG_IF)) {
    hold(ATTN_INTR);
    return;
  }
  if (shade) return;
  take(ATTN_INTR);
  const vector = host_ack_interrupt();
  if (vector < 0) return;
  // There may be more: look again when interrupts open.
  store<u32>(STATE + S_HELD, load<u32>(STATE + S_HELD) | ATTN_INTR);
  store<u32>(STATE + S_ACTIVITY, RUNNING);
  deliverAll(vector, EVENT_EXTERNAL, -1, load<u64>(STATE + S_RIP));
  if (load<u32>(STATE + S_EFLAGS) & FLAG_IF) {
    store<u32>(STATE + S_HELD, load<u32>(STATE + S_HELD) & ~ATTN_INTR);
    atomic.or<u32>(STATE + S_ATTN, ATTN_INTR);
  }
}

@inline
function linearRip(): u64 {
  const rip = load<u64>(STATE + S_RIP);
  return is64() ? rip : (segBase(SEG_CS) + rip) & 0xffff_ffff;
}

/** Instruction breakpoints at RIP, unless RF suppresses them. RF is cleared when the instruction it was loaded for has ended. */
function instructionBreakpoints(): void {
  const flags = load<u32>(STATE + S_DEBUG_FLAGS);
  const eflags = load<u32>(STATE + S_EFLAGS);
  if (flags & DEBUG_RF) {
    store<u32>(STATE + S_DEBUG_FLAGS, flags & ~DEBUG_RF);
    resumeFrom = retired();
  } else if (eflags & FLAG_RF && resumeFrom != retired()) {
    store<u32>(STATE + S_EFLAGS, eflags & ~FLAG_RF);
  }
  if (load<u32>(STATE + S_EFLAGS) & FLAG_RF) return;
  const hits = codeBreakpoints(linearRip());
  if (hits == 0) return;
  const dr6 = STATE + S_DR + 48;
  store<u64>(dr6, (load<u64>(dr6) & ~0xf) | hits);
  const dr7 = STATE + S_DR + 56;
  store<u64>(dr7, load<u64>(dr7) & ~(1 << 13));
  deliverAll(DB, EVENT_FAULT, -1, load<u64>(STATE + S_RIP));
}

/** Whether the instruction that the debugger wanted to step over has ended. */
function stepDone(): bool {
  if (!(load<u32>(STATE + S_GDB_FLAGS) & GDB_STEP)) {
    gdbArmed = false;
    return false;
  }
  if (gdbArmed && gdbFrom != retired()) {
    gdbArmed = false;
    return true;
  }
  gdbArmed = true;
  gdbFrom = retired();
  return false;
}

/** Called at every instruction boundary that the driver sees; RIP and RETIRED are up to date. Returns one of EVENTS. */
/** Makes the loop end at its next jump, for the driver to look around. */
export function want_attention(): void {
  atomic.or<u32>(STATE + S_ATTN, ATTN_CPU);
}

export function service_events(): i32 {
  const attention = atomic.load<u32>(STATE + S_ATTN);
  if (attention & ATTN_KICK) {
    take(ATTN_KICK);
    return EVENTS_KICKED;
  }
  if (load<u32>(STATE + S_WATCH_HIT) || takeMet()) return EVENTS_DEBUG;
  take(ATTN_CPU);
  if (attention & ATTN_REMOTE) {
    take(ATTN_REMOTE);
    if (takeRemote()) memory_map_changed();
  }
  if (load<i32>(STATE + S_EXC_VECTOR) >= 0) deliver_exception();
  if (attention & ATTN_INIT) {
    take(ATTN_INIT);
    initCpu();
  }
  if (attention & ATTN_SIPI) {
    take(ATTN_SIPI);
    if (load<u32>(STATE + S_ACTIVITY) == WAITING) startCpu(load<u32>(STATE + S_SIPI_PAGE));
  }
  if (load<u32>(STATE + S_ACTIVITY) >= WAITING) {
    hold(atomic.load<u32>(STATE + S_ATTN) & (ATTN_NMI | ATTN_INTR));
    return load<u32>(STATE + S_ACTIVITY) == SHUT_DOWN ? EVENTS_SHUTDOWN : EVENTS_HALT;
  }
  const shade = shadow();
  debugTraps(shade);
  const gdb = load<u32>(STATE + S_GDB_FLAGS);
  if (stepDone()) return EVENTS_DEBUG;
  // Whoever steps wants to see the next instruction, not a handler; but nothing else ends a HLT.
  if (!(gdb & GDB_STEP) || load<u32>(STATE + S_ACTIVITY) == HALTED) interrupts(shade);
  const activity = load<u32>(STATE + S_ACTIVITY);
  if (activity == HALTED) return EVENTS_HALT;
  if (load<u32>(STATE + S_DEBUG_FLAGS) & DEBUG_CODE && shade < 2) instructionBreakpoints();
  if (load<u32>(STATE + S_ACTIVITY) == SHUT_DOWN) return EVENTS_SHUTDOWN;
  if (gdb && atBreakpoint(linearRip())) return EVENTS_DEBUG;
  // The processor's breakpoints and all watchpoints are exact, so while any is armed instructions run one by one.
  let single = (gdb & GDB_STEP) != 0 || (load<u32>(STATE + S_DEBUG_FLAGS) & (DEBUG_CODE | DEBUG_DATA | DEBUG_IO)) != 0;
  if (load<u32>(STATE + S_EFLAGS) & FLAG_TF) {
    // The instruction that begins now traps when it ends.
    store<u32>(STATE + S_DEBUG_FLAGS, load<u32>(STATE + S_DEBUG_FLAGS) | DEBUG_STEP);
    stepFrom = retired();
    single = true;
  }
  // What the shadow keeps waiting is looked at again behind the next instruction.
  if (shade && (atomic.load<u32>(STATE + S_ATTN) || load<u32>(STATE + S_DEBUG_FLAGS) & DEBUG_TRAP)) single = true;
  return single ? EVENTS_ONE : EVENTS_CONTINUE;
}
