/** Interrupt controllers of an accelerator that keep what they are given. */
import type { IoApicRegisters, OutsideControllers, PicRegisters, PitRegisters } from '../iface/chips.js';
import type { IrqLine } from '../iface/lines.js';

export class FakeControllers implements OutsideControllers {
  pics!: readonly [PicRegisters, PicRegisters];
  io!: IoApicRegisters;
  timer!: { readonly counters: readonly PitRegisters[]; readonly speaker: boolean };
  replaced: boolean[] = [];
  /** Pins as they were driven. */
  readonly log: string[] = [];

  release(): void {
    this.log.length = 0;
  }
  pic(pin: number): IrqLine {
    return { set: (asserted) => void this.log.push(`pic ${pin} ${asserted}`) };
  }
  ioApic(pin: number): IrqLine {
    return { set: (asserted) => void this.log.push(`ioapic ${pin} ${asserted}`) };
  }
  loadPics(): readonly [PicRegisters, PicRegisters] {
    return this.pics;
  }
  storePics(first: PicRegisters, second: PicRegisters): void {
    this.pics = [first, second];
  }
  loadIoApic(): IoApicRegisters {
    return this.io;
  }
  storeIoApic(registers: IoApicRegisters): void {
    this.io = registers;
  }
  loadPit(): FakeControllers['timer'] {
    return this.timer;
  }
  storePit(counters: readonly PitRegisters[], speaker: boolean): void {
    this.timer = { counters, speaker };
  }
  replacePit(replaced: boolean): void {
    this.replaced.push(replaced);
  }
}
