/**
 * The two 8259As of a PC/AT: the second one's INT is input 2 of the first. Ports 0x20/21, 0xa0/a1, and ELCR1/2 at
 * 0x4d0/4d1 (ICH9 datasheet 316972, "Interrupt Controller I/O Registers").
 */
import type { IoHandler } from '../../../iface/bus.js';
import type { IrqLine } from '../../../iface/lines.js';
import { struct, type Infer } from '../../../snapshot/schema.js';
import type { Snapshotable } from '../../../snapshot/snapshotable.js';
import { Pic8259, pic8259State } from './pic-8259.js';

/** Inputs 0, 1 and 2 are always edge-triggered; and so are 8 (RTC) and 13 (FERR#). */
const ELCR1_MASK = 0xf8;
const ELCR2_MASK = 0xde;
const CASCADE = 2;

export const dualPicState = struct({ first: pic8259State, second: pic8259State });
export type DualPicState = Infer<typeof dualPicState>;

export class DualPic implements Snapshotable<DualPicState> {
  readonly id = 'pic';
  readonly stateVersion = 1;
  readonly stateSchema = dualPicState;

  private readonly first: Pic8259;
  private readonly second: Pic8259;

  /** Two ports each, at 0x20, 0xa0 and 0x4d0. */
  readonly firstPorts: IoHandler;
  readonly secondPorts: IoHandler;
  readonly elcrPorts: IoHandler;

  /** `intr` is INT of the first chip: LINT0 of the local APICs, or INTR of the CPU. */
  constructor(
    private readonly intr: IrqLine,
    /** Interrupt 0 … 7 has been served. */
    ended?: (irq: number) => void,
  ) {
    this.first = new Pic8259((asserted) => this.intr.set(asserted), ELCR1_MASK, true, ended);
    this.second = new Pic8259((asserted) => this.first.setPin(CASCADE, asserted), ELCR2_MASK, false);
    const ports = (chip: Pic8259): IoHandler => ({
      widest: 1,
      read: (offset) => chip.read(offset),
      write: (offset, _size, value) => chip.write(offset, value),
      peek: (offset) => chip.peek(offset),
    });
    this.firstPorts = ports(this.first);
    this.secondPorts = ports(this.second);
    const elcr = (offset: number): Pic8259 => (offset === 0 ? this.first : this.second);
    this.elcrPorts = {
      widest: 1,
      read: (offset) => elcr(offset).elcr,
      write: (offset, _size, value) => {
        elcr(offset).elcr = value;
      },
      peek: (offset) => elcr(offset).elcr,
    };
  }

  /** Input 0 … 15; 2 is the cascade and must not be driven. */
  input(pin: number): IrqLine {
    const [chip, input] = pin < 8 ? [this.first, pin] : [this.second, pin - 8];
    return { set: (asserted) => chip.setPin(input, asserted) };
  }

  /** The CPU's INTA cycle: the vector, taken into service. Input 7 of a chip answers when there is no request. */
  acknowledge(): number {
    const level = this.first.acknowledge();
    if (level !== CASCADE) return this.first.vector(level);
    return this.second.vector(this.second.acknowledge());
  }

  save(): DualPicState {
    return { first: this.first.save(), second: this.second.save() };
  }

  restore(state: DualPicState): void {
    // The second one drives the first, whose own state then has the last word.
    this.second.restore(state.second);
    this.first.restore(state.first);
  }
}
