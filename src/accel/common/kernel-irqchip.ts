/** Who has the interrupt controllers of a machine on KVM. `off`: all are ours; `split`: KVM has the local APICs, and the rest is ours. */
export const KERNEL_IRQCHIPS = ['off', 'split'] as const;
export type KernelIrqchip = (typeof KERNEL_IRQCHIPS)[number];
