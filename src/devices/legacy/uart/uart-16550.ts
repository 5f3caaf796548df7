/**
 * A PC16550D asynchronous receiver/transmitter with 16-byte FIFOs. After "PC16550D Universal Asynchronous
 * Receiver/Transmitter with FIFOs", National Semiconductor, June 1995, chapter 8.
 *
 * The transmitter takes no time: a byte goes out as it is written, and THR is empty again at once. The receiver takes
 * what its back end has as fast as the guest reads it.
 */
import { nanoseconds } from '../../../base/units.js';
import type { IoHandler } from '../../../iface/bus.js';
import type { Clock, Timer } from '../../../iface/clock.js';
import type { CharReceiver, CharSink, IrqLine } from '../../../iface/lines.js';
import { array, bool, int, nullable, range, struct, u8, type Infer } from '../../../snapshot/schema.js';
import type { Snapshotable } from '../../../snapshot/snapshotable.js';

/** Register offsets; the first two are the divisor while LCR.DLAB is set. */
const REG = { RBR_THR: 0, IER: 1, IIR_FCR: 2, LCR: 3, MCR: 4, LSR: 5, MSR: 6, SCR: 7 } as const;
/** Interrupt Enable Register, §8.7 */
const IER = { ERBFI: 1 << 0, ETBEI: 1 << 1, ELSI: 1 << 2, EDSSI: 1 << 3 } as const;
/** Interrupt Identification Register, §8.6: the identifications in the order of their priority. */
const IIR = { LINE_STATUS: 6, DATA: 4, TIMEOUT: 12, THR_EMPTY: 2, MODEM_STATUS: 0, NONE: 1, FIFOS: 0xc0 } as const;
/** FIFO Control Register, §8.5 */
const FCR = { ENABLE: 1 << 0, CLEAR_RX: 1 << 1 } as const;
/** Line Control Register, §8.1 */
const LCR = { WORD_LENGTH: 3, STOP: 1 << 2, PARITY: 1 << 3, BREAK: 1 << 6, DLAB: 1 << 7 } as const;
/** Modem Control Register, §8.8 */
const MCR = { DTR: 1 << 0, RTS: 1 << 1, OUT1: 1 << 2, OUT2: 1 << 3, LOOP: 1 << 4, WRITABLE: 0x1f } as const;
/** Line Status Register, §8.4 */
const LSR = {
  DR: 1 << 0,
  OE: 1 << 1,
  BI: 1 << 4,
  THRE: 1 << 5,
  TEMT: 1 << 6,
  FIFO_ERROR: 1 << 7,
  ERRORS: 0x1e,
} as const;
/** Modem Status Register, §8.9: bits 3:0 say what changed since the last read. */
const MSR = { DCTS: 1, DDSR: 2, TERI: 4, DDCD: 8, DELTAS: 0x0f, CTS: 0x10, DSR: 0x20, RI: 0x40, DCD: 0x80 } as const;

const FIFO_SIZE = 16;
/** More than any driver needs to find a chip, or to wait until this transmitter is empty. */
const MANY_POLLS = 256;
/** Bytes in the FIFO that make the data interrupt, by FCR bits 7:6. */
const TRIGGER_LEVELS = [1, 4, 8, 14] as const;
/** Input clock in Hz; the rate is this over 16 over the divisor. */
const XIN = 1_843_200;

const stateSchema = struct({
  ier: range(0, 15),
  lcr: u8,
  mcr: range(0, MCR.WRITABLE),
  scr: u8,
  /** Of LSR the error bits (§8.4), of MSR all. */
  lsr: u8,
  msr: u8,
  divisorLow: u8,
  divisorHigh: u8,
  fifos: bool,
  /** FCR bits 7:6. */
  trigger: range(0, 3),
  /** Received and not read: the byte, and its LSR error bits in bits 15:8. */
  received: array(range(0, 0xffff), { max: FIFO_SIZE }),
  thrEmpty: bool,
  /** The character timeout interrupt is pending. */
  timeout: bool,
  /** When it will be, ns. */
  timeoutAt: nullable(int),
});
type State = Infer<typeof stateSchema>;

