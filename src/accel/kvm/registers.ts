/** Between the architectural state of src/arch/x86 and the structures of KVM's GET and SET requests. */
import type { CpuModel } from '../../arch/x86/cpu-models.js';
import { MSR } from '../../arch/x86/msrs.js';
import type { FpuState, SegmentName, SegmentState, VcpuState } from '../../arch/x86/state.js';
import { DEBUGREGS, EVENTS, KVM, REGS, SEGMENT, SIZE, SREGS, SREGS2_PDPTRS_VALID, XSAVE } from './abi.js';
import { HostError } from '../../base/errors.js';
import { ioctl } from './libc.js';

/** A structure that requests fill and read. */
export class Structure {
  readonly bytes: Uint8Array;
  readonly view: DataView;

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
    this.view = new DataView(this.bytes.buffer);
  }

  u64(at: number): bigint {
    return this.view.getBigUint64(at, true);
  }

  setU64(at: number, value: bigint): void {
    this.view.setBigUint64(at, value, true);
  }
}

const SEGMENTS: readonly (readonly [SegmentName, number])[] = [
  ['cs', SREGS.CS],
  ['ds', SREGS.DS],
  ['es', SREGS.ES],
  ['fs', SREGS.FS],
  ['gs', SREGS.GS],
  ['ss', SREGS.SS],
  ['tr', SREGS.TR],
  ['ldtr', SREGS.LDT],
];

/** MSRs that KVM holds for a CPU and a guest reaches without leaving it. */
const KVM_MSRS: readonly number[] = [
  MSR.STAR,
  MSR.LSTAR,
  MSR.CSTAR,
  MSR.FMASK,
  MSR.KERNEL_GS_BASE,
  MSR.SYSENTER_CS,
  MSR.SYSENTER_ESP,
  MSR.SYSENTER_EIP,
  MSR.TSC_AUX,
  MSR.PAT,
];
/** Those that only some hosts' KVMs know. */
const OPTIONAL_MSRS: readonly number[] = [MSR.TSC_ADJUST, MSR.XSS];

/** KVM keeps the guest's clock. */
export const hasKvmClock = (model: CpuModel): boolean => model.features.has('kvm_clocksource2');

function readSegment({ view, bytes }: Structure, at: number): SegmentState {
  const flag = (field: number, bit: number): number => (bytes[at + field] ? 1 << bit : 0);
  const attributes =
    bytes[at + SEGMENT.TYPE] |
    flag(SEGMENT.S, 4) |
    (bytes[at + SEGMENT.DPL] << 5) |
    flag(SEGMENT.PRESENT, 7) |
    flag(SEGMENT.AVL, 12) |
    flag(SEGMENT.L, 13) |
    flag(SEGMENT.DB, 14) |
    flag(SEGMENT.G, 15) |
    flag(SEGMENT.UNUSABLE, 16);
  return {
    selector: view.getUint16(at + SEGMENT.SELECTOR, true),
    base: view.getBigUint64(at + SEGMENT.BASE, true),
    limit: view.getUint32(at + SEGMENT.LIMIT, true),
    attributes,
  };
}

function writeSegment({ view, bytes }: Structure, at: number, segment: SegmentState): void {
  const { attributes } = segment;
  const bit = (n: number): number => (attributes >> n) & 1;
  view.setUint16(at + SEGMENT.SELECTOR, segment.selector, true);
  view.setBigUint64(at + SEGMENT.BASE, segment.base, true);
  view.setUint32(at + SEGMENT.LIMIT, segment.limit, true);
  bytes[at + SEGMENT.TYPE] = attributes & 15;
  bytes[at + SEGMENT.S] = bit(4);
  bytes[at + SEGMENT.DPL] = (attributes >> 5) & 3;
  bytes[at + SEGMENT.PRESENT] = bit(7);
  bytes[at + SEGMENT.AVL] = bit(12);
  bytes[at + SEGMENT.L] = bit(13);
  bytes[at + SEGMENT.DB] = bit(14);
  bytes[at + SEGMENT.G] = bit(15);
  // KVM's own reset state and hardware agree: what is not present cannot be used.
  bytes[at + SEGMENT.UNUSABLE] = bit(16);
}

/** All of KVM's structures of one CPU. */
export class Registers {
  readonly regs = new Structure(SIZE.REGS);
  readonly sregs: Structure;
  private readonly xsave = new Structure(SIZE.XSAVE);
  private readonly xcrs = new Structure(SIZE.XCRS);
  private readonly events = new Structure(SIZE.EVENTS);
  private readonly debug = new Structure(SIZE.DEBUGREGS);

