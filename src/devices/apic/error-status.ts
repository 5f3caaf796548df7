/** The error status register of a local APIC. Intel SDM vol. 3 §11.5.3. */
import type { ApicState } from './apic-state.js';

export class ErrorStatus {
  private esr = 0;
  private newErrors = 0;
  /** An error raises the error interrupt once, until ESR is written. */
  private errorArmed = true;

  /** `raise`: the error interrupt of the local vector table. */
  constructor(private readonly raise: () => void) {}

  /** What ESR reads: the errors collected between the last two writes to it. */
  get value(): number {
    return this.esr;
  }

  /** A write to ESR, whatever is written. */
  write(): void {
    this.esr = this.newErrors;
    this.newErrors = 0;
    this.errorArmed = true;
  }

  /** An error was detected. */
  note(bit: number): void {
    this.newErrors |= bit;
    if (!this.errorArmed) return;
    this.errorArmed = false;
    this.raise();
  }

  reset(): void {
    this.esr = 0;
    this.newErrors = 0;
    this.errorArmed = true;
  }

  save(): Pick<ApicState, 'esr' | 'newErrors' | 'errorArmed'> {
    return { esr: this.esr, newErrors: this.newErrors, errorArmed: this.errorArmed };
  }

  restore({ esr, newErrors, errorArmed }: Pick<ApicState, 'esr' | 'newErrors' | 'errorArmed'>): void {
    this.esr = esr;
    this.newErrors = newErrors;
    this.errorArmed = errorArmed;
  }
}
