/**
 * Breakpoints of a debugger. Code at the same place of any page is decoded each time it comes up (see `decode_straddle`), so
 * that the loop runs at full speed everywhere else.
 */
import { flush_code_cache } from './code-pages';
import { STATE } from './env';
import { GDB_BREAKPOINTS, S_BREAK_ADDR, S_BREAK_COUNT, S_BREAK_OFFSETS, S_GDB_FLAGS } from './generated/layout';

/** Bytes that an instruction has at most, SDM vol. 2 §2.3.11. */
const MAX_LENGTH: u32 = 15;

/** A bit for each offset within a page at which there is a breakpoint, or was one. */
const OFFSETS: usize = STATE + S_BREAK_OFFSETS;

/** The debugger was told of the breakpoint at `passAt`: the CPU may go on from there. */
let passing: bool = false;
let passAt: u64 = 0;
/** The loop met one that the debugger has to be told of. */
let met: bool = false;

/** Whether code at an offset of its page has to be looked at each time. */
@inline
export function mayBreak(offset: u32): bool {
  return ((<u32>load<u8>(OFFSETS + (offset >> 3)) >> (offset & 7)) & 1) != 0;
}

/** BREAK_ADDR has new addresses. */
export function breakpoints_changed(): void {
  let isNew = false;
  const count: usize = load<u32>(STATE + S_BREAK_COUNT);
  for (let n: usize = 0; n < count; n++) {
    const offset = <u32>load<u64>(STATE + S_BREAK_ADDR + n * 8) & 0xfff;
    // One that straddles two pages may have been translated while nobody wanted to be told.
    if (mayBreak(offset) && offset + MAX_LENGTH <= 4096) continue;
    isNew = true;
    const at = OFFSETS + (offset >> 3);
    const bit: u32 = (<u32>1) << (offset & 7);
    store<u8>(at, <u8>(<u32>load<u8>(at) | bit));
  }
  if (isNew) flush_code_cache();
}

/** The CPU is elsewhere, by the debugger's doing. */
export function forgetBreakpoint(): void {
  passing = false;
  met = false;
}

function isBreakpoint(lin: u64): bool {
  if (!(load<u32>(STATE + S_GDB_FLAGS) & GDB_BREAKPOINTS)) return false;
  const count: usize = load<u32>(STATE + S_BREAK_COUNT);
  for (let n: usize = 0; n < count; n++) {
    if (load<u64>(STATE + S_BREAK_ADDR + n * 8) == lin) return true;
  }
  return false;
}

/** At an instruction boundary: whether the debugger is to be told of a breakpoint at `lin`. */
export function atBreakpoint(lin: u64): bool {
  if ((passing && passAt == lin) || !isBreakpoint(lin)) return false;
  passing = true;
  passAt = lin;
  return true;
}

/** In the loop: whether it must not go on with the instruction at `lin`. */
export function meetsBreakpoint(lin: u64): bool {
  if (passing && passAt == lin) {
    passing = false;
    return false;
  }
  if (!isBreakpoint(lin)) return false;
  passing = true;
  passAt = lin;
  met = true;
  return true;
}

/** Whether the loop was left for a breakpoint. */
export function takeMet(): bool {
  const was = met;
  met = false;
  return was;
}