  /** MSRs that KVM holds for the CPU. */
  readonly held: readonly number[];

  /** `has`: what the host's KVM offers. */
  constructor(
    private readonly fd: number,
    private readonly has: { readonly sregs2: boolean; readonly xcrs: boolean },
    model: CpuModel,
  ) {
    this.sregs = new Structure(has.sregs2 ? SIZE.SREGS2 : SIZE.SREGS);
    const clock = hasKvmClock(model) ? [MSR.KVM_WALL_CLOCK, MSR.KVM_SYSTEM_TIME] : [];
    this.held = [...KVM_MSRS, ...OPTIONAL_MSRS.filter((index) => this.holds(index)), ...clock];
  }

  /** An MSR that can be read may be one that cannot be written. */
  private holds(index: number): boolean {
    const values = this.msrs([index]);
    return values.length > 0 && this.trySetMsrs(values) === 1;
  }

  private get(request: number, into: Structure, what: string): void {
    ioctl(this.fd, request, into.bytes, `KVM_GET_${what}`);
  }

  private set(request: number, from: Structure, what: string): void {
    ioctl(this.fd, request, from.bytes, `KVM_SET_${what}`);
  }

  loadRegs(): void {
    this.get(KVM.GET_REGS, this.regs, 'REGS');
  }

  loadSregs(): void {
    this.get(this.has.sregs2 ? KVM.GET_SREGS2 : KVM.GET_SREGS, this.sregs, 'SREGS');
  }

  storeSregs(): void {
    this.set(this.has.sregs2 ? KVM.SET_SREGS2 : KVM.SET_SREGS, this.sregs, 'SREGS');
  }

  segment(name: SegmentName): SegmentState {
    const found = SEGMENTS.find(([known]) => known === name);
    return readSegment(this.sregs, found?.[1] ?? SREGS.CS);
  }

  /** In `sregs`, to be stored. */
  setSegment(name: SegmentName, segment: SegmentState): void {
    const found = SEGMENTS.find(([known]) => known === name);
    writeSegment(this.sregs, found?.[1] ?? SREGS.CS, segment);
  }

  /** After `loadRegs`. */
  setRip(value: bigint): void {
    this.regs.setU64(REGS.RIP, value);
    this.set(KVM.SET_REGS, this.regs, 'REGS');
  }

  msrs(indices: readonly number[]): (readonly [index: number, value: bigint])[] {
    const list = msrList(indices.map((index) => [index, 0n]));
    const count = ioctl(this.fd, KVM.GET_MSRS, list.bytes, 'KVM_GET_MSRS');
    return indices.slice(0, count).map((index, i) => [index, list.u64(16 + 16 * i)]);
  }

  /** Throws when KVM does not take one. */
  setMsrs(values: readonly (readonly [index: number, value: bigint])[]): void {
    const count = this.trySetMsrs(values);
    if (count < values.length)
      throw new HostError(`the host's KVM does not take a value of the MSR 0x${values[count][0].toString(16)}`);
  }

  /** How many were taken, the first ones. */
  private trySetMsrs(values: readonly (readonly [index: number, value: bigint])[]): number {
    return ioctl(this.fd, KVM.SET_MSRS, msrList(values).bytes, 'KVM_SET_MSRS');
  }

  /** What the structures hold of a state, the TSC and MSRs apart. */
  save(): Omit<VcpuState, 'tsc' | 'msrs' | 'activity' | 'a20' | 'monitor'> {
    this.loadRegs();
    this.loadSregs();
    this.get(KVM.GET_XSAVE, this.xsave, 'XSAVE');
    this.get(KVM.GET_VCPU_EVENTS, this.events, 'VCPU_EVENTS');
    this.get(KVM.GET_DEBUGREGS, this.debug, 'DEBUGREGS');
    if (this.has.xcrs) this.get(KVM.GET_XCRS, this.xcrs, 'XCRS');
    const { regs, sregs, debug } = this;
    const segments = Object.fromEntries(
      SEGMENTS.map(([name, at]) => [name, readSegment(sregs, at)]),
    ) as VcpuState['segments'];
    const table = (at: number): { base: bigint; limit: number } => ({
      base: sregs.u64(at),
      limit: sregs.view.getUint16(at + 8, true),
    });
    const hasPdptes = this.has.sregs2 && (sregs.u64(SREGS.FLAGS2) & BigInt(SREGS2_PDPTRS_VALID)) !== 0n;
    return {
      gpr: REGS.GPR.map((at) => regs.u64(at)),
      rip: regs.u64(REGS.RIP),
      rflags: regs.u64(REGS.RFLAGS),
      segments,
      gdtr: table(SREGS.GDT),
      idtr: table(SREGS.IDT),
      cr0: sregs.u64(SREGS.CR0),
      cr2: sregs.u64(SREGS.CR2),
      cr3: sregs.u64(SREGS.CR3),
      cr4: sregs.u64(SREGS.CR4),
      efer: sregs.u64(SREGS.EFER),
      xcr0: this.has.xcrs ? this.xcrs.u64(16) : 1n,
      pdptes: hasPdptes ? [0, 8, 16, 24].map((at) => sregs.u64(SREGS.PDPTRS2 + at)) : null,
      breakpoints: [0, 8, 16, 24].map((at) => debug.u64(DEBUGREGS.DB + at)),
      dr6: debug.u64(DEBUGREGS.DR6),
      dr7: debug.u64(DEBUGREGS.DR7),
      fpu: this.readFpu(),
      xsave: [],
      events: this.readEvents(),
    };
  }

