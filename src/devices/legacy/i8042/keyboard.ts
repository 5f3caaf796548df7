/**
 * A PS/2 keyboard with scan sets 1 and 2. After "PS/2 Hardware Interface Technical Reference: Keyboards (101- and
 * 102-key)", IBM, 84F9735.
 */
import { array, bool, nullable, range, struct, u8, type Infer } from '../../../snapshot/schema.js';
import { PS2, PS2_QUEUE, type Ps2Device } from './ps2-device.js';
import { scanSet2, ScanTranslator } from './scan-codes.js';

const COMMAND = {
  SET_LEDS: 0xed,
  ECHO: 0xee,
  SCAN_SET: 0xf0,
  IDENTIFY: 0xf2,
  TYPEMATIC: 0xf3,
  ENABLE: 0xf4,
  DISABLE: 0xf5,
  DEFAULTS: 0xf6,
  /** … 0xfa: all keys make, break or typematic, which only scan set 3 heeds. */
  ALL_KEYS: 0xf7,
  ALL_KEYS_END: 0xfa,
  RESEND: 0xfe,
  RESET: 0xff,
} as const;
/** An enhanced keyboard. */
const IDENTITY = [0xab, 0x83] as const;
/** Sent for a key that found the queue full, in sets 2 and 1. */
const OVERRUN = { 2: 0x00, 1: 0xff } as const;
/** 10.9 characters a second after half a second. */
const TYPEMATIC_DEFAULT = 0x2b;

export const keyboardState = struct({
  queue: array(u8, { max: PS2_QUEUE }),
  scanning: bool,
  scanSet: range(1, 2),
  leds: range(0, 7),
  typematic: range(0, 0x7f),
  /** The command whose parameter comes next. */
  command: nullable(u8),
  last: u8,
});
type State = Infer<typeof keyboardState>;

export class Ps2Keyboard implements Ps2Device {
  onData: () => void = () => {};
  private state: State = {
    queue: [],
    scanning: true,
    scanSet: 2,
    leds: 0,
    typematic: TYPEMATIC_DEFAULT,
    command: null,
    last: 0,
  };

  /** Lights: bit 0 scroll lock, bit 1 num lock, bit 2 caps lock. */
  get leds(): number {
    return this.state.leds;
  }

  /**
   * A key went down or up; `code` as in KeyboardEvent. Repetition is the host's: it sends `down` again. Returns false
   * for a key that the keyboard has not.
   */
  key(code: string, down: boolean): boolean {
    const s = this.state;
    const codes = scanSet2(code, down);
    if (!codes) return false;
    if (!s.scanning) return true;
    if (s.queue.length + codes.length >= PS2_QUEUE) {
      if (s.queue.length < PS2_QUEUE) this.send(s.scanSet === 1 ? OVERRUN[1] : OVERRUN[2]);
      return true;
    }
    if (s.scanSet === 2) this.send(...codes);
    else {
      const translator = new ScanTranslator();
      this.send(...codes.map((byte) => translator.translate(byte)).filter((byte) => byte !== undefined));
    }
    return true;
  }

  write(byte: number): void {
    const s = this.state;
    const command = s.command;
    s.command = null;
    if (command !== null && byte < COMMAND.SET_LEDS) this.parameter(command, byte);
    else this.execute(byte);
  }

  private execute(command: number): void {
    const s = this.state;
    switch (command) {
      case COMMAND.SET_LEDS:
      case COMMAND.SCAN_SET:
      case COMMAND.TYPEMATIC:
        s.command = command;
        this.send(PS2.ACK);
        break;
      case COMMAND.ECHO:
        this.send(COMMAND.ECHO);
        break;
      case COMMAND.IDENTIFY:
        this.send(PS2.ACK, ...IDENTITY);
        break;
      case COMMAND.ENABLE:
        s.queue = [];
        s.scanning = true;
        this.send(PS2.ACK);
        break;
      case COMMAND.DISABLE:
        this.setDefaults();
        s.scanning = false;
        this.send(PS2.ACK);
        break;
      case COMMAND.DEFAULTS:
        this.setDefaults();
        this.send(PS2.ACK);
        break;
      case COMMAND.RESEND:
        this.send(s.last);
        break;
      case COMMAND.RESET:
        this.setDefaults();
        s.leds = 0;
        s.scanning = true;
        this.send(PS2.ACK, PS2.BAT_OK);
        break;
      default:
        this.send(command >= COMMAND.ALL_KEYS && command <= COMMAND.ALL_KEYS_END ? PS2.ACK : PS2.RESEND);
    }
  }

  private parameter(command: number, value: number): void {
    const s = this.state;
    switch (command) {
      case COMMAND.SET_LEDS:
        s.leds = value & 7;
        break;
      case COMMAND.TYPEMATIC:
        s.typematic = value & 0x7f;
        break;
      default:
        if (value === 0) {
          this.send(PS2.ACK, s.scanSet);
          return;
        }
        // DEVIATION: no scan set 3.
        if (value > 2) {
          this.send(PS2.RESEND);
          return;
        }
        s.scanSet = value;
    }
    this.send(PS2.ACK);
  }

  private setDefaults(): void {
    this.state.queue = [];
    this.state.scanSet = 2;
    this.state.typematic = TYPEMATIC_DEFAULT;
  }

  private send(...bytes: readonly number[]): void {
    const { queue } = this.state;
    for (const byte of bytes) if (queue.length < PS2_QUEUE) queue.push(byte);
    this.onData();
  }

  take(): number | undefined {
    const byte = this.state.queue.shift();
    if (byte !== undefined) this.state.last = byte;
    return byte;
  }

  save(): State {
    return { ...this.state, queue: [...this.state.queue] };
  }

  restore(state: State): void {
    this.state = { ...state, queue: [...state.queue] };
  }
}
