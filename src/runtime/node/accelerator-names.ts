/** The accelerators by their names: what programs that choose one need to know, types of Node's apart. */
import { KERNEL_IRQCHIPS, type KernelIrqchip } from '../../accel/common/kernel-irqchip.js';
import { UsageError } from '../../base/errors.js';

export const ACCELERATORS = ['interp', 'wasm', 'kvm'] as const;
export type AcceleratorName = (typeof ACCELERATORS)[number];

export type { KernelIrqchip } from '../../accel/common/kernel-irqchip.js';

/** Throws a one-line error when there is no such accelerator. */
export function checkAccelerator(name: string): AcceleratorName {
  const found = ACCELERATORS.find((known) => known === name);
  if (found === undefined) throw new UsageError(`unknown accelerator "${name}"; there are ${ACCELERATORS.join(', ')}`);
  return found;
}

/** Checks who is to have the interrupt controllers on KVM. Throws a one-line error when there is no such choice. */
export function checkKernelIrqchip(name: string): KernelIrqchip {
  const found = KERNEL_IRQCHIPS.find((known) => known === name);
  if (found === undefined)
    throw new UsageError(`--kernel-irqchip knows no "${name}"; there are ${KERNEL_IRQCHIPS.join(', ')}`);
  return found;
}
