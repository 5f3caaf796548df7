/**
 * One 8259A programmable interrupt controller, without its wiring. After "8259A Programmable Interrupt Controller",
 * Intel 231468-003, with the ICH9's change (316972, registers ICW1 and ELCR1/2): edge or level is chosen per input by
 * ELCR, and LTIM is ignored. The 8080/8085 mode is not modelled: vectors are always those of ICW4.µPM = 1.
 */
import { bool, range, struct, u8, type Infer } from '../../../snapshot/schema.js';

/** Initialization Command Word 1, written to A0 = 0 with D4 set. */
const ICW1 = { IC4: 1 << 0, SNGL: 1 << 1, SELECT: 1 << 4 } as const;
const ICW4 = { AEOI: 1 << 1, SFNM: 1 << 4 } as const;
/** Operation Command Word 2: what bits 7:5 (R, SL, EOI) say. Bits 2:0 are the level. */
const OCW2 = {
  CLEAR_ROTATE_AEOI: 0b000,
  EOI: 0b001,
  SPECIFIC_EOI: 0b011,
  SET_ROTATE_AEOI: 0b100,
  ROTATE_EOI: 0b101,
  SET_PRIORITY: 0b110,
  ROTATE_SPECIFIC_EOI: 0b111,
} as const;
const OCW3 = { RIS: 1 << 0, RR: 1 << 1, POLL: 1 << 2, SELECT: 1 << 3, SMM: 1 << 5, ESMM: 1 << 6 } as const;

/** The level that answers when the request went away before INTA: 8259A, "Interrupt Sequence". */
const SPURIOUS = 7;
/** Where the second 8259 hangs in a PC. */
const CASCADE = 2;

export const pic8259State = struct({
  /** Interrupt request, in-service and mask registers. */
  irr: u8,
  isr: u8,
  imr: u8,
  /** Levels of the input pins. */
  pins: u8,
  /** Edge/level control: 1 is level. */
  elcr: u8,
  /** Vector of input 0, from ICW2; a multiple of 8. */
  base: u8,
  /** The level of lowest priority; the one above it (mod 8) is the highest. */
  bottom: range(0, 7),
  /** The next initialization word that A0 = 1 takes: 2 … 4, or 0 outside the sequence. */
  expecting: range(0, 4),
  single: bool,
  withIcw4: bool,
  autoEoi: bool,
  rotateAutoEoi: bool,
  fullyNested: bool,
  specialMask: bool,
  readIsr: bool,
  poll: bool,
});
type State = Infer<typeof pic8259State>;

/** The chip has no reset input and is undefined until ICW1; masked is the one harmless choice. */
export const PIC_POWER_ON: State = {
  irr: 0,
  isr: 0,
  imr: 0xff,
  pins: 0,
  elcr: 0,
  base: 0,
  bottom: 7,
  expecting: 0,
  single: false,
  withIcw4: false,
  autoEoi: false,
  rotateAutoEoi: false,
  fullyNested: false,
  specialMask: false,
  readIsr: false,
  poll: false,
};

export class Pic8259 {
  private state: State = { ...PIC_POWER_ON };

  /**
   * `output` drives INT. `elcrMask` has the inputs whose trigger mode can be chosen. `cascaded` says that input 2
   * comes from another 8259.
   */
  constructor(
    private readonly output: (asserted: boolean) => void,
    private readonly elcrMask: number,
    private readonly cascaded: boolean,
    /** A level has been served: it is in service no more. */
    private readonly ended?: (level: number) => void,
  ) {}

  /** Drives an input pin, 0 … 7. */
  setPin(pin: number, asserted: boolean): void {
    const s = this.state;
    const bit = 1 << pin;
    if (asserted === ((s.pins & bit) !== 0)) return;
    if (asserted) {
      s.pins |= bit;
      s.irr |= bit;
    } else {
      // A request must stay until INTA in both modes; otherwise it is gone.
      s.pins &= ~bit;
      s.irr &= ~bit;
    }
    this.update();
  }

  /** The level that would be acknowledged now, or -1. */
  pending(): number {
    const s = this.state;
    const requests = s.irr & ~s.imr;
    if (requests === 0) return -1;
    let inService = s.isr;
    if (s.specialMask) inService &= ~s.imr;
    if (s.fullyNested && this.cascaded) inService &= ~(1 << CASCADE);
    for (let i = 1; i <= 8; i++) {
      const level = (s.bottom + i) & 7;
      if (inService & (1 << level)) return -1;
      if (requests & (1 << level)) return level;
    }
    return -1;
  }

