import { gpa } from '../../base/units.js';
import type { MsiSink } from '../../iface/lines.js';
import type { PciFunction } from './function.js';
import { CAPABILITY, MSI_CONTROL } from './registers.js';

/** Offsets in a capability with 64-bit addresses and per-vector masking, PCI 3.0 §6.8.1. */
const MSI = { CONTROL: 2, ADDRESS: 4, ADDRESS_HIGH: 8, DATA: 12, MASK: 16, PENDING: 20, SIZE: 24 } as const;

/** Message-signalled interrupts, PCI 3.0 §6.8.1, with 1 … 32 vectors (a power of two) that can be masked one by one. */
export class MsiCapability {
  /** Where the capability lies in configuration space. */
  readonly at: number;

  constructor(
    private readonly pci: PciFunction,
    vectors: number,
    private readonly sink: MsiSink,
  ) {
    const { config } = pci;
    this.at = pci.addCapability(CAPABILITY.MSI, MSI.SIZE);
    const all = vectors === 32 ? 0xffff_ffff : 2 ** vectors - 1;
    config.define(this.at + MSI.CONTROL, 2, {
      value: MSI_CONTROL.ADDRESS_64 | MSI_CONTROL.MASKING | (Math.log2(vectors) << MSI_CONTROL.CAPABLE_SHIFT),
      writable: MSI_CONTROL.ENABLE | MSI_CONTROL.ENABLED_MASK,
    });
    config.define(this.at + MSI.ADDRESS, 4, { writable: 0xffff_fffc });
    config.define(this.at + MSI.ADDRESS_HIGH, 4, { writable: 0xffff_ffff });
    config.define(this.at + MSI.DATA, 2, { writable: 0xffff });
    config.define(this.at + MSI.MASK, 4, { writable: all });
    config.define(this.at + MSI.PENDING, 4, { dynamic: all });
    config.watch(this.at + MSI.CONTROL, MSI.SIZE - MSI.CONTROL, () => this.deliverPending());
  }

  get enabled(): boolean {
    return (this.pci.config.get(this.at + MSI.CONTROL, 2) & MSI_CONTROL.ENABLE) !== 0;
  }

  /** Sends vector 0 … n-1, or keeps it pending while it is masked. */
  trigger(vector: number): void {
    if (!this.enabled) return;
    const { config } = this.pci;
    // Software may have allotted fewer vectors than there are: the rest share (§6.8.3.4 leaves how to the device).
    const control = config.get(this.at + MSI.CONTROL, 2);
    const allotted = Math.min(32, 1 << ((control & MSI_CONTROL.ENABLED_MASK) >>> MSI_CONTROL.ENABLED_SHIFT));
    const number = vector % allotted;
    const bit = 2 ** number;
    if (config.get(this.at + MSI.MASK, 4) & bit || !this.pci.busMaster) {
      config.set(this.at + MSI.PENDING, 4, (config.get(this.at + MSI.PENDING, 4) | bit) >>> 0);
      return;
    }
    const address = config.get(this.at + MSI.ADDRESS_HIGH, 4) * 2 ** 32 + config.get(this.at + MSI.ADDRESS, 4);
    const data = config.get(this.at + MSI.DATA, 2);
    this.sink.deliver(gpa(address), (data - (data % allotted)) | number);
  }

  /** Sends what was pending and is not masked any more. */
  deliverPending(): void {
    const { config } = this.pci;
    if (!this.enabled || !this.pci.busMaster) return;
    const pending = config.get(this.at + MSI.PENDING, 4);
    const due = (pending & ~config.get(this.at + MSI.MASK, 4)) >>> 0;
    if (due === 0) return;
    config.set(this.at + MSI.PENDING, 4, (pending & ~due) >>> 0);
    for (let vector = 0; vector < 32; vector++) if (due & (2 ** vector)) this.trigger(vector);
  }
}
