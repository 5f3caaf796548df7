import type { IoHandler, IoSpace, IoWindow } from '../../iface/bus.js';
import { allOnes, type ConfigSpace } from './config-space.js';
import { COMMAND, HEADER } from './registers.js';

/** Bit 0 of the register: the ROM answers, if memory accesses do. */
const ENABLE = 1;
/** The register has no bits for less. */
const SMALLEST = 0x800;

/** Expansion ROM base address register, PCI 3.0 §6.2.5.2, and the window that follows it. */
export class ExpansionRom {
  private readonly window: IoWindow;
  private readonly size: number;
  private mapped: number | undefined;

  constructor(
    name: string,
    image: Uint8Array,
    private readonly config: ConfigSpace,
    space: IoSpace,
  ) {
    this.size = Math.max(SMALLEST, 2 ** Math.ceil(Math.log2(image.length)));
    const mask = Number(BigInt.asUintN(32, -BigInt(this.size)));
    config.define(HEADER.ROM, 4, { writable: (mask | ENABLE) >>> 0 });
    const read = (offset: number, size: number): number => {
      if (offset >= image.length) return allOnes(size);
      let value = 0;
      for (let i = size - 1; i >= 0; i--) value = value * 256 + (image[offset + i] ?? 0xff);
      return value;
    };
    const handler: IoHandler = { read, peek: read, write: () => undefined };
    this.window = space.claim(`${name}.rom`, this.size, handler);
    config.watch(HEADER.ROM, 4, () => this.update());
    config.watch(HEADER.COMMAND, 2, () => this.update());
  }

  private update(): void {
    const address = this.decoded();
    if (address === this.mapped) return;
    this.mapped = address;
    if (address === undefined) this.window.unmap();
    else this.window.map(address);
  }

  private decoded(): number | undefined {
    const register = this.config.get(HEADER.ROM, 4);
    if (!(register & ENABLE) || !(this.config.get(HEADER.COMMAND, 2) & COMMAND.MEMORY)) return undefined;
    const address = register - ENABLE;
    // As with other registers: neither "not assigned" nor the pattern that asks for the size is an address.
    return address === 0 || address + this.size >= 2 ** 32 ? undefined : address;
  }
}
