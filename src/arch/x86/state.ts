/**
 * The architectural state of one x86 processor, as snapshots hold it: everything that KVM's GET ioctls return, the
 * local APIC apart (a device, which saves itself). Accelerators fill it in `saveState` and take it in `restoreState`;
 * nothing in it belongs to one of them.
 */
import type { Infer } from '../../snapshot/schema.js';
import { array, bool, bytes, nullable, oneOf, range, struct, u16, u32, u64, u8 } from '../../snapshot/schema.js';

/** General registers in the order instructions encode them. */
export const GPR_NAMES = [
  'rax',
  'rcx',
  'rdx',
  'rbx',
  'rsp',
  'rbp',
  'rsi',
  'rdi',
  'r8',
  'r9',
  'r10',
  'r11',
  'r12',
  'r13',
  'r14',
  'r15',
] as const;
export type GprName = (typeof GPR_NAMES)[number];

/**
 * A segment register with its hidden part. `attributes` as in a VMCS (SDM vol. 3 §25.4.1): type 3:0, S 4, DPL 6:5,
 * P 7, AVL 12, L 13, D/B 14, G 15, unusable 16. `limit` is in bytes, granularity applied.
 */
export const segmentSchema = struct({ selector: u16, base: u64, limit: u32, attributes: u32 });
export type SegmentState = Infer<typeof segmentSchema>;

/** GDTR or IDTR. */
export const tableSchema = struct({ base: u64, limit: u16 });
export type TableState = Infer<typeof tableSchema>;

/** x87 and SSE: the legacy region of the XSAVE area, taken apart (SDM vol. 1 §13.4.1, §13.4.2). */
export const fpuSchema = struct({
  fcw: u16,
  /** TOP included. */
  fsw: u16,
  /** Abridged: bit i set when physical register i is not empty. */
  ftw: u8,
  /** Eleven bits. */
  fop: u16,
  fip: u64,
  fdp: u64,
  fcs: u16,
  fds: u16,
  /** Physical registers R0 … R7 (not ST(i)), 80 bits each, little-endian. */
  registers: array(bytes(10), { length: 8 }),
  mxcsr: u32,
  /** 16 registers, little-endian. */
  xmm: array(bytes(16), { length: 16 }),
});
export type FpuState = Infer<typeof fpuSchema>;

/** One component of the extended XSAVE region: its number (2: upper halves of YMM …) and its bytes in standard form. */
export const xsaveComponentSchema = struct({ component: range(2, 62), data: bytes() });
export type XsaveComponent = Infer<typeof xsaveComponentSchema>;

export const msrSchema = struct({ index: u32, value: u64 });
export type MsrState = Infer<typeof msrSchema>;

/** An exception, interrupt or NMI on its way to the guest between two instructions. */
export const eventsSchema = struct({
  /** An exception that was raised and not yet delivered; `payload` is CR2 or DR6's bits when not yet written there. */
  exception: nullable(struct({ vector: range(0, 31), errorCode: nullable(u32), payload: nullable(u64) })),
  /** An external interrupt that was acknowledged and not yet delivered. */
  interrupt: nullable(struct({ vector: u8, soft: bool })),
  /** Interrupt shadow: of STI (holds off interrupts), of MOV SS (debug traps too). */
  shadow: oneOf('none', 'sti', 'mov-ss'),
  nmiPending: bool,
  /** An NMI was delivered and IRET has not been executed since. */
  nmiMasked: bool,
  /** INIT was received and not yet acted upon; the start page of a SIPI, likewise. */
  initPending: bool,
  sipiPage: nullable(u8),
});
export type EventState = Infer<typeof eventsSchema>;

export const vcpuStateSchema = struct({
  /** In the order of GPR_NAMES. */
  gpr: array(u64, { length: 16 }),
  rip: u64,
  rflags: u64,
  segments: struct({
    es: segmentSchema,
    cs: segmentSchema,
    ss: segmentSchema,
    ds: segmentSchema,
    fs: segmentSchema,
    gs: segmentSchema,
    ldtr: segmentSchema,
    tr: segmentSchema,
  }),
  gdtr: tableSchema,
  idtr: tableSchema,
  cr0: u64,
  cr2: u64,
  cr3: u64,
  cr4: u64,
  efer: u64,
  xcr0: u64,
  /** Page-directory pointers as loaded with CR3 under PAE paging; null in other modes. */
  pdptes: nullable(array(u64, { length: 4 })),
  /** DR0 … DR3. */
  breakpoints: array(u64, { length: 4 }),
  dr6: u64,
  dr7: u64,
  fpu: fpuSchema,
  xsave: array(xsaveComponentSchema, { max: 61 }),
  /** Time-stamp counter at the moment of saving; its rate belongs to the CPU model's topology. */
  tsc: u64,
  /** All others: no index twice, no MSR that has a field of its own above, none of the local APIC's. Ascending. */
  msrs: array(msrSchema, { max: 1024 }),
  events: eventsSchema,
  activity: oneOf('running', 'halted', 'wait-for-sipi', 'shutdown'),
  /** Whether address line 20 is let through. */
  a20: bool,
  /** The guest-physical address that MONITOR armed, or null. */
  monitor: nullable(u64),
});
export type VcpuState = Infer<typeof vcpuStateSchema>;

export type SegmentName = keyof VcpuState['segments'];
