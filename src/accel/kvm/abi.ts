/** Numbers and layouts of Linux's KVM interface on x86-64: Documentation/virt/kvm/api.rst and linux/kvm.h of Linux 6.1. */

export const API_VERSION = 12;

/** Requests of ioctl. */
export const KVM = {
  GET_API_VERSION: 0xae00,
  CREATE_VM: 0xae01,
  CHECK_EXTENSION: 0xae03,
  GET_SUPPORTED_CPUID: 0xc008ae05,
  GET_VCPU_MMAP_SIZE: 0xae04,
  CREATE_VCPU: 0xae41,
  SET_USER_MEMORY_REGION: 0x4020ae46,
  GET_DIRTY_LOG: 0x4010ae42,
  SET_TSS_ADDR: 0xae47,
  SET_IDENTITY_MAP_ADDR: 0x4008ae48,
  RUN: 0xae80,
  GET_REGS: 0x8090ae81,
  SET_REGS: 0x4090ae82,
  GET_SREGS: 0x8138ae83,
  SET_SREGS: 0x4138ae84,
  CREATE_IRQCHIP: 0xae60,
  IRQ_LINE: 0x4008ae61,
  GET_IRQCHIP: 0xc208ae62,
  SET_IRQCHIP: 0x8208ae63,
  SET_GSI_ROUTING: 0x4008ae6a,
  CREATE_PIT2: 0x4040ae77,
  SIGNAL_MSI: 0x4020aea5,
  GET_LAPIC: 0x8400ae8e,
  SET_LAPIC: 0x4400ae8f,
  GET_MP_STATE: 0x8004ae98,
  SET_MP_STATE: 0x4004ae99,
  GET_PIT2: 0x8070ae9f,
  SET_PIT2: 0x4070aea0,
  TRANSLATE: 0xc018ae85,
  INTERRUPT: 0x4004ae86,
  GET_MSRS: 0xc008ae88,
  SET_MSRS: 0x4008ae89,
  SET_SIGNAL_MASK: 0x4004ae8b,
  SET_CPUID2: 0x4008ae90,
  NMI: 0xae9a,
  SET_GUEST_DEBUG: 0x4048ae9b,
  GET_VCPU_EVENTS: 0x8040ae9f,
  SET_VCPU_EVENTS: 0x4040aea0,
  GET_DEBUGREGS: 0x8080aea1,
  SET_DEBUGREGS: 0x4080aea2,
  SET_TSC_KHZ: 0xaea2,
  GET_TSC_KHZ: 0xaea3,
  ENABLE_CAP: 0x4068aea3,
  GET_XSAVE: 0x9000aea4,
  SET_XSAVE: 0x5000aea5,
  GET_XCRS: 0x8188aea6,
  SET_XCRS: 0x4188aea7,
  X86_SET_MSR_FILTER: 0x4188aec6,
  SET_CLOCK: 0x4030ae7b,
  SET_DEVICE_ATTR: 0x4018aee1,
  GET_DEVICE_ATTR: 0x4018aee2,
  HAS_DEVICE_ATTR: 0x4018aee3,
  GET_SREGS2: 0x8140aecc,
  SET_SREGS2: 0x4140aecd,
} as const;

/** Extensions that CHECK_EXTENSION is asked for. */
export const CAP = {
  IRQCHIP: 0,
  USER_MEMORY: 3,
  MP_STATE: 14,
  IRQ_ROUTING: 25,
  PIT2: 33,
  PIT_STATE2: 35,
  VCPU_EVENTS: 0x29,
  DEBUGREGS: 0x32,
  XSAVE: 0x37,
  XCRS: 0x38,
  TSC_CONTROL: 0x3c,
  GET_TSC_KHZ: 0x3d,
  READONLY_MEM: 0x51,
  SIGNAL_MSI: 77,
  SPLIT_IRQCHIP: 121,
  IMMEDIATE_EXIT: 136,
  X86_USER_SPACE_MSR: 0xbc,
  X86_MSR_FILTER: 0xbd,
  SREGS2: 0xc8,
} as const;