/** What drives a serial port's modem inputs; all present when a terminal is connected. */
export interface ModemInputs {
  readonly cts: boolean;
  readonly dsr: boolean;
  readonly ri: boolean;
  readonly dcd: boolean;
}

export class Uart16550 implements IoHandler, CharReceiver, Snapshotable<State> {
  readonly widest = 1;
  readonly stateVersion = 1;
  readonly stateSchema = stateSchema;
  onDrain: (() => void) | undefined;
  /** Reads of the line status with nothing in between. Not state of the chip, so not saved. */
  private polls = 0;

  private state: State = {
    ier: 0,
    lcr: 0,
    mcr: 0,
    scr: 0,
    lsr: 0,
    msr: MSR.CTS | MSR.DSR | MSR.DCD,
    // Undefined after reset; 12 is 9600 bit/s.
    divisorLow: 12,
    divisorHigh: 0,
    fifos: false,
    trigger: 0,
    received: [],
    thrEmpty: false,
    timeout: false,
    timeoutAt: null,
  };
  private inputs: number = MSR.CTS | MSR.DSR | MSR.DCD;
  private readonly timer: Timer;
  /** The back end offered more than there was room for. */
  private starved = false;

  /** `id` names the port: `serial0`. `irq` is high while an enabled interrupt is pending. */
  constructor(
    readonly id: string,
    private readonly irq: IrqLine,
    private readonly out: CharSink,
    clock: Clock,
  ) {
    this.timer = clock.createTimer(() => {
      this.state.timeout = true;
      this.update();
    });
    this.armTimeout = () => {
      const s = this.state;
      s.timeout = false;
      if (s.fifos && s.received.length > 0)
        this.timer.arm(nanoseconds(clock.now() + Math.ceil(4 * this.characterTime())));
      else this.timer.cancel();
    };
  }

  /** A byte came or was read: the character timeout starts again. */
  private readonly armTimeout: () => void;

  /** Nanoseconds for a character: start bit, word, parity, stop bits (1.5 count as 2). */
  private characterTime(): number {
    const { lcr, divisorLow, divisorHigh } = this.state;
    const bits = 1 + 5 + (lcr & LCR.WORD_LENGTH) + (lcr & LCR.PARITY ? 1 : 0) + (lcr & LCR.STOP ? 2 : 1);
    // A divisor of 0 is undefined.
    const divisor = Math.max(1, divisorLow | (divisorHigh << 8));
    return (bits * divisor * 16 * 1e9) / XIN;
  }

  read(offset: number): number {
    const s = this.state;
    const value = this.peek(offset);
    this.polls = offset === REG.LSR ? this.polls + 1 : 0;
    switch (offset) {
      case REG.RBR_THR:
        if (!(s.lcr & LCR.DLAB)) this.takeReceived();
        break;
      case REG.IIR_FCR:
        // Reading clears the THR interrupt if it is the one shown.
        if ((value & 0x0f) === IIR.THR_EMPTY) s.thrEmpty = false;
        break;
      case REG.LSR:
        s.lsr &= ~LSR.ERRORS;
        break;
      case REG.MSR:
        s.msr &= ~MSR.DELTAS;
        break;
    }
    this.update();
    return value;
  }

  peek(offset: number): number {
    const s = this.state;
    const divisor = (s.lcr & LCR.DLAB) !== 0;
    switch (offset) {
      case REG.RBR_THR:
        return divisor ? s.divisorLow : s.received.length > 0 ? s.received[0] & 0xff : 0;
      case REG.IER:
        return divisor ? s.divisorHigh : s.ier;
      case REG.IIR_FCR:
        return this.pending() | (s.fifos ? IIR.FIFOS : 0);
      case REG.LCR:
        return s.lcr;
      case REG.MCR:
        return s.mcr;
      case REG.LSR:
        return this.lineStatus();
      case REG.MSR:
        return s.msr;
      default:
        return s.scr;
    }
  }

