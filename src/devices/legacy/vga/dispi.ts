/**
 * Display interface of Bochs, by which modes are set that a VGA has not: "VBE Display HOWTO" and vbe.h of Bochs 2.6, and QEMU's
 * docs/specs/standard-vga.rst. An index and a data register, 16 bits each.
 */
import type { IoHandler } from '../../../iface/bus.js';
import { array, struct, u16, u8, type Infer } from '../../../snapshot/schema.js';
import type { LinearPicture, PixelFormat, VgaColors } from '../../../iface/display.js';

export const DISPI = {
  ID: 0,
  XRES: 1,
  YRES: 2,
  BPP: 3,
  ENABLE: 4,
  BANK: 5,
  VIRT_WIDTH: 6,
  VIRT_HEIGHT: 7,
  X_OFFSET: 8,
  Y_OFFSET: 9,
  /** Display memory in units of 64 KiB; read-only. */
  MEMORY: 10,
} as const;
const COUNT = 11;

const ENABLE = { ENABLED: 1 << 0, GET_CAPS: 1 << 1, DAC_8BIT: 1 << 5, LFB: 1 << 6, NO_CLEAR: 1 << 7 } as const;
/** Versions that can be asked for; the latest stands there after reset. */
const ID_FIRST = 0xb0c0;
const ID_LAST = 0xb0c5;
/** Largest size, in pixels; what it takes must also fit into display memory. */
const MOST = { width: 4096, height: 2160, bits: 32 } as const;
const BANK_SIZE = 0x1_0000;

const FORMATS: ReadonlyMap<number, PixelFormat> = new Map([
  [4, 'planar4'],
  [8, 'indexed8'],
  [15, 'rgb555'],
  [16, 'rgb565'],
  [24, 'bgr24'],
  [32, 'bgrx'],
]);

export const dispiState = struct({
  index: u16,
  registers: array(u16, { length: COUNT }),
  /** The first half of a word that is written to port 0x1cf, which is no aligned one. */
  low: u8,
});
type State = Infer<typeof dispiState>;

/** Who has the display memory. */
export interface DispiListener {
  /** A mode was switched on, and memory is to be cleared. */
  clear(): void;
  /** A register was written. */
  changed(): void;
}

/** Index and data: ports 0x1ce … 0x1d1; data is at the second as on a PC's Bochs, and at the third, where a word is aligned. */
export const DISPI_PORTS = 0x1ce;
export const DISPI_PORT_COUNT = 4;

export class Dispi {
  index = 0;
  private registers = new Uint16Array(COUNT);
  private low = 0;
  readonly ports: IoHandler;

  constructor(
    private readonly memorySize: number,
    private readonly listener: DispiListener,
  ) {
    this.registers.set([ID_LAST, 640, 480, 8]);
    const read = (offset: number, size: number): number => {
      if (offset === 0) return size === 2 ? this.index : this.index & 0xff;
      const value = this.read();
      // A word at 0x1cf comes as two bytes, a word at 0x1d0 whole.
      return size === 2 ? value : offset === 1 ? value & 0xff : value >> 8;
    };
    this.ports = { widest: 2, read, peek: read, write: (offset, size, value) => this.writePort(offset, size, value) };
  }

  private writePort(offset: number, size: number, value: number): void {
    if (offset === 0) this.index = value;
    else if (size === 2) this.write(value);
    else if (offset === 1) this.low = value;
    else this.write((value << 8) | this.low);
  }

  get enabled(): boolean {
    return (this.registers[DISPI.ENABLE] & ENABLE.ENABLED) !== 0;
  }

  get wideDac(): boolean {
    return (this.registers[DISPI.ENABLE] & ENABLE.DAC_8BIT) !== 0;
  }

  /** The bits of a pixel. */
  get depth(): number {
    return this.registers[DISPI.BPP];
  }

  /** Where the window at 0xa0000 begins in display memory, bytes. */
  get windowStart(): number {
    return (this.registers[DISPI.BANK] * BANK_SIZE) % this.memorySize;
  }

  /** Bytes of a row of the virtual screen. */
  private get pitch(): number {
    return bytesOf(this.virtualWidth, this.depth);
  }

  private get virtualWidth(): number {
    return Math.max(this.registers[DISPI.VIRT_WIDTH], this.registers[DISPI.XRES]);
  }

  private get virtualHeight(): number {
    return Math.min(0xffff, Math.floor(this.memorySize / Math.max(1, this.pitch)));
  }

  read(index = this.index): number {
    const { registers } = this;
    const caps = (registers[DISPI.ENABLE] & ENABLE.GET_CAPS) !== 0;
    switch (index) {
      case DISPI.XRES:
        return caps ? MOST.width : registers[index];
      case DISPI.YRES:
        return caps ? MOST.height : registers[index];
      case DISPI.BPP:
        return caps ? MOST.bits : registers[index];
      case DISPI.VIRT_WIDTH:
        return this.enabled ? this.virtualWidth : registers[index];
      case DISPI.VIRT_HEIGHT:
        return this.enabled ? this.virtualHeight : registers[index];
      case DISPI.MEMORY:
        return this.memorySize / BANK_SIZE;
      default:
        return index < COUNT ? registers[index] : 0;
    }
  }

