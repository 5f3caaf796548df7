import { assert } from '../base/assert.js';
import type { Gsi } from '../base/units.js';
import type { IrqLine } from '../iface/lines.js';

/** Pins of the I/O APIC, and so the number of global system interrupts, of an ICH9. */
export const GSI_COUNT = 24;
/** Interrupt inputs of the two 8259s together; pin 2 is the cascade. */
export const PIC_PINS = 16;
/** PIRQA# … PIRQH#, on pins 16 … 23 of the I/O APIC, of an ICH9. */
export const PIRQ_COUNT = 8;
const FIRST_PIRQ = 16;
const CASCADE = 2;

/**
 * One wire that several drivers pull: asserted while any of them asserts it. Drivers speak of asserted and not
 * asserted; polarity is the interrupt controllers' own affair.
 */
export class SharedLine {
  private asserted = 0;

  constructor(private readonly out: (asserted: boolean) => void) {}

  /** A new driver of this wire. */
  driver(): IrqLine {
    let mine = false;
    return {
      set: (asserted) => {
        if (asserted === mine) return;
        mine = asserted;
        this.asserted += asserted ? 1 : -1;
        if (this.asserted === (asserted ? 1 : 0)) this.out(asserted);
      },
    };
  }

  get level(): boolean {
    return this.asserted > 0;
  }
}

/**
 * Which interrupt reaches which pins of the 8259s and of the I/O APIC, on a PC with an ICH9:
 *
 * - ISA interrupt n goes to 8259 pin n and to I/O APIC pin n, but interrupt 0 (the 8254) to I/O APIC pin 2, which the
 *   MADT says by an interrupt source override.
 * - PIRQA … PIRQH go to I/O APIC pins 16 … 23, and besides to the 8259 pin that the chipset's PIRQx_ROUT register names.
 *
 * Every line can be shared. Edge or level is decided where the line ends (ELCR, redirection entry). The router keeps no
 * state of its own: a restored device drives its lines again. Restore the interrupt controllers after the devices,
 * so that they see no edges that never were.
 */
export class InterruptRouter {
  private readonly pic: SharedLine[];
  private readonly ioApic: SharedLine[];
  private readonly pirqs: SharedLine[] = [];
  /** Where each PIRQ drives the 8259s, by PIRQ. */
  private readonly pirqToPic: (IrqLine | undefined)[] = [];

  /** Both give the input of a chip by its pin number: 0 … 15 (never asked for the cascade, 2) and 0 … 23. */
  constructor(pic: (pin: number) => IrqLine, ioApic: (pin: number) => IrqLine) {
    const shared = (count: number, input: (pin: number) => IrqLine): SharedLine[] =>
      Array.from({ length: count }, (_, pin) => new SharedLine((asserted) => input(pin).set(asserted)));
    this.pic = shared(PIC_PINS, pic);
    this.ioApic = shared(GSI_COUNT, ioApic);
    for (let n = 0; n < PIRQ_COUNT; n++) {
      const toIoApic = this.ioApic[FIRST_PIRQ + n].driver();
      this.pirqs.push(
        new SharedLine((asserted) => {
          toIoApic.set(asserted);
          this.pirqToPic[n]?.set(asserted);
        }),
      );
    }
  }

  /** A new driver of ISA interrupt 0 … 15; not 2, which is the cascade. */
  isa(irq: number): IrqLine {
    assert(irq >= 0 && irq < PIC_PINS && irq !== CASCADE, `there is no ISA interrupt ${irq}`);
    const toPic = this.pic[irq].driver();
    const toIoApic = this.ioApic[irq === 0 ? CASCADE : irq].driver();
    return {
      set(asserted) {
        toPic.set(asserted);
        toIoApic.set(asserted);
      },
    };
  }

  /** A new driver of PIRQA (0) … PIRQH (7). */
  pirq(index: number): IrqLine {
    assert(index >= 0 && index < PIRQ_COUNT, `there is no PIRQ ${index}`);
    return this.pirqs[index].driver();
  }

  /** A new driver of an I/O APIC pin alone, as the HPET's comparators have it. */
  ioApicPin(pin: number): IrqLine {
    assert(pin >= 0 && pin < GSI_COUNT, `the I/O APIC has no pin ${pin}`);
    return this.ioApic[pin].driver();
  }

  /** A new driver of a global system interrupt: ISA interrupts by their GSI (2 is interrupt 0), then PIRQs. */
  gsi(gsi: Gsi): IrqLine {
    const number: number = gsi;
    if (number >= FIRST_PIRQ) return this.pirq(number - FIRST_PIRQ);
    if (number === 0) return this.ioApicPin(0);
    return this.isa(number === CASCADE ? 0 : number);
  }

  /** Connects a PIRQ to an 8259 pin, or to none (register PIRQ[n]_ROUT of the ICH9, 316972). */
  routePirq(index: number, pin: number | undefined): void {
    assert(index >= 0 && index < PIRQ_COUNT, `there is no PIRQ ${index}`);
    this.pirqToPic[index]?.set(false);
    const driver = pin === undefined ? undefined : this.pic[pin].driver();
    this.pirqToPic[index] = driver;
    driver?.set(this.pirqs[index].level);
  }
}
