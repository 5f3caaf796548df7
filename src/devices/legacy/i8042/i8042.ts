/**
 * The keyboard controller of a PS/2: ports 0x60 and 0x64, a keyboard, and an auxiliary port with a mouse or nothing. After
 * "PS/2 Hardware Interface Technical Reference: Keyboard and Auxiliary Device Controller", IBM, 1990.
 *
 * The controller takes no time: commands are done as they are written, and the next byte stands in the output buffer as
 * soon as one was read. Only every few bytes the devices need a moment, as they do for each byte on a cable: Linux takes a
 * controller that has more than sixteen bytes at once for one that is not there (i8042_flush in drivers/input/serio/i8042.c), and
 * more than that may have been typed before it looks.
 */
import { nanoseconds } from '../../../base/units.js';
import type { Clock, Timer } from '../../../iface/clock.js';
import type { IoHandler } from '../../../iface/bus.js';
import type { IrqLine, MachineControl } from '../../../iface/lines.js';
import {
  array,
  bool,
  bytes,
  int,
  nullable,
  oneOf,
  range,
  struct,
  u8,
  type Infer,
  type Plain,
} from '../../../snapshot/schema.js';
import type { Snapshotable } from '../../../snapshot/snapshotable.js';
import { keyboardState, Ps2Keyboard } from './keyboard.js';
import { mouseState, Ps2Mouse } from './mouse.js';
import { PS2, type Ps2Device } from './ps2-device.js';
import { ScanTranslator } from './scan-codes.js';

/** Status register, read from port 0x64. The input buffer (bit 1) is never full. */
const STATUS = {
  OBF: 1 << 0,
  SYS: 1 << 2,
  COMMAND: 1 << 3,
  NOT_INHIBITED: 1 << 4,
  AUX_OBF: 1 << 5,
  TIMEOUT: 1 << 6,
} as const;
/** The controller command byte, byte 0 of its memory. */
const MODE = {
  KEYBOARD_INT: 1 << 0,
  AUX_INT: 1 << 1,
  SYS: 1 << 2,
  KEYBOARD_OFF: 1 << 4,
  AUX_OFF: 1 << 5,
  TRANSLATE: 1 << 6,
} as const;
/** Output port. */
const OUT = { NOT_RESET: 1 << 0, A20: 1 << 1, KEYBOARD_OBF: 1 << 4, AUX_OBF: 1 << 5, IDLE: 0xcc } as const;
/** Commands, written to port 0x64. */
const COMMAND = {
  READ_MEMORY: 0x20,
  WRITE_MEMORY: 0x60,
  MEMORY_MASK: 0x1f,
  TEST_PASSWORD: 0xa4,
  AUX_OFF: 0xa7,
  AUX_ON: 0xa8,
  TEST_AUX: 0xa9,
  SELF_TEST: 0xaa,
  TEST_KEYBOARD: 0xab,
  KEYBOARD_OFF: 0xad,
  KEYBOARD_ON: 0xae,
  READ_INPUT_PORT: 0xc0,
  READ_OUTPUT_PORT: 0xd0,
  WRITE_OUTPUT_PORT: 0xd1,
  WRITE_KEYBOARD_BUFFER: 0xd2,
  WRITE_AUX_BUFFER: 0xd3,
  WRITE_AUX: 0xd4,
  A20_OFF: 0xdd,
  A20_ON: 0xdf,
  READ_TEST_INPUTS: 0xe0,
  PULSE: 0xf0,
} as const;
const SELF_TEST_PASSED = 0x55;
const NO_PASSWORD = 0xf1;
/** Not inhibited, colour display, no manufacturing jumper. */
const INPUT_PORT = 0xa0;
const MEMORY_SIZE = 32;
/** Bytes of the devices that follow each other at once, and what the next one takes: 11 bits at 11 kHz, in nanoseconds. */
const BURST = 8;
const BYTE_TIME = 1_000_000;

