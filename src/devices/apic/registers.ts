/**
 * Registers of the local APIC. Intel SDM vol. 3A ch. 11 ("Advanced Programmable Interrupt Controller"), order number
 * 325384; section numbers are those of the editions from 2022 on.
 */

/** Frequency of the APIC timer before its divider: 1 GHz, so that one tick is one nanosecond. CPUID.15H:ECX must agree. */
export const APIC_TIMER_HZ = 1_000_000_000;

/** Physical address of the registers after power-up, SDM vol. 3 §11.4.1. */
export const APIC_DEFAULT_BASE = 0xfee0_0000;

/** IA32_APIC_BASE, MSR 0x1b, §11.4.4 and §11.12.1. */
export const APIC_BASE = {
  BSP: 1n << 8n,
  /** x2APIC mode. */
  EXTD: 1n << 10n,
  /** Global enable. */
  EN: 1n << 11n,
  /** What is neither one of these nor address, and so must be written as 0. */
  RESERVED: 0x2ffn,
} as const;

/** Register numbers: MMIO offset >> 4, and MSR number − 0x800. Tables 11-1 and 11-6. */
export const REG = {
  ID: 0x02,
  VERSION: 0x03,
  TPR: 0x08,
  APR: 0x09,
  PPR: 0x0a,
  EOI: 0x0b,
  RRD: 0x0c,
  LDR: 0x0d,
  DFR: 0x0e,
  SVR: 0x0f,
  ISR: 0x10,
  TMR: 0x18,
  IRR: 0x20,
  ESR: 0x28,
  ICR_LOW: 0x30,
  ICR_HIGH: 0x31,
  LVT_TIMER: 0x32,
  LVT_THERMAL: 0x33,
  LVT_PERF: 0x34,
  LVT_LINT0: 0x35,
  LVT_LINT1: 0x36,
  LVT_ERROR: 0x37,
  TIMER_INITIAL: 0x38,
  TIMER_CURRENT: 0x39,
  TIMER_DIVIDE: 0x3e,
  SELF_IPI: 0x3f,
} as const;

/**
 * §11.4.8: version 0x14, the highest LVT entry is number 5 (there is no CMCI entry), and EOI broadcasts can be
 * suppressed (bit 24).
 */
export const VERSION_VALUE = 0x0105_0014;

/** Spurious-interrupt vector register, §11.9. Focus processor checking (bit 9) does nothing, as since the Pentium 4. */
export const SVR = {
  VECTOR: 0xff,
  ENABLE: 1 << 8,
  FOCUS: 1 << 9,
  NO_EOI_BROADCAST: 1 << 12,
  WRITABLE: 0x13ff,
} as const;

/** Local vector table, §11.5.1. */
export const LVT = {
  VECTOR: 0xff,
  MODE: 0x700,
  MODE_SHIFT: 8,
  /** Remote IRR of level-triggered LINT pins; read-only. */
  REMOTE_IRR: 1 << 14,
  LEVEL: 1 << 15,
  MASKED: 1 << 16,
  TIMER_MODE_SHIFT: 17,
} as const;

/** What the guest can write in each LVT entry, from LVT_TIMER to LVT_ERROR. */
export const LVT_WRITABLE: readonly number[] = [0x7_00ff, 0x1_07ff, 0x1_07ff, 0x1_a7ff, 0x1_a7ff, 0x1_00ff];

/** LVT timer modes, bits 18:17, §11.5.4. */
export const TIMER_MODE = { ONE_SHOT: 0, PERIODIC: 1, TSC_DEADLINE: 2 } as const;

/** Delivery modes as LVT, ICR, MSI data and redirection entries encode them; 3 is reserved. */
export const DELIVERY_MODES = ['fixed', 'lowest', 'smi', undefined, 'nmi', 'init', 'startup', 'extint'] as const;

/** Error status register, §11.5.3. */
export const ESR = {
  SEND_ILLEGAL_VECTOR: 1 << 5,
  RECEIVE_ILLEGAL_VECTOR: 1 << 6,
  ILLEGAL_REGISTER: 1 << 7,
} as const;

/** Interrupt command register, low half, §11.6.1. Delivery status (bit 12) always reads 0: nothing is ever pending. */
export const ICR = {
  VECTOR: 0xff,
  MODE_SHIFT: 8,
  LOGICAL: 1 << 11,
  ASSERT: 1 << 14,
  LEVEL: 1 << 15,
  SHORTHAND_SHIFT: 18,
  WRITABLE: 0xc_cfff,
} as const;

/** Destination shorthands, ICR bits 19:18. */
export const SHORTHANDS = ['none', 'self', 'all', 'others'] as const;

/** Destination format register, §11.6.2.2: flat model in bits 31:28, the rest reads as ones. */
export const DFR = { FLAT: 0xffff_ffff, FIXED_ONES: 0x0fff_ffff } as const;

/** Vectors below 16 are reserved; an APIC neither sends nor accepts them (§11.5.2). */
export const FIRST_LEGAL_VECTOR = 16;

/** Undivided ticks per count, from bits 3, 1 and 0 of the divide configuration register (§11.5.4). */
export function timerDivisor(divideConfiguration: number): number {
  const code = (divideConfiguration & 3) | ((divideConfiguration >>> 1) & 4);
  return code === 7 ? 1 : 2 << code;
}

/**
 * Bits that may be set in a write to an MSR of x2APIC mode; others raise #GP (table 11-6). Says nothing about registers
 * that cannot be written at all, nor about ICR.
 */
export function x2apicWritable(reg: number): number {
  if (reg === REG.EOI || reg === REG.ESR) return 0;
  if (reg === REG.TPR || reg === REG.SELF_IPI) return 0xff;
  if (reg === REG.SVR) return SVR.WRITABLE;
  if (reg === REG.TIMER_DIVIDE) return 0xb;
  // Delivery status and remote IRR are read-only, not reserved.
  if (reg >= REG.LVT_TIMER && reg <= REG.LVT_ERROR)
    return LVT_WRITABLE[reg - REG.LVT_TIMER] | (1 << 12) | LVT.REMOTE_IRR;
  return 0xffff_ffff;
}
