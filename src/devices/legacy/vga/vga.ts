/**
 * A VGA, good enough to write text and simple graphics to and to read the screen back: register files, planar memory, no
 * picture of its own. After "IBM PS/2 Hardware Interface Technical Reference: Video Subsystems", May 1992.
 */
import type { IoHandler } from '../../../iface/bus.js';
import type { Clock } from '../../../iface/clock.js';
import { bool, bytes, range, struct, u8, type Infer } from '../../../snapshot/schema.js';
import type { Snapshotable } from '../../../snapshot/snapshotable.js';
import { CRTC, CRTC_BIT, egaPalette, GC, GC_MISC, MISC, MODE_3, PORT } from './registers.js';
import { isText, readCursor, readPixels, readText, type Cursor, type Picture, type PixelScreen } from './screen.js';
import { PLANE_SIZE, VgaMemory } from './vga-memory.js';

/** Ports 0x3b0 … 0x3df, and memory 0xa0000 … 0xbffff. */
export const VGA_PORTS = 0x3b0;
export const VGA_PORT_COUNT = 0x30;
export const VGA_MEMORY = 0xa_0000;
export const VGA_MEMORY_SIZE = 0x2_0000;

/** Input status 1. */
const STATUS_1 = { NOT_DISPLAYING: 1 << 0, VERTICAL_RETRACE: 1 << 3 } as const;
/** Mode 3's timing: 449 lines of 31.78 µs, of which 400 show something and 2 are the retrace. */
const LINE_NS = 31_778;
const LINES = 449;
const SHOWN_LINES = 400;
const RETRACE_LINE = 412;
const SHOWN_PART = 0.8;

const SEQUENCER_COUNT = 5;
const GRAPHICS_COUNT = 9;
const CRTC_COUNT = 25;
const ATTRIBUTE_COUNT = 21;
/** The attribute controller's index has this bit to show the screen; the palette can be written while it is 0. */
const PALETTE_SOURCE = 0x20;
const PALETTE_REGISTERS = 16;

const stateSchema = struct({
  misc: u8,
  feature: u8,
  enable: u8,
  sequencerIndex: u8,
  sequencer: bytes(SEQUENCER_COUNT),
  graphicsIndex: u8,
  graphics: bytes(GRAPHICS_COUNT),
  crtcIndex: u8,
  crtc: bytes(CRTC_COUNT),
  attributeIndex: u8,
  attribute: bytes(ATTRIBUTE_COUNT),
  /** The next write to 0x3c0 is data. */
  attributeData: bool,
  dacMask: u8,
  dacIndex: u8,
  /** 0 … 2: red, green, blue is next. */
  dacPart: range(0, 2),
  /** The DAC was last set up for reading. */
  dacReading: bool,
  palette: bytes(256 * 3),
  latches: bytes(4),
  memory: bytes(4 * PLANE_SIZE),
});
type State = Infer<typeof stateSchema>;

/** Switched on in mode 3, as firmware leaves it: kernels started without firmware expect that too. */
export class Vga implements Snapshotable<State> {
  readonly id = 'vga';
  readonly stateVersion = 1;
  readonly stateSchema = stateSchema;

  private misc: number = MODE_3.misc;
  private feature = 0;
  private enable = 1;
  private sequencerIndex = 0;
  private readonly sequencer = Uint8Array.from(MODE_3.sequencer);
  private graphicsIndex = 0;
  private readonly graphics = Uint8Array.from(MODE_3.graphics);
  private crtcIndex = 0;
  private readonly crtc = Uint8Array.from(MODE_3.crtc);
  private attributeIndex = PALETTE_SOURCE;
  private readonly attribute = Uint8Array.from(MODE_3.attribute);
  private attributeData = false;
  private dacMask = 0xff;
  private dacIndex = 0;
  private dacPart = 0;
  private dacReading = false;
  private readonly palette = egaPalette();
  private readonly memory = new VgaMemory(this.sequencer, this.graphics);

  readonly ports: IoHandler;
  readonly window: IoHandler;

  constructor(private readonly clock: Clock) {
    // Blanks of light grey on black.
    for (let offset = 0; offset < PLANE_SIZE; offset += 2) this.memory.bytes.set([0x20, 0x07], offset * 4);
    this.ports = {
      widest: 1,
      read: (offset) => this.readPort(offset),
      write: (offset, _size, value) => this.writePort(offset, value),
      peek: (offset) => this.peekPort(offset),
    };
    this.window = {
      read: (offset, size) => this.readMemory(offset, size, (address) => this.memory.read(address)),
      peek: (offset, size) => this.readMemory(offset, size, (address) => this.memory.peek(address)),
      write: (offset, size, value) => {
        for (let i = 0; i < size; i++) {
          const address = this.decode(offset + i);
          if (address !== undefined) this.memory.write(address, (value >>> (8 * i)) & 0xff);
        }
      },
    };
  }

