/** Memory accesses of a CPU that leave RAM: to its own local APIC, or to the bus. */
import type { VcpuEnvironment } from '../../iface/vcpu.js';

const SIZE = 4096;

export class ApicWindow {
  /** Where the APIC answers; below 0 while it does not. */
  private base = -1;

  /** `isOurs`: accesses to the APIC come here at all. */
  constructor(
    private readonly environment: Pick<VcpuEnvironment, 'apic' | 'io'>,
    private readonly isOurs = true,
  ) {
    this.moved();
  }

  /** The APIC's base or mode changed: it answers in its window only when enabled and not in x2APIC mode. */
  moved(): void {
    if (!this.isOurs) return;
    const base = this.environment.apic.apicBase;
    const answers = (base & 0xc00n) === 0x800n;
    this.base = answers ? Number(base & 0xf_ffff_ffff_f000n) : -1;
  }

  private has(address: number): boolean {
    return this.base >= 0 && address >= this.base && address < this.base + SIZE;
  }

  /** `size` is 1, 2 or 4. Returns an unsigned number of that width. */
  read(address: number, size: number): number {
    const { apic, io } = this.environment;
    if (!this.has(address)) return io.mmioRead(address, size);
    const offset = address - this.base;
    const shifted = apic.mmioRead(offset & ~3) >>> ((offset & 3) * 8);
    return size === 4 ? shifted : shifted & (size === 2 ? 0xffff : 0xff);
  }

  write(address: number, size: number, value: number): void {
    const { apic, io } = this.environment;
    if (!this.has(address)) io.mmioWrite(address, size, value);
    // Only aligned 32-bit writes are supported (SDM vol. 3 §11.4.1).
    else if (size === 4 && ((address - this.base) & 3) === 0) apic.mmioWrite(address - this.base, value);
  }
}
