/**
 * A VGA: register files, planar memory, and the modes of Bochs's display interface besides. What it shows is drawn by who reads its
 * `picture`. After "IBM PS/2 Hardware Interface Technical Reference: Video Subsystems", May 1992.
 */
import { isZero } from '../../../base/zeros.js';
import type { IoHandler } from '../../../iface/bus.js';
import type { Clock } from '../../../iface/clock.js';
import type { DisplayAdapter, Picture, VgaColors } from '../../../iface/display.js';
import { bool, bytes, range, struct, u8, type Infer, type Plain } from '../../../snapshot/schema.js';
import type { Snapshotable } from '../../../snapshot/snapshotable.js';
import { Dispi, dispiState } from './dispi.js';
import {
  ATTRIBUTE_BITS,
  CRTC,
  CRTC_BIT,
  egaPalette,
  GC,
  GC_BITS,
  GC_MISC,
  MISC,
  MODE_3,
  PORT,
  SEQ,
  SEQ_BITS,
} from './registers.js';
import { isText, readCursor, readText, type Cursor, type TextPicture } from './screen.js';
import { PLANE_SIZE, VgaMemory, type VideoRam } from './vga-memory.js';
import { WriteTracker } from './write-times.js';

/** Ports 0x3b0 … 0x3df, and memory 0xa0000 … 0xbffff. */
export const VGA_PORTS = 0x3b0;
export const VGA_PORT_COUNT = 0x30;
export const VGA_MEMORY = 0xa_0000;
export const VGA_MEMORY_SIZE = 0x2_0000;

/** Input status 1. */
const STATUS_1 = { NOT_DISPLAYING: 1 << 0, VERTICAL_RETRACE: 1 << 3 } as const;
/** Nanoseconds of a scan line in the standard modes, whatever their dot clock, and how much of it shows something. */
const LINE_NS = 31_778;
const SHOWN_PART = 0.8;
/** Screen off, in the sequencer's clocking mode. */
const SCREEN_OFF = 0x20;

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
  dispi: dispiState,
  /** Without the zeros at its end. */
  memory: bytes(),
});
type State = Infer<typeof stateSchema>;

/** Switched on in mode 3, as firmware leaves it: kernels started without firmware expect that too. */
export class Vga implements DisplayAdapter, Snapshotable<State> {
  readonly id = 'vga';
  readonly stateVersion = 2;
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
  private readonly memory: VgaMemory;
  private readonly writes: WriteTracker | undefined;

  readonly dispi: Dispi;
  readonly ports: IoHandler;
  /** Memory at 0xa0000. */
  readonly window: IoHandler;
  /** All of display memory, byte by byte. */
  readonly linear: IoHandler;

