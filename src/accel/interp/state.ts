/** Between the architectural state of src/arch/x86 and the fields in the Wasm memory. */
import { CR0, CR4 } from '../../arch/x86/control-registers.js';
import { MSR } from '../../arch/x86/msrs.js';
import { initialMsrs, type MsrValues } from '../../arch/x86/msr-policy.js';
import type { CpuModel } from '../../arch/x86/cpu-models.js';
import type { SegmentName, SegmentState, VcpuState } from '../../arch/x86/state.js';
import { ATTN, STATE } from '../../cpu/x86/state-layout.js';

const SEGMENT_ORDER: readonly SegmentName[] = ['es', 'cs', 'ss', 'ds', 'fs', 'gs', 'ldtr', 'tr'];

/** MSRs that the CPU core holds, by the field they live in. */
export const CORE_MSRS: readonly (readonly [index: number, field: keyof typeof STATE])[] = [
  [MSR.STAR, 'STAR'],
  [MSR.LSTAR, 'LSTAR'],
  [MSR.CSTAR, 'CSTAR'],
  [MSR.FMASK, 'FMASK'],
  [MSR.KERNEL_GS_BASE, 'KERNEL_GS_BASE'],
  [MSR.SYSENTER_CS, 'SYSENTER_CS'],
  [MSR.SYSENTER_ESP, 'SYSENTER_ESP'],
  [MSR.SYSENTER_EIP, 'SYSENTER_EIP'],
  [MSR.TSC_ADJUST, 'TSC_ADJUST'],
  [MSR.TSC_AUX, 'TSC_AUX'],
  [MSR.XSS, 'XSS'],
];

/** Bits of RFLAGS that EFLAGS in the state holds; the arithmetic flags are lazy. */
const ARITHMETIC = 0x8d5;

/** Typed access to the state block of one CPU. */
export class StateView {
  constructor(
    private readonly view: DataView,
    private readonly bytes: Uint8Array,
    private readonly base: number,
  ) {}

  u32(field: keyof typeof STATE, index = 0): number {
    return this.view.getUint32(this.base + STATE[field] + index * 4, true);
  }
  setU32(field: keyof typeof STATE, value: number, index = 0): void {
    this.view.setUint32(this.base + STATE[field] + index * 4, value, true);
  }
  u64(field: keyof typeof STATE, index = 0): bigint {
    return this.view.getBigUint64(this.base + STATE[field] + index * 8, true);
  }
  setU64(field: keyof typeof STATE, value: bigint, index = 0): void {
    this.view.setBigUint64(this.base + STATE[field] + index * 8, BigInt.asUintN(64, value), true);
  }
  setF64(field: keyof typeof STATE, value: number): void {
    this.view.setFloat64(this.base + STATE[field], value, true);
  }
  /** A view of part of the state. */
  part(field: keyof typeof STATE, offset: number, length: number): Uint8Array {
    const start = this.base + STATE[field] + offset;
    return this.bytes.subarray(start, start + length);
  }

  /** RFLAGS with the lazy flags worked out: docs/interpreter.md, "Flags". */
  rflags(): bigint {
    const result = this.u64('FLAG_RES');
    const aux = this.u32('FLAG_AUX');
    const carry = aux >>> 31;
    let parity = (Number(result & 0xffn) ^ (aux >>> 8)) & 0xff;
    parity ^= parity >> 4;
    parity ^= parity >> 2;
    parity ^= parity >> 1;
    const sign = Number(result >> 63n) ^ (aux & 1);
    const flags =
      carry |
      ((parity & 1) === 0 ? 0x4 : 0) |
      ((aux & 8) << 1) |
      (result === 0n ? 0x40 : 0) |
      (sign << 7) |
      ((carry ^ ((aux >>> 30) & 1)) << 11);
    return BigInt((this.u32('EFLAGS') & ~ARITHMETIC) | flags);
  }

  setRflags(value: bigint): void {
    const flags = Number(value & 0xffff_ffffn);
    const bit = (n: number): number => (flags >>> n) & 1;
    const notZero = bit(6) ^ 1;
    // The parity flag of a result of 0 is set, of 1 clear.
    const parityFlip = bit(2) ^ bit(6);
    const aux = (bit(0) << 31) | ((bit(0) ^ bit(11)) << 30) | (bit(4) << 3) | bit(7) | (parityFlip << 8);
    this.setU64('FLAG_RES', BigInt(notZero));
    this.setU32('FLAG_AUX', aux >>> 0);
    this.setU32('EFLAGS', (flags & ~ARITHMETIC) | 2);
  }
}

