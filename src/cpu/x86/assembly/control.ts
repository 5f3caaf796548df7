/** Control and debug registers: SDM vol. 3 chapter 2 and §17.2; vol. 2, MOV to and from them. */
import { DEBUG_DATA, updateBreakpoints } from './debug';
import { STATE, fence, host_get_cr8, host_set_cr8 } from './env';
import { DB, gp0, raise, ud } from './faults';
import {
  NEXT_ATTENTION,
  NEXT_CONTINUE,
  NEXT_FAULT,
  R_REG,
  R_RM,
  S_CR0,
  S_CR2,
  S_CR3,
  S_CR4,
  S_CR4_ALLOWED,
  S_DEBUG_FLAGS,
  S_DR,
  S_EFER,
  S_PHYS_MASK,
  SEG_CS,
  SEG_TR,
} from './generated/layout';
import { attend, cpl, is64, isLong, segAttr, updateFpTrap, updateMode } from './modes';
import { CR0_PG, CR0_WP, CR4_PAE, CR4_PCIDE, CR4_PGE, CR4_PSE, CR4_SMAP, CR4_SMEP, EFER_LMA, EFER_LME } from './paging';
import { loadPdptes } from './paging-control';
import {
  CR0_CD,
  CR0_ET,
  CR0_NW,
  CR0_PE,
  CR0_TS,
  CR4_DE,
  CR4_UMIP,
  isRegister,
  operandSize,
  readSlot,
  wordOperand,
  writeSlot,
} from './registers';
import { faulted } from './faults';
import { st16 } from './mmu';
import { flushTlb, switchSpace } from './address-spaces';

/** Bits of CR0 that exist; the others read 0 and ignore writes. */
const CR0_BITS: u64 = 0xe005_003f;

/** Writes CR0 with all checks and consequences. */
function setCr0(value: u64): i32 {
  if (value >> 32) return gp0();
  const before = load<u64>(STATE + S_CR0);
  const cr0 = (value & CR0_BITS) | CR0_ET;
  if (cr0 & CR0_PG && !(cr0 & CR0_PE)) return gp0();
  if (cr0 & CR0_NW && !(cr0 & CR0_CD)) return gp0();
  const cr4 = load<u64>(STATE + S_CR4);
  const changed = before ^ cr0;
  let efer = load<u64>(STATE + S_EFER);
  if (changed & CR0_PG) {
    if (cr0 & CR0_PG) {
      if (efer & EFER_LME) {
        // Long mode begins: from code that is not 64-bit, with PAE, and not with a 16-bit TSS.
        if (!(cr4 & CR4_PAE) || segAttr(SEG_CS) & 0x2000 || (segAttr(SEG_TR) & 0x1000d) == 1) return gp0();
        efer |= EFER_LMA;
      }
    } else {
      if (is64() || cr4 & CR4_PCIDE) return gp0();
      efer &= ~EFER_LMA;
    }
  }
  if (cr0 & CR0_PG && cr4 & CR4_PAE && !(efer & EFER_LMA) && changed & (CR0_PG | CR0_CD | CR0_NW)) {
    if (!loadPdptes(load<u64>(STATE + S_CR3))) return gp0();
  }
  store<u64>(STATE + S_CR0, cr0);
  store<u64>(STATE + S_EFER, efer);
  if (changed & (CR0_PG | CR0_WP | CR0_PE)) flushTlb();
  updateFpTrap();
  updateMode();
  return NEXT_ATTENTION;
}

function setCr3(value: u64): i32 {
  const cr4 = load<u64>(STATE + S_CR4);
  let keeps = false;
  if (is64()) {
    // With PCIDs, bit 63 asks to keep translations.
    const keep: u64 = cr4 & CR4_PCIDE ? (<u64>1) << 63 : 0;
    if (value & ~(load<u64>(STATE + S_PHYS_MASK) | 0xfff) & ~keep) return gp0();
    keeps = (value & keep) != 0;
    value &= ~((<u64>1) << 63);
  } else {
    value &= 0xffff_ffff;
    if (load<u64>(STATE + S_CR0) & CR0_PG && cr4 & CR4_PAE && !isLong() && !loadPdptes(value)) return gp0();
  }
  store<u64>(STATE + S_CR3, value);
  switchSpace(keeps);
  return NEXT_ATTENTION;
}

function setCr4(value: u64): i32 {
  if (value & ~load<u64>(STATE + S_CR4_ALLOWED)) return gp0();
  const before = load<u64>(STATE + S_CR4);
  const changed = before ^ value;
  if (isLong() && !(value & CR4_PAE)) return gp0();
  if (changed & value & CR4_PCIDE && (!isLong() || load<u64>(STATE + S_CR3) & 0xfff)) return gp0();
  const paging = (load<u64>(STATE + S_CR0) & CR0_PG) != 0;
  if (paging && value & CR4_PAE && !isLong() && changed & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)) {
    if (!loadPdptes(load<u64>(STATE + S_CR3))) return gp0();
  }
  store<u64>(STATE + S_CR4, value);
  if (changed & (CR4_PAE | CR4_PSE | CR4_PGE | CR4_PCIDE | CR4_SMEP | CR4_SMAP)) flushTlb();
  updateFpTrap();
  updateMode();
  return NEXT_ATTENTION;
}

