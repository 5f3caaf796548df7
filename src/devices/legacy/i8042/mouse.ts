/**
 * A PS/2 mouse with three buttons and, once asked for, a wheel and two more buttons. After "PS/2 Hardware Interface Technical
 * Reference: Mouse", IBM, and for the rest Microsoft's knocks: sample rates 200, 100, 80 in a row make it an IntelliMouse, with a
 * wheel; 200, 200, 80 an IntelliMouse Explorer, with five buttons.
 */
import { array, bool, int, nullable, range, struct, u8, type Infer } from '../../../snapshot/schema.js';
import { PS2, PS2_QUEUE, type Ps2Device } from './ps2-device.js';

const COMMAND = {
  SCALING_1: 0xe6,
  SCALING_2: 0xe7,
  RESOLUTION: 0xe8,
  STATUS: 0xe9,
  STREAM: 0xea,
  READ: 0xeb,
  END_WRAP: 0xec,
  WRAP: 0xee,
  REMOTE: 0xf0,
  IDENTIFY: 0xf2,
  SAMPLE_RATE: 0xf3,
  ENABLE: 0xf4,
  DISABLE: 0xf5,
  DEFAULTS: 0xf6,
  RESEND: 0xfe,
  RESET: 0xff,
} as const;
/** Bits of the first byte of a packet; bits 2:0 are the buttons. */
const PACKET = { ALWAYS: 1 << 3, X_SIGN: 1 << 4, Y_SIGN: 1 << 5, X_OVERFLOW: 1 << 6, Y_OVERFLOW: 1 << 7 } as const;
/** First status byte. */
const STATUS = { SCALING_2: 1 << 4, ENABLED: 1 << 5, REMOTE: 1 << 6 } as const;
const ID = { STANDARD: 0, WHEEL: 3, FIVE_BUTTONS: 4 } as const;
const KNOCKS: ReadonlyMap<string, number> = new Map([
  ['200,100,80', ID.WHEEL],
  ['200,200,80', ID.FIVE_BUTTONS],
]);

const oneOfIds = range(ID.STANDARD, ID.FIVE_BUTTONS);

export const mouseState = struct({
  queue: array(u8, { max: PS2_QUEUE }),
  reporting: bool,
  remote: bool,
  wrap: bool,
  doubled: bool,
  /** 0 … 3: 1, 2, 4, 8 counts per mm. */
  resolution: u8,
  /** Samples a second. */
  rate: u8,
  /** The last sample rates set, by which drivers ask for the wheel. */
  rates: array(u8, { length: 3 }),
  /** What it says it is: `ID`. */
  identity: oneOfIds,
  buttons: range(0, 31),
  /** Movement not yet reported: counts, right and up positive; wheel steps, down positive. */
  dx: int,
  dy: int,
  dz: int,
  command: nullable(u8),
  last: u8,
});
type State = Infer<typeof mouseState>;

const resetState = (): State => ({
  queue: [],
  reporting: false,
  remote: false,
  wrap: false,
  doubled: false,
  resolution: 2,
  rate: 100,
  rates: [0, 0, 0],
  identity: ID.STANDARD,
  buttons: 0,
  dx: 0,
  dy: 0,
  dz: 0,
  command: null,
  last: 0,
});

const clamp = (value: number, low: number, high: number): number => Math.max(low, Math.min(high, value));

export class Ps2Mouse implements Ps2Device {
  onData: () => void = () => {};
  private state = resetState();

  /**
   * The mouse was moved by counts (right and up positive) and wheel steps (down positive); `buttons` are those held:
   * bit 0 left, 1 right, 2 middle, 3 side, 4 extra.
   */
  move(dx: number, dy: number, dz: number, buttons: number): void {
    const s = this.state;
    s.dx += Math.trunc(dx);
    s.dy += Math.trunc(dy);
    s.dz += Math.trunc(dz);
    s.buttons = buttons & 31;
    if (s.reporting && !s.remote) this.report();
  }

  private get wheel(): boolean {
    return this.state.identity !== ID.STANDARD;
  }

  /** Queues packets for what is not reported; keeps movement that finds no room. */
  private report(): void {
    const s = this.state;
    const size = this.wheel ? 4 : 3;
    do {
      if (s.queue.length + size > PS2_QUEUE) return;
      this.sendPacket();
    } while (s.dx !== 0 || s.dy !== 0 || (this.wheel && s.dz !== 0));
  }