  write(offset: number, _size: number, value: number): void {
    const s = this.state;
    this.polls = 0;
    const divisor = (s.lcr & LCR.DLAB) !== 0;
    switch (offset) {
      case REG.RBR_THR:
        if (divisor) s.divisorLow = value;
        else this.transmit(value);
        break;
      case REG.IER:
        if (divisor) s.divisorHigh = value;
        else {
          // Enabling the THR interrupt while THR is empty raises it: drivers start their output with that.
          if (value & ~s.ier & IER.ETBEI) s.thrEmpty = true;
          s.ier = value & 0x0f;
        }
        break;
      case REG.IIR_FCR:
        this.writeFifoControl(value);
        break;
      case REG.LCR:
        if (value & ~s.lcr & LCR.BREAK && s.mcr & MCR.LOOP) this.accept(0, LSR.BI);
        s.lcr = value;
        break;
      case REG.MCR:
        this.writeModemControl(value & MCR.WRITABLE);
        break;
      case REG.SCR:
        s.scr = value;
        break;
      default:
        // LSR and MSR: writing is for factory testing only (§8.4).
        break;
    }
    this.update();
  }

  private transmit(value: number): void {
    const s = this.state;
    // The interrupt goes away with the write and comes back when THR is empty: a new edge each time.
    s.thrEmpty = false;
    this.update();
    if (s.mcr & MCR.LOOP) this.accept(value & (0xff >> (3 - (s.lcr & LCR.WORD_LENGTH))), 0);
    // DEVIATION: the upper bits of short words get through. After a reset words have five bits, and a small kernel that is started
    // without firmware prints without having set that up; what it says should be readable, as it is elsewhere.
    else this.out.write(Uint8Array.of(value));
    s.thrEmpty = true;
  }

  private writeFifoControl(value: number): void {
    const s = this.state;
    const enable = (value & FCR.ENABLE) !== 0;
    // Switching modes empties both FIFOs; the other bits are taken only together with the enable bit.
    if (enable !== s.fifos || (enable && value & FCR.CLEAR_RX)) {
      s.received = [];
      this.drained();
    }
    s.fifos = enable;
    s.trigger = enable ? value >> 6 : 0;
    this.armTimeout();
  }

  private writeModemControl(value: number): void {
    const s = this.state;
    const looped = (s.mcr & MCR.LOOP) !== 0;
    s.mcr = value;
    this.showInputs();
    if (looped && !(value & MCR.LOOP)) this.drained();
  }

  /** The modem inputs as MSR has them, which in loopback are the outputs (§8.8), and notes what changed. */
  private showInputs(): void {
    const s = this.state;
    let inputs = this.inputs;
    if (s.mcr & MCR.LOOP)
      inputs =
        (s.mcr & MCR.RTS ? MSR.CTS : 0) |
        (s.mcr & MCR.DTR ? MSR.DSR : 0) |
        (s.mcr & MCR.OUT1 ? MSR.RI : 0) |
        (s.mcr & MCR.OUT2 ? MSR.DCD : 0);
    const changed = (inputs ^ s.msr) & (MSR.CTS | MSR.DSR | MSR.RI | MSR.DCD);
    let deltas = s.msr & MSR.DELTAS;
    if (changed & MSR.CTS) deltas |= MSR.DCTS;
    if (changed & MSR.DSR) deltas |= MSR.DDSR;
    if (changed & MSR.RI && !(inputs & MSR.RI)) deltas |= MSR.TERI;
    if (changed & MSR.DCD) deltas |= MSR.DDCD;
    s.msr = inputs | deltas;
  }

  /** Sets the modem inputs. */
  setInputs(inputs: ModemInputs): void {
    this.inputs =
      (inputs.cts ? MSR.CTS : 0) | (inputs.dsr ? MSR.DSR : 0) | (inputs.ri ? MSR.RI : 0) | (inputs.dcd ? MSR.DCD : 0);
    this.showInputs();
    this.update();
  }