  /** INTA: takes the pending level into service and returns it; 7, not in service, when there is none. */
  acknowledge(): number {
    const level = this.pending();
    if (level < 0) return SPURIOUS;
    const s = this.state;
    const bit = 1 << level;
    if (s.autoEoi) {
      if (s.rotateAutoEoi) s.bottom = level;
    } else s.isr |= bit;
    if (!(s.elcr & bit)) s.irr &= ~bit;
    // INT falls with the first INTA, so that a request still pending makes a new edge at the chip above.
    this.output(false);
    this.update();
    if (s.autoEoi) this.ended?.(level);
    return level;
  }

  /** The vector of a level. */
  vector(level: number): number {
    return this.state.base | level;
  }

  /** `a0` is the address line: 0 or 1. */
  read(a0: number): number {
    const s = this.state;
    if (s.poll) {
      s.poll = false;
      return this.pending() < 0 ? 0 : 0x80 | this.acknowledge();
    }
    return this.peek(a0);
  }

  peek(a0: number): number {
    const s = this.state;
    return a0 === 1 ? s.imr : s.readIsr ? s.isr : s.irr;
  }

  write(a0: number, value: number): void {
    if (a0 === 1) this.writeData(value);
    else if (value & ICW1.SELECT) this.initialize(value);
    else if (value & OCW3.SELECT) this.writeOcw3(value);
    else {
      const before = this.state.isr;
      this.writeOcw2(value >> 5, value & 7);
      this.update();
      for (let level = 0; level < 8; level++) if (before & ~this.state.isr & (1 << level)) this.ended?.(level);
    }
    this.update();
  }

  get elcr(): number {
    return this.state.elcr;
  }

  set elcr(value: number) {
    const s = this.state;
    s.elcr = value & this.elcrMask;
    // A level input requests as long as its pin says so.
    s.irr |= s.pins & s.elcr;
    this.update();
  }

  /** ICW1 starts the sequence and clears, see "Initialization Command Words". */
  private initialize(icw1: number): void {
    const s = this.state;
    // An edge input must rise again.
    s.irr = s.pins & s.elcr;
    s.isr = 0;
    s.imr = 0;
    s.bottom = 7;
    s.specialMask = s.readIsr = s.poll = false;
    s.autoEoi = s.rotateAutoEoi = s.fullyNested = false;
    s.single = (icw1 & ICW1.SNGL) !== 0;
    s.withIcw4 = (icw1 & ICW1.IC4) !== 0;
    s.expecting = 2;
    this.output(false);
  }

  private writeData(value: number): void {
    const s = this.state;
    switch (s.expecting) {
      case 2:
        s.base = value & 0xf8;
        s.expecting = s.single ? (s.withIcw4 ? 4 : 0) : 3;
        break;
      case 3:
        // The cascade is wired in the board: what ICW3 says of it cannot be otherwise.
        s.expecting = s.withIcw4 ? 4 : 0;
        break;
      case 4:
        s.autoEoi = (value & ICW4.AEOI) !== 0;
        s.fullyNested = (value & ICW4.SFNM) !== 0;
        s.expecting = 0;
        break;
      default:
        s.imr = value;
    }
  }

  private writeOcw2(command: number, level: number): void {
    const s = this.state;
    switch (command) {
      case OCW2.CLEAR_ROTATE_AEOI:
      case OCW2.SET_ROTATE_AEOI:
        s.rotateAutoEoi = command === OCW2.SET_ROTATE_AEOI;
        break;
      case OCW2.EOI:
      case OCW2.ROTATE_EOI: {
        const served = this.highestInService();
        if (served < 0) break;
        s.isr &= ~(1 << served);
        if (command === OCW2.ROTATE_EOI) s.bottom = served;
        break;
      }
      case OCW2.SPECIFIC_EOI:
        s.isr &= ~(1 << level);
        break;
      case OCW2.ROTATE_SPECIFIC_EOI:
        s.isr &= ~(1 << level);
        s.bottom = level;
        break;
      case OCW2.SET_PRIORITY:
        s.bottom = level;
        break;
    }
  }

  private writeOcw3(value: number): void {
    const s = this.state;
    if (value & OCW3.ESMM) s.specialMask = (value & OCW3.SMM) !== 0;
    // Poll overrides a status read that is asked for in the same word.
    if (value & OCW3.POLL) s.poll = true;
    else if (value & OCW3.RR) s.readIsr = (value & OCW3.RIS) !== 0;
  }

  /** The level a non-specific EOI ends. In special mask mode it leaves masked ones alone ("Special Mask Mode"). */
  private highestInService(): number {
    const s = this.state;
    const inService = s.specialMask ? s.isr & ~s.imr : s.isr;
    for (let i = 1; i <= 8; i++) {
      const level = (s.bottom + i) & 7;
      if (inService & (1 << level)) return level;
    }
    return -1;
  }

  private update(): void {
    this.output(this.pending() >= 0);
  }

  save(): State {
    return { ...this.state };
  }

  restore(state: State): void {
    this.state = { ...state };
    this.update();
  }
}