  private get picture(): Picture {
    const { crtc, graphics, attribute, palette } = this;
    return { crtc, graphics, attribute, palette, memory: this.memory.bytes };
  }

  get textMode(): boolean {
    return isText(this.picture);
  }

  /** The rows of the screen in a text mode, blanks at their ends cut off; none in a graphics mode. */
  readText(): string[] {
    return readText(this.picture);
  }

  get cursor(): Cursor | undefined {
    return readCursor(this.picture);
  }

  /** The screen in a graphics mode. */
  readPixels(): PixelScreen | undefined {
    return readPixels(this.picture);
  }

  /** The address within the window that the graphics controller's memory map gives, or undefined outside of it. */
  private decode(offset: number): number | undefined {
    switch ((this.graphics[GC.MISC] & GC_MISC.MAP) >> 2) {
      case 0:
        return offset;
      case 1:
        return offset < 0x1_0000 ? offset : undefined;
      case 2:
        return offset >= 0x1_0000 && offset < 0x1_8000 ? offset - 0x1_0000 : undefined;
      default:
        return offset >= 0x1_8000 ? offset - 0x1_8000 : undefined;
    }
  }

  private readMemory(offset: number, size: number, byte: (address: number) => number): number {
    let value = 0;
    for (let i = 0; i < size; i++) {
      const address = this.decode(offset + i);
      value += (address === undefined ? 0xff : byte(address)) * 2 ** (8 * i);
    }
    return value;
  }

  /** Whether a CRTC port is the one that the miscellaneous output register selects: 0x3d4 or 0x3b4. */
  private mapped(offset: number): boolean {
    return offset >= PORT.CRTC_INDEX === ((this.misc & MISC.COLOR) !== 0);
  }

  private readPort(offset: number): number {
    const value = this.peekPort(offset);
    if (offset === PORT.DAC_DATA) this.nextDacPart();
    // Reading input status 1 makes 0x3c0 take an index next.
    else if ((offset === PORT.STATUS_1 || offset === PORT.STATUS_1_MONO) && this.mapped(offset))
      this.attributeData = false;
    return value;
  }

  private peekPort(offset: number): number {
    switch (offset) {
      case PORT.ATTRIBUTE:
        return this.attributeIndex;
      case PORT.ATTRIBUTE_READ:
        return this.attribute[this.attributeIndex & 0x1f] ?? 0;
      case PORT.MISC:
        // Input status 0: the sense bit, which says that a colour monitor is there.
        return 0x10;
      case PORT.ENABLE:
        return this.enable;
      case PORT.SEQUENCER_INDEX:
        return this.sequencerIndex;
      case PORT.SEQUENCER_DATA:
        return this.sequencer[this.sequencerIndex] ?? 0;
      case PORT.DAC_MASK:
        return this.dacMask;
      case PORT.DAC_READ:
        return this.dacReading ? 3 : 0;
      case PORT.DAC_WRITE:
        return this.dacIndex;
      case PORT.DAC_DATA:
        return this.palette[this.dacIndex * 3 + this.dacPart];
      case PORT.FEATURE_READ:
        return this.feature;
      case PORT.MISC_READ:
        return this.misc;
      case PORT.GRAPHICS_INDEX:
        return this.graphicsIndex;
      case PORT.GRAPHICS_DATA:
        return this.graphics[this.graphicsIndex] ?? 0;
    }
    if (!this.mapped(offset)) return 0xff;
    switch (offset) {
      case PORT.CRTC_INDEX:
      case PORT.CRTC_INDEX_MONO:
        return this.crtcIndex;
      case PORT.CRTC_DATA:
      case PORT.CRTC_DATA_MONO:
        return this.crtc[this.crtcIndex] ?? 0;
      case PORT.STATUS_1:
      case PORT.STATUS_1_MONO:
        return this.inputStatus();
      default:
        return 0xff;
    }
  }

  private inputStatus(): number {
    const time = this.clock.now() % (LINE_NS * LINES);
    const line = Math.floor(time / LINE_NS);
    const shown = line < SHOWN_LINES && time % LINE_NS < LINE_NS * SHOWN_PART;
    const retrace = line === RETRACE_LINE || line === RETRACE_LINE + 1;
    return (shown ? 0 : STATUS_1.NOT_DISPLAYING) | (retrace ? STATUS_1.VERTICAL_RETRACE : 0);
  }

