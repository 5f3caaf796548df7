/** The local vector table of an APIC with its LINT pins: interrupts that come from the CPU itself. Intel SDM vol. 3 §11.5. */
import type { ApicMessage, DeliveryMode } from '../../iface/local-apic.js';
import { DELIVERY_MODES, LVT, LVT_WRITABLE } from './registers.js';

/** Entries by what they are for, from LVT_TIMER on. */
export const LOCAL = { TIMER: 0, LINT0: 3, LINT1: 4, ERROR: 5 } as const;

/**
 * As after power-up. DEVIATION: the bootstrap processor starts in virtual wire mode (MultiProcessor Specification 1.4 §3.6.2.2), which
 * firmware would set up: kernels that are loaded without any, and know only the 8259, depend on it.
 */
export function powerOnVectors(bsp: boolean): number[] {
  const entries: number[] = LVT_WRITABLE.map(() => LVT.MASKED);
  if (bsp) entries[LOCAL.LINT0] = DELIVERY_MODES.indexOf('extint') << LVT.MODE_SHIFT;
  return entries;
}

/** What takes local interrupts. */
export interface LocalInterrupts {
  accept(vector: number, trigger: 'edge' | 'level'): void;
  deliver(message: ApicMessage): void;
}

export class LocalVectors {
  private entries: number[];
  private readonly pins = [false, false];

  constructor(
    private readonly bsp: boolean,
    private readonly to: LocalInterrupts,
  ) {
    this.entries = powerOnVectors(bsp);
  }

  entry(i: number): number {
    return this.entries[i];
  }

  /** Delivery mode of an entry; undefined when it is masked or the mode is reserved. */
  mode(i: number): DeliveryMode | undefined {
    if (this.entries[i] & LVT.MASKED) return undefined;
    return DELIVERY_MODES[(this.entries[i] & LVT.MODE) >>> LVT.MODE_SHIFT];
  }

  /** What an entry would be if the guest wrote this. */
  writable(i: number, value: number): number {
    const entry = (value & LVT_WRITABLE[i]) | (this.entries[i] & LVT.REMOTE_IRR);
    return entry & LVT.LEVEL ? entry : entry & ~LVT.REMOTE_IRR;
  }

  write(i: number, entry: number): void {
    this.entries[i] = entry;
    if (i === LOCAL.LINT0 || i === LOCAL.LINT1) this.level(i);
  }

  /** §11.4.7.2: a disabled APIC masks its whole table. */
  mask(): void {
    this.entries = this.entries.map((entry) => entry | LVT.MASKED);
  }

  /** LINT0 asks for an interrupt of the 8259. */
  get extInt(): boolean {
    return this.pins[0] && this.mode(LOCAL.LINT0) === 'extint';
  }

  pin(pin: 0 | 1): boolean {
    return this.pins[pin];
  }

  /** False: it was so before. */
  setPin(pin: 0 | 1, asserted: boolean): boolean {
    if (this.pins[pin] === asserted) return false;
    this.pins[pin] = asserted;
    return true;
  }

  /** A pin was asserted. */
  raisePin(pin: 0 | 1): void {
    const i = LOCAL.LINT0 + pin;
    if (this.mode(i) !== 'fixed' || !(this.entries[i] & LVT.LEVEL)) this.raise(i);
    else this.level(i);
  }

  /** An edge at a local interrupt source. */
  raise(i: number): void {
    const mode = this.mode(i);
    if (mode === 'fixed') this.to.accept(this.entries[i] & LVT.VECTOR, 'edge');
    else if (mode === 'nmi' || mode === 'init') this.to.deliver({ mode, vector: 0, level: true, trigger: 'edge' });
  }

  /** A level-triggered pin that is asserted interrupts until its EOI finds it released. */
  private level(i: number): void {
    const entry = this.entries[i];
    const isPending = this.pins[i - LOCAL.LINT0] && this.mode(i) === 'fixed' && entry & LVT.LEVEL;
    if (!isPending || entry & LVT.REMOTE_IRR) return;
    this.entries[i] |= LVT.REMOTE_IRR;
    this.to.accept(entry & LVT.VECTOR, 'level');
  }

  /** The end of a level-triggered interrupt. */
  end(vector: number): void {
    for (const i of [LOCAL.LINT0, LOCAL.LINT1])
      if (this.entries[i] & LVT.REMOTE_IRR && (this.entries[i] & LVT.VECTOR) === vector) {
        this.entries[i] &= ~LVT.REMOTE_IRR;
        this.level(i);
      }
  }

  /** Pins stay as they are driven. */
  reset(): void {
    this.entries = powerOnVectors(this.bsp);
  }

  save(): { readonly lvt: number[]; readonly lint: boolean[] } {
    return { lvt: [...this.entries], lint: [...this.pins] };
  }

  restore({ lvt, lint }: { readonly lvt: readonly number[]; readonly lint: readonly boolean[] }): void {
    this.entries = [...lvt];
    lint.forEach((level, pin) => (this.pins[pin] = level));
  }
}
