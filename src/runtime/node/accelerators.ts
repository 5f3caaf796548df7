/** The accelerators, and what this host has of them. */
import { totalmem } from 'node:os';
import { maxBacking } from '../../accel/interp/memory.js';
import { HostError, UsageError } from '../../base/errors.js';
import { MIB } from '../../base/units.js';
import type { AcceleratorName } from './accelerator-names.js';

/** By so much may the rate of a time-stamp counter differ from what a guest was told: parts of one. */
export const TSC_TOLERANCE = 250e-6;

/** Bytes of memory that this process can have at all. */
function hostMemory(): number {
  // 0 or absurdly large without a limit, undefined before Node 19.6.
  const limit = (process as { constrainedMemory?: () => number | undefined }).constrainedMemory?.() ?? 0;
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}

const mebibytes = (size: number): string => `${Math.floor(size / MIB)} MiB`;

/** Throws a one-line error when so much guest memory is beyond the accelerator or the host. */
export function checkMemory(size: number, cpus = 1, accel?: AcceleratorName): void {
  if (accel !== 'kvm' && size > maxBacking(cpus))
    throw new UsageError(
      `${mebibytes(size)} of memory are too much: an accelerator can give ${mebibytes(maxBacking(cpus))} at most, but for --accel kvm`,
    );
  const host = hostMemory();
  if (size > host) throw new HostError(`${mebibytes(size)} of memory are too much: this host has ${mebibytes(host)}`);
}