  private writePort(offset: number, value: number): void {
    switch (offset) {
      case PORT.ATTRIBUTE:
        this.writeAttribute(value);
        break;
      case PORT.MISC:
        this.misc = value;
        break;
      case PORT.ENABLE:
        this.enable = value;
        break;
      case PORT.SEQUENCER_INDEX:
        this.sequencerIndex = value & 7;
        break;
      case PORT.SEQUENCER_DATA:
        this.sequencer[this.sequencerIndex] = value;
        break;
      case PORT.DAC_MASK:
        this.dacMask = value;
        break;
      case PORT.DAC_READ:
      case PORT.DAC_WRITE:
        this.dacIndex = value;
        this.dacPart = 0;
        this.dacReading = offset === PORT.DAC_READ;
        break;
      case PORT.DAC_DATA:
        this.palette[this.dacIndex * 3 + this.dacPart] = value & 0x3f;
        this.nextDacPart();
        break;
      case PORT.GRAPHICS_INDEX:
        this.graphicsIndex = value & 15;
        break;
      case PORT.GRAPHICS_DATA:
        this.graphics[this.graphicsIndex] = value;
        break;
      case PORT.CRTC_INDEX:
      case PORT.CRTC_INDEX_MONO:
        if (this.mapped(offset)) this.crtcIndex = value & 0x1f;
        break;
      case PORT.CRTC_DATA:
      case PORT.CRTC_DATA_MONO:
        if (this.mapped(offset)) this.writeCrtc(value);
        break;
      case PORT.STATUS_1:
      case PORT.STATUS_1_MONO:
        if (this.mapped(offset)) this.feature = value;
        break;
    }
  }

  private writeAttribute(value: number): void {
    if (!this.attributeData) this.attributeIndex = value & 0x3f;
    else {
      const index = this.attributeIndex & 0x1f;
      const shut = index < PALETTE_REGISTERS && (this.attributeIndex & PALETTE_SOURCE) !== 0;
      if (!shut) this.attribute[index] = value;
    }
    this.attributeData = !this.attributeData;
  }

  private writeCrtc(value: number): void {
    const index = this.crtcIndex;
    if (index <= CRTC.OVERFLOW && this.crtc[CRTC.RETRACE_END] & CRTC_BIT.PROTECT) {
      // Bit 4 of the overflow register (line compare) stays open.
      if (index === CRTC.OVERFLOW) this.crtc[index] = (this.crtc[index] & ~0x10) | (value & 0x10);
    } else this.crtc[index] = value;
  }

  private nextDacPart(): void {
    this.dacPart = (this.dacPart + 1) % 3;
    if (this.dacPart === 0) this.dacIndex = (this.dacIndex + 1) & 0xff;
  }

  save(): State {
    return {
      misc: this.misc,
      feature: this.feature,
      enable: this.enable,
      sequencerIndex: this.sequencerIndex,
      sequencer: this.sequencer.slice(),
      graphicsIndex: this.graphicsIndex,
      graphics: this.graphics.slice(),
      crtcIndex: this.crtcIndex,
      crtc: this.crtc.slice(),
      attributeIndex: this.attributeIndex,
      attribute: this.attribute.slice(),
      attributeData: this.attributeData,
      dacMask: this.dacMask,
      dacIndex: this.dacIndex,
      dacPart: this.dacPart,
      dacReading: this.dacReading,
      palette: this.palette.slice(),
      latches: this.memory.latches.slice(),
      memory: this.memory.bytes.slice(),
    };
  }

  restore(state: State): void {
    this.misc = state.misc;
    this.feature = state.feature;
    this.enable = state.enable;
    this.sequencerIndex = state.sequencerIndex;
    this.sequencer.set(state.sequencer);
    this.graphicsIndex = state.graphicsIndex;
    this.graphics.set(state.graphics);
    this.crtcIndex = state.crtcIndex;
    this.crtc.set(state.crtc);
    this.attributeIndex = state.attributeIndex;
    this.attribute.set(state.attribute);
    this.attributeData = state.attributeData;
    this.dacMask = state.dacMask;
    this.dacIndex = state.dacIndex;
    this.dacPart = state.dacPart;
    this.dacReading = state.dacReading;
    this.palette.set(state.palette);
    this.memory.latches.set(state.latches);
    this.memory.bytes.set(state.memory);
  }
}
