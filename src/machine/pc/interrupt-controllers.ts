/** 8259s, I/O APIC and 8254 of a PC: ours, at their places on the bus, or the accelerator's, which guests reach without us. */
import type { Bus } from '../../bus/io-space.js';
import type { ApicBus } from '../../devices/apic/apic-bus.js';
import { IO_APIC_BASE, IO_APIC_SIZE, IoApic } from '../../devices/apic/io-apic.js';
import { OutsideIoApic } from '../../devices/apic/outside-io-apic.js';
import { DualPic, type DualPicState } from '../../devices/legacy/pic/dual-pic.js';
import { OutsidePic } from '../../devices/legacy/pic/outside-pic.js';
import { OutsidePit } from '../../devices/legacy/pit/outside-pit.js';
import { Pit } from '../../devices/legacy/pit/pit.js';
import type { AcceleratorChips } from '../../iface/chips.js';
import type { Clock } from '../../iface/clock.js';
import type { IrqLine } from '../../iface/lines.js';
import type { Snapshotable } from '../../snapshot/snapshotable.js';

/** Where interrupt 0 ends at the I/O APIC. */
const TICK_PIN = 2;

/** A timer that ticks on interrupt 0, and gives ticks that it owes. */
export interface Ticking {
  acknowledged(): void;
}

export interface PcControllers {
  readonly pic: Snapshotable<DualPicState> & { input(pin: number): IrqLine };
  readonly ioApic: Snapshotable & { pin(pin: number): IrqLine };
  /** The 8254, whose interrupt goes to `irq` where it is ours. */
  pit(irq: IrqLine, clock: Clock): { readonly part: Snapshotable; readonly ticking?: Ticking };
  /** Of the 8259s, for a CPU that asks. */
  acknowledge(): number;
  /** The HPET drives interrupt 0 in the place of an 8254 that is not ours, or does no more. */
  readonly replacePit?: (replaced: boolean) => void;
}

export interface ControllerParts {
  readonly chips: AcceleratorChips | undefined;
  readonly bus: Bus;
  readonly apicBus: ApicBus;
  /** INT of the 8259s. */
  readonly intr: IrqLine;
  /** The guest has done with interrupt 0. */
  readonly tickEnded: () => void;
}

export function makeControllers(parts: ControllerParts): PcControllers {
  const outside = parts.chips?.controllers;
  if (!outside) return ownControllers(parts);
  outside.release();
  return {
    pic: new OutsidePic(outside),
    ioApic: new OutsideIoApic(outside),
    pit: (_irq, clock) => ({ part: new OutsidePit(outside, clock) }),
    // Nobody asks.
    acknowledge: () => 0xff,
    replacePit: (replaced) => outside.replacePit(replaced),
  };
}

function ownControllers({ chips, bus, apicBus, intr, tickEnded }: ControllerParts): PcControllers {
  const { ports, memory } = bus;
  const pic = new DualPic(intr, (irq) => {
    if (irq === 0) tickEnded();
  });
  ports.claim('pic', 2, pic.firstPorts, 0x20);
  ports.claim('pic-slave', 2, pic.secondPorts, 0xa0);
  ports.claim('elcr', 2, pic.elcrPorts, 0x4d0);
  const ioApic = new IoApic(apicBus, (entries) => {
    chips?.setRedirections(entries);
  });
  ioApic.watchEnd(TICK_PIN, tickEnded);
  memory.claim('ioapic', IO_APIC_SIZE, ioApic, IO_APIC_BASE);
  return {
    pic,
    ioApic,
    pit: (irq, clock) => {
      const pit = new Pit(irq, clock);
      ports.claim('pit', 4, pit.ports, 0x40);
      // Between the i8042's two ports.
      ports.claim('system-control', 1, pit.systemControl, 0x61);
      return { part: pit, ticking: pit };
    },
    acknowledge: () => pic.acknowledge(),
  };
}
