/**
 * A PS/2 keyboard with scan sets 1, 2 and 3. After "PS/2 Hardware Interface Technical Reference: Keyboards (101- and
 * 102-key)", IBM, 84F9735.
 */
import { array, bool, bytes, nullable, range, struct, u8, type Infer } from '../../../snapshot/schema.js';
import { PS2, PS2_QUEUE, type Ps2Device } from './ps2-device.js';
import { defaultKeyTypes, KEY_TYPE, scanSet2, scanSet3, ScanTranslator } from './scan-codes.js';

const COMMAND = {
  SET_LEDS: 0xed,
  ECHO: 0xee,
  SCAN_SET: 0xf0,
  IDENTIFY: 0xf2,
  TYPEMATIC: 0xf3,
  ENABLE: 0xf4,
  DISABLE: 0xf5,
  DEFAULTS: 0xf6,
  /** What keys do in scan set 3: all of them … */
  ALL_REPEAT: 0xf7,
  ALL_BREAK: 0xf8,
  ALL_ONCE: 0xf9,
  ALL_BOTH: 0xfa,
  /** … or each whose code follows. */
  KEY_REPEATS: 0xfb,
  KEY_BREAKS: 0xfc,
  KEY_ONCE: 0xfd,
  RESEND: 0xfe,
  RESET: 0xff,
} as const;
/** An enhanced keyboard. */
const IDENTITY = [0xab, 0x83] as const;
/** Sent for a key that found the queue full, in sets 2 and 1. */
const OVERRUN = { 2: 0x00, 1: 0xff } as const;
/** 10.9 characters a second after half a second. */
const TYPEMATIC_DEFAULT = 0x2b;

const ALL_COMMANDS = {
  [COMMAND.ALL_REPEAT]: KEY_TYPE.REPEATS,
  [COMMAND.ALL_BREAK]: KEY_TYPE.BREAKS,
  [COMMAND.ALL_ONCE]: 0,
  [COMMAND.ALL_BOTH]: KEY_TYPE.REPEATS | KEY_TYPE.BREAKS,
} as const;
const KEY_COMMANDS: Readonly<Record<number, number>> = {
  [COMMAND.KEY_REPEATS]: KEY_TYPE.REPEATS,
  [COMMAND.KEY_BREAKS]: KEY_TYPE.BREAKS,
  [COMMAND.KEY_ONCE]: 0,
};

export const keyboardState = struct({
  queue: array(u8, { max: PS2_QUEUE }),
  scanning: bool,
  scanSet: range(1, 3),
  /** What keys do in scan set 3, by their code there. */
  keyTypes: bytes(256),
  /** Keys of scan set 3 that are down, a bit each: a key that goes down again repeats. */
  down: bytes(32),
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
    keyTypes: defaultKeyTypes(),
    down: new Uint8Array(32),
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
    const codes = s.scanSet === 3 ? this.codes3(code, down) : scanSet2(code, down);
    if (!codes) return false;
    if (!s.scanning) return true;
    if (s.queue.length + codes.length >= PS2_QUEUE) {
      if (s.queue.length < PS2_QUEUE) this.send(s.scanSet === 1 ? OVERRUN[1] : OVERRUN[2]);
      return true;
    }
    if (s.scanSet !== 1) this.send(...codes);
    else {
      const translator = new ScanTranslator();
      this.send(...codes.map((byte) => translator.translate(byte)).filter((byte) => byte !== undefined));
    }
    return true;
  }

  /** What scan set 3 sends for a key, which depends on what the key was told to do. */
  private codes3(code: string, down: boolean): readonly number[] | undefined {
    const { keyTypes, down: held } = this.state;
    const key = scanSet3(code);
    if (key === undefined) return undefined;
    const [at, bit] = [key >> 3, 1 << (key & 7)];
    const again = (held[at] & bit) !== 0;
    if (!down) {
      held[at] &= ~bit;
      return keyTypes[key] & KEY_TYPE.BREAKS ? [0xf0, key] : [];
    }
    held[at] |= bit;
    return again && !(keyTypes[key] & KEY_TYPE.REPEATS) ? [] : [key];
  }

  write(byte: number): void {
    const s = this.state;
    const command = s.command;
    s.command = null;
    // Keys may follow for as long as no command comes.
    if (command !== null && command in KEY_COMMANDS && byte < COMMAND.SET_LEDS) {
      s.keyTypes[byte] = KEY_COMMANDS[command];
      s.command = command;
      this.send(PS2.ACK);
    } else if (command !== null && byte < COMMAND.SET_LEDS) this.parameter(command, byte);
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
      case COMMAND.ALL_REPEAT:
      case COMMAND.ALL_BREAK:
      case COMMAND.ALL_ONCE:
      case COMMAND.ALL_BOTH:
        s.keyTypes.fill(ALL_COMMANDS[command]);
        this.send(PS2.ACK);
        break;
      case COMMAND.KEY_REPEATS:
      case COMMAND.KEY_BREAKS:
      case COMMAND.KEY_ONCE:
        s.command = command;
        this.send(PS2.ACK);
        break;
      default:
        this.send(PS2.RESEND);
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
        if (value > 3) {
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
    this.state.keyTypes = defaultKeyTypes();
    this.state.down.fill(0);
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
    const { queue, keyTypes, down } = this.state;
    return { ...this.state, queue: [...queue], keyTypes: keyTypes.slice(), down: down.slice() };
  }

  restore(state: State): void {
    const { queue, keyTypes, down } = state;
    this.state = { ...state, queue: [...queue], keyTypes: keyTypes.slice(), down: down.slice() };
  }
}