  private readFpu(): FpuState {
    const { view, bytes } = this.xsave;
    const fsw = view.getUint16(XSAVE.FSW, true);
    // KVM has ST(i) in the slots, as FXSAVE does; the state has physical registers.
    const top = (fsw >> 11) & 7;
    const slot = (physical: number): number => XSAVE.ST + 16 * ((physical - top) & 7);
    return {
      fcw: view.getUint16(XSAVE.FCW, true),
      fsw,
      ftw: bytes[XSAVE.FTW],
      fop: view.getUint16(XSAVE.FOP, true) & 0x7ff,
      fip: view.getBigUint64(XSAVE.FIP, true),
      fdp: view.getBigUint64(XSAVE.FDP, true),
      fcs: 0,
      fds: 0,
      registers: Array.from({ length: 8 }, (_, i) => bytes.slice(slot(i), slot(i) + 10)),
      mxcsr: view.getUint32(XSAVE.MXCSR, true),
      xmm: Array.from({ length: 16 }, (_, i) => bytes.slice(XSAVE.XMM + 16 * i, XSAVE.XMM + 16 * i + 16)),
    };
  }

  private readEvents(): VcpuState['events'] {
    const { bytes, view } = this.events;
    const shadow = bytes[EVENTS.INTERRUPT_SHADOW];
    const hasException = bytes[EVENTS.EXCEPTION_INJECTED] !== 0 || bytes[EVENTS.EXCEPTION_PENDING] !== 0;
    return {
      exception: hasException
        ? {
            vector: bytes[EVENTS.EXCEPTION_NR] & 31,
            errorCode: bytes[EVENTS.EXCEPTION_HAS_ERROR] ? view.getUint32(EVENTS.EXCEPTION_ERROR, true) : null,
            payload: null,
          }
        : null,
      interrupt: bytes[EVENTS.INTERRUPT_INJECTED]
        ? { vector: bytes[EVENTS.INTERRUPT_NR], soft: bytes[EVENTS.INTERRUPT_SOFT] !== 0 }
        : null,
      shadow: shadow & EVENTS.SHADOW_MOV_SS ? 'mov-ss' : shadow & EVENTS.SHADOW_STI ? 'sti' : 'none',
      nmiPending: bytes[EVENTS.NMI_PENDING] !== 0 || bytes[EVENTS.NMI_INJECTED] !== 0,
      nmiMasked: bytes[EVENTS.NMI_MASKED] !== 0,
      initPending: false,
      sipiPage: null,
    };
  }