/** Width of a control or debug register operand: 64 bits in 64-bit mode, 32 elsewhere, whatever the prefixes say. */
@inline
function wide(): u32 {
  return is64() ? 2 : 1;
}

export function x_mov_from_cr(rec: usize, ea: u64): i32 {
  const number = load<u8>(rec + R_REG);
  if (number != 0 && number != 2 && number != 3 && number != 4 && number != 8) return ud();
  if (cpl() != 0) return gp0();
  const value =
    number == 0
      ? load<u64>(STATE + S_CR0)
      : number == 2
        ? load<u64>(STATE + S_CR2)
        : number == 3
          ? load<u64>(STATE + S_CR3)
          : number == 4
            ? load<u64>(STATE + S_CR4)
            : <u64>host_get_cr8();
  writeSlot(rec + R_RM, wide(), value);
  return NEXT_CONTINUE;
}

export function x_mov_to_cr(rec: usize, ea: u64): i32 {
  const number = load<u8>(rec + R_REG);
  if (number != 0 && number != 2 && number != 3 && number != 4 && number != 8) return ud();
  if (cpl() != 0) return gp0();
  const value = readSlot(rec + R_RM, wide());
  fence();
  switch (number) {
    case 0:
      return setCr0(value);
    case 2:
      store<u64>(STATE + S_CR2, value);
      return NEXT_CONTINUE;
    case 3:
      return setCr3(value);
    case 4:
      return setCr4(value);
    default:
      if (value > 15) return gp0();
      host_set_cr8(<i32>value);
      return NEXT_CONTINUE;
  }
}

export function x_clts(rec: usize, ea: u64): i32 {
  if (cpl() != 0) return gp0();
  store<u64>(STATE + S_CR0, load<u64>(STATE + S_CR0) & ~CR0_TS);
  updateFpTrap();
  return NEXT_CONTINUE;
}

/** LMSW sets PE, MP, EM and TS; it cannot clear PE. */
export function x_lmsw(rec: usize, ea: u64): i32 {
  if (cpl() != 0) return gp0();
  const value = wordOperand(rec, ea);
  if (faulted()) return NEXT_FAULT;
  const cr0 = load<u64>(STATE + S_CR0);
  return setCr0((cr0 & ~0xe) | (value & 0xf));
}

export function x_smsw(rec: usize, ea: u64): i32 {
  if (cpl() != 0 && load<u64>(STATE + S_CR4) & CR4_UMIP) return gp0();
  const cr0 = load<u64>(STATE + S_CR0);
  if (!isRegister(rec)) return st16(ea, <u32>cr0) ? NEXT_CONTINUE : NEXT_FAULT;
  writeSlot(rec + R_RM, operandSize(rec), cr0);
  return NEXT_CONTINUE;
}

/** The checks that debug register moves share: the register's number, or -1 with an exception pending. */
function debugRegister(rec: usize): i32 {
  let number: i32 = load<u8>(rec + R_REG);
  if (number > 7) {
    ud();
    return -1;
  }
  if (number == 4 || number == 5) {
    if (load<u64>(STATE + S_CR4) & CR4_DE) {
      ud();
      return -1;
    }
    number += 2;
  }
  if (cpl() != 0) {
    gp0();
    return -1;
  }
  // General detect: the access is reported before it happens, and the handler gets in.
  const dr7 = load<u64>(STATE + S_DR + 56);
  if (dr7 & (1 << 13)) {
    store<u64>(STATE + S_DR + 56, dr7 & ~(1 << 13));
    store<u64>(STATE + S_DR + 48, load<u64>(STATE + S_DR + 48) | (1 << 13));
    raise(DB);
    return -1;
  }
  return number;
}

export function x_mov_from_dr(rec: usize, ea: u64): i32 {
  const number = debugRegister(rec);
  if (number < 0) return NEXT_FAULT;
  writeSlot(rec + R_RM, wide(), load<u64>(STATE + S_DR + number * 8));
  return NEXT_CONTINUE;
}

export function x_mov_to_dr(rec: usize, ea: u64): i32 {
  const number = debugRegister(rec);
  if (number < 0) return NEXT_FAULT;
  const value = readSlot(rec + R_RM, wide());
  if (number >= 6 && value >> 32) return gp0();
  const at = STATE + S_DR + number * 8;
  if (number == 6) {
    store<u64>(at, (value & 0xe00f) | 0xffff_0ff0);
    return NEXT_CONTINUE;
  }
  const watched = load<u32>(STATE + S_DEBUG_FLAGS) & DEBUG_DATA;
  store<u64>(at, number == 7 ? (value & 0xffff_23ff) | 0x400 : value);
  updateBreakpoints();
  // Pages with data breakpoints stay out of the TLB: let it be filled anew.
  if ((watched | load<u32>(STATE + S_DEBUG_FLAGS)) & DEBUG_DATA) flushTlb();
  attend();
  return NEXT_ATTENTION;
}
