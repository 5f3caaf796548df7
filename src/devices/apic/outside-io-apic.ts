/** An I/O APIC that the accelerator has, as the board sees it. */
import { UsageError } from '../../base/errors.js';
import type { OutsideControllers } from '../../iface/chips.js';
import type { IrqLine } from '../../iface/lines.js';
import type { Plain } from '../../snapshot/schema.js';
import type { Snapshotable } from '../../snapshot/snapshotable.js';
import {
  IO_APIC_PINS,
  IO_APIC_STATE_VERSION,
  IO_APIC_VERSION,
  ioApicStateSchema,
  upgradeIoApic,
  type IoApicState,
} from './io-apic-state.js';

const MASKED = 1 << 16;

export class OutsideIoApic implements Snapshotable<IoApicState> {
  readonly id = 'ioapic';
  readonly stateVersion = IO_APIC_STATE_VERSION;
  readonly stateSchema = ioApicStateSchema;

  constructor(private readonly registers: OutsideControllers) {
    const all = <T>(value: T): T[] => new Array<T>(IO_APIC_PINS).fill(value);
    registers.storeIoApic({ apicId: 0, select: 0, low: all(MASKED), high: all(0), levels: all(false) });
  }

  pin(pin: number): IrqLine {
    return this.registers.ioApic(pin);
  }

  upgrade(state: Plain): Plain {
    return upgradeIoApic(state);
  }

  save(): IoApicState {
    const { low, high, levels, ...rest } = this.registers.loadIoApic();
    return { ...rest, low: [...low], high: [...high], levels: [...levels], version: IO_APIC_VERSION.PLAIN };
  }

  restore(state: IoApicState): void {
    if (state.version !== IO_APIC_VERSION.PLAIN)
      throw new UsageError(
        "this machine's I/O APIC has a register that KVM's has not: it goes on with --kernel-irqchip split or off, and on other accelerators",
      );
    this.registers.storeIoApic(state);
  }
}