const source = oneOf('keyboard', 'aux', 'controller', 'absent');
const outputState = struct({ byte: u8, source });
const stateSchema = struct({
  /** Byte 0 is the command byte. */
  memory: bytes(MEMORY_SIZE),
  outputPort: u8,
  /** SYS of the status register. */
  tested: bool,
  /** The last write was a command. */
  commandWritten: bool,
  /** The command whose parameter comes next through port 0x60. */
  command: nullable(u8),
  output: nullable(outputState),
  /** Bytes of the controller's own that wait for the output buffer. */
  waiting: array(outputState, { max: 64 }),
  /** What the keyboard sent last, in translation: the prefix of a released key. */
  released: bool,
  /** Bytes that the devices sent since they last took a moment; when that is over, ns; not when they may go on. */
  burst: range(0, BURST),
  pausedUntil: nullable(int),
  /** What port 0x60 gives while the output buffer is empty. */
  last: u8,
  keyboard: keyboardState,
  mouse: mouseState,
});
type State = Infer<typeof stateSchema>;
type Output = Infer<typeof outputState>;

/** Where the controller's outputs go. */
export interface I8042Lines {
  /** ISA interrupts 1 and 12. */
  readonly irq1: IrqLine;
  readonly irq12: IrqLine;
  /** Asserted while A20 is let through. */
  readonly a20: IrqLine;
}

/** Port 0x60 is offset 0, port 0x64 is offset 4; map it as one window of five ports, before port 0x61's. */
export class I8042 implements IoHandler, Snapshotable<State> {
  readonly id = 'i8042';
  readonly stateVersion = 3;
  readonly stateSchema = stateSchema;
  readonly widest = 1;

  readonly keyboard = new Ps2Keyboard();
  /** Undefined when nothing is plugged into the auxiliary port. */
  readonly mouse: Ps2Mouse | undefined;

  private memory = new Uint8Array(MEMORY_SIZE);
  private outputPort: number = OUT.IDLE | OUT.NOT_RESET | OUT.A20;
  private tested = true;
  private commandWritten = false;
  private command: number | null = null;
  private output: Output | null = null;
  private waiting: Output[] = [];
  private last = 0;
  private readonly translator = new ScanTranslator();
  private burst = 0;
  private readonly pause: Timer;

  constructor(
    private readonly lines: I8042Lines,
    private readonly control: MachineControl,
    private readonly clock: Clock,
    options: { readonly mouse: boolean },
  ) {
    this.pause = clock.createTimer(() => {
      this.burst = 0;
      this.update();
    });
    // DEVIATION: as firmware leaves it, because not every kernel is started by one.
    this.memory[0] = MODE.KEYBOARD_INT | MODE.SYS | MODE.AUX_OFF | MODE.TRANSLATE;
    this.mouse = options.mouse ? new Ps2Mouse() : undefined;
    const refill = (): void => this.update();
    this.keyboard.onData = refill;
    if (this.mouse) this.mouse.onData = refill;
    this.lines.a20.set(true);
  }

  private get mode(): number {
    return this.memory[0];
  }

  private set mode(value: number) {
    this.memory[0] = value;
    if (value & MODE.SYS) this.tested = true;
  }

  read(offset: number): number {
    const value = this.peek(offset);
    if (offset === 0 && this.output) {
      this.last = value;
      this.output = null;
      // The interrupt falls before it rises again for the next byte: it is edge-triggered.
      this.drive();
      this.update();
    }
    return value;
  }

  peek(offset: number): number {
    if (offset === 0) return this.output?.byte ?? this.last;
    if (offset === 4) return this.status();
    return 0xff;
  }

  private status(): number {
    let status: number = STATUS.NOT_INHIBITED;
    if (this.tested) status |= STATUS.SYS;
    if (this.commandWritten) status |= STATUS.COMMAND;
    if (this.output) {
      status |= STATUS.OBF;
      if (this.output.source === 'aux') status |= STATUS.AUX_OBF;
      else if (this.output.source === 'absent') status |= STATUS.AUX_OBF | STATUS.TIMEOUT;
    }
    return status;
  }