const BASE_FIELDS = { ldtr: 'LDTR_BASE', tr: 'TR_BASE' } as const;

function readSegment(s: StateView, name: SegmentName): SegmentState {
  const index = SEGMENT_ORDER.indexOf(name);
  const base = name === 'ldtr' || name === 'tr' ? s.u64(BASE_FIELDS[name]) : s.u64('SEG_BASE', index);
  return {
    selector: s.u32('SEG_SELECTOR', index),
    base,
    limit: s.u32('SEG_LIMIT', index),
    attributes: s.u32('SEG_ATTR', index),
  };
}

function writeSegment(s: StateView, name: SegmentName, segment: SegmentState): void {
  const index = SEGMENT_ORDER.indexOf(name);
  if (name === 'ldtr' || name === 'tr') s.setU64(BASE_FIELDS[name], segment.base);
  else s.setU64('SEG_BASE', segment.base, index);
  s.setU32('SEG_SELECTOR', segment.selector, index);
  s.setU32('SEG_LIMIT', segment.limit, index);
  s.setU32('SEG_ATTR', segment.attributes, index);
}

const isPae = (s: StateView): boolean =>
  (s.u64('CR0') & (1n << 31n)) !== 0n && (Number(s.u64('CR4')) & CR4.PAE) !== 0 && (s.u64('EFER') & 0x400n) === 0n;

const ACTIVITIES = ['running', 'halted', 'wait-for-sipi', 'shutdown'] as const;

const sequence = (length: number): number[] => Array.from({ length }, (_, i) => i);

/** Reads the whole architectural state. `tsc` is the time-stamp counter now. */
export function readState(s: StateView, msrs: MsrValues, tsc: bigint): VcpuState {
  const segments = Object.fromEntries(
    SEGMENT_ORDER.map((name) => [name, readSegment(s, name)]),
  ) as VcpuState['segments'];
  const held = s.u32('ATTN') | s.u32('HELD');
  const vector = s.u32('EXC_VECTOR') | 0;
  const shadow = s.u32('SHADOW');
  const list = new Map<number, bigint>(msrs);
  for (const [index, field] of CORE_MSRS) list.set(index, s.u64(field));
  return {
    gpr: sequence(16).map((i) => s.u64('GPR', i)),
    rip: s.u64('RIP'),
    rflags: s.rflags(),
    segments,
    gdtr: { base: s.u64('GDTR_BASE'), limit: s.u32('GDTR_LIMIT') & 0xffff },
    idtr: { base: s.u64('IDTR_BASE'), limit: s.u32('IDTR_LIMIT') & 0xffff },
    cr0: s.u64('CR0'),
    cr2: s.u64('CR2'),
    cr3: s.u64('CR3'),
    cr4: s.u64('CR4'),
    efer: s.u64('EFER'),
    xcr0: s.u64('XCR0'),
    pdptes: isPae(s) ? sequence(4).map((i) => s.u64('PDPTE', i)) : null,
    breakpoints: sequence(4).map((i) => s.u64('DR', i)),
    dr6: s.u64('DR', 6),
    dr7: s.u64('DR', 7),
    fpu: {
      fcw: s.u32('FCW'),
      fsw: s.u32('FSW'),
      ftw: s.u32('FTW'),
      fop: s.u32('FOP'),
      fip: s.u64('FIP'),
      fdp: s.u64('FDP'),
      fcs: s.u32('FCS'),
      fds: s.u32('FDS'),
      registers: sequence(8).map((i) => s.part('FPR', i * 16, 10).slice()),
      mxcsr: s.u32('MXCSR'),
      xmm: sequence(16).map((i) => s.part('XMM', i * 16, 16).slice()),
    },
    xsave: [],
    tsc,
    msrs: [...list].map(([index, value]) => ({ index, value })).sort((a, b) => a.index - b.index),
    events: {
      exception:
        vector < 0
          ? null
          : {
              vector: vector & 31,
              errorCode: s.u32('EXC_ERROR') === 0xffff_ffff ? null : s.u32('EXC_ERROR'),
              payload: vector === 14 ? s.u64('EXC_ADDR') : null,
            },
      interrupt: null,
      shadow: shadow === 0 ? 'none' : shadow & 2 ? 'mov-ss' : 'sti',
      nmiPending: (held & ATTN.NMI) !== 0,
      nmiMasked: s.u32('NMI_MASKED') !== 0,
      initPending: (held & ATTN.INIT) !== 0,
      sipiPage: (held & ATTN.SIPI) !== 0 ? s.u32('SIPI_PAGE') & 0xff : null,
    },
    activity: ACTIVITIES[s.u32('ACTIVITY') & 3],
    a20: (s.u64('A20_MASK') & 0x10_0000n) !== 0n,
    monitor: s.u32('MONITOR_ARMED') ? s.u64('MONITOR_ADDR') : null,
  };
}