/** struct kvm_run: offsets. */
export const RUN = {
  REQUEST_INTERRUPT_WINDOW: 0,
  IMMEDIATE_EXIT: 1,
  EXIT_REASON: 8,
  READY_FOR_INTERRUPT: 12,
  IF_FLAG: 13,
  CR8: 16,
  IO_DIRECTION: 32,
  IO_SIZE: 33,
  IO_PORT: 34,
  IO_COUNT: 36,
  IO_DATA_OFFSET: 40,
  MMIO_ADDRESS: 32,
  MMIO_DATA: 40,
  MMIO_LENGTH: 48,
  MMIO_IS_WRITE: 52,
  MSR_ERROR: 32,
  MSR_INDEX: 44,
  MSR_DATA: 48,
  DEBUG_PC: 40,
  DEBUG_DR6: 48,
  INTERNAL_SUBERROR: 32,
  ENTRY_FAILURE: 32,
  EOI_VECTOR: 32,
} as const;

/** kvm_run.exit_reason. */
export const EXIT = {
  IO: 2,
  DEBUG: 4,
  HLT: 5,
  MMIO: 6,
  IRQ_WINDOW_OPEN: 7,
  SHUTDOWN: 8,
  FAIL_ENTRY: 9,
  INTR: 10,
  SET_TPR: 11,
  INTERNAL_ERROR: 17,
  IOAPIC_EOI: 26,
  X86_RDMSR: 29,
  X86_WRMSR: 30,
} as const;

export const IO_OUT = 1;

/** kvm_userspace_memory_region.flags. */
export const MEM_LOG_DIRTY_PAGES = 1 << 0;
export const MEM_READONLY = 1 << 1;

/** Reasons for which an MSR access comes to user space: unknown or refused by KVM, and filtered. */
export const MSR_REASONS = 1 | 2 | 4;
export const MSR_FILTER = { DEFAULT_DENY: 1, READ: 1, WRITE: 2 } as const;

/** kvm_guest_debug.control. */
export const DEBUG = { ENABLE: 1, SINGLESTEP: 2, USE_HW_BP: 0x20000 } as const;

/** Sizes of structures. */
export const SIZE = {
  REGS: 144,
  SREGS: 312,
  SREGS2: 320,
  XSAVE: 4096,
  XCRS: 392,
  EVENTS: 64,
  DEBUGREGS: 128,
  CPUID_ENTRY: 40,
  GUEST_DEBUG: 72,
  MEMORY_REGION: 32,
  DIRTY_LOG: 16,
  ENABLE_CAP: 104,
  CLOCK_DATA: 48,
  MSR_FILTER: 392,
  LAPIC: 1024,
  MSI: 32,
  ROUTE: 48,
  IRQCHIP: 520,
  IRQ_LEVEL: 8,
  PIT_CONFIG: 64,
  PIT2: 112,
} as const;

/** struct kvm_regs: where the general registers are, in the order in which instructions encode them. */
export const REGS = {
  GPR: [0, 16, 24, 8, 48, 56, 32, 40, 64, 72, 80, 88, 96, 104, 112, 120],
  RIP: 128,
  RFLAGS: 136,
} as const;

/** struct kvm_sregs and kvm_sregs2. */
export const SREGS = {
  CS: 0,
  DS: 24,
  ES: 48,
  FS: 72,
  GS: 96,
  SS: 120,
  TR: 144,
  LDT: 168,
  GDT: 192,
  IDT: 208,
  CR0: 224,
  CR2: 232,
  CR3: 240,
  CR4: 248,
  CR8: 256,
  EFER: 264,
  APIC_BASE: 272,
  FLAGS2: 280,
  PDPTRS2: 288,
} as const;

export const SREGS2_PDPTRS_VALID = 1;

