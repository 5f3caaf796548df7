import { gpa } from '../../base/units.js';
import type { IoHandler } from '../../iface/bus.js';
import type { MsiSink } from '../../iface/lines.js';
import { allOnes, get, put } from './config-space.js';
import type { PciFunction } from './function.js';
import { CAPABILITY, MSIX_CONTROL } from './registers.js';
import type { Regions } from './regions.js';

/** Offsets in the capability, PCI 3.0 §6.8.2.2. */
const MSIX = { CONTROL: 2, TABLE: 4, PENDING: 8, SIZE: 12 } as const;

/** A table entry, §6.8.2.6: 16 bytes. */
const ENTRY = { ADDRESS: 0, ADDRESS_HIGH: 4, DATA: 8, CONTROL: 12, SIZE: 16 } as const;

const MASKED = 1;

/** Saved by the function that has the capability. */
export interface MsixState {
  readonly table: Uint8Array;
  readonly pending: Uint8Array;
}

/** Where table and pending bits lie: in one BAR, offsets in bytes, multiples of 8. */
export interface MsixPlace {
  readonly bar: number;
  readonly table: number;
  readonly pending: number;
}

/** MSI-X, PCI 3.0 §6.8.2. `attachTo` puts its two structures into a BAR. */
export class MsixCapability {
  /** Where the capability lies in configuration space. */
  readonly at: number;
  private readonly table: Uint8Array;
  private readonly pending: Uint8Array;

  constructor(
    private readonly pci: PciFunction,
    readonly vectors: number,
    private readonly place: MsixPlace,
    private readonly sink: MsiSink,
  ) {
    this.table = new Uint8Array(vectors * ENTRY.SIZE);
    this.pending = new Uint8Array(Math.ceil(vectors / 64) * 8);
    const { config } = pci;
    this.at = pci.addCapability(CAPABILITY.MSIX, MSIX.SIZE);
    config.define(this.at + MSIX.CONTROL, 2, {
      value: vectors - 1,
      writable: MSIX_CONTROL.ENABLE | MSIX_CONTROL.FUNCTION_MASK,
    });
    config.define(this.at + MSIX.TABLE, 4, { value: place.table | place.bar });
    config.define(this.at + MSIX.PENDING, 4, { value: place.pending | place.bar });
    config.watch(this.at + MSIX.CONTROL, 2, () => this.deliverPending());
    this.reset();
  }

  attachTo(regions: Regions): void {
    regions.add(this.place.table, this.table.length, this.tableHandler());
    regions.add(this.place.pending, this.pending.length, this.pendingHandler());
  }

  get enabled(): boolean {
    return (this.control & MSIX_CONTROL.ENABLE) !== 0;
  }

  /** Sends a vector, or keeps it pending while it is masked. Nothing while MSI-X is not enabled. */
  trigger(vector: number): void {
    if (!this.enabled || vector >= this.vectors) return;
    const at = vector * ENTRY.SIZE;
    if (this.control & MSIX_CONTROL.FUNCTION_MASK || this.table[at + ENTRY.CONTROL] & MASKED || !this.pci.busMaster) {
      this.pending[vector >>> 3] |= 1 << (vector & 7);
      return;
    }
    this.pending[vector >>> 3] &= ~(1 << (vector & 7));
    const address = get(this.table, at + ENTRY.ADDRESS_HIGH, 4) * 2 ** 32 + get(this.table, at + ENTRY.ADDRESS, 4);
    this.sink.deliver(gpa(address), get(this.table, at + ENTRY.DATA, 4));
  }

  /** Sends what was pending and is not masked any more. */
  deliverPending(): void {
    if (!this.enabled || !this.pci.busMaster) return;
    for (let byte = 0; byte < this.pending.length; byte++)
      for (let bit = 0; this.pending[byte] >>> bit !== 0; bit++)
        if (this.pending[byte] & (1 << bit)) this.trigger(byte * 8 + bit);
  }

  private get control(): number {
    return this.pci.config.get(this.at + MSIX.CONTROL, 2);
  }

  private tableHandler(): IoHandler {
    const peek = (offset: number, size: number): number =>
      offset + size <= this.table.length ? get(this.table, offset, size) : allOnes(size);
    return {
      read: peek,
      peek,
      write: (offset, size, value) => {
        if (offset + size > this.table.length) return;
        put(this.table, offset, size, value);
        const vector = Math.floor(offset / ENTRY.SIZE);
        const at = vector * ENTRY.SIZE;
        // Reserved: address bits 1:0, and all of vector control but the mask.
        this.table[at + ENTRY.ADDRESS] &= 0xfc;
        put(this.table, at + ENTRY.CONTROL, 4, this.table[at + ENTRY.CONTROL] & MASKED);
        if (this.pending[vector >>> 3] & (1 << (vector & 7))) this.trigger(vector);
      },
    };
  }

  private pendingHandler(): IoHandler {
    const peek = (offset: number, size: number): number =>
      offset + size <= this.pending.length ? get(this.pending, offset, size) : allOnes(size);
    return { read: peek, peek, write: () => undefined };
  }

  reset(): void {
    this.table.fill(0);
    for (let at = ENTRY.CONTROL; at < this.table.length; at += ENTRY.SIZE) this.table[at] = MASKED;
    this.pending.fill(0);
  }

  save(): MsixState {
    return { table: this.table.slice(), pending: this.pending.slice() };
  }

  restore(state: MsixState): void {
    this.table.set(state.table);
    this.pending.set(state.pending);
    for (let at = 0; at < this.table.length; at += ENTRY.SIZE) {
      this.table[at + ENTRY.ADDRESS] &= 0xfc;
      put(this.table, at + ENTRY.CONTROL, 4, this.table[at + ENTRY.CONTROL] & MASKED);
    }
  }
}
