/** The interrupt command register of a local APIC, by which its CPU interrupts others. Intel SDM vol. 3 §11.6.1. */
import type { ApicMessage, DeliveryMode } from '../../iface/local-apic.js';
import type { ApicBus, ApicBusMember } from './apic-bus.js';
import type { ApicState } from './apic-state.js';
import type { ErrorStatus } from './error-status.js';
import { DELIVERY_MODES, ESR, FIRST_LEGAL_VECTOR, ICR, SHORTHANDS } from './registers.js';

export class InterruptCommand {
  private icrLow = 0;
  private icrHigh = 0;

  /** `self`: the APIC that sends. */
  constructor(
    private readonly self: ApicBusMember,
    private readonly bus: ApicBus,
    private readonly errors: ErrorStatus,
  ) {}

  get low(): number {
    return this.icrLow;
  }

  get high(): number {
    return this.icrHigh;
  }

  /** xAPIC mode: the destination of what is sent next. */
  writeHigh(value: number): void {
    this.icrHigh = (value & 0xff00_0000) >>> 0;
  }

  /** xAPIC mode: sends. */
  writeLow(value: number): void {
    this.icrLow = (value & ICR.WRITABLE) >>> 0;
    this.send(this.icrHigh >>> 24, false);
  }

  /** x2APIC mode: both halves at once. False: reserved bits are set. */
  write(low: number, high: number): boolean {
    if (low & ~ICR.WRITABLE) return false;
    [this.icrLow, this.icrHigh] = [low, high];
    this.send(high, true);
    return true;
  }

  /** x2APIC mode's SELF IPI register, §11.12.11. */
  sendSelf(vector: number): void {
    this.sendTo('self', 'fixed', vector, 0, true);
  }

  private send(destination: number, wide: boolean): void {
    const icr = this.icrLow;
    const mode = DELIVERY_MODES[(icr >>> ICR.MODE_SHIFT) & 7];
    if (mode === undefined || mode === 'extint') return;
    // INIT level de-assert does nothing since the Pentium 4; the level means nothing to the other modes.
    if (mode === 'init' && icr & ICR.LEVEL && !(icr & ICR.ASSERT)) return;
    this.sendTo(SHORTHANDS[icr >>> ICR.SHORTHAND_SHIFT], mode, icr & ICR.VECTOR, destination, wide);
  }

  private sendTo(
    to: (typeof SHORTHANDS)[number],
    mode: DeliveryMode,
    vector: number,
    destination: number,
    wide: boolean,
  ): void {
    const { bus } = this;
    if ((mode === 'fixed' || mode === 'lowest') && vector < FIRST_LEGAL_VECTOR) {
      this.errors.note(ESR.SEND_ILLEGAL_VECTOR);
      return;
    }
    const message: ApicMessage = { mode, vector, level: true, trigger: 'edge' };
    if (to === 'self') this.self.deliver(message);
    else if (to === 'all') bus.sendToAll(message);
    else if (to === 'others') bus.sendToAll(message, this.self);
    else bus.send(message, { id: destination, logical: (this.icrLow & ICR.LOGICAL) !== 0, wide });
  }

  reset(): void {
    this.icrLow = 0;
    this.icrHigh = 0;
  }

  save(): Pick<ApicState, 'icrLow' | 'icrHigh'> {
    return { icrLow: this.icrLow, icrHigh: this.icrHigh };
  }

  restore({ icrLow, icrHigh }: Pick<ApicState, 'icrLow' | 'icrHigh'>): void {
    this.icrLow = icrLow;
    this.icrHigh = icrHigh;
  }
}
