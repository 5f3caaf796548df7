/** Small synthetic kernels and a guest memory to load them into, for tests. */
import { ByteWriter } from '../firmware/bytes.js';
import type { GuestMemoryWriter } from '../firmware/guest-memory.js';
import { MIB } from '../base/units.js';

/** RAM from 0 that records what is written. */
export class TestMemory implements GuestMemoryWriter {
  readonly ram: Uint8Array;
  readonly view: DataView;

  constructor(size = 64 * MIB) {
    this.ram = new Uint8Array(size).fill(0xcc);
    this.view = new DataView(this.ram.buffer);
  }

  write(to: number, bytes: Uint8Array): boolean {
    if (to + bytes.length > this.ram.length) throw new RangeError(`a write outside RAM, at 0x${to.toString(16)}`);
    this.ram.set(bytes, to);
    return true;
  }

  bytes(at: number, length: number): Uint8Array {
    return this.ram.slice(at, at + length);
  }

  cstring(at: number): string {
    return String.fromCharCode(...this.ram.subarray(at, this.ram.indexOf(0, at)));
  }
}

export interface BzImageOptions {
  readonly version?: number;
  readonly has64BitEntry?: boolean;
  readonly initrdMax?: number;
  readonly initSize?: number;
  readonly commandLineMax?: number;
  /** Bytes of the protected-mode kernel; a multiple of 16. */
  readonly size?: number;
}

/** A bzImage whose kernel is filled with 0x90. */
export function makeBzImage(options: BzImageOptions = {}): Uint8Array {
  const size = options.size ?? 4096;
  const image = new Uint8Array(512 * 3 + size).fill(0x90, 512 * 3);
  const view = new DataView(image.buffer);
  view.setUint8(0x1f1, 2);
  view.setUint32(0x1f4, size / 16, true);
  view.setUint16(0x1fe, 0xaa55, true);
  view.setUint16(0x200, 0x6aeb, true);
  view.setUint32(0x202, 0x5372_6448, true);
  view.setUint16(0x206, options.version ?? 0x20f, true);
  view.setUint8(0x211, 1);
  view.setUint32(0x214, 0x10_0000, true);
  view.setUint32(0x22c, options.initrdMax ?? 0x7fff_ffff, true);
  view.setUint8(0x234, 1);
  view.setUint16(0x236, options.has64BitEntry === false ? 0 : 1, true);
  view.setUint32(0x238, options.commandLineMax ?? 2047, true);
  view.setBigUint64(0x258, 0x100_0000n, true);
  view.setUint32(0x260, options.initSize ?? 2 * MIB, true);
  return image;
}

export interface ElfOptions {
  readonly bits?: 32 | 64;
  readonly machine?: number;
  /** Physical address of its one segment, which lies at file offset 4096 and has 256 bytes of 0x90 in the file. */
  readonly load?: number;
  readonly memorySize?: number;
  /** Virtual address of the segment, and of the entry; the load address without them. */
  readonly virtual?: number;
  readonly entry?: number;
  /** Entry for PVH; none without it. */
  readonly pvh?: number;
  /** Flags of a multiboot header at offset 4096; none without it. */
  readonly multiboot?: number;
}

/** An ELF kernel. */
export function makeElf(options: ElfOptions = {}): Uint8Array {
  const bits = options.bits ?? 64;
  const load = options.load ?? MIB;
  const virtual = options.virtual ?? load;
  const entry = options.entry ?? virtual;
  const out = new ByteWriter().u8(0x7f, 0x45, 0x4c, 0x46, bits === 64 ? 2 : 1, 1, 1).zeros(9);
  out.u16(2, options.machine ?? (bits === 64 ? 62 : 3)).u32(1);
  const notes = options.pvh === undefined ? 0 : 1;
  const loaded = [4096, 256, options.memorySize ?? 8192] as const;
  const noted = [2048, 20, 20] as const;
  if (bits === 64) {
    out
      .u64(entry, 64, 0)
      .u32(0)
      .u16(64, 56, 1 + notes, 64, 0, 0);
    out.u32(1, 5).u64(loaded[0], virtual, load, loaded[1], loaded[2], 4096);
    if (notes) out.u32(4, 4).u64(noted[0], 0, 0, noted[1], noted[2], 4);
  } else {
    out.u32(entry, 52, 0, 0).u16(52, 32, 1 + notes, 40, 0, 0);
    out.u32(1, loaded[0], virtual, load, loaded[1], loaded[2], 5, 4096);
    if (notes) out.u32(4, noted[0], 0, 0, noted[1], noted[2], 4, 4);
  }
  out.zeros(2048 - out.length);
  if (options.pvh !== undefined) out.u32(4, 4, 18).text('Xen', 4).u32(options.pvh);
  out.zeros(4096 - out.length);
  if (options.multiboot !== undefined) {
    out.u32(0x1bad_b002, options.multiboot, (-0x1bad_b002 - options.multiboot) >>> 0);
  }
  while (out.length < 4096 + 256) out.u8(0x90);
  return out.finish();
}
