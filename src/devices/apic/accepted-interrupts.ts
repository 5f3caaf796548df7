/** Fixed interrupts that a local APIC has accepted, pending or in service, and the priorities among them. Intel SDM vol. 3 §11.8. */
import type { ApicState } from './apic-state.js';
import { VectorSet } from './vector-set.js';

type Saved = Pick<ApicState, 'tpr' | 'isr' | 'tmr' | 'irr'>;

export class AcceptedInterrupts {
  /** Task priority, 0 … 255. */
  tpr = 0;
  /** In service. */
  readonly isr = new VectorSet();
  /** Which of them are level-triggered. */
  readonly tmr = new VectorSet();
  /** Pending. */
  readonly irr = new VectorSet();

  /** Processor priority, §11.8.3.1; also the arbitration priority on the bus. */
  get priority(): number {
    const serving = Math.max(0, this.isr.highest()) & 0xf0;
    return (this.tpr & 0xf0) >= serving ? this.tpr : serving;
  }

  add(vector: number, trigger: 'edge' | 'level'): void {
    this.irr.add(vector);
    if (trigger === 'level') this.tmr.add(vector);
    else this.tmr.remove(vector);
  }

  /** Highest pending vector above the processor priority, or -1. */
  pendingVector(): number {
    const vector = this.irr.highest();
    return vector >= 0 && (vector & 0xf0) > (this.priority & 0xf0) ? vector : -1;
  }

  /** A pending interrupt is in service from now on. */
  serve(vector: number): void {
    this.irr.remove(vector);
    this.isr.add(vector);
  }

  /** Ends the service of the highest vector in service, and tells which that was, or -1. */
  end(): number {
    const vector = this.isr.highest();
    if (vector >= 0) this.isr.remove(vector);
    return vector;
  }

  reset(): void {
    this.tpr = 0;
    for (const set of [this.isr, this.tmr, this.irr]) set.clear();
  }

  save(): Saved {
    return { tpr: this.tpr, isr: this.isr.save(), tmr: this.tmr.save(), irr: this.irr.save() };
  }

  restore({ tpr, isr, tmr, irr }: Saved): void {
    this.tpr = tpr;
    this.isr.restore(isr);
    this.tmr.restore(tmr);
    this.irr.restore(irr);
  }
}
