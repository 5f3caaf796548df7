/**
 * What a boot loader sets in the first virtual CPU before its first instruction: plain data that leaves out whatever
 * stays as at power-on. `bootVcpuState` turns it into a whole state for an accelerator.
 */
import { CR0 } from './control-registers.js';
import type { GprName, MsrState, SegmentName, SegmentState, TableState, VcpuState } from './state.js';
import { GPR_NAMES } from './state.js';

export interface BootState {
  readonly gpr?: Readonly<Partial<Record<GprName, bigint>>>;
  readonly rip?: bigint;
  readonly rflags?: bigint;
  readonly cr0?: bigint;
  readonly cr3?: bigint;
  readonly cr4?: bigint;
  readonly efer?: bigint;
  readonly segments?: Readonly<Partial<Record<SegmentName, SegmentState>>>;
  readonly gdtr?: TableState;
  readonly idtr?: TableState;
  /** MSRs that the firmware would have set (memory types), for every CPU. */
  readonly msrs?: readonly MsrState[];
}

/** Descriptor attributes of the segments that loaders use; see `segmentSchema`. */
export const SEGMENT_ATTRIBUTES = {
  /** Execute/read, accessed, present, 4 GiB granules: 32-bit and 64-bit. */
  CODE32: 0xc09b,
  CODE64: 0xa09b,
  /** Read/write, accessed, present, 32-bit. */
  DATA32: 0xc093,
  /** 16-bit, byte-granular. */
  CODE16: 0x009b,
  DATA16: 0x0093,
  LDT: 0x0082,
  TSS16_BUSY: 0x0083,
  TSS32_BUSY: 0x008b,
} as const;

/** A flat segment of 4 GiB. */
export const flatSegment = (selector: number, attributes: number): SegmentState => ({
  selector,
  base: 0n,
  limit: 0xffff_ffff,
  attributes,
});

/** The 8 bytes of a GDT entry for a segment, as a number of 64 bits (SDM vol. 3 figure 3-8). */
export function descriptor(segment: Pick<SegmentState, 'base' | 'limit' | 'attributes'>): bigint {
  const granular = (segment.attributes & 0x8000) !== 0;
  const limit = BigInt(granular ? Math.floor(segment.limit / 4096) : segment.limit);
  const attributes = BigInt(segment.attributes & 0xf0ff);
  return (
    (limit & 0xffffn) |
    ((segment.base & 0xff_ffffn) << 16n) |
    (attributes << 40n) |
    (((limit >> 16n) & 0xfn) << 48n) |
    (((segment.base >> 24n) & 0xffn) << 56n)
  );
}

/** What differs between CPU models at power-on and reset. */
export interface ResetIdentity {
  /** CPUID.1:EAX, which stands in EDX after reset (SDM vol. 3 §10.1.2). */
  readonly signature: number;
  /** MSRs of the model at power-on, ascending by index. */
  readonly msrs: readonly MsrState[];
}

const zeros = (count: number): bigint[] => new Array<bigint>(count).fill(0n);

/** The state after power-on (SDM vol. 3 table 10-1), for the bootstrap processor or one that waits for its SIPI. */
export function resetVcpuState(identity: ResetIdentity, bootstrap: boolean): VcpuState {
  const data: SegmentState = { selector: 0, base: 0n, limit: 0xffff, attributes: SEGMENT_ATTRIBUTES.DATA16 };
  const gpr = zeros(16);
  gpr[GPR_NAMES.indexOf('rdx')] = BigInt(identity.signature);
  return {
    gpr,
    rip: 0xfff0n,
    rflags: 2n,
    segments: {
      es: { ...data },
      cs: { selector: 0xf000, base: 0xffff_0000n, limit: 0xffff, attributes: SEGMENT_ATTRIBUTES.CODE16 },
      ss: { ...data },
      ds: { ...data },
      fs: { ...data },
      gs: { ...data },
      ldtr: { ...data, attributes: SEGMENT_ATTRIBUTES.LDT },
      // A 32-bit busy TSS is what VM entry wants outside long mode too; nothing can see the difference.
      tr: { ...data, attributes: SEGMENT_ATTRIBUTES.TSS32_BUSY },
    },
    gdtr: { base: 0n, limit: 0xffff },
    idtr: { base: 0n, limit: 0xffff },
    cr0: BigInt(CR0.CD | CR0.NW | CR0.ET) & 0xffff_ffffn,
    cr2: 0n,
    cr3: 0n,
    cr4: 0n,
    efer: 0n,
    xcr0: 1n,
    pdptes: null,
    breakpoints: zeros(4),
    dr6: 0xffff_0ff0n,
    dr7: 0x400n,
    fpu: {
      // Power-on, not INIT or FNINIT: FCW 0040h, tags all "zero", which abridged is "not empty".
      fcw: 0x40,
      fsw: 0,
      ftw: 0xff,
      fop: 0,
      fip: 0n,
      fdp: 0n,
      fcs: 0,
      fds: 0,
      registers: Array.from({ length: 8 }, () => new Uint8Array(10)),
      mxcsr: 0x1f80,
      xmm: Array.from({ length: 16 }, () => new Uint8Array(16)),
    },
    xsave: [],
    tsc: 0n,
    msrs: identity.msrs.map((msr) => ({ ...msr })),
    events: {
      exception: null,
      interrupt: null,
      shadow: 'none',
      nmiPending: false,
      nmiMasked: false,
      initPending: false,
      sipiPage: null,
    },
    activity: bootstrap ? 'running' : 'wait-for-sipi',
    a20: true,
    monitor: null,
  };
}

/** MSRs `over` laid over `under`, ascending by index. */
function mergeMsrs(under: readonly MsrState[], over: readonly MsrState[]): MsrState[] {
  const merged = new Map([...under, ...over].map(({ index, value }) => [index, value]));
  return [...merged].map(([index, value]) => ({ index, value })).sort((a, b) => a.index - b.index);
}

/**
 * The state in which a CPU starts when a loader has prepared the machine. Only the bootstrap processor gets all that
 * the loader wants; the others wait for their SIPI with its MSRs.
 */
export function bootVcpuState(identity: ResetIdentity, boot: BootState, bootstrap = true): VcpuState {
  const reset = resetVcpuState(identity, bootstrap);
  const msrs = mergeMsrs(reset.msrs, boot.msrs ?? []);
  if (!bootstrap) return { ...reset, msrs };
  return {
    ...reset,
    gpr: GPR_NAMES.map((name, i) => boot.gpr?.[name] ?? reset.gpr[i]),
    rip: boot.rip ?? reset.rip,
    rflags: boot.rflags ?? reset.rflags,
    segments: { ...reset.segments, ...boot.segments },
    gdtr: boot.gdtr ?? reset.gdtr,
    idtr: boot.idtr ?? reset.idtr,
    cr0: boot.cr0 ?? reset.cr0,
    cr3: boot.cr3 ?? reset.cr3,
    cr4: boot.cr4 ?? reset.cr4,
    efer: boot.efer ?? reset.efer,
    msrs,
  };
}
