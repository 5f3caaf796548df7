import { gpa, type Gpa } from '../../base/units.js';
import type { Dma } from '../../iface/guest-memory.js';
import { REG, type RegisterFile } from './registers.js';

/** Bytes of a descriptor. */
export const DESCRIPTOR = 16;
/** Where nothing is: an address that no guest-physical address can be. */
const NOWHERE = 2 ** 52 - 2 ** 33;

/** A 64-bit address out of its halves. */
export const address = (low: number, high: number): Gpa => gpa(high < 2 ** 20 ? high * 2 ** 32 + low : NOWHERE);

/** A ring of descriptors, SDM §3.2.6 and §3.4: between head and tail they are the card's. */
export class DescriptorRing {
  private readonly first = new Uint8Array(8);
  private readonly view = new DataView(this.first.buffer);

  /** `base` is the first of its registers, RDBAL or TDBAL: the others are as far from it in both. */
  constructor(
    private readonly registers: RegisterFile,
    private readonly dma: Dma,
    private readonly base: typeof REG.RDBAL | typeof REG.TDBAL,
  ) {}

  private get(of: number): number {
    return this.registers.get(this.base + of - REG.RDBAL);
  }

  get count(): number {
    return this.get(REG.RDLEN) / DESCRIPTOR;
  }

  /** The card's descriptors. None, where head or tail are out of the ring. */
  get available(): number {
    const { count } = this;
    const [head, tail] = [this.get(REG.RDH), this.get(REG.RDT)];
    if (head >= count || tail >= count) return 0;
    return (tail - head + count) % count;
  }

  /** Where the descriptor at the head is. */
  get head(): Gpa {
    return gpa(address(this.get(REG.RDBAL), this.get(REG.RDBAH)) + DESCRIPTOR * this.get(REG.RDH));
  }

  /** The buffer of the descriptor at the head, and the descriptor. */
  next(): readonly [buffer: Gpa, descriptor: Gpa] {
    const { head } = this;
    this.dma.read(head, this.first);
    return [address(this.view.getUint32(0, true), this.view.getUint32(4, true)), head];
  }

  advance(): void {
    this.registers.set(this.base + REG.RDH - REG.RDBAL, (this.get(REG.RDH) + 1) % this.count);
  }
}