  write(offset: number, _size: number, value: number): void {
    if (offset === 4) {
      this.commandWritten = true;
      this.command = null;
      this.execute(value);
    } else if (offset === 0) {
      this.commandWritten = false;
      const command = this.command;
      this.command = null;
      if (command === null) this.writeKeyboard(value);
      else this.parameter(command, value);
    }
    this.update();
  }

  private writeKeyboard(value: number): void {
    // Talking to a device lets it talk.
    this.mode &= ~MODE.KEYBOARD_OFF;
    this.keyboard.write(value);
  }

  private execute(command: number): void {
    switch (command) {
      case COMMAND.TEST_PASSWORD:
        this.answer(NO_PASSWORD);
        break;
      case COMMAND.AUX_OFF:
        this.mode |= MODE.AUX_OFF;
        break;
      case COMMAND.AUX_ON:
        this.mode &= ~MODE.AUX_OFF;
        break;
      case COMMAND.TEST_AUX:
      case COMMAND.TEST_KEYBOARD:
        this.answer(0);
        break;
      case COMMAND.SELF_TEST:
        this.tested = true;
        this.answer(SELF_TEST_PASSED);
        break;
      case COMMAND.KEYBOARD_OFF:
        this.mode |= MODE.KEYBOARD_OFF;
        break;
      case COMMAND.KEYBOARD_ON:
        this.mode &= ~MODE.KEYBOARD_OFF;
        break;
      case COMMAND.READ_INPUT_PORT:
        this.answer(INPUT_PORT);
        break;
      case COMMAND.READ_OUTPUT_PORT:
        this.answer(this.readOutputPort());
        break;
      case COMMAND.WRITE_OUTPUT_PORT:
      case COMMAND.WRITE_KEYBOARD_BUFFER:
      case COMMAND.WRITE_AUX_BUFFER:
      case COMMAND.WRITE_AUX:
        this.command = command;
        break;
      case COMMAND.A20_OFF:
        this.writeOutputPort(this.outputPort & ~OUT.A20);
        break;
      case COMMAND.A20_ON:
        this.writeOutputPort(this.outputPort | OUT.A20);
        break;
      case COMMAND.READ_TEST_INPUTS:
        this.answer(0);
        break;
      default:
        if (command >= COMMAND.PULSE) {
          // A 0 in bits 3:0 pulses that output low; bit 0 is the processor's reset.
          if (!(command & OUT.NOT_RESET)) this.control.reset();
        } else if (command >= COMMAND.READ_MEMORY && command < COMMAND.READ_MEMORY + MEMORY_SIZE)
          this.answer(this.memory[command & COMMAND.MEMORY_MASK]);
        else if (command >= COMMAND.WRITE_MEMORY && command < COMMAND.WRITE_MEMORY + MEMORY_SIZE)
          this.command = command;
    }
  }

  private parameter(command: number, value: number): void {
    switch (command) {
      case COMMAND.WRITE_OUTPUT_PORT:
        this.writeOutputPort(value);
        break;
      case COMMAND.WRITE_KEYBOARD_BUFFER:
        this.answer(value, 'keyboard');
        break;
      case COMMAND.WRITE_AUX_BUFFER:
        this.answer(value, 'aux');
        break;
      case COMMAND.WRITE_AUX:
        this.mode &= ~MODE.AUX_OFF;
        if (this.mouse) this.mouse.write(value);
        else this.answer(PS2.RESEND, 'absent');
        break;
      default: {
        const at = command & COMMAND.MEMORY_MASK;
        if (at === 0) this.mode = value;
        else this.memory[at] = value;
      }
    }
  }

  private readOutputPort(): number {
    const aux = this.output?.source === 'aux';
    return this.outputPort | (this.output ? (aux ? OUT.AUX_OBF : OUT.KEYBOARD_OBF) : 0);
  }

  private writeOutputPort(value: number): void {
    this.outputPort = value & ~(OUT.KEYBOARD_OBF | OUT.AUX_OBF);
    this.lines.a20.set((value & OUT.A20) !== 0);
    if (!(value & OUT.NOT_RESET)) this.control.reset();
  }