/** struct kvm_segment. */
export const SEGMENT = {
  BASE: 0,
  LIMIT: 8,
  SELECTOR: 12,
  TYPE: 14,
  PRESENT: 15,
  DPL: 16,
  DB: 17,
  S: 18,
  L: 19,
  G: 20,
  AVL: 21,
  UNUSABLE: 22,
} as const;

/** struct kvm_xsave: the legacy region in its 64-bit form, and the header (SDM vol. 1 §13.4). */
export const XSAVE = {
  FCW: 0,
  FSW: 2,
  FTW: 4,
  FOP: 6,
  FIP: 8,
  FDP: 16,
  MXCSR: 24,
  ST: 32,
  XMM: 160,
  XSTATE_BV: 512,
  /** Components that the legacy region has: x87 and SSE. */
  LEGACY: 3,
} as const;

/** struct kvm_vcpu_events. */
export const EVENTS = {
  EXCEPTION_INJECTED: 0,
  EXCEPTION_NR: 1,
  EXCEPTION_HAS_ERROR: 2,
  EXCEPTION_PENDING: 3,
  EXCEPTION_ERROR: 4,
  INTERRUPT_INJECTED: 8,
  INTERRUPT_NR: 9,
  INTERRUPT_SOFT: 10,
  INTERRUPT_SHADOW: 11,
  NMI_INJECTED: 12,
  NMI_PENDING: 13,
  NMI_MASKED: 14,
  FLAGS: 20,
  SHADOW_MOV_SS: 1,
  SHADOW_STI: 2,
  /** Flags: NMI_PENDING and SHADOW are valid. */
  VALID: 1 | 4,
} as const;

/** Attribute of a CPU: what is added to the host's time-stamp counter. Group and number; Linux 5.16. */
export const TSC_OFFSET = { GROUP: 0, ATTRIBUTE: 0n } as const;

/** struct kvm_debugregs. */
export const DEBUGREGS = { DB: 0, DR6: 32, DR7: 40 } as const;

/** kvm_mp_state. */
export const MP_STATE = { RUNNABLE: 0, UNINITIALIZED: 1, INIT_RECEIVED: 2, HALTED: 3, SIPI_RECEIVED: 4 } as const;

/** kvm_irq_routing_entry.type. */
export const ROUTE = { IRQCHIP: 1, MSI: 2 } as const;

/** struct kvm_irqchip: which chip, and where its state begins. */
export const IRQCHIP = { PIC_FIRST: 0, PIC_SECOND: 1, IOAPIC: 2, STATE: 8 } as const;

/** struct kvm_pic_state. */
export const PIC = {
  LAST_IRR: 0,
  IRR: 1,
  IMR: 2,
  ISR: 3,
  PRIORITY_ADD: 4,
  BASE: 5,
  READ_ISR: 6,
  POLL: 7,
  SPECIAL_MASK: 8,
  INIT_STATE: 9,
  AUTO_EOI: 10,
  ROTATE: 11,
  NESTED: 12,
  INIT4: 13,
  ELCR: 14,
} as const;

/** struct kvm_ioapic_state. */
export const IOAPIC = { SELECT: 8, ID: 12, IRR: 16, ENTRIES: 24 } as const;

/** struct kvm_pit_config and kvm_pit_state2. */
export const PIT = {
  SPEAKER_DUMMY: 1,
  CHANNEL_SIZE: 24,
  FLAGS: 72,
  HPET_LEGACY: 1,
  SPEAKER_DATA_ON: 2,
} as const;

/** struct kvm_pit_channel_state. */
export const CHANNEL = {
  COUNT: 0,
  LATCHED_COUNT: 4,
  COUNT_LATCHED: 6,
  STATUS_LATCHED: 7,
  STATUS: 8,
  READ_STATE: 9,
  WRITE_STATE: 10,
  WRITE_LATCH: 11,
  RW_MODE: 12,
  MODE: 13,
  BCD: 14,
  GATE: 15,
  LOAD_TIME: 16,
} as const;
