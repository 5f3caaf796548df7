/** The chipset's two reset registers: port 0x92 and port 0xcf9 (ICH9 datasheet 316972, "Processor Interface Registers"). */
import type { IoHandler } from '../../iface/bus.js';
import type { IrqLine, MachineControl } from '../../iface/lines.js';
import { bool, range, struct, type Infer } from '../../snapshot/schema.js';
import type { Snapshotable } from '../../snapshot/snapshotable.js';

/** Register PORT92. */
const PORT_92 = { INIT_NOW: 1 << 0, ALT_A20_GATE: 1 << 1 } as const;

const fastA20State = struct({ a20: bool });

/** Port 0x92: fast A20 and INIT. The A20 gate is open while this or the keyboard controller opens it. */
export class FastA20 implements IoHandler, Snapshotable<Infer<typeof fastA20State>> {
  readonly id = 'port92';
  readonly stateVersion = 1;
  readonly stateSchema = fastA20State;
  readonly widest = 1;
  private a20 = false;

  /**
   * `gate` is asserted while A20 is let through. INIT resets only the processor, which the machine does not tell from
   * a reset of all: DEVIATION, as other virtual machines.
   */
  constructor(
    private readonly gate: IrqLine,
    private readonly control: MachineControl,
  ) {}

  read(): number {
    return this.a20 ? PORT_92.ALT_A20_GATE : 0;
  }

  peek(): number {
    return this.read();
  }

  write(_offset: number, _size: number, value: number): void {
    this.a20 = (value & PORT_92.ALT_A20_GATE) !== 0;
    this.gate.set(this.a20);
    // A transition from 0 to 1 resets; the machine comes back with the bit cleared.
    if (value & PORT_92.INIT_NOW) this.control.reset();
  }

  save(): Infer<typeof fastA20State> {
    return { a20: this.a20 };
  }

  restore(state: Infer<typeof fastA20State>): void {
    this.a20 = state.a20;
    this.gate.set(state.a20);
  }
}

/** Register RST_CNT. */
const RST_CNT = { SYS_RST: 1 << 1, RST_CPU: 1 << 2, FULL_RST: 1 << 3 } as const;

const resetControlState = struct({ value: range(0, 15) });

/**
 * Port 0xcf9. A write that takes RST_CPU from 0 to 1 resets, hard if SYS_RST says so. It lies among the dword ports
 * of PCI configuration, and is a byte: map it after 0xcf8.
 */
export class ResetControl implements IoHandler, Snapshotable<Infer<typeof resetControlState>> {
  readonly id = 'reset-control';
  readonly stateVersion = 1;
  readonly stateSchema = resetControlState;
  readonly widest = 1;
  private value = 0;

  constructor(private readonly control: MachineControl) {}

  read(): number {
    return this.value;
  }

  peek(): number {
    return this.value;
  }

  write(_offset: number, _size: number, value: number): void {
    const rising = value & ~this.value & RST_CNT.RST_CPU;
    // RST_CPU always reads as written last; the machine comes back with all cleared.
    this.value = value & (RST_CNT.SYS_RST | RST_CNT.RST_CPU | RST_CNT.FULL_RST);
    if (rising) this.control.reset();
  }

  save(): Infer<typeof resetControlState> {
    return { value: this.value };
  }

  restore(state: Infer<typeof resetControlState>): void {
    this.value = state.value;
  }
}
