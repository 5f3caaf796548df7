import type { Gpa } from '../../base/units.js';
import type { Dma, Pieces } from '../../iface/guest-memory.js';
import type { PciFunction } from './function.js';

/** Guest memory as a PCI function reaches it: not at all while bus mastering is off (PCI 3.0 §6.2.2). */
export class BusMasterDma implements Dma {
  constructor(
    private readonly pci: Pick<PciFunction, 'busMaster'>,
    private readonly dma: Dma,
  ) {}

  read(from: Gpa, into: Uint8Array, begin = 0, length = into.length - begin): boolean {
    if (this.pci.busMaster) return this.dma.read(from, into, begin, length);
    into.fill(0xff, begin, begin + length);
    return false;
  }

  write(to: Gpa, bytes: Uint8Array, begin?: number, length?: number): boolean {
    return this.pci.busMaster && this.dma.write(to, bytes, begin, length);
  }

  zero(at: Gpa, length: number): boolean {
    return this.pci.busMaster && this.dma.zero(at, length);
  }

  readPieces(from: Pieces, offset: number, into: Uint8Array): boolean {
    if (this.pci.busMaster) return this.dma.readPieces(from, offset, into);
    into.fill(0xff);
    return false;
  }

  writePieces(to: Pieces, offset: number, bytes: Uint8Array): boolean {
    return this.pci.busMaster && this.dma.writePieces(to, offset, bytes);
  }

  zeroPieces(at: Pieces, offset: number, length: number): boolean {
    return this.pci.busMaster && this.dma.zeroPieces(at, offset, length);
  }

  readU16(from: Gpa): number {
    return this.pci.busMaster ? this.dma.readU16(from) : 0xffff;
  }

  readU32(from: Gpa): number {
    return this.pci.busMaster ? this.dma.readU32(from) : 0xffff_ffff;
  }

  readU64(from: Gpa): bigint {
    return this.pci.busMaster ? this.dma.readU64(from) : 0xffff_ffff_ffff_ffffn;
  }

  writeU16(to: Gpa, value: number): void {
    if (this.pci.busMaster) this.dma.writeU16(to, value);
  }

  writeU32(to: Gpa, value: number): void {
    if (this.pci.busMaster) this.dma.writeU32(to, value);
  }

  writeU64(to: Gpa, value: bigint): void {
    if (this.pci.busMaster) this.dma.writeU64(to, value);
  }

  fence(): void {
    this.dma.fence();
  }
}