  constructor(
    private readonly clock: Clock,
    private readonly ram: VideoRam = { bytes: new Uint8Array(4 * PLANE_SIZE), written: () => {} },
  ) {
    this.memory = new VgaMemory(this.sequencer, this.graphics, ram);
    this.writes = ram.takeWritten && new WriteTracker(ram.bytes.length, ram.takeWritten);
    this.dispi = new Dispi(ram.bytes.length, {
      clear: () => this.clear(this.dispi.visibleBytes),
      changed: () => this.followBank(),
    });
    this.clear(ram.bytes.length);
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
      write: (offset, size, value) => this.writeWindow(offset, size, value),
    };
    const readLinear = (offset: number, size: number): number => {
      let value = 0;
      for (let i = size - 1; i >= 0; i--) value = value * 256 + ram.bytes[offset + i];
      return value;
    };
    this.linear = {
      read: readLinear,
      peek: readLinear,
      write: (offset, size, value) => {
        for (let i = 0; i < size; i++) ram.bytes[offset + i] = value >>> (8 * i);
        ram.written(offset, size);
      },
    };
  }

  private clear(length: number): void {
    const count = Math.min(length, this.ram.bytes.length);
    this.ram.bytes.fill(0, 0, count);
    this.ram.written(0, count);
  }

  private get text(): TextPicture {
    const { crtc, graphics } = this;
    return { crtc, graphics, memory: this.memory.bytes };
  }

  private get colors(): VgaColors {
    const { attribute, palette, dacMask } = this;
    return { attribute, palette, dacMask, wideDac: this.dispi.wideDac };
  }

  picture(): Picture {
    const { sequencer, crtc, graphics, colors, dispi, ram } = this;
    const off = !(this.attributeIndex & PALETTE_SOURCE) || (sequencer[SEQ.CLOCKING] & SCREEN_OFF) !== 0;
    if (dispi.enabled) {
      const shown = { ...dispi.picture(ram.bytes, colors), writes: this.writes?.look() };
      return off ? { kind: 'blank', width: shown.width, height: shown.height } : shown;
    }
    if (off) return { kind: 'blank', width: 640, height: 400 };
    return { kind: 'vga', sequencer, crtc, graphics, colors, memory: ram.bytes };
  }

  get textMode(): boolean {
    return !this.dispi.enabled && isText(this.text);
  }

  /** The rows of the screen in a text mode, blanks at their ends cut off; none in a graphics mode. */
  readText(): string[] {
    return this.textMode ? readText(this.text) : [];
  }

  get cursor(): Cursor | undefined {
    return this.textMode ? readCursor(this.text) : undefined;
  }

  /** With four bits a pixel, banks are of planes. */
  private followBank(): void {
    const { dispi } = this;
    this.memory.base = dispi.enabled && dispi.depth === 4 ? dispi.windowStart : 0;
  }

  /** Modes of the display interface with bytes for pixels: the window shows a bank of memory as it lies. */
  private get bank(): number | undefined {
    const { dispi } = this;
    return dispi.enabled && dispi.depth >= 8 ? dispi.windowStart : undefined;
  }

  private writeWindow(offset: number, size: number, value: number): void {
    const { bank } = this;
    for (let i = 0; i < size; i++) {
      const address = this.decode(offset + i);
      const byte = (value >>> (8 * i)) & 0xff;
      if (address === undefined) continue;
      if (bank === undefined) this.memory.write(address, byte);
      else this.linear.write((bank + address) % this.ram.bytes.length, 1, byte);
    }
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

  private readMemory(offset: number, size: number, planar: (address: number) => number): number {
    const { bank, ram } = this;
    let value = 0;
    for (let i = 0; i < size; i++) {
      const address = this.decode(offset + i);
      let byte = 0xff;
      if (address !== undefined)
        byte = bank === undefined ? planar(address) : ram.bytes[(bank + address) % ram.bytes.length];
      value += byte * 2 ** (8 * i);
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
    const { total, shown: shownLines, retraceStart, retraceLines } = verticalTiming(this.crtc);
    const time = this.clock.now() % (LINE_NS * total);
    const line = Math.floor(time / LINE_NS);
    const shown = line < shownLines && time % LINE_NS < LINE_NS * SHOWN_PART;
    const retrace = line >= retraceStart && line < retraceStart + retraceLines;
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
        this.sequencer[this.sequencerIndex] = value & (SEQ_BITS[this.sequencerIndex] ?? 0);
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
        this.palette[this.dacIndex * 3 + this.dacPart] = this.dispi.wideDac ? value : value & 0x3f;
        this.nextDacPart();
        break;
      case PORT.GRAPHICS_INDEX:
        this.graphicsIndex = value & 15;
        break;
      case PORT.GRAPHICS_DATA:
        this.graphics[this.graphicsIndex] = value & (GC_BITS[this.graphicsIndex] ?? 0);
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
      if (!shut) this.attribute[index] = value & (ATTRIBUTE_BITS[index] ?? 0);
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
      dispi: this.dispi.save(),
      memory: withoutZeros(this.ram.bytes),
    };
  }

  /** Version 1 had no modes beyond a VGA's. */
  upgrade(state: Plain): Plain {
    const dispi = new Dispi(this.ram.bytes.length, { clear: () => {}, changed: () => {} }).save();
    return { ...(state as { readonly [field: string]: Plain }), dispi };
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
    this.dispi.restore(state.dispi);
    this.followBank();
    this.clear(this.ram.bytes.length);
    this.ram.bytes.set(state.memory.subarray(0, this.ram.bytes.length));
  }
}

/** A copy of what stands before the last byte that is not 0. */
function withoutZeros(memory: Uint8Array): Uint8Array {
  const piece = 65_536;
  let end = memory.length;
  while (end >= piece && isZero(memory.subarray(end - piece, end))) end -= piece;
  while (end > 0 && memory[end - 1] === 0) end--;
  return memory.slice(0, end);
}

interface VerticalTiming {
  /** Lines of a frame, and of these the ones that show something. */
  readonly total: number;
  readonly shown: number;
  readonly retraceStart: number;
  readonly retraceLines: number;
}

/** What the CRTC was told; without sense, mode 3's: 449 lines, 400 shown, 2 of retrace. */
function verticalTiming(crtc: Uint8Array): VerticalTiming {
  const overflow = crtc[CRTC.OVERFLOW];
  const total = (crtc[CRTC.VERTICAL_TOTAL] | ((overflow << 8) & 0x100) | ((overflow << 4) & 0x200)) + 2;
  const shown = (crtc[CRTC.VERTICAL_END] | ((overflow << 7) & 0x100) | ((overflow << 3) & 0x200)) + 1;
  const retraceStart = crtc[CRTC.RETRACE_START] | ((overflow << 6) & 0x100) | ((overflow << 2) & 0x200);
  // The end is compared in its low four bits alone.
  const retraceLines = (crtc[CRTC.RETRACE_END] - retraceStart) & 15 || 1;
  const sane = total >= 100 && shown < total && retraceStart >= shown && retraceStart + retraceLines <= total;
  return sane
    ? { total, shown, retraceStart, retraceLines }
    : { total: 449, shown: 400, retraceStart: 412, retraceLines: 2 };
}
