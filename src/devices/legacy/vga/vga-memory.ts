/**
 * Display memory of a VGA, 4 planes of 64 KiB, with the graphics controller's way of writing and reading it. After "IBM
 * PS/2 Hardware Interface Technical Reference: Video Subsystems", "VGA Function: Graphics Controller".
 */
import { GC, GC_MODE, MEMORY_MODE, SEQ } from './registers.js';

export const PLANE_SIZE = 0x1_0000;
const PLANES = 4;
const OFFSET_MASK = PLANE_SIZE - 1;

/** Eight bits, all as `bit`. */
const spread = (bit: number): number => (bit ? 0xff : 0);

/** Display memory, at least 256 KiB. */
export interface VideoRam {
  readonly bytes: Uint8Array;
  /** Told of what the adapter itself wrote there. */
  written(offset: number, length: number): void;
  /** Marks with 1, of all pages, those that anybody may have written to since the last call. Absent: not known. */
  readonly takeWritten?: ((into: Uint8Array) => void) | undefined;
}

export class VgaMemory {
  /** Byte `offset` of plane `p` is at `offset * 4 + p`. */
  readonly bytes: Uint8Array;
  /** In bytes of a plane: where the CPU's window begins. */
  base = 0;
  /** What the last read loaded, by plane. */
  readonly latches = new Uint8Array(PLANES);

  constructor(
    private readonly sequencer: Uint8Array,
    private readonly graphics: Uint8Array,
    private readonly ram: VideoRam,
  ) {
    this.bytes = ram.bytes;
  }

  /** Which offset in the planes a CPU address means. */
  private offset(address: number): number {
    return (this.base + this.within(address)) % (this.bytes.length / PLANES);
  }

  private within(address: number): number {
    if (this.sequencer[SEQ.MEMORY_MODE] & MEMORY_MODE.CHAIN_4) return address & OFFSET_MASK & ~3;
    return this.oddEven ? address & OFFSET_MASK & ~1 : address & OFFSET_MASK;
  }

  private get oddEven(): boolean {
    return (this.sequencer[SEQ.MEMORY_MODE] & MEMORY_MODE.SEQUENTIAL) === 0;
  }

  /** Reads the byte at an address within the window, without loading the latches. */
  peek(address: number): number {
    const at = this.offset(address) * PLANES;
    const { bytes, graphics } = this;
    if (this.sequencer[SEQ.MEMORY_MODE] & MEMORY_MODE.CHAIN_4) return bytes[at + (address & 3)];
    if (graphics[GC.MODE] & GC_MODE.READ_COMPARE) {
      // A 1 for each pixel whose colour matches in the planes that matter.
      let differs = 0;
      for (let p = 0; p < PLANES; p++)
        if (graphics[GC.DONT_CARE] & (1 << p)) differs |= bytes[at + p] ^ spread(graphics[GC.COLOR_COMPARE] & (1 << p));
      return ~differs & 0xff;
    }
    const map = graphics[GC.READ_MAP] & 3;
    return bytes[at + (graphics[GC.MODE] & GC_MODE.ODD_EVEN ? (map & 2) | (address & 1) : map)];
  }

  read(address: number): number {
    const at = this.offset(address) * PLANES;
    for (let p = 0; p < PLANES; p++) this.latches[p] = this.bytes[at + p];
    return this.peek(address);
  }

  write(address: number, value: number): void {
    const { bytes, graphics, latches } = this;
    const at = this.offset(address) * PLANES;
    let planes = this.sequencer[SEQ.MAP_MASK] & 15;
    if (this.sequencer[SEQ.MEMORY_MODE] & MEMORY_MODE.CHAIN_4) planes &= 1 << (address & 3);
    else if (this.oddEven) planes &= address & 1 ? 0b1010 : 0b0101;
    const mode = graphics[GC.MODE] & GC_MODE.WRITE;
    const rotation = graphics[GC.ROTATE] & 7;
    const rotated = ((value >> rotation) | (value << (8 - rotation))) & 0xff;
    const mask = mode === 3 ? rotated & graphics[GC.BIT_MASK] : graphics[GC.BIT_MASK];
    for (let p = 0; p < PLANES; p++) {
      const bit = 1 << p;
      if (!(planes & bit)) continue;
      const latch = latches[p];
      if (mode === 1) {
        bytes[at + p] = latch;
        continue;
      }
      const setReset = spread(graphics[GC.SET_RESET] & bit);
      const source =
        mode === 2 ? spread(value & bit) : mode === 3 || graphics[GC.ENABLE_SET_RESET] & bit ? setReset : rotated;
      bytes[at + p] = (this.combine(source, latch, mode) & mask) | (latch & ~mask);
    }
    this.ram.written(at, PLANES);
  }

  /** The function of the rotate register's bits 4:3; write mode 3 has none. */
  private combine(source: number, latch: number, mode: number): number {
    if (mode === 3) return source;
    switch ((this.graphics[GC.ROTATE] >> 3) & 3) {
      case 1:
        return source & latch;
      case 2:
        return source | latch;
      case 3:
        return source ^ latch;
      default:
        return source;
    }
  }
}
