/**
 * What hardware-reduced ACPI asks of a board (ACPI 6.5 §4.1, §4.8.4.2): sleep and reset registers, and a register behind a Generic
 * Event Device (§5.6.9) that says what has happened. One window of memory; bytes.
 */
import type { IoHandler } from '../../iface/bus.js';
import type { IrqLine, MachineControl } from '../../iface/lines.js';
import { struct, u8, type Infer } from '../../snapshot/schema.js';
import type { Snapshotable } from '../../snapshot/snapshotable.js';

/** Offsets of the registers. */
export const GED_REG = { EVENTS: 0, SLEEP_CONTROL: 4, SLEEP_STATUS: 5, RESET: 6 } as const;
/** Size of the window to claim, bytes. */
export const GED_SIZE = 0x1000;
/** What the reset register takes, for the FADT. */
export const RESET_VALUE = 0x42;
/** SLP_TYP of soft off, for \_S5. */
export const SLP_TYP_S5 = 5;
/** EVENTS: written 1 to clear. */
export const GED_EVENT = { POWER_BUTTON: 1 << 0 } as const;

/** SLEEP_CONTROL_REG, table 4.19. */
const SLEEP_CONTROL = { SLP_TYP_SHIFT: 2, SLP_TYP: 7 << 2, SLP_EN: 1 << 5 } as const;

const stateSchema = struct({ events: u8 });
type State = Infer<typeof stateSchema>;

export class GenericEventDevice implements IoHandler, Snapshotable<State> {
  readonly id = 'acpi-ged';
  readonly stateVersion = 1;
  readonly stateSchema = stateSchema;
  readonly widest = 1;
  private events = 0;

  /** `irq` is level-triggered: asserted while an event waits. */
  constructor(
    private readonly irq: IrqLine,
    private readonly control: MachineControl,
  ) {}

  pressPowerButton(): void {
    this.setEvents(this.events | GED_EVENT.POWER_BUTTON);
  }

  private setEvents(events: number): void {
    this.events = events;
    this.irq.set(events !== 0);
  }

  read(offset: number): number {
    return this.peek(offset);
  }

  peek(offset: number): number {
    return offset === GED_REG.EVENTS ? this.events : 0;
  }

  write(offset: number, _size: number, value: number): void {
    switch (offset) {
      case GED_REG.EVENTS:
        this.setEvents(this.events & ~value);
        break;
      case GED_REG.SLEEP_CONTROL: {
        const type = (value & SLEEP_CONTROL.SLP_TYP) >> SLEEP_CONTROL.SLP_TYP_SHIFT;
        // Other states are not described to guests, and do nothing.
        if (value & SLEEP_CONTROL.SLP_EN && type === SLP_TYP_S5) this.control.powerOff();
        break;
      }
      case GED_REG.RESET:
        if (value === RESET_VALUE) this.control.reset();
        break;
    }
  }

  save(): State {
    return { events: this.events };
  }

  restore(state: State): void {
    this.setEvents(state.events & GED_EVENT.POWER_BUTTON);
  }
}
