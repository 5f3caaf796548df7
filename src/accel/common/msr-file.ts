import type { CpuModel } from '../../arch/x86/cpu-models.js';
import { readMsr, writeMsr, initialMsrs, type MsrValues } from '../../arch/x86/msr-policy.js';
import { MSR } from '../../arch/x86/msrs.js';
import type { GuestClock } from '../../iface/vcpu.js';
import type { LocalApic } from '../../iface/local-apic.js';

/** The MSRs of one CPU that its helpers do not hold themselves: the local APIC's, and those that only hold a value. */
export class MsrFile {
  readonly values: MsrValues = new Map<number, bigint>();

  constructor(
    private readonly model: CpuModel,
    private readonly apic: LocalApic,
    private readonly apicMoved: () => void,
    private readonly guestClock?: GuestClock,
  ) {}

  reset(): void {
    this.values.clear();
    for (const { index, value } of initialMsrs(this.model)) this.values.set(index, value);
  }

  private has(feature: Parameters<CpuModel['features']['has']>[0]): boolean {
    return this.model.features.has(feature);
  }

  /** Undefined: #GP(0). */
  read(index: number): bigint | undefined {
    if (index === MSR.APIC_BASE && this.has('apic')) return this.apic.apicBase;
    if (index === MSR.TSC_DEADLINE && this.has('tsc_deadline_timer')) return this.apic.tscDeadline;
    if (index >= MSR.X2APIC_FIRST && index <= MSR.X2APIC_LAST && this.has('x2apic')) return this.apic.readMsr(index);
    return readMsr(this.model, this.values, index);
  }

  /** False: #GP(0). */
  write(index: number, value: bigint): boolean {
    if (index === MSR.APIC_BASE && this.has('apic')) {
      if (!this.apic.writeApicBase(value)) return false;
      this.apicMoved();
      return true;
    }
    if (index === MSR.TSC_DEADLINE && this.has('tsc_deadline_timer')) {
      this.apic.tscDeadline = value;
      return true;
    }
    if (index >= MSR.X2APIC_FIRST && index <= MSR.X2APIC_LAST && this.has('x2apic'))
      return this.apic.writeMsr(index, value);
    if (!writeMsr(this.model, this.values, index, value)) return false;
    this.guestClock?.written(index, value);
    return true;
  }
}