  private sendPacket(): void {
    const s = this.state;
    const x = clamp(s.dx, -256, 255);
    const y = clamp(s.dy, -256, 255);
    const z = clamp(s.dz, -8, 7);
    const five = s.identity === ID.FIVE_BUTTONS;
    s.dx -= x;
    s.dy -= y;
    s.dz = this.wheel ? s.dz - z : 0;
    this.send(
      PACKET.ALWAYS | (s.buttons & 7) | (x < 0 ? PACKET.X_SIGN : 0) | (y < 0 ? PACKET.Y_SIGN : 0),
      x & 0xff,
      y & 0xff,
      ...(this.wheel ? [five ? (z & 0x0f) | ((s.buttons & 0x18) << 1) : z & 0xff] : []),
    );
  }

  write(byte: number): void {
    const s = this.state;
    if (s.wrap && byte !== COMMAND.RESET && byte !== COMMAND.END_WRAP) {
      this.send(byte);
      return;
    }
    const command = s.command;
    s.command = null;
    if (command === COMMAND.RESOLUTION) {
      s.resolution = byte & 3;
      this.send(PS2.ACK);
    } else if (command === COMMAND.SAMPLE_RATE) {
      s.rate = byte;
      s.rates = [...s.rates.slice(1), byte];
      s.identity = KNOCKS.get(s.rates.join()) ?? s.identity;
      this.send(PS2.ACK);
    } else this.execute(byte);
  }

  private execute(command: number): void {
    const s = this.state;
    // Anything but a resend makes old data obsolete.
    if (command !== COMMAND.RESEND) s.queue = [];
    switch (command) {
      case COMMAND.RESEND:
        this.send(s.last);
        return;
      case COMMAND.SCALING_1:
      case COMMAND.SCALING_2:
        s.doubled = command === COMMAND.SCALING_2;
        break;
      case COMMAND.RESOLUTION:
      case COMMAND.SAMPLE_RATE:
        s.command = command;
        break;
      case COMMAND.STATUS:
        this.send(PS2.ACK, this.status(), s.resolution, s.rate);
        return;
      case COMMAND.STREAM:
      case COMMAND.REMOTE:
        s.remote = command === COMMAND.REMOTE;
        s.dx = s.dy = s.dz = 0;
        break;
      case COMMAND.READ:
        this.send(PS2.ACK);
        this.sendPacket();
        return;
      case COMMAND.WRAP:
      case COMMAND.END_WRAP:
        s.wrap = command === COMMAND.WRAP;
        break;
      case COMMAND.IDENTIFY:
        this.send(PS2.ACK, s.identity);
        return;
      case COMMAND.ENABLE:
      case COMMAND.DISABLE:
        s.reporting = command === COMMAND.ENABLE;
        s.dx = s.dy = s.dz = 0;
        break;
      case COMMAND.DEFAULTS:
        this.state = { ...resetState(), identity: s.identity, buttons: s.buttons, last: s.last };
        break;
      case COMMAND.RESET:
        this.state = { ...resetState(), buttons: s.buttons };
        this.send(PS2.ACK, PS2.BAT_OK, ID.STANDARD);
        return;
      default:
        this.send(PS2.RESEND);
        return;
    }
    this.send(PS2.ACK);
  }

  private status(): number {
    const s = this.state;
    // Here the buttons are in the order left, middle, right from bit 2 down.
    const buttons = ((s.buttons & 1) << 2) | ((s.buttons & 4) >> 1) | ((s.buttons & 2) >> 1);
    return (
      buttons | (s.doubled ? STATUS.SCALING_2 : 0) | (s.reporting ? STATUS.ENABLED : 0) | (s.remote ? STATUS.REMOTE : 0)
    );
  }

  private send(...bytes: readonly number[]): void {
    const { queue } = this.state;
    for (const byte of bytes) if (queue.length < PS2_QUEUE) queue.push(byte);
    this.onData();
  }

  take(): number | undefined {
    const s = this.state;
    const byte = s.queue.shift();
    if (byte !== undefined) s.last = byte;
    return byte;
  }

  save(): State {
    return { ...this.state, queue: [...this.state.queue], rates: [...this.state.rates] };
  }

  restore(state: State): void {
    this.state = { ...state, queue: [...state.queue], rates: [...state.rates] };
  }
}
