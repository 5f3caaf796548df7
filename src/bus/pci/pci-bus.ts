import { assert } from '../../base/assert.js';
import type { IrqLine } from '../../iface/lines.js';
import { allOnes } from './config-space.js';
import type { PciFunction } from './function.js';

/** Which input of its parent a pin behind a bridge reaches: slot 0 … 31, pin 0 … 3 (PCI-to-PCI Bridge 1.2 §9.1). */
export const swizzle = (slot: number, pin: number): number => (slot + pin) & 3;

/** Where the INTx pins of a bus's slots end: slot 0 … 31, pin 0 (INTA) … 3. */
export type IntxRouting = (slot: number, pin: number) => IrqLine;

/** A PCI bus: up to 32 devices of up to 8 functions. */
export class PciBus {
  /** By slot × 8 + function. */
  private readonly functions = new Map<number, PciFunction>();
  /** By slot × 4 + pin: drivers of pins whose functions have gone. */
  private readonly idle = new Map<number, IrqLine[]>();

  constructor(private readonly intx: IntxRouting) {}

  /** Puts a function into slot 0 … 31 as function 0 … 7. */
  attach(slot: number, pciFunction: PciFunction, number = 0): void {
    const devfn = slot * 8 + number;
    assert(slot >= 0 && slot < 32 && number >= 0 && number < 8, `there is no PCI device ${slot}.${number}`);
    assert(!this.functions.has(devfn), `PCI device ${slot}.${number} is taken`);
    this.functions.set(devfn, pciFunction);
    const { interruptPin } = pciFunction;
    if (interruptPin > 0)
      pciFunction.connect(this.idle.get(slot * 4 + interruptPin - 1)?.pop() ?? this.intx(slot, interruptPin - 1));
  }

  /** Takes function 0 out of a slot, reset: it answers nothing and reaches nothing any more. */
  detach(slot: number): void {
    const devfn = slot * 8;
    const gone = this.functions.get(devfn);
    if (!gone) return;
    this.functions.delete(devfn);
    gone.reset();
    const line = gone.disconnect();
    if (!line) return;
    const pin = slot * 4 + gone.interruptPin - 1;
    const idle = this.idle.get(pin);
    if (idle) idle.push(line);
    else this.idle.set(pin, [line]);
  }

  /** All functions, by slot × 8 + function. */
  get attached(): ReadonlyMap<number, PciFunction> {
    return this.functions;
  }

  /** The lowest slot from `from` on that has no function at all. */
  freeSlot(from = 1): number | undefined {
    for (let slot = from; slot < 32; slot++)
      if (![0, 1, 2, 3, 4, 5, 6, 7].some((number) => this.functions.has(slot * 8 + number))) return slot;
    return undefined;
  }

  /** Reads configuration space; all ones where there is no function (PCI 3.0 §6.1). */
  read(devfn: number, offset: number, size: number): number {
    return this.functions.get(devfn)?.config.read(offset, size) ?? allOnes(size);
  }

  peek(devfn: number, offset: number, size: number): number {
    return this.functions.get(devfn)?.config.peek(offset, size) ?? allOnes(size);
  }

  write(devfn: number, offset: number, size: number, value: number): void {
    this.functions.get(devfn)?.config.write(offset, size, value);
  }
}
