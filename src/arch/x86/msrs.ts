/**
 * Model-specific registers by index. Names without the IA32_ prefix; Intel SDM vol. 4 ch. 2 (revision 083), the long
 * mode ones AMD APM vol. 2 §3.2.
 */
export const MSR = {
  P5_MC_ADDR: 0x0,
  P5_MC_TYPE: 0x1,
  TSC: 0x10,
  PLATFORM_ID: 0x17,
  APIC_BASE: 0x1b,
  EBL_CR_POWERON: 0x2a,
  FEATURE_CONTROL: 0x3a,
  TSC_ADJUST: 0x3b,
  SPEC_CTRL: 0x48,
  PRED_CMD: 0x49,
  BIOS_UPDT_TRIG: 0x79,
  BIOS_SIGN_ID: 0x8b,
  PLATFORM_INFO: 0xce,
  MTRRCAP: 0xfe,
  ARCH_CAPABILITIES: 0x10a,
  SYSENTER_CS: 0x174,
  SYSENTER_ESP: 0x175,
  SYSENTER_EIP: 0x176,
  MCG_CAP: 0x179,
  MCG_STATUS: 0x17a,
  PERF_STATUS: 0x198,
  PERF_CTL: 0x199,
  MISC_ENABLE: 0x1a0,
  DEBUGCTL: 0x1d9,
  /** Base and mask of variable range n at 0x200 + 2n and 0x201 + 2n. */
  MTRR_PHYSBASE0: 0x200,
  MTRR_PHYSMASK0: 0x201,
  MTRR_FIX64K_00000: 0x250,
  MTRR_FIX16K_80000: 0x258,
  MTRR_FIX16K_A0000: 0x259,
  /** Eight of them, to 0x26f. */
  MTRR_FIX4K_C0000: 0x268,
  PAT: 0x277,
  MTRR_DEF_TYPE: 0x2ff,
  /** CTL, STATUS, ADDR and MISC of bank n at 0x400 + 4n … 0x403 + 4n. */
  MC0_CTL: 0x400,
  TSC_DEADLINE: 0x6e0,
  X2APIC_FIRST: 0x800,
  X2APIC_LAST: 0x8ff,
  XSS: 0xda0,
  /** KVM's clock for guests: MSR_KVM_WALL_CLOCK_NEW and MSR_KVM_SYSTEM_TIME_NEW of Linux's Documentation/virt/kvm/x86/msr.rst. */
  KVM_WALL_CLOCK: 0x4b56_4d00,
  KVM_SYSTEM_TIME: 0x4b56_4d01,
  EFER: 0xc000_0080,
  STAR: 0xc000_0081,
  LSTAR: 0xc000_0082,
  CSTAR: 0xc000_0083,
  FMASK: 0xc000_0084,
  FS_BASE: 0xc000_0100,
  GS_BASE: 0xc000_0101,
  KERNEL_GS_BASE: 0xc000_0102,
  TSC_AUX: 0xc000_0103,
} as const;

/** Extended feature enables, AMD APM vol. 2 §3.1.7. */
export const EFER = { SCE: 1 << 0, LME: 1 << 8, LMA: 1 << 10, NXE: 1 << 11 } as const;

/** Fields of IA32_APIC_BASE, SDM vol. 3 §11.4.4. */
export const APIC_BASE = { BSP: 1 << 8, X2APIC: 1 << 10, ENABLE: 1 << 11 } as const;

/** Miscellaneous enables, SDM vol. 4 table 2-2. Bits above 31 as shifts of a bigint. */
export const MISC_ENABLE = {
  FAST_STRINGS: 1 << 0,
  BTS_UNAVAILABLE: 1 << 11,
  PEBS_UNAVAILABLE: 1 << 12,
  ENHANCED_SPEEDSTEP: 1 << 16,
  MONITOR: 1 << 18,
  LIMIT_CPUID: 1 << 22,
  XD_DISABLE_BIT: 34,
} as const;

/** IA32_MTRR_DEF_TYPE, SDM vol. 3 §12.11.2.1. */
export const MTRR_DEF_TYPE = { FIXED_ENABLE: 1 << 10, ENABLE: 1 << 11 } as const;

/** Memory types, SDM vol. 3 §12.3. */
export const MEMORY_TYPE = { UC: 0, WC: 1, WT: 4, WP: 5, WB: 6, UC_MINUS: 7 } as const;

/** Power-on value of IA32_PAT, SDM vol. 3 §12.12.4: WB WT UC- UC, twice. */
export const PAT_RESET = 0x0007_0406_0007_0406n;
