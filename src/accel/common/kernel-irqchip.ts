/**
 * Who has the interrupt controllers of a machine on KVM. `off`: all are ours; `split`: KVM has the local APICs, and the rest is ours; `on`: KVM has 8259s, I/O APIC and
 * 8254 besides.
 */
export const KERNEL_IRQCHIPS = ['off', 'split', 'on'] as const;
export type KernelIrqchip = (typeof KERNEL_IRQCHIPS)[number];
