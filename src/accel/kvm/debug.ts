/** The debugger's wishes by the processor's own debug registers: SDM vol. 3 §18.2. */
import { HostError } from '../../base/errors.js';
import type { DebugReason, DebugRequest } from '../../iface/vcpu.js';
import { DEBUG, RUN, SIZE } from './abi.js';
import { Structure } from './registers.js';

/** There are four of them. */
export const REGISTERS = 4;
/** DR7: R/W and LEN of a register, and GE with bit 10, which is always set. */
const KIND = { EXECUTE: 0, WRITE: 1, ACCESS: 3 } as const;
const LENGTHS: Readonly<Record<number, number>> = { 1: 0, 2: 1, 4: 3, 8: 2 };
const DR7_FIXED = 0x600;
/** DR6: a single step. */
const BS = 1n << 14n;

/** struct kvm_guest_debug. Throws a one-line error when there are more places than registers. */
export function debugStructure({ singleStep, breakpoints, watchpoints }: DebugRequest): Uint8Array {
  const places = [
    ...breakpoints.map((address) => ({ address, kind: KIND.EXECUTE, length: 1 })),
    ...watchpoints.map(({ address, length, access }) => ({
      address,
      kind: access === 'write' ? KIND.WRITE : KIND.ACCESS,
      length,
    })),
  ];
  if (places.length > REGISTERS)
    throw new HostError(`under KVM there are ${REGISTERS} breakpoints and watchpoints in all`);
  const debug = new Structure(SIZE.GUEST_DEBUG);
  const isAny = singleStep || places.length > 0;
  const control =
    (isAny ? DEBUG.ENABLE : 0) | (singleStep ? DEBUG.SINGLESTEP : 0) | (places.length > 0 ? DEBUG.USE_HW_BP : 0);
  debug.view.setUint32(0, control, true);
  let dr7 = DR7_FIXED;
  for (const [i, { address, kind, length }] of places.entries()) {
    debug.setU64(8 + 8 * i, address);
    dr7 |= (2 << (2 * i)) | ((kind | ((LENGTHS[length] ?? 0) << 2)) << (16 + 4 * i));
  }
  debug.setU64(8 + 8 * 7, BigInt(dr7 >>> 0));
  return debug.bytes;
}

/** Why it stopped, by struct kvm_debug_exit_arch. */
export function debugReason(view: DataView, { breakpoints, watchpoints }: DebugRequest): DebugReason {
  const dr6 = view.getBigUint64(RUN.DEBUG_DR6, true);
  const met = [0, 1, 2, 3].find((i) => (dr6 >> BigInt(i)) & 1n);
  if (met !== undefined && met < breakpoints.length) return { kind: 'breakpoint', address: breakpoints[met] };
  const watch = met === undefined ? undefined : watchpoints.at(met - breakpoints.length);
  if (watch) return { kind: 'watchpoint', address: watch.address, access: watch.access };
  const pc = view.getBigUint64(RUN.DEBUG_PC, true);
  if (!(dr6 & BS) && breakpoints.includes(pc)) return { kind: 'breakpoint', address: pc };
  return { kind: 'step' };
}