  /** Whether the guest waits for input without interrupts: it has done nothing but look at the line status for long. */
  get polled(): boolean {
    return this.polls >= MANY_POLLS;
  }

  /** Whether received data interrupts: the guest's driver is at work. */
  get receiveInterrupt(): boolean {
    return (this.state.ier & IER.ERBFI) !== 0;
  }

  receive(bytes: Uint8Array): number {
    const s = this.state;
    // In loopback the receiver is disconnected from the wire.
    const room = s.mcr & MCR.LOOP ? 0 : (s.fifos ? FIFO_SIZE : 1) - s.received.length;
    const taken = Math.min(room, bytes.length);
    for (let i = 0; i < taken; i++) s.received.push(bytes[i]);
    if (taken < bytes.length) this.starved = true;
    if (taken > 0) {
      this.armTimeout();
      this.update();
    }
    return taken;
  }

  /** The line went into the break state, for which Linux has its magic SysRq. */
  receiveBreak(): void {
    this.accept(0, LSR.BI);
    this.update();
  }

  /** Takes a character, even if there is no room: then it is lost, and the guest is told. */
  private accept(byte: number, errors: number): void {
    const s = this.state;
    if (s.received.length >= (s.fifos ? FIFO_SIZE : 1)) {
      s.lsr |= LSR.OE;
      // Without FIFOs the new character replaces the old one.
      if (!s.fifos) s.received = [byte | (errors << 8)];
    } else s.received.push(byte | (errors << 8));
    this.raiseErrors();
    this.armTimeout();
  }

  private takeReceived(): void {
    const s = this.state;
    if (s.received.shift() === undefined) return;
    this.raiseErrors();
    this.armTimeout();
    this.drained();
  }

  /** The errors of a character are shown when it is the next to be read, once. */
  private raiseErrors(): void {
    const s = this.state;
    if (s.received.length === 0) return;
    s.lsr |= s.received[0] >> 8;
    s.received[0] &= 0xff;
  }

  private drained(): void {
    if (!this.starved || this.state.mcr & MCR.LOOP) return;
    this.starved = false;
    this.onDrain?.();
  }

  private lineStatus(): number {
    const s = this.state;
    let lsr = s.lsr | LSR.THRE | LSR.TEMT;
    if (s.received.length > 0) lsr |= LSR.DR;
    if (s.fifos && (s.lsr & LSR.BI || s.received.some((entry) => entry > 0xff))) lsr |= LSR.FIFO_ERROR;
    return lsr;
  }

  /** The pending interrupt of the highest priority as IIR shows it (§8.6). */
  private pending(): number {
    const s = this.state;
    if (s.ier & IER.ELSI && s.lsr & LSR.ERRORS) return IIR.LINE_STATUS;
    if (s.ier & IER.ERBFI) {
      if (s.received.length >= (s.fifos ? TRIGGER_LEVELS[s.trigger] : 1)) return IIR.DATA;
      if (s.timeout) return IIR.TIMEOUT;
    }
    if (s.ier & IER.ETBEI && s.thrEmpty) return IIR.THR_EMPTY;
    if (s.ier & IER.EDSSI && s.msr & MSR.DELTAS) return IIR.MODEM_STATUS;
    return IIR.NONE;
  }

  /**
   * DEVIATION: a PC lets the interrupt through only while MCR.OUT2 is set. Like other virtual machines we do not ask:
   * small kernels forget it.
   */
  private update(): void {
    this.irq.set(this.pending() !== IIR.NONE);
  }

  save(): State {
    return { ...this.state, received: [...this.state.received], timeoutAt: this.timer.deadline ?? null };
  }

  restore(state: State): void {
    this.state = { ...state, received: [...state.received] };
    if (state.timeoutAt === null) this.timer.cancel();
    else this.timer.arm(nanoseconds(state.timeoutAt));
    // Whatever the back end waits for, it may try again.
    this.starved = true;
    this.update();
  }
}