  /** Sets everything but the TSC and MSRs. `apicBase` is IA32_APIC_BASE. */
  restore(state: VcpuState, apicBase: bigint): void {
    const { regs, sregs, debug } = this;
    for (const [name, at] of SEGMENTS) writeSegment(sregs, at, state.segments[name]);
    const table = (at: number, { base, limit }: { base: bigint; limit: number }): void => {
      sregs.setU64(at, base);
      sregs.view.setUint16(at + 8, limit, true);
    };
    table(SREGS.GDT, state.gdtr);
    table(SREGS.IDT, state.idtr);
    sregs.setU64(SREGS.CR0, state.cr0);
    sregs.setU64(SREGS.CR2, state.cr2);
    sregs.setU64(SREGS.CR3, state.cr3);
    sregs.setU64(SREGS.CR4, state.cr4);
    sregs.setU64(SREGS.CR8, 0n);
    sregs.setU64(SREGS.EFER, state.efer);
    sregs.setU64(SREGS.APIC_BASE, apicBase);
    if (this.has.sregs2) {
      sregs.setU64(SREGS.FLAGS2, BigInt(state.pdptes === null ? 0 : SREGS2_PDPTRS_VALID));
      (state.pdptes ?? [0n, 0n, 0n, 0n]).forEach((value, i) => sregs.setU64(SREGS.PDPTRS2 + 8 * i, value));
    } else sregs.bytes.fill(0, SREGS.FLAGS2);
    this.storeSregs();
    state.gpr.forEach((value, i) => regs.setU64(REGS.GPR[i], value));
    regs.setU64(REGS.RIP, state.rip);
    regs.setU64(REGS.RFLAGS, state.rflags);
    this.set(KVM.SET_REGS, regs, 'REGS');
    state.breakpoints.forEach((value, i) => debug.setU64(DEBUGREGS.DB + 8 * i, value));
    debug.setU64(DEBUGREGS.DR6, state.dr6);
    debug.setU64(DEBUGREGS.DR7, state.dr7);
    this.set(KVM.SET_DEBUGREGS, debug, 'DEBUGREGS');
    if (this.has.xcrs) {
      this.xcrs.bytes.fill(0);
      this.xcrs.view.setUint32(0, 1, true);
      this.xcrs.setU64(16, state.xcr0);
      this.set(KVM.SET_XCRS, this.xcrs, 'XCRS');
    }
    this.writeFpu(state.fpu);
    this.writeEvents(state.events);
  }

  private writeFpu(state: FpuState): void {
    const { view, bytes } = this.xsave;
    bytes.fill(0);
    view.setUint16(XSAVE.FCW, state.fcw, true);
    view.setUint16(XSAVE.FSW, state.fsw, true);
    bytes[XSAVE.FTW] = state.ftw;
    view.setUint16(XSAVE.FOP, state.fop, true);
    view.setBigUint64(XSAVE.FIP, state.fip, true);
    view.setBigUint64(XSAVE.FDP, state.fdp, true);
    const top = (state.fsw >> 11) & 7;
    state.registers.forEach((value, i) => bytes.set(value, XSAVE.ST + 16 * ((i - top) & 7)));
    state.xmm.forEach((value, i) => bytes.set(value, XSAVE.XMM + 16 * i));
    view.setUint32(XSAVE.MXCSR, state.mxcsr, true);
    view.setBigUint64(XSAVE.XSTATE_BV, BigInt(XSAVE.LEGACY), true);
    this.set(KVM.SET_XSAVE, this.xsave, 'XSAVE');
  }

  private writeEvents(state: VcpuState['events']): void {
    const { view, bytes } = this.events;
    bytes.fill(0);
    if (state.exception) {
      bytes[EVENTS.EXCEPTION_INJECTED] = 1;
      bytes[EVENTS.EXCEPTION_NR] = state.exception.vector;
      bytes[EVENTS.EXCEPTION_HAS_ERROR] = state.exception.errorCode === null ? 0 : 1;
      view.setUint32(EVENTS.EXCEPTION_ERROR, state.exception.errorCode ?? 0, true);
    }
    if (state.interrupt) {
      bytes[EVENTS.INTERRUPT_INJECTED] = 1;
      bytes[EVENTS.INTERRUPT_NR] = state.interrupt.vector;
      bytes[EVENTS.INTERRUPT_SOFT] = state.interrupt.soft ? 1 : 0;
    }
    bytes[EVENTS.INTERRUPT_SHADOW] =
      state.shadow === 'none' ? 0 : state.shadow === 'sti' ? EVENTS.SHADOW_STI : EVENTS.SHADOW_MOV_SS;
    bytes[EVENTS.NMI_PENDING] = state.nmiPending ? 1 : 0;
    bytes[EVENTS.NMI_MASKED] = state.nmiMasked ? 1 : 0;
    view.setUint32(EVENTS.FLAGS, EVENTS.VALID, true);
    this.set(KVM.SET_VCPU_EVENTS, this.events, 'VCPU_EVENTS');
  }
}

/** struct kvm_msrs. */
function msrList(values: readonly (readonly [index: number, value: bigint])[]): Structure {
  const list = new Structure(8 + 16 * values.length);
  list.view.setUint32(0, values.length, true);
  for (const [i, [index, value]] of values.entries()) {
    list.view.setUint32(8 + 16 * i, index, true);
    list.setU64(16 + 16 * i, value);
  }
  return list;
}
