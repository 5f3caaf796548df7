/** Memory operands in segmented modes, and those whose address is found late. */
import { STATE } from './env';
import { GP, SS, raiseCode } from './faults';
import {
  NEXT_CONTINUE,
  NEXT_FAULT,
  R_BASE,
  R_DISP,
  R_IMM2,
  R_INDEX,
  R_MASK_SLOT,
  R_SCALE,
  R_SEG,
  S_EA,
  SEG_SS,
} from './generated/layout';
import { isCanonical } from './mmu';
import { is64, segBase } from './modes';
import { checkSegment } from './segments';

/**
 * The micro-record EA_SEG: computes the linear address of a memory operand and checks it against its segment. IMM2 is the
 * size of the access in bits 6:0 (0: only the address is wanted; 127: 512), bit 7: a write. 0, or NEXT_FAULT.
 */
export function ea_seg(rec: usize): i32 {
  const base = load<u64>(STATE + <usize>load<u8>(rec + R_BASE));
  const index = load<u64>(STATE + <usize>load<u8>(rec + R_INDEX)) << (<u64>load<u8>(rec + R_SCALE));
  const disp = <i64>load<i32>(rec + R_DISP);
  const offset = (base + index + disp) & load<u64>(STATE + <usize>load<u8>(rec + R_MASK_SLOT));
  const seg: u32 = load<u8>(rec + R_SEG);
  const access: u32 = load<u8>(rec + R_IMM2);
  const size: u32 = (access & 127) == 127 ? 512 : access & 127;
  let lin: u64;
  if (is64()) {
    lin = seg >= 4 ? segBase(seg) + offset : offset;
    if (size && (!isCanonical(lin) || !isCanonical(lin + size - 1))) return raiseCode(seg == SEG_SS ? SS : GP, 0);
  } else {
    if (size && !checkSegment(seg, offset, size, (access & 128) != 0)) return NEXT_FAULT;
    lin = (segBase(seg) + offset) & 0xffff_ffff;
  }
  store<u64>(STATE + S_EA, lin);
  return NEXT_CONTINUE;
}

/**
 * The operand of BT, BTS, BTR and BTC with a bit number in a register, in segmented modes: it lies `distance` bytes from
 * where EA_SEG has put EA, unchecked. Leaves the linear address in EA. `prefix` is the record's PREFIX, `access` as
 * EA_SEG's IMM2. 0, or NEXT_FAULT.
 */
export function bit_string(seg: u32, prefix: u32, distance: u64, access: u32): i32 {
  const size = (prefix >> 2) & 3;
  const mask: u64 = size == 2 ? ~(<u64>0) : size == 1 ? 0xffff_ffff : 0xffff;
  const offset = (load<u64>(STATE + S_EA) - segBase(seg) + distance) & mask;
  if (!checkSegment(seg, offset, access & 127, (access & 128) != 0)) return NEXT_FAULT;
  store<u64>(STATE + S_EA, (segBase(seg) + offset) & 0xffff_ffff);
  return NEXT_CONTINUE;
}
