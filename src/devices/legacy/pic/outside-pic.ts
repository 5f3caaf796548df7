/** 8259As that the accelerator has, as the board sees them. */
import type { OutsideControllers, PicRegisters } from '../../../iface/chips.js';
import type { IrqLine } from '../../../iface/lines.js';
import type { Snapshotable } from '../../../snapshot/snapshotable.js';
import { dualPicState, type DualPicState } from './dual-pic.js';
import { PIC_POWER_ON } from './pic-8259.js';

export class OutsidePic implements Snapshotable<DualPicState> {
  readonly id = 'pic';
  readonly stateVersion = 1;
  readonly stateSchema = dualPicState;

  constructor(private readonly registers: OutsideControllers) {
    registers.storePics(PIC_POWER_ON, PIC_POWER_ON);
  }

  input(pin: number): IrqLine {
    return this.registers.pic(pin);
  }

  save(): DualPicState {
    const [first, second] = this.registers.loadPics();
    // One that is alone it cannot be.
    const whole = (registers: PicRegisters): DualPicState['first'] => ({ ...registers, single: false });
    return { first: whole(first), second: whole(second) };
  }

  restore({ first, second }: DualPicState): void {
    this.registers.storePics(first, second);
  }
}