  /** A byte of the controller's own. It comes before what the devices have. */
  private answer(byte: number, from: Output['source'] = 'controller'): void {
    if (this.waiting.length < 64) this.waiting.push({ byte, source: from });
  }

  /** Fills the output buffer if it is empty, and drives the interrupts. */
  private update(): void {
    this.output ??= this.waiting.shift() ?? this.fromDevices();
    this.drive();
  }

  private fromDevices(): Output | null {
    if (this.burst === BURST) return null;
    const output = this.fromKeyboard() ?? this.fromAux();
    if (output && ++this.burst === BURST) this.pause.arm(nanoseconds(this.clock.now() + BYTE_TIME));
    return output;
  }

  private fromKeyboard(): Output | null {
    while (!(this.mode & MODE.KEYBOARD_OFF)) {
      const byte = this.keyboard.take();
      if (byte === undefined) break;
      const translated = this.mode & MODE.TRANSLATE ? this.translator.translate(byte) : byte;
      if (translated !== undefined) return { byte: translated, source: 'keyboard' };
    }
    return null;
  }

  private fromAux(): Output | null {
    const device: Ps2Device | undefined = this.mode & MODE.AUX_OFF ? undefined : this.mouse;
    const byte = device?.take();
    return byte === undefined ? null : { byte, source: 'aux' };
  }

  private drive(): void {
    const from = this.output?.source;
    const aux = from === 'aux' || from === 'absent';
    this.lines.irq1.set(from !== undefined && !aux && (this.mode & MODE.KEYBOARD_INT) !== 0);
    this.lines.irq12.set(aux && (this.mode & MODE.AUX_INT) !== 0);
  }

  save(): State {
    return {
      memory: this.memory.slice(),
      outputPort: this.outputPort,
      tested: this.tested,
      commandWritten: this.commandWritten,
      command: this.command,
      output: this.output && { ...this.output },
      waiting: this.waiting.map((one) => ({ ...one })),
      released: this.translator.released,
      last: this.last,
      burst: this.burst,
      pausedUntil: this.pause.deadline ?? null,
      keyboard: this.keyboard.save(),
      mouse: (this.mouse ?? new Ps2Mouse()).save(),
    };
  }

  /** Version 1 knew neither scan set 3 nor five buttons, version 2 no pauses. */
  upgrade(state: Plain, fromVersion: number): Plain {
    const now = { ...(state as { readonly [field: string]: Plain }), burst: 0, pausedUntil: null };
    return fromVersion === 1 ? this.upgradeDevices(now) : now;
  }

  private upgradeDevices(state: Plain): Plain {
    const { keyboard, mouse, ...rest } = state as { readonly [field: string]: Plain };
    const { wheel, ...others } = mouse as { readonly [field: string]: Plain };
    const fresh = new Ps2Keyboard().save();
    return {
      ...rest,
      keyboard: { ...(keyboard as { readonly [field: string]: Plain }), keyTypes: fresh.keyTypes, down: fresh.down },
      mouse: { ...others, identity: wheel === true ? 3 : 0 },
    };
  }

  restore(state: State): void {
    this.memory = state.memory.slice();
    this.outputPort = state.outputPort;
    this.tested = state.tested;
    this.commandWritten = state.commandWritten;
    this.command = state.command;
    this.output = state.output && { ...state.output };
    this.waiting = state.waiting.map((one) => ({ ...one }));
    this.translator.released = state.released;
    this.last = state.last;
    this.burst = state.burst;
    if (state.pausedUntil === null) {
      this.pause.cancel();
      // Nothing would end it.
      if (this.burst === BURST) this.burst = 0;
    } else this.pause.arm(nanoseconds(state.pausedUntil));
    this.keyboard.restore(state.keyboard);
    this.mouse?.restore(state.mouse);
    this.lines.a20.set((this.outputPort & OUT.A20) !== 0);
    this.drive();
  }
}