/** Writes the whole state but the time-stamp counter; the derived fields are the helpers' to bring up to date after it. */
export function writeState(s: StateView, msrs: MsrValues, model: CpuModel, state: VcpuState): void {
  state.gpr.forEach((value, i) => {
    s.setU64('GPR', value, i);
  });
  s.setU64('RIP', state.rip);
  s.setRflags(state.rflags);
  for (const name of SEGMENT_ORDER) writeSegment(s, name, state.segments[name]);
  s.setU64('GDTR_BASE', state.gdtr.base);
  s.setU32('GDTR_LIMIT', state.gdtr.limit);
  s.setU64('IDTR_BASE', state.idtr.base);
  s.setU32('IDTR_LIMIT', state.idtr.limit);
  s.setU64('CR0', state.cr0 | BigInt(CR0.ET));
  s.setU64('CR2', state.cr2);
  s.setU64('CR3', state.cr3);
  s.setU64('CR4', state.cr4);
  s.setU64('EFER', state.efer);
  s.setU64('XCR0', state.xcr0);
  (state.pdptes ?? [0n, 0n, 0n, 0n]).forEach((value, i) => {
    s.setU64('PDPTE', value, i);
  });
  state.breakpoints.forEach((value, i) => {
    s.setU64('DR', value, i);
  });
  s.setU64('DR', state.dr6, 6);
  s.setU64('DR', state.dr7, 7);
  writeFpu(s, state.fpu);
  msrs.clear();
  for (const { index, value } of initialMsrs(model)) msrs.set(index, value);
  for (const [, field] of CORE_MSRS) s.setU64(field, 0n);
  for (const { index, value } of state.msrs) {
    const core = CORE_MSRS.find(([known]) => known === index);
    if (core) s.setU64(core[1], value);
    else msrs.set(index, value);
  }
  writeEvents(s, state);
  s.setU32('ACTIVITY', ACTIVITIES.indexOf(state.activity));
  s.setU64('A20_MASK', state.a20 ? ~0n : ~0x10_0000n);
  s.setU32('MONITOR_ARMED', state.monitor === null ? 0 : 1);
  s.setU64('MONITOR_ADDR', state.monitor ?? 0n);
  s.setU32('CPL', (state.rflags & (1n << 17n)) !== 0n ? 3 : (state.segments.ss.attributes >> 5) & 3);
}

function writeFpu(s: StateView, fpu: VcpuState['fpu']): void {
  s.setU32('FCW', fpu.fcw);
  s.setU32('FSW', fpu.fsw);
  s.setU32('FTW', fpu.ftw);
  s.setU32('FOP', fpu.fop);
  s.setU64('FIP', fpu.fip);
  s.setU64('FDP', fpu.fdp);
  s.setU32('FCS', fpu.fcs);
  s.setU32('FDS', fpu.fds);
  s.setU32('MXCSR', fpu.mxcsr);
  fpu.registers.forEach((value, i) => {
    s.part('FPR', i * 16, 16).fill(0);
    s.part('FPR', i * 16, 10).set(value);
  });
  fpu.xmm.forEach((value, i) => {
    s.part('XMM', i * 16, 16).set(value);
  });
}

function writeEvents(s: StateView, { events }: VcpuState): void {
  const { exception } = events;
  s.setU32('EXC_VECTOR', exception === null ? 0xffff_ffff : exception.vector);
  s.setU32('EXC_ERROR', exception?.errorCode ?? 0xffff_ffff);
  s.setU64('EXC_ADDR', exception?.payload ?? 0n);
  s.setU32('NMI_MASKED', events.nmiMasked ? 1 : 0);
  s.setU32('SIPI_PAGE', events.sipiPage ?? 0);
  s.setU32('HELD', 0);
  // The driver looks at everything once after a restore.
  const attention =
    ATTN.CPU |
    ATTN.INTR |
    (events.nmiPending ? ATTN.NMI : 0) |
    (events.initPending ? ATTN.INIT : 0) |
    (events.sipiPage === null ? 0 : ATTN.SIPI);
  s.setU32('ATTN', attention);
  s.setU32('SHADOW', events.shadow === 'none' ? 0 : events.shadow === 'sti' ? 1 : 3);
  s.setU64('SHADOW_RIP', s.u64('RIP'));
  s.setU32('SHADOW_SEEN', 0);
}