  write(value: number, index = this.index): void {
    this.store(value, index);
    this.listener.changed();
  }

  private store(value: number, index: number): void {
    const { registers } = this;
    switch (index) {
      case DISPI.ID:
        if (value >= ID_FIRST && value <= ID_LAST) registers[index] = value;
        break;
      // The size stays as it is while it is shown.
      case DISPI.XRES:
        // Whole bytes of a plane.
        if (!this.enabled && value >= 8 && value <= MOST.width) registers[index] = value & ~7;
        break;
      case DISPI.YRES:
        if (!this.enabled && value > 0 && value <= MOST.height) registers[index] = value;
        break;
      case DISPI.BPP:
        if (!this.enabled && (value === 0 || FORMATS.has(value))) registers[index] = value === 0 ? 8 : value;
        break;
      case DISPI.ENABLE:
        this.writeEnable(value);
        break;
      case DISPI.BANK:
        registers[index] = value;
        break;
      case DISPI.VIRT_WIDTH:
        this.widen(value);
        break;
      case DISPI.X_OFFSET:
      case DISPI.Y_OFFSET:
        this.scroll(index, value);
        break;
    }
  }

  private writeEnable(value: number): void {
    const { registers } = this;
    const before = this.enabled;
    registers[DISPI.ENABLE] = value & ~ENABLE.NO_CLEAR;
    if (!(value & ENABLE.ENABLED) || before) {
      if (!(value & ENABLE.ENABLED)) registers[DISPI.BANK] = 0;
      return;
    }
    registers[DISPI.VIRT_WIDTH] = registers[DISPI.XRES];
    registers[DISPI.X_OFFSET] = 0;
    registers[DISPI.Y_OFFSET] = 0;
    registers[DISPI.BANK] = 0;
    // What does not fit is not switched on: reading back tells.
    if (this.virtualHeight < registers[DISPI.YRES]) registers[DISPI.ENABLE] &= ~ENABLE.ENABLED;
    else if (!(value & ENABLE.NO_CLEAR)) this.listener.clear();
  }

  private widen(value: number): void {
    const { registers } = this;
    const before = registers[DISPI.VIRT_WIDTH];
    registers[DISPI.VIRT_WIDTH] = value & ~7;
    // As wide as the screen at least, and no wider than leaves it its height.
    if (this.virtualHeight < registers[DISPI.YRES]) registers[DISPI.VIRT_WIDTH] = before;
  }

  private scroll(index: number, value: number): void {
    const { registers } = this;
    const most =
      index === DISPI.X_OFFSET ? this.virtualWidth - registers[DISPI.XRES] : this.virtualHeight - registers[DISPI.YRES];
    if (value <= most) registers[index] = value;
  }

  /** What is shown; only while enabled. */
  picture(memory: Uint8Array, colors: VgaColors): LinearPicture {
    const { registers, depth, pitch } = this;
    const [width, height, x, y] = [DISPI.XRES, DISPI.YRES, DISPI.X_OFFSET, DISPI.Y_OFFSET].map((i) => registers[i]);
    // A window may have been narrowed after it was scrolled: what lies outside is not shown.
    const start = Math.min(y * pitch + bytesOf(x, depth), Math.max(0, memory.length - height * pitch));
    return { kind: 'linear', format: FORMATS.get(depth) ?? 'indexed8', width, height, pitch, start, memory, colors };
  }

  /** Bytes that the visible part takes. */
  get visibleBytes(): number {
    return this.registers[DISPI.YRES] * this.pitch;
  }

  save(): State {
    return { index: this.index, registers: [...this.registers], low: this.low };
  }

  /** Anything that the registers cannot hold is refused, by leaving the mode switched off. */
  restore(state: State): void {
    this.index = state.index;
    this.low = state.low;
    this.registers = Uint16Array.from(state.registers);
    const { registers } = this;
    const [width, height, depth] = [registers[DISPI.XRES], registers[DISPI.YRES], registers[DISPI.BPP]];
    const sane =
      width >= 8 && width % 8 === 0 && width <= MOST.width && height > 0 && height <= MOST.height && FORMATS.has(depth);
    if (!sane) registers.set([640, 480, 8, 0], DISPI.XRES);
    registers[DISPI.VIRT_WIDTH] &= ~7;
    // A window may be scrolled further than there is memory, when it was narrowed afterwards; see `picture`.
    if (registers[DISPI.YRES] > this.virtualHeight) registers[DISPI.ENABLE] &= ~ENABLE.ENABLED;
  }
}

/** Bytes of `width` pixels; eight pixels of 4 bits are a byte of each of four planes. */
function bytesOf(width: number, depth: number): number {
  return depth === 4 ? (width >> 3) * 4 : width * ((depth + 7) >> 3);
}
